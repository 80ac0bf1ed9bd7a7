//! How those who tell others of the log wait: on threads of their own, and no longer than the pool
//! runs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::log::segment::DurableEnd;

/// The pool ends.
pub(super) struct Over;

/// Waits until then, and looks each `step` whether it is over: when the writer of the log is gone.
pub(super) fn wait(
    until: Instant,
    step: Duration,
    durable: &watch::Receiver<DurableEnd>,
) -> Result<(), Over> {
    loop {
        if durable.has_changed().is_err() {
            return Err(Over);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(step));
    }
}
