//! BIP301's rules for a template of a node that does not know them.
//!
//! A plain node takes every M8 into its template like any other transaction. A block with one that
//! no M7 accepts, that is for another tip, or that is the second of its slot, is thrown out by all
//! who keep the rules. So those that cannot stay are left out here, with all that spends from them,
//! and the others get their M7. What else a drivechain forbids (M5, M6) is not seen here: for that,
//! take templates from an enforcer.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::consensus::deserialize;
use serde::Deserialize;
use service::config::ConfigError;

use super::config::{SelfBmm, SlotSettings};
use super::message::{self, Accept, Encoding, Request};
use crate::block_template::{BlockTemplate, Transaction};
use crate::dependencies::{Parents, parents};

/// `[bmm_guard]` of the config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardConfig {
    /// What happens to M8s. By default: nothing on a chain without `[[bmm]]`, where an M8 is a
    /// transaction like others, and behind an enforcer, which keeps the rules itself; else the best
    /// stay, for a block with one that nobody looked at may be lost.
    pub mode: Option<Mode>,
}

/// What happens to M8s in a node's template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are transactions like others.
    Off,
    /// Of each slot in `[[bmm]]`, the one that pays most stays and gets its M7.
    KeepBest,
    /// None stays.
    DropAll,
}

/// Why no block can be made of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// M8s must go, and the node does not say what they or their descendants pay.
    #[error("requests for side blocks must be left out, and the node does not state their fees")]
    UnknownFees,
    /// The node's numbers do not fit together.
    #[error("the fees of what must be left out exceed the node's coinbase value")]
    FeesAboveValue,
}

/// The guard, made of the settings.
#[derive(Debug, Clone)]
pub struct Guard {
    mode: Mode,
    /// The slots whose bids may stay, and how their M7 is written.
    slots: BTreeMap<u8, Encoding>,
}

/// An M8 in a template.
#[derive(Debug, Clone, Copy)]
struct Bid {
    /// Its place among the transactions.
    index: usize,
    request: Request,
    /// Satoshis; what is unknown wins against nobody.
    fee: u64,
}

/// What a template must lose, and what it gains.
struct Verdict {
    winners: Vec<Bid>,
    /// By position: left out.
    left_out: Vec<bool>,
}

impl Guard {
    /// Checks the settings. `has_enforcer` tells that templates come from one.
    pub fn from_config(
        config: &GuardConfig,
        slots: &[SlotSettings],
        has_enforcer: bool,
    ) -> Result<Self, ConfigError> {
        let default = match slots.is_empty() || has_enforcer {
            true => Mode::Off,
            false => Mode::KeepBest,
        };
        let mode = config.mode.unwrap_or(default);
        if mode == Mode::KeepBest && slots.is_empty() {
            let remedy = "no slot is named whose bids could be kept; add [[bmm]] with its slot, or \
                          write drop_all";
            return Err(ConfigError::unusable("bmm_guard.mode", remedy));
        }
        // Where the source always has the slot, and where none may stay, there is no bidding.
        let is_open = |slot: &&SlotSettings| slot.self_bmm != SelfBmm::Always;
        let slots = slots.iter().filter(|_| mode == Mode::KeepBest).filter(is_open);
        Ok(Self { mode, slots: slots.map(|slot| (slot.slot, slot.encoding)).collect() })
    }

    /// Lets everything pass.
    pub fn off() -> Self {
        Self { mode: Mode::Off, slots: BTreeMap::new() }
    }

    /// The template as it may be mined.
    pub fn apply(&self, template: BlockTemplate) -> Result<BlockTemplate, GuardError> {
        if self.mode == Mode::Off {
            return Ok(template);
        }
        let (bids, unreadable) = bids(&template);
        if bids.is_empty() && unreadable.is_empty() {
            return Ok(template);
        }
        let verdict = self.judge(&template, &bids, &unreadable);
        let mut template = without(template, &verdict.left_out)?;
        let given: Vec<_> = message::accepts(&template.given_outputs).collect();
        for Bid { request: Request { slot, h_star, prev_hash }, .. } in verdict.winners {
            if given.iter().any(|accept| accept.slot == slot) {
                continue;
            }
            let encoding = self.slots.get(&slot).copied().unwrap_or_default();
            let output = Accept { slot, h_star }.output(encoding, &prev_hash);
            template.given_outputs.push(output);
        }
        Ok(template)
    }

