//! May an empty template be made here, from the tip alone, until the node's own is there? And if
//! so, which?
//!
//! Pure. What is asked is whether the two things that a block needs and only the node's template
//! says, its nBits and its subsidy, can be known for certain. In doubt there is no stopgap: miners
//! wait a little, and no block is lost to a wrong guess. Hashes are in internal byte order.

use std::time::Duration;

use tokio::time::Instant;

use super::coinbasetxn::Schedule;
use crate::block_template::{BlockTemplate, Limits, all_fees};

/// Blocks from one change of Bitcoin's difficulty to the next.
const RETARGET_INTERVAL: u32 = 2016;
/// The first blocks of the chains whose rules are known here, in display order. Not testnet3 and
/// testnet4: there nBits depend on the time that the block will have. Not signets: theirs are
/// signed.
const GENESIS: [&str; 2] = [
    // Bitcoin, and its forks: these are told apart below.
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    // Regtest.
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
];

/// Whether stopgaps are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopgaps {
    /// When the node's template is not there so long after the first signal of a new tip.
    After(Duration),
    /// Where the blocks of the chain must hold what only the node, an enforcer or a sidechain can
    /// tell; or by the operator's choice.
    Never,
}

/// What the node's last template says of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    prev_hash: [u8; 32],
    height: u32,
    version: u32,
    nbits: u32,
    /// The node's time, and when it said so.
    curtime: u32,
    said_at: Instant,
    segwit: bool,
    limits: Limits,
    /// What the coinbase may spend without the fees; `None` where some fee is not known.
    subsidy: Option<u64>,
    /// True if the node wants outputs in the coinbase, which may belong to one block alone.
    has_given_outputs: bool,
}

/// What the node says of its tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its height.
    pub height: u32,
    /// Its nBits.
    pub nbits: u32,
    /// The median time of it and the ten before.
    pub median_time: u32,
    /// 1 for the tip of the chain.
    pub confirmations: i64,
    /// nBits of the first block since the last change of the difficulty.
    pub period_nbits: u32,
}

/// Why there is no stopgap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// Testnets, signets, and chains of which nothing is known.
    #[error("nBits or subsidy of this chain follow rules of their own")]
    OtherChain,
    /// The tip was left, or never was one.
    #[error("the block is not the tip of the node's chain")]
    NotTheTip,
    /// The difficulty changes with this block; how, is the node's to say. Versions may change too:
    /// a soft fork's state moves here (BIP9).
    #[error("the difficulty changes with this block, or changed since the last template")]
    Retarget,
    /// The subsidy halves with this block. It could be reckoned; but one block in four years is
    /// not worth the risk that somebody's rules differ.
    #[error("the subsidy halves with this block")]
    Halving,
    /// A fork that shares Bitcoin's first block and adjusts its difficulty with each.
    #[error("the difficulty is not that of the period's first block")]
    OtherDifficultyRules,
    /// The last template paid something else than Bitcoin's schedule says, or its fees are not all
    /// known.
    #[error("the subsidy cannot be known")]
    UnknownSubsidy,
    /// The node has outputs of its own in the coinbase.
    #[error("the node wants outputs in the coinbase")]
    GivenOutputs,
}

/// A chain whose rules are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    schedule: Schedule,
}

impl Chain {
    /// The one that begins with the block `genesis` (display order).
    pub fn of(genesis: &str) -> Result<Self, WhyNot> {
        let schedule = GENESIS.contains(&genesis).then(|| Schedule::of_chain(genesis)).flatten();
        schedule.map(|schedule| Self { schedule }).ok_or(WhyNot::OtherChain)
    }
}

/// Height of the block whose nBits hold for the one after `tip_height`.
pub fn period_start(tip_height: u32) -> u32 {
    tip_height - tip_height % RETARGET_INTERVAL
}

impl Basis {
    /// What `template`, a node's own, said at `said_at`.
    pub fn of(template: &BlockTemplate, said_at: Instant) -> Self {
        let fees = all_fees(&template.transactions);
        Self {
            prev_hash: template.prev_hash,
            height: template.height,
            version: template.version,
            nbits: template.nbits,
            curtime: template.curtime,
            said_at,
            segwit: template.segwit,
            limits: template.limits,
            subsidy: fees.and_then(|fees| template.coinbase_value.checked_sub(fees)),
            has_given_outputs: !template.given_outputs.is_empty(),
        }
    }

    /// The block that the node's template built on.
    pub fn prev_hash(&self) -> [u8; 32] {
        self.prev_hash
    }

    /// The empty template on `tip`, if it can be known.
    pub fn stopgap(&self, chain: Chain, tip: &Tip, now: Instant) -> Result<BlockTemplate, WhyNot> {
        let height = tip.height.saturating_add(1);
        if tip.confirmations != 1 {
            return Err(WhyNot::NotTheTip);
        }
        // Where the last template is of another period, its version may be outdated.
        let is_same_period = height / RETARGET_INTERVAL == self.height / RETARGET_INTERVAL;
        if height.is_multiple_of(RETARGET_INTERVAL) || !is_same_period {
            return Err(WhyNot::Retarget);
        }
        // Both ways to see it, for a fork's difficulty may come back to a value by chance.
        if tip.period_nbits != tip.nbits || self.nbits != tip.nbits {
            return Err(WhyNot::OtherDifficultyRules);
        }
        if self.has_given_outputs {
            return Err(WhyNot::GivenOutputs);
        }
        let subsidy = chain.schedule.subsidy(height);
        if chain.schedule.subsidy(height - 1) != subsidy {
            return Err(WhyNot::Halving);
        }
        if self.subsidy != Some(chain.schedule.subsidy(self.height)) {
            return Err(WhyNot::UnknownSubsidy);
        }
        Ok(BlockTemplate {
            prev_hash: tip.hash,
            height,
            version: self.version,
            nbits: tip.nbits,
            curtime: self.curtime_at(now),
            mintime: tip.median_time.saturating_add(1),
            coinbase_value: subsidy,
            transactions: Vec::new(),
            limits: self.limits,
            segwit: self.segwit,
            witness_commitment: None,
            given_outputs: Vec::new(),
            is_stopgap: true,
        })
    }

    /// The node's time: who judges the block has this clock, and ours may be far from it.
    fn curtime_at(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.said_at).as_secs();
        self.curtime.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests;
