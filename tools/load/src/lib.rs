//! A load generator for Stratum V2 pools and Stratum V1 servers: it is all the miners and the
//! template provider of one pool, in one process, so that what it measures has one clock.
//!
//! `miner` and `provider` are the two protocol roles, free of I/O; `crew` is a thread that runs
//! many miners over sockets; `pools` and `translators` start what is measured (`started`); `run`
//! goes through a plan and writes down figures; `table` shows them. `floor` measures the machine
//! itself.
//! It looks for no hashes: the pool must be given a target that every hash meets.

pub mod app;
pub mod arguments;
pub mod crew;
pub mod figures;
pub mod floor;
pub mod histogram;
pub mod miner;
pub mod plan;
pub mod pools;
pub mod process;
pub mod progress;
pub mod provider;
pub mod run;
pub mod started;
pub mod table;
pub mod tally;
pub mod translators;
