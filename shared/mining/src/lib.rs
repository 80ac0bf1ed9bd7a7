//! The domain: what targets, templates, jobs, channels and shares are and how they are checked.
//!
//! Pure: no I/O, no clock, no randomness, and no knowledge of any wire format. Hashes are `[u8;
//! 32]` in internal byte order (as in a block header); targets compare as 256-bit numbers.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test needs some first instant"))]

pub mod channel;
pub mod coinbase;
pub mod extranonce;
pub mod hash;
pub mod header;
pub mod job;
pub mod memo;
pub mod merkle;
pub mod room;
pub mod share;
pub mod target;
pub mod template;
pub mod vardiff;
pub mod version;
