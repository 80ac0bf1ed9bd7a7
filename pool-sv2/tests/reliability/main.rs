//! What was acknowledged is in the ledger, once: after a power loss at any moment, and after a
//! SIGKILL at any moment.
//!
//! `disk` is a disk whose power can fail; `power` loses it, `kill` kills a real process. How often
//! `kill` does is `ADIT_KILLS` (docs/reliability.md).

#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod disk;
mod kill;
mod power;
