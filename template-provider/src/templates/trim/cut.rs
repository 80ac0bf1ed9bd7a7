//! Which transactions go: those that pay least for what is scarce, with all that spends from them.
//!
//! A choice among millions that cannot all be tried. What pays least for each part of the excess
//! that it frees goes first; afterwards whatever still fits comes back, so that nothing is left out
//! that could have stayed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::Load;
use crate::block_template::Transaction;
use crate::dependencies::Parents;

/// The whole excess, in the unit in which it is measured what a package frees of it.
const WHOLE: u64 = 1 << 20;
/// Fees are this many times finer, so that dividing them loses nothing.
const FINE: u128 = 1 << 40;
/// Transactions of a package that are weighed together; a larger one goes in pieces, from its end.
const PACKAGE_MAX: usize = 100;

/// The state of leaving transactions out.
pub(super) struct Cut<'a> {
    all: &'a [Arc<Transaction>],
    parents: &'a [Parents],
    /// By position, as all lists here: who spends from it.
    children: Vec<Vec<usize>>,
    left_out: Vec<bool>,
    /// What stays takes so much.
    load: Load,
    limit: Load,
    /// What was too much at first.
    excess: Load,
}

impl<'a> Cut<'a> {
    pub(super) fn new(
        all: &'a [Arc<Transaction>],
        parents: &'a [Parents],
        load: Load,
        limit: Load,
    ) -> Self {
        let mut children = vec![Vec::new(); all.len()];
        for (index, parents) in parents.iter().enumerate() {
            let Parents::At(positions) = parents else { continue };
            for parent in positions {
                children.get_mut(*parent).into_iter().for_each(|of: &mut Vec<_>| of.push(index));
            }
        }
        let excess = load.above(limit);
        Self { all, parents, children, left_out: vec![false; all.len()], load, limit, excess }
    }

    /// Those that stay.
    pub(super) fn kept(mut self) -> Vec<Arc<Transaction>> {
        self.leave_out_the_unreadable();
        self.leave_out_the_excess();
        self.take_back_what_fits();
        let kept = self.all.iter().zip(&self.left_out).filter(|(_, left_out)| !**left_out);
        kept.map(|(transaction, _)| Arc::clone(transaction)).collect()
    }

    /// They may spend from anything before them, and would hold all of it.
    fn leave_out_the_unreadable(&mut self) {
        for (index, parents) in self.parents.iter().enumerate() {
            if *parents == Parents::Unknown {
                self.leave_out(&self.with_descendants(index, usize::MAX));
            }
        }
    }

    fn leave_out_the_excess(&mut self) {
        let mut queue: BinaryHeap<_> =
            (0..self.all.len()).map(|index| (Reverse(self.price(index)), index)).collect();
        while let Some((Reverse(price), index)) = queue.pop() {
            if self.load.is_within(self.limit) {
                return;
            }
            if self.is_left_out(index) {
                continue;
            }
            // With less to be freed, what frees too much is dearer than it was.
            let now = self.price(index);
            if now > price {
                queue.push((Reverse(now), index));
                continue;
            }
            let package = self.with_descendants(index, usize::MAX);
            self.leave_out(&package);
            for ancestor in self.ancestors(&package) {
                queue.push((Reverse(self.price(ancestor)), ancestor));
            }
        }
    }

    fn take_back_what_fits(&mut self) {
        let mut is_anything_missing = false;
        for (index, transaction) in self.all.iter().enumerate() {
            if !self.is_left_out(index) {
                continue;
            }
            let load = self.load.plus(Load::of(transaction));
            let has_parents = match self.parents.get(index) {
                Some(Parents::At(parents)) => parents.iter().all(|it| !self.is_left_out(*it)),
                _ => !is_anything_missing,
            };
            if has_parents && load.is_within(self.limit) {
                self.load = load;
                self.set_left_out(index, false);
            } else {
                is_anything_missing = true;
            }
        }
    }

    /// Fees that are lost for each part of the excess that is freed, if the transaction goes with
    /// its descendants. The highest price if it frees nothing.
    fn price(&self, index: usize) -> u128 {
        let package = self.with_descendants(index, PACKAGE_MAX + 1);
        if package.len() > PACKAGE_MAX {
            return u128::MAX;
        }
        let transactions = package.iter().filter_map(|index| self.all.get(*index));
        let nothing = (0_u64, Load::default());
        let (fees, load) = transactions.fold(nothing, |(fees, load), one| {
            (fees.saturating_add(one.fee.unwrap_or(0)), load.plus(Load::of(one)))
        });
        let excess = self.load.above(self.limit);
        let part = |load: u64, now: u64, first: u64| {
            load.min(now).saturating_mul(WHOLE).checked_div(first).unwrap_or(0)
        };
        let freed = part(load.weight, excess.weight, self.excess.weight).saturating_add(part(
            load.sigops,
            excess.sigops,
            self.excess.sigops,
        ));
        (u128::from(fees) * FINE).checked_div(freed.into()).unwrap_or(u128::MAX)
    }

    /// The transaction and what spends from it and is still there; no more than `most`.
    fn with_descendants(&self, index: usize, most: usize) -> BTreeSet<usize> {
        let (mut found, mut to_see) = (BTreeSet::from([index]), vec![index]);
        while let Some(next) = to_see.pop() {
            for child in self.children.get(next).into_iter().flatten() {
                if found.len() >= most {
                    return found;
                }
                if !self.is_left_out(*child) && found.insert(*child) {
                    to_see.push(*child);
                }
            }
        }
        found
    }

    /// What is still there that a package spends from.
    fn ancestors(&self, package: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut to_see: Vec<usize> = package.iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(next) = to_see.pop() {
            let Some(Parents::At(parents)) = self.parents.get(next) else { continue };
            for parent in parents {
                if !self.is_left_out(*parent) && found.insert(*parent) {
                    to_see.push(*parent);
                }
            }
        }
        found
    }

    fn leave_out(&mut self, package: &BTreeSet<usize>) {
        for index in package.iter().copied() {
            if let Some(transaction) = self.all.get(index).filter(|_| !self.is_left_out(index)) {
                self.load = self.load.minus(Load::of(transaction));
                self.set_left_out(index, true);
            }
        }
    }

    fn set_left_out(&mut self, index: usize, left_out: bool) {
        if let Some(place) = self.left_out.get_mut(index) {
            *place = left_out;
        }
    }

    fn is_left_out(&self, index: usize) -> bool {
        self.left_out.get(index).copied().unwrap_or(false)
    }
}
