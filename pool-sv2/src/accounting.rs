//! The share log: what was accepted, made durable before it is acknowledged.
//!
//! In this first cut it is one append-only text file. It never stands between a block and the
//! network.

pub mod ledger;