    fn judge(&self, template: &BlockTemplate, bids: &[Bid], unreadable: &[usize]) -> Verdict {
        let given: Vec<_> = message::accepts(&template.given_outputs).collect();
        let parents = parents(&template.transactions);
        let mut open: Vec<Bid> =
            bids.iter().filter(|bid| self.may_stay(bid, template, &given)).copied().collect();
        loop {
            let winners = best_of_each_slot(&open);
            let places: BTreeSet<usize> = winners.iter().map(|bid| bid.index).collect();
            let lost = bids.iter().map(|bid| bid.index).filter(|index| !places.contains(index));
            let left_out = with_descendants(&parents, lost.chain(unreadable.iter().copied()));
            // A bid that spends from one that must go cannot win; the next best of its slot may.
            let impossible = winners.iter().filter(|bid| is_set(&left_out, bid.index));
            let Some(worst) = impossible.min_by_key(|bid| bid.fee).map(|bid| bid.index) else {
                return Verdict { winners, left_out };
            };
            open.retain(|bid| bid.index != worst);
        }
    }

    /// True if nothing but a better bid speaks against it.
    fn may_stay(&self, bid: &Bid, template: &BlockTemplate, given: &[Accept]) -> bool {
        let Request { slot, h_star, prev_hash } = bid.request;
        let accepted = given.iter().find(|accept| accept.slot == slot);
        prev_hash == template.prev_hash
            && match accepted {
                Some(accept) => accept.h_star == h_star,
                None => self.slots.contains_key(&slot),
            }
    }
}

/// The M8s of a template; and the places of transactions that may be one and cannot be read.
fn bids(template: &BlockTemplate) -> (Vec<Bid>, Vec<usize>) {
    let (mut bids, mut unreadable) = (Vec::new(), Vec::new());
    for (index, transaction) in template.transactions.iter().enumerate() {
        match read(transaction) {
            Ok(Some(request)) => {
                let fee = transaction.fee.unwrap_or(0);
                bids.push(Bid { index, request, fee });
            }
            Ok(None) => {}
            Err(_) => unreadable.push(index),
        }
    }
    (bids, unreadable)
}

fn read(transaction: &Transaction) -> Result<Option<Request>, bitcoin::consensus::encode::Error> {
    if !Request::may_be_in(&transaction.data) {
        return Ok(None);
    }
    let read: bitcoin::Transaction = deserialize(&transaction.data)?;
    let first = read.output.first();
    Ok(first.and_then(|output| Request::read(output.script_pubkey.as_bytes())))
}

/// The bid of each slot that pays most; of equal ones the first in the block. By slot.
fn best_of_each_slot(bids: &[Bid]) -> Vec<Bid> {
    let mut best: BTreeMap<u8, Bid> = BTreeMap::new();
    for bid in bids {
        let present = best.entry(bid.request.slot).or_insert(*bid);
        if bid.fee > present.fee {
            *present = *bid;
        }
    }
    best.into_values().collect()
}

/// `lost` and all that spends from them, by position. Parents come before children in a block.
fn with_descendants(parents: &[Parents], lost: impl Iterator<Item = usize>) -> Vec<bool> {
    let lost: BTreeSet<usize> = lost.collect();
    let mut left_out = Vec::with_capacity(parents.len());
    let mut is_any_left_out = false;
    for (index, parents) in parents.iter().enumerate() {
        let spends_from_lost = match parents {
            Parents::At(parents) => parents.iter().any(|parent| is_set(&left_out, *parent)),
            Parents::Unknown => is_any_left_out,
        };
        let is_out = lost.contains(&index) || spends_from_lost;
        is_any_left_out |= is_out;
        left_out.push(is_out);
    }
    left_out
}

fn is_set(flags: &[bool], index: usize) -> bool {
    flags.get(index).copied().unwrap_or(false)
}

/// The template without what is left out, and without what that pays.
fn without(mut template: BlockTemplate, left_out: &[bool]) -> Result<BlockTemplate, GuardError> {
    if !left_out.contains(&true) {
        return Ok(template);
    }
    let all = std::mem::take(&mut template.transactions);
    let mut fees = 0_u64;
    for (index, transaction) in all.into_iter().enumerate() {
        if is_set(left_out, index) {
            let fee = transaction.fee.ok_or(GuardError::UnknownFees)?;
            fees = fees.saturating_add(fee);
        } else {
            template.transactions.push(transaction);
        }
    }
    let value = template.coinbase_value.checked_sub(fees);
    template.coinbase_value = value.ok_or(GuardError::FeesAboveValue)?;
    // It was for all of them.
    template.witness_commitment = None;
    Ok(template)
}

#[cfg(test)]
mod tests;
