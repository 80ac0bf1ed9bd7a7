//! One miner's connection: the server side of the Mining Protocol (spec chapter 5).
//!
//! `session` is the state machine; `open`, `jobs` and `submit` are its parts, by what the miner asks
//! for. None of them does I/O. `serve` gives a session its socket, its work and its ledger.

mod jobs;
mod open;
pub mod serve;
pub mod session;
mod submit;
