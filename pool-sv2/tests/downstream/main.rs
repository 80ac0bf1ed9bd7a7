//! One miner's connection, tried by a scripted miner over a real encrypted link, with no socket and
//! no real time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod extensions;
mod fuzz;
mod jobs;
mod limits;
mod messages;
mod miner;
mod open;
mod payouts;
mod setup;
mod shares;
