//! What is measured: connections first, then new tips in quiet, then shares.

use std::time::Duration;

use serde::Serialize;

/// How shares come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as acknowledgements allow, with so many in flight on each connection.
    Window(usize),
    /// So many for each 1000 seconds, on all connections together.
    Per1000Seconds(u64),
    /// Half as many as the flood before.
    HalfOfFlood,
}

/// A time of shares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    /// What its figures are called after.
    pub name: &'static str,
    /// How shares come.
    pub pace: Pace,
    /// How long.
    pub seconds: u64,
    /// How often, for a median.
    pub repeats: usize,
    /// One of so many shares is wrong; 0 for none.
    pub wrong_every: u32,
    /// Visitors for each 1000 seconds.
    pub visitors_per_1000_seconds: u64,
    /// A new tip each so many seconds; 0 for none.
    pub tip_every_seconds: u64,
}

impl Flow {
    /// A flow of shares alone.
    pub fn new(name: &'static str, pace: Pace, seconds: u64) -> Self {
        Self {
            name,
            pace,
            seconds,
            repeats: 1,
            wrong_every: 0,
            visitors_per_1000_seconds: 0,
            tip_every_seconds: 0,
        }
    }
}

/// All that is done with one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Connections with one channel each.
    pub connections: usize,
    /// Openings under way at the same time.
    pub parallel: usize,
    /// New tips while nothing else happens.
    pub tips: usize,
    /// From one tip to the next.
    pub tip_interval: Duration,
    /// Shares.
    pub flows: Vec<Flow>,
    /// Threads of the generator that run miners.
    pub threads: usize,
}

/// Plans that have a name: one for each row of docs/benchmarks.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Floods over 256 connections: processor time of a share.
    Shares,
    /// Twenty new tips to 1000 connections that do nothing else.
    Tips,
    /// Opening 10000 connections.
    Open,
    /// Memory of 10000 connections, before and after twenty tips.
    Memory,
    /// Few shares: how long an acknowledgement takes when nothing hurries it.
    Latency,
    /// A flood over 256 connections, then half of it, with one wrong share in fifty.
    Half,
    /// 15000 connections for ten minutes with shares, visitors and new tips.
    Hold,
}

impl Scenario {
    /// Its plan.
    pub fn plan(self) -> Plan {
        let plan = |connections, tips, flows| Plan {
            connections,
            parallel: 64,
            tips,
            tip_interval: Duration::from_millis(if connections > 2_000 { 3_000 } else { 500 }),
            flows,
            threads: 1,
        };
        let flood = Flow::new("flood", Pace::Window(32), 8);
        match self {
            Self::Shares => plan(256, 0, vec![Flow { repeats: 3, ..flood }]),
            Self::Tips => plan(1_000, 20, Vec::new()),
            Self::Open => plan(10_000, 0, Vec::new()),
            Self::Memory => plan(10_000, 20, Vec::new()),
            Self::Latency => {
                plan(16, 0, vec![Flow::new("few shares", Pace::Per1000Seconds(20_000), 30)])
            }
            Self::Half => {
                let half = Flow::new("half load", Pace::HalfOfFlood, 15);
                plan(256, 0, vec![flood, Flow { wrong_every: 50, ..half }])
            }
            Self::Hold => {
                let hold = Flow {
                    visitors_per_1000_seconds: 10_000,
                    tip_every_seconds: 30,
                    ..Flow::new("hold", Pace::Per1000Seconds(2_500_000), 600)
                };
                plan(15_000, 0, vec![hold])
            }
        }
    }
}
