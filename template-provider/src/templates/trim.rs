//! Room for coinbase outputs beside the transactions of a template, in weight and in signature
//! operations (spec 7.1).
//!
//! What pays least for the room is left out, and only such that nothing that stays spends from it.

mod cut;

use std::sync::Arc;

use bitcoin::Script;

use super::build::BuildError;
use crate::block_template::{BlockTemplate, Limits, Output, Transaction, serialised_length};
use crate::dependencies::Parents;
use cut::Cut;

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

impl Room {
    /// What outputs that use it fully take of a block.
    pub fn load(self) -> Load {
        Load {
            weight: u64::from(self.output_bytes) * BYTE_WEIGHT,
            sigops: u64::from(self.output_sigops) * SIGOP_COST,
        }
    }
}

/// What a part of a block takes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Weight units.
    pub weight: u64,
    /// Signature operation cost.
    pub sigops: u64,
}

impl Load {
    /// Of outputs of the coinbase.
    pub fn of_outputs<'a>(outputs: impl Iterator<Item = &'a Output>) -> Self {
        let loads = outputs.map(|output| Self::of_output(Script::from_bytes(&output.script)));
        loads.fold(Self::default(), Self::plus)
    }

    /// Of an output of the coinbase with this script. Signature operations count wherever they
    /// stand in it, even after OP_RETURN, where nobody can ever run them.
    pub fn of_output(script: &Script) -> Self {
        let operations = u64::try_from(script.count_sigops_legacy()).unwrap_or(u64::MAX);
        Self {
            weight: serialised_length(script.as_bytes()).saturating_mul(BYTE_WEIGHT),
            sigops: operations.saturating_mul(SIGOP_COST),
        }
    }

    /// Of bytes that are no witness and hold no signature operation.
    pub fn of_bytes(bytes: u32) -> Self {
        Self { weight: u64::from(bytes) * BYTE_WEIGHT, sigops: 0 }
    }

    fn of(transaction: &Transaction) -> Self {
        Self { weight: transaction.weight, sigops: transaction.sigops.unwrap_or(0) }
    }

    /// True if it is no more than `limit` in both.
    pub fn is_within(self, limit: Self) -> bool {
        self.above(limit).is_nothing()
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
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

    /// What is left of it without `other`; `None` if that is more.
    pub fn checked_minus(self, other: Self) -> Option<Self> {
        other.is_within(self).then(|| self.minus(other))
    }

    /// What is missing to `limit`; both are 0 if all fits.
    pub fn above(self, limit: Self) -> Self {
        self.minus(limit)
    }

    fn is_nothing(self) -> bool {
        self.weight == 0 && self.sigops == 0
    }
}

/// What all that the node offers leaves of a block for outputs (besides the commitment); `None` if
/// it leaves less than nothing.
pub fn spare(offer: &BlockTemplate) -> Option<Load> {
    limit(offer, Load::default())?.checked_minus(total(offer))
}

/// The transactions that stay beside outputs that take `outputs`. `parents` are those of the
/// offer's transactions.
pub fn trim(
    offer: &BlockTemplate,
    parents: &[Parents],
    outputs: Load,
) -> Result<Vec<Arc<Transaction>>, BuildError> {
    let limit = limit(offer, outputs).ok_or(BuildError::NoRoom)?;
    let load = total(offer);
    if load.is_within(limit) {
        return Ok(offer.transactions.clone());
    }
    Ok(Cut::new(&offer.transactions, parents, load, limit).kept())
}

/// What the transactions may take; `None` if the outputs leave them nothing, not even a block
/// without transactions.
fn limit(offer: &BlockTemplate, outputs: Load) -> Option<Load> {
    let Limits { weight, sigops } = offer.limits;
    let reserved = Load { weight: RESERVED_WEIGHT, sigops: 0 };
    Load { weight, sigops }.checked_minus(reserved.plus(outputs))
}

fn total(offer: &BlockTemplate) -> Load {
    let loads = offer.transactions.iter().map(|transaction| Load::of(transaction));
    loads.fold(Load::default(), Load::plus)
}

#[cfg(test)]
mod tests;
