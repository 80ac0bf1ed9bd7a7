//! One miner's connection, tried by a scripted miner over a real encrypted link, with no socket and no
//! real time.

mod jobs;
mod miner;
mod open;
mod setup;
mod shares;
