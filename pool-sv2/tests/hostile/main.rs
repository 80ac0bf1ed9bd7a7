//! Peers that mean no good, against a real pool on real sockets: none of them ends it, and an
//! honest miner beside them is not disturbed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod attacks;
mod crowds;
mod peer;
mod pool;
