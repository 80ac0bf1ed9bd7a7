//! A CPU miner that speaks Stratum V2 (standard and extended channels) and Stratum V1 with any
//! pool, and is also the device of this project's own tests.
//!
//! `sv2` and `sv1` are the protocols, free of I/O; `work` is what both make of a job; `scan`,
//! `desk` and `threads` hash; `app` connects them. It is no race horse: it shows that a pool works.

pub mod app;
pub mod arguments;
pub mod desk;
pub mod pool;
pub mod scan;
pub mod sv1;
pub mod sv2;
pub mod threads;
pub mod work;
