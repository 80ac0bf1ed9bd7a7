//! translator-v1: Stratum V1 miners in, one Stratum V2 channel out.
//!
//! Rooms: `downstream` speaks V1 with one miner, `upstream` speaks V2 with the pool; neither knows
//! the other. `bridge` is what both know: how jobs, shares, extranonces and difficulties of one
//! side become those of the other. `shares`, `miners` and `teams` are the queues, the sums and the
//! channels between their tasks; `register` and `pools` what is known of miners and upstreams for
//! people, who see it in the `dashboard`, programs by `status`; `command` what they ask. They are
//! wired together in `app` alone.

pub mod app;
pub mod bridge;
pub mod command;
pub mod config;
pub mod dashboard;
pub mod downstream;
pub mod miners;
pub mod pools;
pub mod recent;
pub mod register;
pub mod shares;
pub mod status;
pub mod teams;
pub mod upstream;
