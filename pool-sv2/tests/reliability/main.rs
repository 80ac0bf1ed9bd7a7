//! What was acknowledged is in the ledger, once: after a power loss at any moment, and after a
//! SIGKILL at any moment.
//!
//! `disk` is a disk whose power can fail; `power` loses it. `pool` kills the real pool under the
//! load of `miner`s with work of a `provider`, which `talk` to it; `kill` kills the ledger alone,
//! `full` fills the disk; `outage` loses the power under the real pool, with what strace wrote into
//! its `trace`. How often is `ADIT_KILLS` and `ADIT_OUTAGES` (docs/reliability.md).

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
mod outage;
mod pool;
mod power;
mod provider;
mod talk;
mod trace;
