//! The only shared room that knows tokio: it runs sessions, listens, waits, reads settings, writes
//! logs and answers health questions.
//!
//! Nothing here knows what a message or a share is. Programs are built from these parts in their
//! `app.rs`.

pub mod admin;
pub mod advice;
pub mod authority;
pub mod backoff;
pub mod calendar;
pub mod certificates;
pub mod clock;
pub mod config;
pub mod driver;
pub mod drop_in;
pub mod env_file;
pub mod gate;
pub mod handshake;
pub mod health;
pub mod listen;
mod manual;
pub mod metrics;
pub mod program;
mod proxies;
pub mod questions;
pub mod site;
pub mod telemetry;
mod visitors;
