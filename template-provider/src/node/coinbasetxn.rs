//! The coinbase that a node makes by itself (BIP22's coinbasetxn), taken apart: what it leaves to
//! the miners, and the messages that must stay as they are.
//!
//! A block is lost if a message is missing, and money is lost if an output is taken for the miners'
//! that is not. So nothing is guessed here: what is not clear is refused.

use bitcoin::consensus::deserialize;
use bitcoin::constants::genesis_block;
use bitcoin::hex::DisplayHex;
use bitcoin::{Network, Transaction, TxOut};
use bytes::Bytes;

use crate::block_template::Output;

const OP_RETURN: u8 = 0x6a;
/// How a witness commitment begins: OP_RETURN, a push of 36 bytes, its magic (BIP141).
const WITNESS_COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Satoshis of the first blocks of Bitcoin.
const FIRST_SUBSIDY: u64 = 50 * 100_000_000;
/// Blocks from one halving to the next.
const HALVING_INTERVAL: u32 = 210_000;
/// The same on regtest.
const REGTEST_HALVING_INTERVAL: u32 = 150;

/// Why the coinbase of a node cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableCoinbase {
    /// It is no coinbase.
    #[error("its coinbasetxn is no coinbase transaction")]
    Unreadable,
    /// An output that is neither the miners' nor a message.
    #[error(
        "its coinbasetxn pays {value} sat to the script {script}, which is not \
         enforcer.coinbase_recipient; configure the enforcer's --coinbase-recipient there"
    )]
    OtherRecipient {
        /// Satoshis.
        value: u64,
        /// scriptPubKey in hex.
        script: String,
    },
    /// It is not clear which output is the miners'.
    #[error(
        "its coinbasetxn has {0} outputs that can be spent; name the miners' one with \
         enforcer.coinbase_recipient"
    )]
    SeveralPayouts(usize),
    /// A message with value, which nobody could ever spend.
    #[error("its coinbasetxn burns {0} sat in an output that begins with OP_RETURN")]
    Burns(u64),
    /// Nothing is left for the miners, and nothing shows that this is right.
    #[error("its coinbasetxn has no output that can be spent")]
    NoPayout,
    /// Two statements of the same answer contradict each other.
    #[error("its coinbasetxn pays out {payout} sat, and its coinbasevalue is {value}")]
    OtherValue {
        /// What the coinbase pays out, in satoshis.
        payout: u64,
        /// What coinbasevalue says, in satoshis.
        value: u64,
    },
    /// The coinbase claims more or less than there is.
    #[error(
        "its coinbasetxn pays out {payout} sat, and its transactions' fees with the subsidy are \
         {due}"
    )]
    WrongSum {
        /// What the coinbase pays out, in satoshis.
        payout: u64,
        /// What it should, in satoshis.
        due: u64,
    },
    /// The coinbase claims less than the fees alone.
    #[error("its coinbasetxn pays out {payout} sat, less than its transactions' fees of {fees}")]
    BelowFees {
        /// What the coinbase pays out, in satoshis.
        payout: u64,
        /// Sum of the fees, in satoshis.
        fees: u64,
    },
}

/// What is known of a node's coinbases from elsewhere than its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The scriptPubKey of the miners' output; without it, it must be the only one that can be
    /// spent.
    pub recipient: Option<Bytes>,
    /// How the chain's subsidy falls, if it is a chain that we know.
    pub schedule: Option<Schedule>,
}

/// How the subsidy of a chain with Bitcoin's rules falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    halving_interval: u32,
}

impl Schedule {
    /// That of the chain that begins with the block `genesis` (display order).
    pub fn of_chain(genesis: &str) -> Option<Self> {
        let begins = |network: &Network| genesis_block(network).block_hash().to_string() == genesis;
        let networks = [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet];
        if begins(&Network::Regtest) {
            return Some(Self { halving_interval: REGTEST_HALVING_INTERVAL });
        }
        let is_known = networks.iter().any(begins);
        is_known.then_some(Self { halving_interval: HALVING_INTERVAL })
    }

