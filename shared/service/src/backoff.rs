//! How long to wait before a neighbour is tried again: doubling, bounded, with jitter.
//!
//! Jitter keeps a thousand clients of one restarted server from coming back in the same instant.

use std::time::Duration;

use rand::Rng;

/// Growing waits between attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `min` to `max`. A `max` below `min` is raised to it.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), next: min }
    }

    /// What the programs use for their neighbours: 100 ms to 10 s.
    pub fn for_neighbours() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// The next wait: between half and all of a bound that doubles each time.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.next;
        self.next = bound.saturating_mul(2).min(self.max);
        bound.mul_f64(rand::thread_rng().gen_range(0.5..=1.0))
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for bound in [100, 200, 400, 400] {
            let delay = backoff.next_delay();
            assert!(delay <= Duration::from_millis(bound), "{delay:?} over {bound} ms");
            assert!(delay >= Duration::from_millis(bound / 2), "{delay:?} under half of {bound}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
