//! The window of work that a block is shared by (PPLNS): the newest credited work, up to a given
//! sum of hashes, wherever blocks were found in between.
//!
//! Work is kept in slices of time that grow with their age, so that a window of years takes little
//! memory. All depends on the order and the times of what was credited, and on nothing else: who
//! replays the share log gets the same window. It reads no clock.

pub mod saved;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mining::target::Hashes;
use ruint::aliases::U256;
use tracing::warn;

/// Slices by age: their length, and for how long they stay so short, in minutes. The last ones stay
/// for as long as the window does.
const TIERS: [Tier; 4] = [
    Tier { minutes: 1, kept: 2 * 60 },
    Tier { minutes: 10, kept: 24 * 60 },
    Tier { minutes: 60, kept: 7 * 24 * 60 },
    Tier { minutes: DAY, kept: u64::MAX },
];

/// A time so much earlier than the newest one, in minutes, means that a clock was ahead and was set
/// right: no ledger writes it in one life, nor begins with it unless a person has said so.
const SET_RIGHT_MINUTES: u64 = 150;
/// Minutes of the longest slices.
const DAY: u64 = 24 * 60;
/// Accounts of all days together: with more the oldest day counts for nothing any more. Blocks trim
/// the window to what it may reach; this holds while none is found. It is a year of ten thousand
/// accounts, some 300 MB.
const DAY_ACCOUNTS_MAX: usize = 1 << 22;

struct Tier {
    minutes: u64,
    kept: u64,
}

/// Work by account.
pub type WorkByAccount = BTreeMap<Arc<str>, Hashes>;

/// What was credited in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    /// Minutes since 1970; a multiple of its tier's length.
    start: u64,
    work: WorkByAccount,
    total: Hashes,
}

impl Slice {
    fn new(start: u64) -> Self {
        Self { start, work: BTreeMap::new(), total: Hashes::default() }
    }

    fn credit(&mut self, account: &Arc<str>, work: Hashes) {
        self.total = self.total.plus(work);
        match self.work.get_mut(account) {
            Some(sum) => *sum = sum.plus(work),
            None => drop(self.work.insert(Arc::clone(account), work)),
        }
    }

    fn absorb(&mut self, other: &Self) {
        other.work.iter().for_each(|(account, work)| self.credit(account, *work));
    }
}

/// The newest work. Slices of each tier are in the order of time, and every slice of a tier is
/// older than all slices of the tier before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    tiers: [VecDeque<Slice>; TIERS.len()],
    /// `DAY_ACCOUNTS_MAX`, but in tests.
    day_accounts_max: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { tiers: Default::default(), day_accounts_max: DAY_ACCOUNTS_MAX }
    }
}

impl Window {
    /// Counts `work` for `account`, at `minute` since 1970. A clock that went back changes no
    /// order: the work counts for the newest minute. One that went back far was wrong before: what
    /// it had dated later counts as of now.
    pub fn credit(&mut self, minute: u64, account: &Arc<str>, work: Hashes) {
        let set_right = minute.saturating_add(SET_RIGHT_MINUTES);
        if self.newest().is_some_and(|newest| newest > set_right) {
            self.date_back(minute);
        }
        let newest = self.newest().map_or(minute, |newest| newest.max(minute));
        let [minutes, ..] = &mut self.tiers;
        match minutes.back_mut().filter(|slice| slice.start == newest) {
            Some(slice) => slice.credit(account, work),
            None => {
                let mut slice = Slice::new(newest);
                slice.credit(account, work);
                minutes.push_back(slice);
                self.age(newest);
            }
        }
    }

    /// The newest work up to `size`, by account. Of the oldest slice that still counts each account
    /// gets its part, rounded down.
    pub fn newest_work(&self, size: Hashes) -> WorkByAccount {
        let mut found = Slice::new(0);
        for slice in self.newest_first() {
            let room = Hashes(size.0.saturating_sub(found.total.0));
            if slice.total > room {
                add_part(&mut found, slice, room);
                break;
            }
            found.absorb(slice);
        }
        found.work
    }

