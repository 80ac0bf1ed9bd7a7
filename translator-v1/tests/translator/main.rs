//! The pure sessions, each against a scripted peer, and both together, with no socket and no
//! waiting; and the whole program on loopback.
//!
//! The numbered rules are those that all V1 clients together ask of a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may say what it means"
)]

mod device;
mod dialects;
mod failover;
mod faults;
mod flaws;
mod journey;
mod pool;
mod program;
mod resume;
mod rules;
mod shares;
mod shutdown;
mod teams;
mod upstream;
