//! How long a new tip takes from the pool to its miners: for /metrics over all tips, and of the
//! newest tip for people. It only counts: a connection waits for it no longer than it takes to add
//! two numbers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use service::metrics::{Histogram, Metrics};

use crate::work::Work;

/// Upper ends in seconds: a few connections hear within a millisecond, ten thousand within one.
const SECONDS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Who has heard of the newest tip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Connections that were there when it came, and have been sent it.
    pub connections: u32,
    /// How long after its first job was made the last of them was.
    pub last: Duration,
}

/// Counts them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct TipReach {
    seconds: Histogram,
    /// The newest tip, by its number, and who has heard of it.
    newest: Arc<Mutex<(u64, Reached)>>,
}

impl TipReach {
    /// Nobody has heard of anything yet.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "From the making of a new tip's job until a connection had it to send";
        let seconds = metrics.histogram("tip_to_connection_seconds", help, &SECONDS);
        Self { seconds, newest: Arc::default() }
    }

    /// A connection has the tip of `work`, which it did not know before, to send at `now`.
    pub(crate) fn reached(&self, work: &Work, now: Instant) {
        let took = now.saturating_duration_since(work.made_at);
        self.seconds.observe(took.as_secs_f64());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, reached) = &mut *newest;
        if *epoch < work.tip_epoch {
            (*epoch, *reached) = (work.tip_epoch, Reached::default());
        }
        if *epoch == work.tip_epoch {
            reached.connections = reached.connections.saturating_add(1);
            reached.last = reached.last.max(took);
        }
    }

    /// Of the newest tip that anybody has heard of.
    pub fn newest(&self) -> Reached {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
