//! What /metrics shows of shares, blocks and the log. It must not decide anything, nor be where
//! money is counted: that is the log.

use mining::target::Hashes;
use service::metrics::{Counter, Histogram, Labelled, Metrics, Sum};

use crate::shares::{Batch, BlockStage, Entry, Gathered, Reason};

/// Bounds of the histogram of commits.
const COMMIT_SECONDS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];

/// What /metrics shows of the ledger.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    shares: Counter,
    hashes: Sum,
    rejects: Labelled<Counter>,
    blocks: Labelled<Counter>,
    pub(super) records: Counter,
    pub(super) failures: Counter,
    pub(super) commit_seconds: Histogram,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let rejects = metrics.counters("shares_rejected", "Shares that were rejected", "reason");
        for reason in Reason::ALL {
            rejects.with(reason.name());
        }
        // Shown before the first of them: an alarm is about a number that grows.
        let blocks = metrics.counters("blocks", "What became of blocks, each step once", "stage");
        for stage in BlockStage::ALL {
            blocks.with(stage.name());
        }
        Self {
            shares: metrics.counter("shares_accepted", "Shares that were accepted"),
            hashes: metrics.sum(
                "accepted_hashes",
                "Hashes that the accepted shares stand for, by the targets of their jobs",
            ),
            rejects,
            blocks,
            records: metrics.counter("ledger_records", "Records made durable in the log"),
            failures: metrics.counter("ledger_failures", "Attempts to write the log that failed"),
            commit_seconds: metrics.histogram(
                "ledger_commit_seconds",
                "From the first attempt to write what was gathered until it was durable",
                &COMMIT_SECONDS,
            ),
        }
    }
}

impl Counts {
    /// Counts what is on its way to the log; it is written sooner or later.
    pub(super) fn count(&self, batch: &Batch) {
        let Gathered { shares, entries, .. } = &batch.gathered;
        self.shares.inc_by(shares.len().try_into().unwrap_or(0));
        let work = shares.iter().fold(Hashes::default(), |sum, share| sum.plus(share.work));
        self.hashes.inc_by(work.to_f64());
        for entry in entries {
            match entry {
                Entry::Rejects { reason, count, .. } => {
                    self.rejects.with(reason.name()).inc_by(*count);
                }
                Entry::BlockFound { .. } => drop(self.blocks.with("found").inc()),
                Entry::BlockState(state) => drop(self.blocks.with(state.stage().name()).inc()),
                Entry::Payout(_) => {}
            }
        }
    }
}
