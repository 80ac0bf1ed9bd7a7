//! `/metrics`: numbers for a monitoring system, in Prometheus' text form, beside `/health`.
//!
//! Whoever counts something asks for a metric once, by name, and keeps what he gets: cheap to
//! clone, and counted without a lock. Nothing here decides what is worth counting, and no secret
//! may be a label.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, text};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// A counter that grows by fractions.
pub type Sum = Counter<f64, AtomicU64>;

/// The form that `/metrics` answers in.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The last line.
const END: &str = "# EOF\n";

/// A program's metrics. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Metrics {
    prefix: Arc<str>,
    registered: Arc<Mutex<Registered>>,
}

/// What is shown, and what would be if it had happened yet.
struct Registered {
    registry: Registry,
    heads: Vec<Head>,
}

/// A metric's first two lines.
struct Head {
    /// `# TYPE NAME KIND`.
    kind: String,
    /// `# HELP NAME HELP.`
    help: String,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// No metrics yet; each name gets `prefix` and an underscore before it.
    pub fn new(prefix: &str) -> Self {
        let (registry, heads) = (Registry::with_prefix(prefix), Vec::new());
        let registered = Arc::new(Mutex::new(Registered { registry, heads }));
        Self { prefix: prefix.into(), registered }
    }

    /// A number that only grows. `name` without `_total`, which is added to it; `help` without its
    /// full stop, like all of them.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.registered(name, help, Counter::default())
    }

    /// The same where it grows by fractions.
    pub fn sum(&self, name: &str, help: &str) -> Sum {
        self.registered(name, help, Sum::default())
    }

    /// Counters that differ in one label.
    pub fn counters(&self, name: &str, help: &str, label: &'static str) -> Labelled<Counter> {
        self.labelled(name, help, [label])
    }

    /// Counters that differ in several labels.
    pub fn counters_by<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
    ) -> Labelled<Counter, N> {
        self.labelled(name, help, labels)
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.registered(name, help, Gauge::default())
    }

    /// Gauges that differ in one label.
    pub fn gauges(&self, name: &str, help: &str, label: &'static str) -> Labelled<Gauge> {
        self.labelled(name, help, [label])
    }

    /// How often values fell into which range; `bounds` are the upper ends, rising.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.registered(name, help, Histogram::new(bounds.iter().copied()))
    }

    /// All of it, as `/metrics` shows it.
    pub fn text(&self) -> String {
        let Registered { registry, heads } = &*self.lock();
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, registry);
        let body = out.trim_end_matches(END).len();
        let end = out.split_off(body);
        // What has labels and was never counted is left out there. Who makes an alarm of it wants
        // to know that it is there.
        for Head { kind, help } in heads {
            if !out.contains(kind.as_str()) {
                out.extend([help, "\n", kind, "\n"]);
            }
        }
        out + &end
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn labelled<M, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
    ) -> Labelled<M, N>
    where
        M: Default + EncodeMetric + TypedMetric + fmt::Debug + Send + Sync + 'static,
    {
        Labelled { labels, family: self.registered(name, help, Family::default()) }
    }

    fn registered<M>(&self, name: &str, help: &str, metric: M) -> M
    where
        M: Metric + TypedMetric + Clone,
    {
        let (full, kind) = (format!("{}_{name}", self.prefix), M::TYPE.as_str());
        let mut registered = self.lock();
        registered.heads.push(Head {
            kind: format!("# TYPE {full} {kind}"),
            help: format!("# HELP {full} {help}."),
        });
        registered.registry.register(name, help, metric.clone());
        metric
    }
}

/// Metrics of one name that differ in the values of labels. The values must be few and known
/// beforehand: each is kept for ever.
#[derive(Clone, Debug)]
pub struct Labelled<M, const N: usize = 1> {
    labels: [&'static str; N],
    family: Family<Vec<(&'static str, String)>, M>,
}

impl<M: Default + Clone> Labelled<M> {
    /// The metric whose label has this value; shown from now on.
    pub fn with(&self, value: &str) -> M {
        self.with_all([value])
    }
}

impl<M: Default + Clone, const N: usize> Labelled<M, N> {
    /// The metric whose labels have these values; shown from now on.
    pub fn with_all(&self, values: [&str; N]) -> M {
        let labels = self.labels.into_iter().zip(values.map(str::to_owned));
        self.family.get_or_create_owned(&labels.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_counted_is_named_all_the_same() {
        let metrics = Metrics::new("provider");
        let bans = metrics.counters("bans", "Who was banned", "fault");
        let text = metrics.text();
        assert!(text.contains("# HELP provider_bans Who was banned.\n"), "{text}");
        assert!(text.ends_with("# TYPE provider_bans counter\n# EOF\n"), "{text}");
        bans.with("x").inc();
        let text = metrics.text();
        assert_eq!(text.matches("# TYPE provider_bans counter\n").count(), 1, "{text}");
    }

    #[test]
    fn what_was_counted_is_shown_with_the_programs_prefix() {
        let metrics = Metrics::new("provider");
        metrics.counter("found", "Blocks found").inc();
        metrics.gauges("present", "Which are there", "node").with("node 2").set(-1);
        let seconds = metrics.histogram("wait_seconds", "How long it took", &[0.1, 1.0]);
        seconds.observe(0.5);
        let text = metrics.text();
        for line in [
            "provider_found_total 1",
            "provider_present{node=\"node 2\"} -1",
            "provider_wait_seconds_bucket{le=\"0.1\"} 0",
            "provider_wait_seconds_bucket{le=\"1.0\"} 1",
            "provider_wait_seconds_count 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn several_labels_stand_in_their_order() {
        let metrics = Metrics::new("x");
        metrics
            .counters_by("omitted", "Left out", ["slot", "reason"])
            .with_all(["3", "zero"])
            .inc();
        let line = "x_omitted_total{slot=\"3\",reason=\"zero\"} 1";
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }

    #[test]
    fn one_label_value_is_one_metric() {
        let counters = Metrics::new("x").counters("heard", "Signals", "signal");
        counters.with("zmq").inc();
        counters.with("long_poll").inc();
        counters.with("zmq").inc();
        assert_eq!((counters.with("zmq").get(), counters.with("long_poll").get()), (2, 1));
    }
}
