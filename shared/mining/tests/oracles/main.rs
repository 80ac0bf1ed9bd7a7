//! The domain against those who know it: SRI's channels, rust-bitcoin, and blocks that the network
//! accepted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod bench;
mod blocks;
mod coinbase;
mod samples;
mod script;
mod shares;
mod sri_channel;
mod targets;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Runs `test` for 64 values.
fn property<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { failure_persistence: None, ..Config::with_cases(64) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}
