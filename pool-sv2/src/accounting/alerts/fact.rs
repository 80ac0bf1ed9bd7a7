//! What of the log people are told, read from its records.

use super::config::{AlertKind, Wording};
use super::words::{coins, miner};
use crate::accounting::log::cursor::Located;
use crate::accounting::log::record::Record;
use crate::payout::settlement::{PAYOUT_VERSION, PayoutEntry, sum};
use crate::shares::{BlockStage, PayoutRecord};

/// Something that has happened. Amounts are smallest units, hashes in internal byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    BlockFound { hash: [u8; 32], height: Option<u32>, value: u64, finder: String },
    BlockOrphaned { hash: [u8; 32] },
    PayoutSent { transaction: String, accounts: usize, amount: u64 },
}

impl Fact {
    /// What a record says, if people are told of it.
    pub(super) fn of(located: &Located) -> Option<Self> {
        match &located.record {
            Record::BlockFound { block, .. } => {
                let finder = located.earner.as_ref();
                let finder = finder.map(|finder| miner(&finder.account, &finder.worker));
                Some(Self::BlockFound {
                    hash: block.hash,
                    height: block.height,
                    value: block.coinbase_value,
                    finder: finder.unwrap_or_default(),
                })
            }
            Record::BlockState { state, .. } if state.stage() == BlockStage::Orphaned => {
                Some(Self::BlockOrphaned { hash: state.hash })
            }
            Record::Payout { payout, .. } => of_payout(payout),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> AlertKind {
        match self {
            Self::BlockFound { .. } => AlertKind::BlockFound,
            Self::BlockOrphaned { .. } => AlertKind::BlockOrphaned,
            Self::PayoutSent { .. } => AlertKind::PayoutSent,
        }
    }

    /// What a phone shows first.
    pub(super) fn title(&self, wording: &Wording) -> String {
        let chain = &wording.chain;
        match self {
            Self::BlockFound { height: Some(height), .. } => {
                format!("Block {height} found on {chain}")
            }
            Self::BlockFound { height: None, .. } => format!("Block found on {chain}"),
            Self::BlockOrphaned { .. } => format!("Block orphaned on {chain}"),
            Self::PayoutSent { amount, .. } => {
                format!("Payout of {} sent on {chain}", coins(*amount, &wording.symbol))
            }
        }
    }

    pub(super) fn line(&self, wording: &Wording) -> String {
        match self {
            Self::BlockFound { hash, height, value, finder } => {
                let block = match height {
                    Some(height) => height.to_string(),
                    None => mining::hash::display(hash),
                };
                let value = coins(*value, &wording.symbol);
                format!("Block {block}: {value}, found by {finder}.")
            }
            Self::BlockOrphaned { hash } => {
                let hash = mining::hash::display(hash);
                format!("Block {hash} is not in the chain: it pays nobody, unless it comes back.")
            }
            Self::PayoutSent { transaction, accounts, amount } => {
                let amount = coins(*amount, &wording.symbol);
                let whom = match accounts {
                    1 => "one miner".to_owned(),
                    many => format!("{many} miners"),
                };
                format!("{amount} to {whom}, transaction {transaction}.")
            }
        }
    }
}

fn of_payout(record: &PayoutRecord) -> Option<Fact> {
    let is_known = record.version == PAYOUT_VERSION;
    // The books say so, loudly, when a record cannot be read.
    let entry = is_known.then(|| serde_json::from_slice(record.bytes()).ok()).flatten()?;
    match entry {
        PayoutEntry::Wallet(payout) => Some(Fact::PayoutSent {
            transaction: payout.transaction.to_string(),
            accounts: payout.lines.len(),
            amount: sum(&payout.lines),
        }),
        _ => None,
    }
}
