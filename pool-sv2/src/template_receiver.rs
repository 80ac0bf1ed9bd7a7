//! The client of the Template Distribution Protocol: where templates come from and solutions go.
//!
//! `session` is the protocol, free of I/O; `supervise` keeps one connection to a template provider
//! alive for ever; `choice` says whose template is mined.

pub mod choice;
pub mod session;
pub mod supervise;
