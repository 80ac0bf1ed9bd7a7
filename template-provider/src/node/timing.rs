//! How long a node takes for the two calls that mining waits for. A question that the node holds
//! back until there is news (long poll, BIP22) is none of them: its time tells nothing of the node.

use std::time::Duration;

use service::metrics::{Histogram, Metrics};

/// Upper ends in seconds: a full template takes a node some hundred milliseconds, a block with
/// transactions that it has never seen some seconds.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The times of all nodes together. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct CallTimes {
    template: Histogram,
    submit: Histogram,
}

/// Times that nobody looks at.
impl Default for CallTimes {
    fn default() -> Self {
        let unseen = || Histogram::new(SECONDS);
        Self { template: unseen(), submit: unseen() }
    }
}

impl CallTimes {
    /// Those that /metrics shows.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            template: metrics.histogram(
                "get_block_template_seconds",
                "How long a node, or an enforcer, took for a template that was asked for at once",
                &SECONDS,
            ),
            submit: metrics.histogram(
                "submit_block_seconds",
                "How long a node took to answer submitblock",
                &SECONDS,
            ),
        }
    }

    pub(super) fn template_came(&self, after: Duration) {
        self.template.observe(after.as_secs_f64());
    }

    pub(super) fn block_answered(&self, after: Duration) {
        self.submit.observe(after.as_secs_f64());
    }
}
