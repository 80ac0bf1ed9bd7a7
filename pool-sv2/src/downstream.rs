//! One miner's connection: the server side of the Mining Protocol (spec chapter 5).
//!
//! `connection` is what a connection holds; `open`, `jobs`, `submit` and `close` act on it, by what
//! the miner asks for, `extensions` by what it adds to that; `session` is the state machine over
//! them. None of them does I/O. `serve` gives a session its socket, its work and its ledger.
//! `drain` says when a miner is sent elsewhere, `limits` what a peer may hold and do, `memory` what
//! that comes to in bytes, `retarget` between what its targets stay.

pub mod close;
mod conduct;
pub mod connection;
pub mod drain;
mod extensions;
mod jobs;
pub mod limits;
mod memory;
mod open;
mod pace;
mod rejects;
mod request;
mod retarget;
pub mod serve;
mod session;
mod submit;
