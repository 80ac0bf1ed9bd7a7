//! How many miners there are and what they can do together: what the upstream is told.
//!
//! It is summed in whole hashes per second, so that what a miner adds is what it takes away: a sum
//! of floats would keep what the largest of them rounded off.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One miner is not believed to have more, in hashes per second: all of Bitcoin's have as much.
const HASHRATE_MAX: f64 = 1e21;

/// The miners behind the channel, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinersTotal {
    /// How many there are.
    pub miners: u32,
    /// Hashes per second of all of them.
    pub hashrate: f64,
}

/// The sum over all miners. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Miners {
    total: watch::Sender<MinersTotal>,
    /// Hashes per second of all of them.
    hashes: Arc<Mutex<u128>>,
}

/// One miner's part of the sum; it is taken out again when this is dropped.
#[derive(Debug)]
pub struct MinerPart {
    all: Miners,
    /// What was added; none until the miner works.
    hashes: Option<u128>,
}

impl Miners {
    /// A part that adds nothing yet.
    pub fn part(&self) -> MinerPart {
        MinerPart { all: self.clone(), hashes: None }
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
    fn replace(&self, old: Option<u128>, new: Option<u128>) {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        *hashes = hashes.saturating_sub(old.unwrap_or(0)).saturating_add(new.unwrap_or(0));
        // Under the lock, so that the last to change the sum is the last to tell it.
        self.total.send_modify(|total| {
            total.miners = total.miners.saturating_sub(u32::from(old.is_some()));
            total.miners = total.miners.saturating_add(u32::from(new.is_some()));
            total.hashrate = float(*hashes);
        });
    }
}

impl MinerPart {
    /// Replaces the part, in hashes per second. What is no number counts as none.
    pub fn set(&mut self, hashrate: f64) {
        let new = whole(hashrate.clamp(0.0, HASHRATE_MAX));
        let old = self.hashes.replace(new);
        self.all.replace(old, Some(new));
    }
}

impl Drop for MinerPart {
    fn drop(&mut self) {
        if self.hashes.is_some() {
            self.all.replace(self.hashes, None);
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
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_miners_that_come_change_and_go() {
        let miners = Miners::default();
        let sum = miners.subscribe();
        let (mut a, mut b) = (miners.part(), miners.part());
        assert_eq!(*sum.borrow(), MinersTotal { miners: 0, hashrate: 0.0 });
        a.set(1e12);
        b.set(5e3);
        a.set(2e12);
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
        honest.set(5e3);
        for absurd in [1e300, 1e20, f64::INFINITY, f64::NAN, -1.0] {
            let mut part = miners.part();
            part.set(absurd);
            let with = *sum.borrow();
            assert!(with.miners == 2 && (5e3..=1.1e21).contains(&with.hashrate), "{with:?}");
            drop(part);
            assert_eq!(*sum.borrow(), MinersTotal { miners: 1, hashrate: 5e3 }, "{absurd}");
        }
    }
}
