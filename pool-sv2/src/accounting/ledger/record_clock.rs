//! The times of records: they never go back, and never run ahead of the time that has passed.
//!
//! A window is cut by time, so that one record of next year would keep all later work in one slice.
//! It reads no clock; the ledger tells it what clocks say.

use std::time::{Duration, Instant};

use tracing::{info, warn};

/// A clock that is set is followed so far; what is more is taken for a fault.
const AHEAD_MS_MAX: u64 = 60_000;
/// The log's last record may be so much later than the clock says: then time goes on from there.
const BEHIND_MS_MAX: u64 = 3 * 3_600 * 1_000;

/// The clock of one life of the ledger. Times are milliseconds since 1970.
#[derive(Debug)]
pub(super) struct RecordClock {
    started: Instant,
    started_ms: u64,
    last_ms: u64,
    /// True while it does not say what it is told.
    differs: bool,
}

impl RecordClock {
    /// Starts at `now`, which the system's clock calls `now_ms`; `last_ms` is the time of the
    /// log's last record, 0 without any.
    pub(super) fn new(now: Instant, now_ms: u64, last_ms: u64) -> Self {
        let behind_ms = last_ms.saturating_sub(now_ms);
        let started_ms = match behind_ms {
            0 => now_ms,
            1..=BEHIND_MS_MAX => last_ms,
            // Somebody has set a clock right that was far ahead.
            _ => now_ms,
        };
        if behind_ms > AHEAD_MS_MAX {
            warn!(behind_ms, "the clock is behind the ledger's last record: set it right");
        }
        Self { started: now, started_ms, last_ms: started_ms, differs: false }
    }

    /// The time of what comes at `now`, which the system's clock calls `told_ms`.
    pub(super) fn time(&mut self, now: Instant, told_ms: u64) -> u64 {
        let passed = now.saturating_duration_since(self.started);
        let expected_ms = self.started_ms.saturating_add(milliseconds(passed));
        let latest_ms = expected_ms.saturating_add(AHEAD_MS_MAX);
        let time_ms = told_ms.min(latest_ms).max(self.last_ms);
        let differs = time_ms.abs_diff(told_ms) > AHEAD_MS_MAX;
        if differs != self.differs {
            self.differs = differs;
            if differs {
                warn!(
                    told_ms,
                    time_ms,
                    "the clock has jumped: records go on with the time that \
                    has passed; set it right, or restart the pool if it is right now"
                );
            } else {
                info!("the clock says what the ledger expects again");
            }
        }
        self.last_ms = time_ms;
        time_ms
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const YEAR_MS: u64 = 365 * 86_400 * 1_000;

    #[test]
    fn a_clock_that_jumps_ahead_is_followed_for_a_minute_and_no_further() {
        let start = Instant::now();
        let mut clock = RecordClock::new(start, NOW_MS, 0);
        assert_eq!(clock.time(start, NOW_MS + 30_000), NOW_MS + 30_000);
        let later = start + Duration::from_secs(10);
        assert_eq!(clock.time(later, NOW_MS + YEAR_MS), NOW_MS + 10_000 + AHEAD_MS_MAX);
        assert!(clock.differs);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(clock.time(later, NOW_MS + YEAR_MS), NOW_MS + 3_600_000 + AHEAD_MS_MAX);
        // Set right again.
        let later = start + Duration::from_secs(3_700);
        assert_eq!(clock.time(later, NOW_MS + 3_700_000), NOW_MS + 3_700_000);
        assert!(!clock.differs);
    }

    #[test]
    fn time_never_goes_back() {
        let start = Instant::now();
        let mut clock = RecordClock::new(start, NOW_MS, 0);
        assert_eq!(clock.time(start, NOW_MS + 5), NOW_MS + 5);
        assert_eq!(clock.time(start, NOW_MS - YEAR_MS), NOW_MS + 5);
        assert!(clock.differs);
    }

    #[test]
    fn a_start_goes_on_from_the_last_record_unless_that_is_far_ahead() {
        let start = Instant::now();
        let at_start = |last_ms| RecordClock::new(start, NOW_MS, last_ms).time(start, NOW_MS);
        assert_eq!(at_start(NOW_MS - YEAR_MS), NOW_MS);
        assert_eq!(at_start(NOW_MS + 3_000_000), NOW_MS + 3_000_000);
        assert_eq!(at_start(NOW_MS + YEAR_MS), NOW_MS, "a clock was set right meanwhile");
    }
}
