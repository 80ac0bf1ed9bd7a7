//! What one block pays to whom, where many share it: entitlements by work, and the outputs that
//! fit into the coinbase.
//!
//! Pure, and integers only. Each distribution balances to the satoshi, both ways: entitlements and
//! fee are the block's value, and so are the outputs. What an account is entitled to and not paid
//! stays on its balance; the pool's output holds it in trust.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apportion::apportion;
use super::basis_points_of;
use super::claims::{Claim, Claims, Withheld};

/// Serialised bytes of an output besides its script: eight of value, one of length.
pub(super) const OUTPUT_BYTES: u32 = 9;

/// How much of a coinbase may be outputs to miners: old firmware cannot read a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room {
    /// How many; the pool's own comes on top.
    pub outputs: u16,
    /// Their serialised bytes.
    pub bytes: u32,
}

/// The rules that a block is shared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The pool's part, in hundredths of a percent; at most 10,000.
    pub fee_basis_points: u16,
    /// No output is smaller, in satoshis; at least what nodes relay.
    pub output_min: u64,
    /// Outputs to miners, at most; the pool's own comes on top.
    pub outputs_max: u16,
    /// Serialised bytes of the outputs to miners, at most.
    pub output_bytes_max: u32,
}

/// One account's part of a block, in satoshis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Whose, and by which work.
    pub claim: &'a Claim,
    /// Its part by its work.
    pub entitled: u64,
    /// Its output in the coinbase; 0 for none.
    pub paid: u64,
}

/// What is kept of a claim: there are many of them, and a job for each template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    entitled: u64,
    paid: u64,
}

/// Who gets what of a block. Made by [`distribute`] alone, so that it always balances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    claims: Arc<Claims>,
    value: u64,
    fee: u64,
    /// In the order of the claims.
    parts: Vec<Part>,
    /// The places of those that have an output, in the order of the claims.
    outputs: Vec<usize>,
    pool_output: u64,
}

impl Distribution {
    /// By which claims it was made.
    pub fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Satoshis that are distributed.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// The pool's own part.
    pub fn fee(&self) -> u64 {
        self.fee
    }

    /// The accounts, in the order of their names.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let all = self.claims.all().iter().zip(&self.parts);
        all.map(|(claim, Part { entitled, paid })| Line { claim, entitled: *entitled, paid: *paid })
    }

    /// Those of them that have an output in the coinbase.
    pub fn payees(&self) -> impl Iterator<Item = Line<'_>> {
        self.outputs.iter().filter_map(|place| {
            let Part { entitled, paid } = *self.parts.get(*place)?;
            Some(Line { claim: self.claims.all().get(*place)?, entitled, paid })
        })
    }

    /// The pool's output: its fee, and what it holds in trust; 0 for none.
    pub fn pool_output(&self) -> u64 {
        self.pool_output
    }
}

/// Shares `value` satoshis among `claims`, without the debts that are `withheld`. The largest dues
/// are paid first, in full, as long as outputs, bytes and money are there; equal ones in the order
/// of their accounts' names. `None` if nobody has worked.
pub fn distribute(
    value: u64,
    terms: &Terms,
    claims: &Arc<Claims>,
    withheld: &Withheld,
) -> Option<Distribution> {
    let fee = basis_points_of(value, terms.fee_basis_points);
    let work: Vec<u128> = claims.all().iter().map(|claim| claim.work.0).collect();
    let entitled = apportion(value - fee, &work)?;
    let mut parts: Vec<Part> = Vec::with_capacity(work.len());
    let mut dues = Vec::with_capacity(work.len());
    for (claim, entitled) in claims.all().iter().zip(entitled) {
        let due = i128::from(entitled) + i128::from(withheld.balance(claim));
        dues.push(u64::try_from(due.max(0)).unwrap_or(u64::MAX));
        parts.push(Part { entitled, paid: 0 });
    }
    let paid = pay_largest_first(value, terms, claims, &mut parts, &dues);
    let mut pool_output = value - paid;
    if pool_output < terms.output_min {
        pool_output -= give_to_largest(&mut parts, pool_output);
    }
    let places = parts.iter().enumerate().filter(|(_, part)| part.paid > 0);
    let outputs = places.map(|(place, _)| place).collect();
    Some(Distribution { claims: Arc::clone(claims), value, fee, parts, outputs, pool_output })
}

/// Pays what fits, and gives the sum.
fn pay_largest_first(
    value: u64,
    terms: &Terms,
    claims: &Claims,
    parts: &mut [Part],
    dues: &[u64],
) -> u64 {
    let all = parts.iter_mut().zip(claims.all()).zip(dues.iter().copied());
    // What is too small for an output need not be sorted.
    let mut order: Vec<_> = all.filter(|(_, due)| *due >= terms.output_min.max(1)).collect();
    order.sort_by_key(|(_, due)| std::cmp::Reverse(*due));
    let (mut left, mut bytes) = (value, 0_u32);
    let mut outputs = 0;
    for ((part, claim), due) in order {
        let script = u32::try_from(claim.script.len()).unwrap_or(u32::MAX);
        let after = bytes.saturating_add(OUTPUT_BYTES).saturating_add(script);
        let fits = outputs < terms.outputs_max && after <= terms.output_bytes_max;
        // The last one may be paid in part, if the part is worth an output.
        let pays = due.min(left);
        if !fits || pays < terms.output_min.max(1) {
            continue;
        }
        part.paid = pays;
        left -= pays;
        bytes = after;
        outputs += 1;
    }
    value - left
}

/// What is too little for an output of the pool's goes to the largest payee, whose balance it is
/// taken off. Gives how much went: all, or nothing where nobody is paid.
fn give_to_largest(parts: &mut [Part], value: u64) -> u64 {
    let payees = parts.iter_mut().filter(|part| part.paid > 0);
    // Of equal ones the first: `max_by_key` would take the last.
    match payees.rev().max_by_key(|part| part.paid) {
        Some(largest) => {
            largest.paid += value;
            value
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests;
