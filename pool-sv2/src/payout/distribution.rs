//! What one block pays to whom, where many share it: entitlements by work, and the outputs that
//! fit into the coinbase.
//!
//! Pure, and integers only. Each distribution balances to the satoshi, both ways: entitlements and
//! fee are the block's value, and so are the outputs. What an account is entitled to and not paid
//! stays on its balance; the pool's output holds it in trust.

use bitcoin::ScriptBuf;
use mining::target::Hashes;
use serde::{Deserialize, Serialize};

use super::apportion::apportion;
use super::basis_points_of;

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

/// An account that has worked for the block, or is still owed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub account: String,
    /// Where it is paid.
    pub script: ScriptBuf,
    /// Its work in the window.
    pub work: Hashes,
    /// What it is owed from before, in satoshis; negative if it was paid too much, as when a block
    /// left the chain.
    pub balance: i64,
}

/// One account's part of a block, in satoshis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub account: String,
    /// Where it is paid.
    pub script: ScriptBuf,
    /// Its work in the window.
    pub work: Hashes,
    /// Its part by its work.
    pub entitled: u64,
    /// Its output in the coinbase; 0 for none.
    pub paid: u64,
}

/// Who gets what of a block. Made by [`distribute`] alone, so that it always balances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    value: u64,
    fee: u64,
    lines: Vec<Line>,
    pool_output: u64,
}

impl Distribution {
    /// Satoshis that are distributed.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// The pool's own part.
    pub fn fee(&self) -> u64 {
        self.fee
    }

    /// The accounts, in the order of their names.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The pool's output: its fee, and what it holds in trust; 0 for none.
    pub fn pool_output(&self) -> u64 {
        self.pool_output
    }

    /// How each account's balance changes.
    pub fn changes(&self) -> impl Iterator<Item = (&str, i64)> {
        self.lines.iter().map(|line| {
            let change = i128::from(line.entitled) - i128::from(line.paid);
            (line.account.as_str(), i64::try_from(change).unwrap_or(i64::MAX))
        })
    }
}

/// Shares `value` satoshis among `claims`. The largest debts are paid first, in full, as long as
/// outputs, bytes and money are there; equal ones in the order of their accounts' names. `None`
/// if nobody has worked.
pub fn distribute(value: u64, terms: &Terms, mut claims: Vec<Claim>) -> Option<Distribution> {
    claims.sort_by(|a, b| a.account.cmp(&b.account));
    let fee = basis_points_of(value, terms.fee_basis_points);
    let work: Vec<u128> = claims.iter().map(|claim| claim.work.0).collect();
    let entitled = apportion(value - fee, &work)?;
    let mut lines: Vec<Line> = Vec::with_capacity(claims.len());
    let mut dues = Vec::with_capacity(claims.len());
    for (claim, entitled) in claims.into_iter().zip(entitled) {
        let due = i128::from(entitled) + i128::from(claim.balance);
        dues.push(u64::try_from(due.max(0)).unwrap_or(u64::MAX));
        let Claim { account, script, work, .. } = claim;
        lines.push(Line { account, script, work, entitled, paid: 0 });
    }
    let paid = pay_largest_first(value, terms, &mut lines, &dues);
    let mut pool_output = value - paid;
    if pool_output < terms.output_min {
        pool_output -= give_to_largest(&mut lines, pool_output);
    }
    Some(Distribution { value, fee, lines, pool_output })
}

/// Pays what fits, and gives the sum.
fn pay_largest_first(value: u64, terms: &Terms, lines: &mut [Line], dues: &[u64]) -> u64 {
    let mut order: Vec<_> = lines.iter_mut().zip(dues.iter().copied()).collect();
    order.sort_by_key(|(_, due)| std::cmp::Reverse(*due));
    let (mut left, mut bytes) = (value, 0_u32);
    let payable = order.into_iter().take_while(|(_, due)| *due >= terms.output_min.max(1));
    let mut outputs = 0;
    for (line, due) in payable {
        let script = u32::try_from(line.script.len()).unwrap_or(u32::MAX);
        let after = bytes.saturating_add(OUTPUT_BYTES).saturating_add(script);
        let fits = outputs < terms.outputs_max && after <= terms.output_bytes_max;
        // The last one may be paid in part, if the part is worth an output.
        let pays = due.min(left);
        if !fits || pays < terms.output_min.max(1) {
            continue;
        }
        line.paid = pays;
        left -= pays;
        bytes = after;
        outputs += 1;
    }
    value - left
}

/// What is too little for an output of the pool's goes to the largest payee, whose balance it is
/// taken off. Gives how much went: all, or nothing where nobody is paid.
fn give_to_largest(lines: &mut [Line], value: u64) -> u64 {
    let payees = lines.iter_mut().filter(|line| line.paid > 0);
    // Of equal ones the first: `max_by_key` would take the last.
    match payees.rev().max_by_key(|line| line.paid) {
        Some(largest) => {
            largest.paid += value;
            value
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests;
