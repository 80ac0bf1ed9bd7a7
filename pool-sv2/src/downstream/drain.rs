//! When each miner of a pool that shuts down is sent elsewhere: told all at once, ten thousand of
//! them would stand before the other server at the same instant.
//!
//! It tells nobody: a connection asks for its turn, and mines on until then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The fractional part of the golden ratio in 64 bits. Its multiples fall evenly into a window,
/// however many there will be.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Gives turns within a window.
#[derive(Debug, Default)]
pub struct Drain {
    window: Duration,
    given: AtomicU64,
}

impl Drain {
    /// Turns within `window`; zero tells all miners at once.
    pub fn new(window: Duration) -> Self {
        Self { window, given: AtomicU64::new(0) }
    }

    /// When the next one has its turn, of all who ask at `now`.
    pub(super) fn turn(&self, now: Instant) -> Instant {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let share = u128::from(number.wrapping_mul(GOLDEN));
        let nanoseconds = (self.window.as_nanos() * share) >> u64::BITS;
        now + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_fall_evenly_into_the_window_however_many_there_are() {
        let now = Instant::now();
        for count in [10_u32, 100, 1_000, 10_000] {
            let drain = Drain::new(Duration::from_secs(5));
            let mut tenths = [0_u32; 10];
            for _ in 0..count {
                let after = drain.turn(now) - now;
                tenths[usize::try_from(after.as_millis() / 500).unwrap()] += 1;
            }
            let even = count / 10;
            let is_even = |tenth: &u32| tenth.abs_diff(even) <= 2;
            assert!(tenths.iter().all(is_even), "{count}: {tenths:?}");
        }
    }

    #[test]
    fn without_a_window_it_is_everybodys_turn() {
        let (now, drain) = (Instant::now(), Drain::default());
        assert!((0..1_000).all(|_| drain.turn(now) == now));
    }
}
