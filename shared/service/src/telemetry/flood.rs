//! Keeps the log from filling the disk: of one kind of line no more than a bound is written.
//!
//! Peers decide how often many a line is due: whoever opens a channel a thousand times a second, or
//! is refused as often, must not write a thousand lines. What is left out is counted and said.
//! Lines for debugging are not held back: who asks for them wants them all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one kind that may come at once: what a farm causes that comes back.
const AT_ONCE: u32 = 1_000;
/// And then so many a second: less than 200 MB a day.
const PER_SECOND: u32 = 10;

/// Holds back what is too much of one kind, which is one place of the source.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// As many as the program has places that log.
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Debug)]
struct Kind {
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Kind {
    fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now, left_out: 0 }
    }

    /// Whether one more may be written; if so, how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more.saturating_mul(PER_SECOND)).min(AT_ONCE);
            self.since += Duration::from_secs(more.into());
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let taken = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.entry(metadata.callsite()).or_insert_with(|| Kind::new(now)).take(now)
        };
        if let Some(left_out) = taken.filter(|left_out| *left_out > 0) {
            let (file, line) = (metadata.file(), metadata.line());
            warn!(left_out, file, line, "log lines of one kind left out: there were too many");
        }
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn of_one_kind_a_bound_is_written_and_what_is_left_out_is_counted() {
        let start = Instant::now();
        let mut kind = Kind::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..AT_ONCE).all(|_| kind.take(start) == Some(0)));
        assert!((0..500).all(|_| kind.take(start).is_none()));
        assert_eq!(kind.take(at(1)), Some(500));
        // Nine of that second are left.
        let written = (0..10_000).filter(|_| kind.take(at(11)).is_some()).count();
        assert_eq!(written, 9 + 100);
        // After a quiet while a farm may come back again.
        let written = (0..10_000).filter(|_| kind.take(at(1_000)).is_some()).count();
        assert_eq!(written, 1_000);
    }

    /// A log that is kept.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_other_lines_are_not() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log.with(Flood::default()), || {
            for number in 0..5_000 {
                tracing::info!(number, "opened");
            }
            tracing::info!("something else");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let opened = text.lines().filter(|line| line.contains("opened")).count();
        assert!((1_000..1_100).contains(&opened), "{opened} lines");
        assert!(text.contains("something else"));
    }
}
