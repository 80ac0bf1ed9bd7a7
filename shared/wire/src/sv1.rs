//! Stratum V1: JSON lines, as real miners and pools write them.
//!
//! `line` cuts lines out of a byte stream, `request` and `response` are the two shapes that a line
//! may have, `login` is what a miner says first, `notify` and `client` what a server says unasked,
//! and `submit` a share. All of it works in both directions, server and miner. Nothing here decides
//! what an answer should be.

pub mod client;
pub mod line;
pub mod login;
pub mod notify;
pub mod request;
pub mod response;
pub mod submit;
