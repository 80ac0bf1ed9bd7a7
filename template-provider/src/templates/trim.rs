//! Room for a client's coinbase outputs, in weight and in signature operations (spec 7.1).
//!
//! Transactions are left out from the end of the block, where nodes put what pays least, and only
//! such that nothing that stays spends from them.

use std::sync::Arc;

use super::build::BuildError;
use crate::block_template::{BlockTemplate, Transaction};
use crate::dependencies::{Parents, parents};

/// Weight that a block takes besides its transactions and the client's outputs: header 320, count
/// of transactions 12, the coinbase's fixed fields 236, a scriptSig of 100 bytes 400, count of
/// outputs 12, and the witness commitment 188 (spec 7 and 7.1).
const RESERVED_WEIGHT: u64 = 1168;
/// Weight of a byte that is no witness (BIP141).
const BYTE_WEIGHT: u64 = 4;
/// Cost of a signature operation that is no witness (BIP141). Clients differ in whether they count
/// operations or their cost; taking the number for operations is safe in both cases.
const SIGOP_COST: u64 = 4;

/// What a client reserves for its own outputs in the coinbase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Room {
    /// Serialised bytes.
    pub output_bytes: u32,
    /// Signature operations.
    pub output_sigops: u16,
}

/// What a set of transactions takes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    weight: u64,
    sigops: u64,
}

impl Load {
    fn of(transaction: &Transaction) -> Self {
        Self { weight: transaction.weight, sigops: transaction.sigops.unwrap_or(0) }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_add(other.weight),
            sigops: self.sigops.saturating_add(other.sigops),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_sub(other.weight),
            sigops: self.sigops.saturating_sub(other.sigops),
        }
    }

    /// What is missing to `limit`; both are 0 if all fits.
    fn above(self, limit: Self) -> Self {
        self.minus(limit)
    }

    fn is_nothing(self) -> bool {
        self.weight == 0 && self.sigops == 0
    }

    /// True if `part` has something of what is too much.
    fn is_eased_by(self, part: Self) -> bool {
        (self.weight > 0 && part.weight > 0) || (self.sigops > 0 && part.sigops > 0)
    }
}

/// True if all that the node offers can stay.
pub fn fits(offer: &BlockTemplate, room: Room) -> bool {
    limit(offer, room).is_some_and(|limit| total(offer).above(limit).is_nothing())
}

/// The transactions that stay.
pub fn trim(offer: &BlockTemplate, room: Room) -> Result<Vec<Arc<Transaction>>, BuildError> {
    let limit = limit(offer, room).ok_or(BuildError::NoRoom)?;
    let load = total(offer);
    if load.above(limit).is_nothing() {
        return Ok(offer.transactions.clone());
    }
    let mut cut = Cut { parents: parents(&offer.transactions), load, limit, left_out: Vec::new() };
    cut.left_out.resize(offer.transactions.len(), false);
    // First what helps; if that is not enough, parents of what was kept are free to go as well.
    cut.pass(&offer.transactions, |excess, load| excess.is_eased_by(load));
    cut.pass(&offer.transactions, |_, _| true);
    let kept = offer.transactions.iter().zip(&cut.left_out).filter(|(_, left_out)| !**left_out);
    Ok(kept.map(|(transaction, _)| Arc::clone(transaction)).collect())
}

/// What the transactions may take; `None` if the client leaves them nothing, not even a block
/// without transactions.
fn limit(offer: &BlockTemplate, room: Room) -> Option<Load> {
    let outputs = u64::from(room.output_bytes) * BYTE_WEIGHT;
    let sigops = u64::from(room.output_sigops) * SIGOP_COST;
    Some(Load {
        weight: offer.limits.weight.checked_sub(RESERVED_WEIGHT)?.checked_sub(outputs)?,
        sigops: offer.limits.sigops.checked_sub(sigops)?,
    })
}

fn total(offer: &BlockTemplate) -> Load {
    let nothing = Load { weight: 0, sigops: 0 };
    offer.transactions.iter().fold(nothing, |sum, transaction| sum.plus(Load::of(transaction)))
}

/// The state of leaving transactions out.
struct Cut {
    parents: Vec<Parents>,
    /// What stays takes so much.
    load: Load,
    limit: Load,
    /// By position.
    left_out: Vec<bool>,
}

impl Cut {
    /// Goes once from the last transaction to the first. Parents come before children in a block,
    /// so that at each step everything that could need the transaction has been decided on.
    fn pass(&mut self, all: &[Arc<Transaction>], is_wanted: impl Fn(Load, Load) -> bool) {
        let mut needed = vec![false; all.len()];
        let mut all_needed = false;
        for (index, transaction) in all.iter().enumerate().rev() {
            if self.left_out.get(index).copied().unwrap_or(false) {
                continue;
            }
            let load = Load::of(transaction);
            let excess = self.load.above(self.limit);
            let is_needed = all_needed || needed.get(index).copied().unwrap_or(false);
            if !excess.is_nothing() && !is_needed && is_wanted(excess, load) {
                self.load = self.load.minus(load);
                if let Some(left_out) = self.left_out.get_mut(index) {
                    *left_out = true;
                }
                continue;
            }
            match self.parents.get(index) {
                Some(Parents::At(parents)) => parents.iter().for_each(|parent| {
                    if let Some(needed) = needed.get_mut(*parent) {
                        *needed = true;
                    }
                }),
                _ => all_needed = true,
            }
        }
    }
}

#[cfg(test)]
mod tests;
