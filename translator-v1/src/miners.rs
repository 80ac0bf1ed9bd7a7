//! How many miners there are and what they can do together: what the upstream is told.
//!
//! It is summed in whole hashes per second, so that what a miner adds is what it takes away: a sum
//! of floats would keep what the largest of them rounded off. What miners say of themselves and
//! have not shown yet must not make the target of those hard who share the channel.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One miner is not believed to have more, in hashes per second: all of Bitcoin's have as much.
const HASHRATE_MAX: f64 = 1e21;

/// What is claimed by all together is believed up to so many hashes per second, which no machine
/// exceeds, and beyond that as far as others have as much: then the target is twice too hard at
/// most.
const CLAIMED_MAX: u128 = 500_000_000_000_000;

/// How fast one miner is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hashrate {
    /// Hashes per second.
    pub hashes: f64,
    /// True if it is the miner's own word, which its shares have not shown yet.
    pub is_claimed: bool,
}

/// The miners behind the channel, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinersTotal {
    /// How many there are.
    pub miners: u32,
    /// Hashes per second of all of them, as far as they are believed.
    pub hashrate: f64,
}

/// The sum over all miners. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Miners {
    total: watch::Sender<MinersTotal>,
    sums: Arc<Mutex<Sums>>,
}

/// Hashes per second of all of them.
#[derive(Debug, Default)]
struct Sums {
    /// By their shares, or by the operator's guess.
    shown: u128,
    /// By their own word alone.
    claimed: u128,
}

impl Sums {
    fn of(&mut self, part: Part) -> &mut u128 {
        if part.is_claimed { &mut self.claimed } else { &mut self.shown }
    }

    fn believed(&self) -> u128 {
        self.shown.saturating_add(self.claimed.min(self.shown.max(CLAIMED_MAX)))
    }
}

/// What one miner adds.
#[derive(Debug, Clone, Copy)]
struct Part {
    hashes: u128,
    is_claimed: bool,
}

/// One miner's part of the sum; it is taken out again when this is dropped.
#[derive(Debug)]
pub struct MinerPart {
    all: Miners,
    /// What was added; none until the miner works.
    part: Option<Part>,
}

impl Miners {
    /// A part that adds nothing yet.
    pub fn part(&self) -> MinerPart {
        MinerPart { all: self.clone(), part: None }
    }

    /// The sum as it is.
    pub fn total(&self) -> MinersTotal {
        *self.total.borrow()
    }

    /// Tells when the sum changes.
    pub fn subscribe(&self) -> watch::Receiver<MinersTotal> {
        self.total.subscribe()
    }

    /// Puts `new` in the place of `old`; none is no miner.
    fn replace(&self, old: Option<Part>, new: Option<Part>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = old {
            let sum = sums.of(part);
            *sum = sum.saturating_sub(part.hashes);
        }
        if let Some(part) = new {
            let sum = sums.of(part);
            *sum = sum.saturating_add(part.hashes);
        }
        // Under the lock, so that the last to change the sum is the last to tell it.
        self.total.send_modify(|total| {
            total.miners = total.miners.saturating_sub(u32::from(old.is_some()));
            total.miners = total.miners.saturating_add(u32::from(new.is_some()));
            total.hashrate = float(sums.believed());
        });
    }
}

impl MinerPart {
    /// Replaces the part. What is no number counts as none.
    pub fn set(&mut self, Hashrate { hashes, is_claimed }: Hashrate) {
        let new = Part { hashes: whole(hashes.clamp(0.0, HASHRATE_MAX)), is_claimed };
        let old = self.part.replace(new);
        self.all.replace(old, Some(new));
    }
}

impl Drop for MinerPart {
    fn drop(&mut self) {
        if self.part.is_some() {
            self.all.replace(self.part, None);
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "it is clamped, and NaN becomes 0"
)]
fn whole(hashrate: f64) -> u128 {
    hashrate as u128
}

#[expect(clippy::as_conversions, reason = "told as an F32 anyway")]
fn float(hashes: u128) -> f64 {
    hashes as f64
}

#[cfg(test)]
impl Hashrate {
    /// What a miner's shares have shown.
    pub(crate) fn shown(hashes: f64) -> Self {
        Self { hashes, is_claimed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_count_as_much_as_one_machine_may_have_or_all_others_have_shown() {
        let miners = Miners::default();
        let claim = |hashes| {
            let mut part = miners.part();
            part.set(Hashrate { hashes, is_claimed: true });
            part
        };
        let mut rented = claim(95e12);
        assert_eq!(miners.total().hashrate, 95e12, "who comes first is believed");
        let liars: Vec<_> = (0..100).map(|_| claim(1e16)).collect();
        assert_eq!(miners.total().hashrate, 500e12, "as much as one machine has");
        let mut farm = miners.part();
        farm.set(Hashrate::shown(3e15));
        assert_eq!(miners.total(), MinersTotal { miners: 102, hashrate: 6e15 });
        rented.set(Hashrate::shown(95e12));
        assert_eq!(miners.total().hashrate, 2.0 * 3_095e12, "its shares have shown it");
        drop(liars);
        assert_eq!(miners.total(), MinersTotal { miners: 2, hashrate: 3_095e12 });
    }

    #[test]
    fn the_sum_follows_miners_that_come_change_and_go() {
        let miners = Miners::default();
        let sum = miners.subscribe();
        let (mut a, mut b) = (miners.part(), miners.part());
        assert_eq!(*sum.borrow(), MinersTotal { miners: 0, hashrate: 0.0 });
        a.set(Hashrate::shown(1e12));
        b.set(Hashrate::shown(5e3));
        a.set(Hashrate::shown(2e12));
        assert_eq!(*sum.borrow(), MinersTotal { miners: 2, hashrate: 2e12 + 5e3 });
        drop(a);
        assert_eq!(*sum.borrow(), MinersTotal { miners: 1, hashrate: 5e3 });
        drop(b);
        assert_eq!(*sum.borrow(), MinersTotal::default());
    }

    #[test]
    fn an_absurd_miner_leaves_nothing_behind() {
        let miners = Miners::default();
        let sum = miners.subscribe();
        let mut honest = miners.part();
        honest.set(Hashrate::shown(5e3));
        for absurd in [1e300, 1e20, f64::INFINITY, f64::NAN, -1.0] {
            let mut part = miners.part();
            part.set(Hashrate::shown(absurd));
            let with = *sum.borrow();
            assert!(with.miners == 2 && (5e3..=1.1e21).contains(&with.hashrate), "{with:?}");
            drop(part);
            assert_eq!(*sum.borrow(), MinersTotal { miners: 1, hashrate: 5e3 }, "{absurd}");
        }
    }
}
