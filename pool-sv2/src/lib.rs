//! Adit's pool: takes templates from a template provider, gives work to miners, judges what they
//! send back and brings blocks to the network.
//!
//! Rooms: `template_receiver` (client of the Template Distribution Protocol), `downstream` (one
//! miner's connection), `accounting` (the ledger), `dashboard` (pages for people) and `admin` (an
//! operator's orders). They meet in `app` alone; what passes between them is `work`, `shares` and
//! `blocks`; `roster` says who is connected, `tip_reach` how soon they hear of a tip, `payout` whom
//! a block pays, `coin` what a coin is called, and `init` makes settings.

pub mod accounting;
pub mod admin;
pub mod app;
pub mod blocks;
pub mod coin;
pub mod config;
pub mod dashboard;
#[cfg(test)]
mod described;
pub mod downstream;
pub mod init;
mod payees;
pub mod payout;
pub mod roster;
pub mod shares;
pub mod template_receiver;
pub mod tip_reach;
pub mod work;
