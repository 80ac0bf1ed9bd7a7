//! How fast a peer may send: an allowance of so many things a second, and so many at once.
//!
//! It says until when the next thing has to wait, for `Session::poll_pause`, and refuses nothing:
//! who is too fast is read later.

use std::time::{Duration, Instant};

/// So many a second, and so many at once.
#[derive(Debug)]
pub struct Allowance {
    /// When everything that came would have come at the allowed rate.
    due: Instant,
}

impl Allowance {
    /// Nothing came before `now`.
    pub fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// Counts `count` things of `cost` each; gives the time at which the next one may come, if what
    /// may come at once is used up.
    pub fn take(
        &mut self,
        now: Instant,
        count: u32,
        cost: Duration,
        burst: Duration,
    ) -> Option<Instant> {
        self.due = self.due.max(now) + cost.saturating_mul(count);
        self.due.checked_sub(burst).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_the_allowed_rate_never_waits_and_a_flood_waits_for_what_it_owes() {
        let start = Instant::now();
        let (cost, burst) = (Duration::from_millis(10), Duration::from_secs(2));
        let mut allowance = Allowance::new(start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(allowance.take(now, 100, cost, burst), None, "after {second} s");
        }
        let now = start + Duration::from_secs(200);
        assert_eq!(allowance.take(now, 200, cost, burst), None);
        let until = allowance.take(now, 300, cost, burst);
        assert_eq!(until, Some(now + Duration::from_secs(3)));
        assert_eq!(allowance.take(now + Duration::from_secs(3), 0, cost, burst), None);
    }
}