    /// The subsidy of the block at `height`, in satoshis.
    pub fn subsidy(self, height: u32) -> u64 {
        let halvings = height.checked_div(self.halving_interval).unwrap_or(0);
        FIRST_SUBSIDY.checked_shr(halvings).unwrap_or(0)
    }
}

/// A coinbase taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCoinbase {
    /// What it pays the miners, in satoshis; `None` if it has no such output, as where there is
    /// nothing to be paid.
    pub payout: Option<u64>,
    /// Its messages, in order, without commitments to witnesses: ours is made anew and stands last.
    pub outputs: Vec<Output>,
    /// True if it committed to witnesses.
    pub commits_to_witnesses: bool,
}

impl GivenCoinbase {
    /// Takes apart a serialised coinbase.
    pub fn read(raw: &[u8], recipient: Option<&[u8]>) -> Result<Self, UnusableCoinbase> {
        let transaction: Transaction =
            deserialize(raw).map_err(|_| UnusableCoinbase::Unreadable)?;
        if !transaction.is_coinbase() {
            return Err(UnusableCoinbase::Unreadable);
        }
        let is_message =
            |output: &&TxOut| output.script_pubkey.as_bytes().first() == Some(&OP_RETURN);
        let (messages, spendable): (Vec<_>, Vec<_>) =
            transaction.output.iter().partition(is_message);
        if let Some(burning) = messages.iter().find(|message| message.value.to_sat() > 0) {
            return Err(UnusableCoinbase::Burns(burning.value.to_sat()));
        }
        let is_commitment = |message: &&TxOut| {
            message.script_pubkey.as_bytes().starts_with(&WITNESS_COMMITMENT_START)
        };
        let (commitments, kept): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_commitment);
        let output = |kept: &TxOut| Output::valueless(kept.script_pubkey.to_bytes());
        Ok(Self {
            payout: payout(&spendable, recipient)?,
            outputs: kept.into_iter().map(output).collect(),
            commits_to_witnesses: !commitments.is_empty(),
        })
    }

    /// What the miners' outputs may spend, in satoshis, held against all that is known of it: the
    /// answer's `coinbasevalue`, and the subsidy with the `fees`, which are `None` where one of
    /// them is unknown.
    pub fn value(
        &self,
        coinbasevalue: Option<u64>,
        subsidy: Option<u64>,
        fees: Option<u64>,
    ) -> Result<u64, UnusableCoinbase> {
        let payout = self.payout.unwrap_or(0);
        if let Some(value) = coinbasevalue.filter(|value| *value != payout) {
            return Err(UnusableCoinbase::OtherValue { payout, value });
        }
        let due = subsidy.zip(fees).map(|(subsidy, fees)| subsidy.saturating_add(fees));
        if let Some(due) = due.filter(|due| *due != payout) {
            return Err(UnusableCoinbase::WrongSum { payout, due });
        }
        if let Some(fees) = fees.filter(|fees| *fees > payout) {
            return Err(UnusableCoinbase::BelowFees { payout, fees });
        }
        match self.payout.or(coinbasevalue).or(due) {
            Some(value) => Ok(value),
            None => Err(UnusableCoinbase::NoPayout),
        }
    }
}

fn payout(spendable: &[&TxOut], recipient: Option<&[u8]>) -> Result<Option<u64>, UnusableCoinbase> {
    let is_other =
        |output: &&&TxOut| recipient.is_some_and(|ours| ours != output.script_pubkey.as_bytes());
    if let Some(other) = spendable.iter().find(is_other) {
        return Err(UnusableCoinbase::OtherRecipient {
            value: other.value.to_sat(),
            script: other.script_pubkey.as_bytes().to_lower_hex_string(),
        });
    }
    match spendable {
        [] => Ok(None),
        [only] => Ok(Some(only.value.to_sat())),
        several => Err(UnusableCoinbase::SeveralPayouts(several.len())),
    }
}

#[cfg(test)]
pub(crate) mod tests;
