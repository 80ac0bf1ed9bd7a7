//! One miner's connection: the server side of the Mining Protocol (spec chapter 5).
//!
//! `connection` is what a connection holds; `open`, `jobs` and `submit` act on it, by what the
//! miner asks for; `session` is the state machine over them. None of them does I/O. `serve` gives a
//! session its socket, its work and its ledger.

pub mod connection;
mod jobs;
mod open;
mod request;
pub mod serve;
mod session;
mod submit;
