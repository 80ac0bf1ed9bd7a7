//! The times of records: they never go back, never stand still for long, and never run ahead of
//! the time that has passed.
//!
//! A window is cut by time, so that one record of next year would keep all later work in one slice,
//! and one of 1970 would put all earlier work there. It reads no clock; the ledger tells it what
//! clocks say.

use std::time::{Duration, Instant};

use tracing::{info, warn};

/// A clock that is set is followed so far; what is more is taken for a fault.
const AHEAD_MS_MAX: u64 = 60_000;
/// The log's last record may be so much later than the clock says: then time goes on from there.
const BEHIND_MS_MAX: u64 = 3 * 3_600 * 1_000;
/// While the clock is behind, one part of the time that passes counts in so many, so that the clock
/// catches up in the end.
const BEHIND_PARTS: u64 = 2;

/// The clock is so far behind the log's last record that one of the two must be wrong, and only a
/// person knows which.
#[derive(Debug, thiserror::Error)]
#[error(
    "the clock is {hours} hours behind the ledger's last record, and records of an earlier time \
     would spoil the window that blocks are shared by: set the clock right; if it is right, and \
     was wrong before, start once with ledger.accept_earlier_clock = true"
)]
pub struct ClockBehind {
    /// Whole hours.
    hours: u64,
}

/// Refuses a clock that says `now_ms`, far before the log's last record at `last_ms`.
pub(super) fn check(now_ms: u64, last_ms: u64) -> Result<(), ClockBehind> {
    match last_ms.saturating_sub(now_ms) {
        0..=BEHIND_MS_MAX => Ok(()),
        behind_ms => Err(ClockBehind { hours: behind_ms / 3_600_000 }),
    }
}

/// The clock of one life of the ledger. Times are milliseconds since 1970.
#[derive(Debug)]
pub(super) struct RecordClock {
    started: Instant,
    started_ms: u64,
    last_ms: u64,
    /// When the clock was last not behind, and the time that was given then.
    followed: (Instant, u64),
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
            // Somebody has set a clock right that was far ahead, and has said so.
            _ => now_ms,
        };
        if behind_ms > AHEAD_MS_MAX {
            warn!(behind_ms, "the clock is behind the ledger's last record: set it right");
        }
        let followed = (now, started_ms);
        Self { started: now, started_ms, last_ms: started_ms, followed, differs: false }
    }

    /// The time of what comes at `now`, which the system's clock calls `told_ms`.
    pub(super) fn time(&mut self, now: Instant, told_ms: u64) -> u64 {
        let passed = now.saturating_duration_since(self.started);
        let expected_ms = self.started_ms.saturating_add(milliseconds(passed));
        let latest_ms = expected_ms.saturating_add(AHEAD_MS_MAX);
        let followed_ms = told_ms.min(latest_ms);
        let earliest_ms = self.earliest_ms(now);
        if followed_ms >= earliest_ms {
            self.followed = (now, followed_ms.max(self.last_ms));
        }
        let time_ms = followed_ms.max(earliest_ms).max(self.last_ms);
        let differs = time_ms.abs_diff(told_ms) > AHEAD_MS_MAX;
        if differs != self.differs {
            self.differs = differs;
            if differs {
                warn!(
                    told_ms,
                    time_ms,
                    "the clock has jumped: records go on with the time that has passed, and \
                    more slowly while it is behind; set it right, or restart the pool if it is \
                    right now"
                );
            } else {
                info!("the clock says what the ledger expects again");
            }
        }
        self.last_ms = time_ms;
        time_ms
    }

    /// What no time at `now` is before, whatever the clock says: for a minute time may stand still,
    /// as it does for batches that have waited, and then it goes on.
    fn earliest_ms(&self, now: Instant) -> u64 {
        let (when, followed_ms) = self.followed;
        let behind_ms = milliseconds(now.saturating_duration_since(when));
        followed_ms.saturating_add(behind_ms.saturating_sub(AHEAD_MS_MAX) / BEHIND_PARTS)
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
    fn time_goes_on_while_the_clock_is_behind_until_it_has_caught_up() {
        let start = Instant::now();
        let at = |seconds: u64| (start + Duration::from_secs(seconds), seconds * 1_000);
        // Two hours behind the log's last record.
        let mut clock = RecordClock::new(start, NOW_MS - 7_200_000, NOW_MS);
        let mut time = |seconds| {
            let (now, passed_ms) = at(seconds);
            clock.time(now, NOW_MS - 7_200_000 + passed_ms)
        };
        assert_eq!(time(60), NOW_MS, "a batch may have waited");
        assert_eq!(time(3_660), NOW_MS + 1_800_000, "half an hour in an hour");
        for minute in 62..300 {
            time(minute * 60);
        }
        assert_eq!(time(5 * 3_600), NOW_MS + 3 * 3_600_000, "as the clock says");
        // It goes back by years while the pool runs.
        let (now, passed_ms) = at(5 * 3_600 + 60);
        clock.time(now, NOW_MS - YEAR_MS + passed_ms);
        let (now, _) = at(7 * 3_600 + 60);
        assert_eq!(clock.time(now, NOW_MS - YEAR_MS), NOW_MS + 4 * 3_600_000);
        assert!(clock.differs);
        // Asked often, it goes on as well.
        for step in 1..=20_000 {
            clock.time(now + Duration::from_millis(step), NOW_MS - YEAR_MS);
        }
        assert_eq!(clock.last_ms, NOW_MS + 4 * 3_600_000 + 10_000);
    }

    #[test]
    fn a_clock_far_behind_the_last_record_is_refused_and_one_that_is_not_is_taken() {
        assert!(check(NOW_MS, 0).is_ok());
        assert!(check(NOW_MS, NOW_MS + BEHIND_MS_MAX).is_ok());
        let error = check(0, NOW_MS).unwrap_err().to_string();
        assert!(error.contains("472222 hours") && error.contains("set the clock right"), "{error}");
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
