//! What `/metrics` shows of blind merged mining.

use std::time::{Duration, Instant};

use service::clock;
use service::metrics::{Counter, Gauge, Labelled, Metrics};

use super::absence::Absence;

/// The metrics of all slots. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Counts {
    omitted: Labelled<Counter, 2>,
    age: Labelled<Gauge>,
}

impl Counts {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "Templates without an M7 of the slot's source";
        let omitted = metrics.counters_by("bmm_omitted", help, ["slot", "reason"]);
        let help = "Seconds since the slot's source gave an h* that could be mined";
        Self { omitted, age: metrics.gauges("bmm_h_star_age_seconds", help, "slot") }
    }

    /// A template got no M7 of the slot's source.
    pub fn omitted(&self, slot: u8, absence: Absence) {
        self.omitted.with_all([&slot.to_string(), absence.label()]).inc();
    }

    /// The slot's source gave its last good h* at `at`.
    pub fn last_known(&self, slot: u8, at: Instant) {
        let age: Duration = clock::now().duration_since(at);
        self.age.with(&slot.to_string()).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }
}