    /// Gives up what no window of `size` will reach again: whole days, for slices of a day merge
    /// in the end, and are cut by what all of the day holds.
    pub fn forget_beyond(&mut self, size: Hashes) {
        let mut found = Hashes::default();
        let is_reached = |slice: &&Slice| {
            let is_reached = found < size;
            found = found.plus(slice.total);
            is_reached
        };
        let oldest = self.newest_first().take_while(is_reached).last();
        let Some(day) = oldest.map(|slice| slice.start - slice.start % DAY) else {
            return;
        };
        for tier in &mut self.tiers {
            tier.retain(|slice| slice.start >= day);
        }
    }

    /// Takes the work of some accounts out, as if they had never worked.
    pub fn forget(&mut self, accounts: &BTreeSet<Arc<str>>) {
        for slice in self.tiers.iter_mut().flatten() {
            slice.work.retain(|account, _| !accounts.contains(account));
            slice.total = slice.work.values().fold(Hashes::default(), |sum, it| sum.plus(*it));
        }
        for tier in &mut self.tiers {
            tier.retain(|slice| !slice.work.is_empty());
        }
    }

    /// Puts all that is dated after `minute` there.
    fn date_back(&mut self, minute: u64) {
        let mut now = Slice::new(minute);
        for tier in &mut self.tiers {
            for later in tier.iter().filter(|slice| slice.start > minute) {
                now.absorb(later);
            }
            tier.retain(|slice| slice.start <= minute);
        }
        let [minutes, ..] = &mut self.tiers;
        match minutes.back_mut().filter(|slice| slice.start == minute) {
            Some(slice) => slice.absorb(&now),
            None => minutes.push_back(now),
        }
    }

    fn newest(&self) -> Option<u64> {
        self.newest_first().next().map(|slice| slice.start)
    }

    fn newest_first(&self) -> impl Iterator<Item = &Slice> {
        self.tiers.iter().flat_map(|tier| tier.iter().rev())
    }

    /// Merges what has grown old at `now`, in minutes.
    fn age(&mut self, now: u64) {
        let mut aged = Vec::new();
        for (tier, slices) in TIERS.iter().zip(&mut self.tiers) {
            for slice in aged.drain(..) {
                merge(slices, tier.minutes, &slice);
            }
            let is_old = |slice: &Slice| {
                slice.start.saturating_add(tier.minutes).saturating_add(tier.kept) <= now
            };
            while slices.front().is_some_and(is_old) {
                aged.extend(slices.pop_front());
            }
        }
        self.forget_days();
    }

    /// Keeps memory bounded however long no block is found.
    fn forget_days(&mut self) {
        let [.., days] = &mut self.tiers;
        let mut accounts: usize = days.iter().map(|day| day.work.len()).sum();
        while accounts > self.day_accounts_max
            && let Some(oldest) = days.pop_front()
        {
            accounts -= oldest.work.len();
            warn!(
                accounts = oldest.work.len(),
                "the oldest day of the window counts for nothing any more: it holds too many \
                 accounts, and no block has trimmed it"
            );
        }
    }
}

/// Puts a slice that comes from a finer tier behind all others of a tier, or into the last one.
fn merge(slices: &mut VecDeque<Slice>, minutes: u64, slice: &Slice) {
    let start = slice.start - slice.start % minutes;
    match slices.back_mut().filter(|last| last.start == start) {
        Some(last) => last.absorb(slice),
        None => slices.push_back(Slice { start, ..slice.clone() }),
    }
}

/// Adds to `found` each account's part of `slice`, as if the slice were `room` large.
fn add_part(found: &mut Slice, slice: &Slice, room: Hashes) {
    for (account, work) in &slice.work {
        let part = U256::from(work.0) * U256::from(room.0) / U256::from(slice.total.0);
        let part = Hashes(part.saturating_to());
        if part > Hashes::default() {
            found.credit(account, part);
        }
    }
}

#[cfg(test)]
mod tests;
