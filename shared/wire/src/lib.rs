//! Bytes to messages and back, for every protocol that the programs speak.
//!
//! This room has no I/O, no clock and no randomness of its own: time and seeds are arguments, so
//! that a whole conversation can be replayed in a test. It is the only room that names the SRI wire
//! crates, and it knows nothing of what the messages are for: that is the domain (`mining`) and the
//! programs.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test needs some first instant"))]

pub mod pace;
pub mod session;
pub mod sv1;
pub mod sv2;
