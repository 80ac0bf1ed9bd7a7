//! What is counted of miners, for `/metrics`.

use service::metrics::{Counter, Labelled, Metrics};

use super::Event;
use crate::bridge::submit::ShareError;

/// The counters. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Counts {
    logins: Counter,
    resumed: Counter,
    slowed: Counter,
    accepted_upstream: Counter,
    accepted_here: Counter,
    rejected: Labelled<Counter>,
    late: Labelled<Counter>,
    blocks: Counter,
    too_long: Labelled<Counter>,
}

impl Counts {
    /// Counts under `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        let accepted = metrics.counters("shares_accepted", "Shares answered with true", "by");
        Self {
            // Looked up once: nearly all shares are counted there.
            accepted_upstream: accepted.with("upstream"),
            accepted_here: accepted.with("translator"),
            logins: metrics.counter("logins", "Workers that authorized"),
            resumed: metrics.counter("sessions_resumed", "Sessions that miners took up again"),
            slowed: metrics.counter("miners_slowed", "Miners that sent more than is read of one"),
            rejected: metrics.counters("shares_rejected", "Shares that were refused", "reason"),
            late: metrics.counters(
                "shares_judged_late",
                "Verdicts of the upstream on shares that were answered early",
                "outcome",
            ),
            blocks: metrics.counter("blocks", "Shares that met the target of a block"),
            too_long: metrics.counters(
                "coinbase_too_long",
                "Miners whose kind cannot hold the coinbase that they were sent",
                "kind",
            ),
        }
    }

    /// Counts what a session tells.
    pub fn count(&self, event: &Event) {
        match event {
            Event::Authorized { .. } => {
                self.logins.inc();
            }
            Event::Resumed => {
                self.resumed.inc();
            }
            Event::SlowedDown => {
                self.slowed.inc();
            }
            Event::BlockFound { .. } => {
                self.blocks.inc();
            }
            Event::CoinbaseTooLong { kind, .. } => {
                self.too_long.with(kind.name).inc();
            }
            Event::Answered { answer: Ok(()), is_upstreams, .. } => {
                let accepted =
                    if *is_upstreams { &self.accepted_upstream } else { &self.accepted_here };
                accepted.inc();
            }
            Event::Answered { answer: Err(error), .. } => {
                self.rejected.with(error.reason()).inc();
            }
            Event::LateVerdict { outcome } => {
                let outcome = outcome.as_ref().map_or_else(ShareError::reason, |()| "accepted");
                self.late.with(outcome).inc();
            }
            Event::Named { .. }
            | Event::Submit { .. }
            | Event::SubmitBlock { .. }
            | Event::Difficulty(_)
            | Event::Hashrate(_) => {}
        }
    }
}
