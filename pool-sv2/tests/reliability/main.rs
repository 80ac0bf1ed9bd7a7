//! What was acknowledged is in the ledger, once: after a power loss at any moment, and after a
//! SIGKILL at any moment.
//!
//! `disk` is a disk whose power can fail; `power` loses it. `pool` kills the real pool under the
//! load of `miner`s with work of a `provider`, which `talk` to it; `kill` kills the ledger alone,
//! `full` fills the disk. How often something is killed is `ADIT_KILLS` (docs/reliability.md).

#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod disk;
mod full;
mod kill;
mod miner;
mod pool;
mod power;
mod provider;
mod talk;
