//! The ledger: what was accepted, made durable before it is acknowledged.
//!
//! `log` is the truth on disk, `ledger` the thread that writes it, `command` what a person asks of
//! it. None of them ever stands between a block and the network.

pub mod command;
pub mod config;
pub mod ledger;
pub mod log;
