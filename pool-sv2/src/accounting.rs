//! The ledger: what was accepted, made durable before it is acknowledged.
//!
//! `log` is the truth on disk and `ledger` the thread that writes it; `store` is a database of what
//! is in it, which `feed` brings up to it, on a thread of its own. `command` is what a person asks
//! of them, `audit` whether they agree, `api` what other programs ask. `books` are what is owed and
//! claimed by the log, kept by `bookkeeper` on a thread of its own, laid out on the `shelf`, and
//! now and then written to disk as a `checkpoint`. `webhook` tells another program of it, `alerts`
//! tell people. None of them ever stands between a block and the network.

pub mod alerts;
pub mod api;
pub mod audit;
pub mod bookkeeper;
pub mod books;
pub mod checkpoint;
pub mod command;
pub mod config;
pub mod feed;
pub mod ledger;
pub mod log;
mod payouts;
mod place_file;
pub mod recompute;
mod reserve;
pub mod settle;
pub mod shelf;
mod sign;
pub mod store;
mod wait;
pub mod webhook;
mod whole_file;
