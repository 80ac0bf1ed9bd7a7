//! What some records of the log add up to, before it goes into a store in one transaction.
//!
//! All of it is sums, so that the order of chunks and their size make no difference.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rates::Rates;
use super::{DAY_SECONDS, SLICE_SECONDS, Scope};
use crate::accounting::log::cursor::{Located, Place};
use crate::accounting::log::record::{LoggedShare, Record};
use crate::shares::{BlockFound, BlockState, Earner, PayoutRecord, Reason};

/// What some records add up to.
#[derive(Debug, Default)]
pub struct Chunk {
    /// By earner.
    earners: HashMap<Arc<Earner>, Added>,
    /// In the order of the log.
    events: Vec<ChunkEvent>,
    records: u64,
    slices_from_s: u64,
    /// Of shares behind the last block, or of all of them.
    round: Round,
}

/// What the pool's miners did since its last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// Accepted work, in hashes.
    pub work: u128,
    /// Rejected shares.
    pub rejects: u64,
}

/// What is to be added to one scope.
#[derive(Debug, Clone, Default)]
pub struct Added {
    /// How many shares.
    pub shares: u64,
    /// Their work in expected hashes.
    pub work: u128,
    /// When the first and the last of them came, milliseconds since 1970.
    pub times_ms: Option<(u64, u64)>,
    /// Shares and work by the start of the slice.
    pub slices: BTreeMap<u64, (u64, u128)>,
    /// Shares and work by the start of the day.
    pub days: BTreeMap<u64, (u64, u128)>,
    /// What the shares add to the rates.
    pub rates: Rates,
    /// The best hash since the chunk's last block.
    pub best_of_round: Option<u128>,
    /// The best hash of all.
    pub best_ever: Option<u128>,
    /// By reason.
    pub rejects: BTreeMap<Reason, u64>,
}

/// What is kept one by one.
#[derive(Debug, Clone)]
pub enum ChunkEvent {
    /// A block.
    Block {
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// By whom.
        finder: Arc<Earner>,
        /// Which.
        block: BlockFound,
    },
    /// What became of one.
    State {
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// Which and what.
        state: BlockState,
    },
    /// About payouts.
    Payout {
        /// Where it stands in the log: what it is known by.
        place: Place,
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// What.
        payout: PayoutRecord,
    },
}

impl Chunk {
    /// Nothing yet; slices that began before `slices_from_s` will be left out, for the store would
    /// forget them at once.
    pub fn new(slices_from_s: u64) -> Self {
        Self { slices_from_s, ..Self::default() }
    }

    /// Adds a record.
    pub fn take(&mut self, located: Located) {
        self.records += 1;
        let Located { place, earner, record } = located;
        match (record, earner) {
            (Record::Share(share), Some(earner)) => {
                self.round.work = self.round.work.saturating_add(share.work);
                self.earners.entry(earner).or_default().share(&share, self.slices_from_s);
            }
            (Record::Rejects { reason, count, .. }, Some(earner)) => {
                self.round.rejects = self.round.rejects.saturating_add(count);
                let rejects = &mut self.earners.entry(earner).or_default().rejects;
                let sum = rejects.entry(reason).or_default();
                *sum = sum.saturating_add(count);
            }
            (Record::BlockFound { time_ms, block, .. }, Some(finder)) => {
                // A round ends; shares behind the block begin the next one.
                for added in self.earners.values_mut() {
                    added.best_of_round = None;
                }
                self.round = Round::default();
                self.events.push(ChunkEvent::Block { time_ms, finder, block });
            }
            (Record::BlockState { time_ms, state }, _) => {
                self.events.push(ChunkEvent::State { time_ms, state });
            }
            (Record::Payout { time_ms, payout }, _) => {
                self.events.push(ChunkEvent::Payout { place, time_ms, payout });
            }
            _ => {}
        }
    }

    /// How many records it took.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What is kept one by one, in the order of the log.
    pub fn events(&self) -> &[ChunkEvent] {
        &self.events
    }

    /// True if a round ended in it.
    pub fn has_block(&self) -> bool {
        self.events.iter().any(|event| matches!(event, ChunkEvent::Block { .. }))
    }

    /// What it holds of the round in which it ends.
    pub fn round(&self) -> Round {
        self.round
    }

    /// What is to be added to whom: each worker, its account, and the pool.
    pub fn by_scope(&self) -> BTreeMap<Scope<'_>, Added> {
        let mut scopes: BTreeMap<Scope<'_>, Added> = BTreeMap::new();
        for (earner, added) in &self.earners {
            let Earner { account, worker, .. } = &**earner;
            for scope in [Scope::Pool, Scope::Account(account), Scope::Worker(account, worker)] {
                scopes.entry(scope).or_default().add(added);
            }
        }
        scopes
    }
}

impl Added {
    fn share(&mut self, share: &LoggedShare, slices_from_s: u64) {
        let LoggedShare { time_ms, work, hash_high, .. } = *share;
        let time_s = time_ms / 1_000;
        self.shares = self.shares.saturating_add(1);
        self.work = self.work.saturating_add(work);
        widen(&mut self.times_ms, (time_ms, time_ms));
        let slice_s = time_s / SLICE_SECONDS * SLICE_SECONDS;
        if slice_s >= slices_from_s {
            add_to(&mut self.slices, slice_s, (1, work));
        }
        add_to(&mut self.days, time_s / DAY_SECONDS * DAY_SECONDS, (1, work));
        self.rates.add(time_ms, work);
        better(&mut self.best_of_round, Some(hash_high));
        better(&mut self.best_ever, Some(hash_high));
    }

    fn add(&mut self, other: &Self) {
        self.shares = self.shares.saturating_add(other.shares);
        self.work = self.work.saturating_add(other.work);
        if let Some(times_ms) = other.times_ms {
            widen(&mut self.times_ms, times_ms);
        }
        for (start_s, sum) in &other.slices {
            add_to(&mut self.slices, *start_s, *sum);
        }
        for (start_s, sum) in &other.days {
            add_to(&mut self.days, *start_s, *sum);
        }
        self.rates.add_rates(other.rates);
        better(&mut self.best_of_round, other.best_of_round);
        better(&mut self.best_ever, other.best_ever);
        for (reason, count) in &other.rejects {
            let sum = self.rejects.entry(*reason).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

fn add_to(spans: &mut BTreeMap<u64, (u64, u128)>, start_s: u64, (shares, work): (u64, u128)) {
    let sum = spans.entry(start_s).or_default();
    *sum = (sum.0.saturating_add(shares), sum.1.saturating_add(work));
}

fn widen(times_ms: &mut Option<(u64, u64)>, (first_ms, last_ms): (u64, u64)) {
    let (first, last) = times_ms.unwrap_or((first_ms, last_ms));
    *times_ms = Some((first.min(first_ms), last.max(last_ms)));
}

fn better(best: &mut Option<u128>, hash_high: Option<u128>) {
    let both = best.iter().copied().chain(hash_high);
    *best = both.min();
}
