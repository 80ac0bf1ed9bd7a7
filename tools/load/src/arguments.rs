//! The command line, turned into a plan that can be carried out.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wire::sv2::keys::AuthorityKey;

use crate::crew::Kinds;
use crate::floor::Sends;
use crate::plan::{Flow, Pace, Plan, Scenario};

/// Connections of one process at most; descriptors are checked apart.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Shares in flight on one connection at most.
const WINDOW_MAX: u64 = 16_384;

/// A load generator for Stratum V2 pools and Stratum V1 servers.
#[derive(Debug, Clone, Parser)]
#[command(name = "load", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// A server is measured.
    #[command(flatten)]
    Measure(Box<What>),
    /// The machine itself: what a plain send of a line to each connection takes over loopback, for
    /// a server's new tips to be held against.
    Floor(FloorArguments),
}

/// `load floor`.
#[derive(Debug, Clone, Args)]
pub struct FloorArguments {
    /// Connections that are sent the line.
    #[arg(long, default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,

    /// How long the line is; a mining.notify with twelve merkle branches takes about 1,100 bytes.
    #[arg(long, default_value_t = 1_100,
        value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub bytes: u64,

    /// How often it is sent to all, for a median.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub tips: u64,

    /// Threads that send [default: one a processor].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: Option<u64>,
}

/// What can be loaded.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// A Stratum V2 pool: this program is its miners and its template provider.
    Pool(PoolArguments),
    /// A Stratum V1 server: this program is its miners. A translator that is started here gets a
    /// pool-sv2 behind it, and that its templates from this program.
    V1(V1Arguments),
}

/// Whose pool or translator this program starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Software {
    /// Adit's pool-sv2 or translator-v1, from the folder of this program.
    Adit,
    /// SRI's, from PATH: `cargo install pool_sv2 --version 0.7.0`, or translator_sv2 0.6.0.
    Sri,
}

/// Which channels to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Standard channels, each on a connection that requires standard jobs.
    Standard,
    /// Extended channels.
    Extended,
    /// By turns.
    Mixed,
}

/// `load pool`.
#[derive(Debug, Clone, Args)]
pub struct PoolArguments {
    /// What is the same for each server.
    #[command(flatten)]
    pub load: LoadArguments,

    /// The authority key of the pool at --address; any server is taken without it.
    #[arg(long, requires = "address")]
    pub authority: Option<AuthorityKey>,

    /// Which channels to open.
    #[arg(long, default_value = "extended")]
    pub kind: Kind,
}

/// `load v1`.
#[derive(Debug, Clone, Args)]
pub struct V1Arguments {
    /// What is the same for each server.
    #[command(flatten)]
    pub load: LoadArguments,

    /// The pool-sv2 to start behind a translator.
    #[arg(long)]
    pub pool_path: Option<PathBuf>,
}

/// What is measured of which server, whatever it speaks.
#[derive(Debug, Clone, Args)]
pub struct LoadArguments {
    /// Start this software and measure it; say it twice to measure both, one after the other.
    #[arg(long)]
    pub start: Vec<Software>,

    /// Measure a server that runs already: HOST:PORT.
    #[arg(long, conflicts_with = "start")]
    pub address: Option<String>,

    /// The process of the server at --address, for its processor time and memory.
    #[arg(long, requires = "address")]
    pub pid: Option<u32>,

    /// Where to serve templates to the server at --address, or to its pool: HOST:PORT.
    #[arg(long, requires = "address")]
    pub provider: Option<String>,

    /// A plan by name; the options below change it.
    #[arg(long, default_value = "tips")]
    pub scenario: Scenario,

    /// Connections with one miner each.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: Option<u64>,

    /// Openings under way at the same time.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub parallel: Option<u64>,

    /// New tips while nothing else happens.
    #[arg(long)]
    pub tips: Option<u16>,

    /// Send shares as fast as acknowledgements allow, with so many in flight on each connection.
    /// A server that acknowledges in batches needs more than a batch.
    #[arg(long, conflicts_with = "rate",
        value_parser = clap::value_parser!(u64).range(1..=WINDOW_MAX))]
    pub window: Option<u64>,

    /// Send so many shares a second, on all connections together.
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,

    /// How long to send shares.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,

    /// How often, for a median.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub repeats: Option<u64>,

    /// Make one share of so many wrong, so that the server must reject it.
    #[arg(long)]
    pub wrong_every: Option<u32>,

    /// Visitors a second that log in and leave, while shares flow.
    #[arg(long, value_parser = positive)]
    pub visitors: Option<f64>,

    /// A new tip each so many seconds, while shares flow.
    #[arg(long)]
    pub tip_every: Option<u64>,

    /// Threads of this program that run miners.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,

    /// What a server that is started logs, as RUST_LOG says it.
    #[arg(long, default_value = "warn")]
    pub log: String,

    /// Adit's program to start.
    #[arg(long)]
    pub adit_path: Option<PathBuf>,

    /// SRI's program to start.
    #[arg(long)]
    pub sri_path: Option<PathBuf>,

    /// Write everything that was measured to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl What {
    /// What is the same for each server.
    pub fn load(&self) -> &LoadArguments {
        match self {
            Self::Pool(PoolArguments { load, .. }) | Self::V1(V1Arguments { load, .. }) => load,
        }
    }

    /// What the server is called in the figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::V1(_) => "server",
        }
    }

    /// The key that the server must prove; V1 knows none.
    pub fn authority(&self) -> Option<AuthorityKey> {
        match self {
            Self::Pool(pool) => pool.authority,
            Self::V1(_) => None,
        }
    }

    /// Which miners are wanted.
    pub fn kinds(&self) -> Kinds {
        match self {
            Self::Pool(pool) => pool.kinds(),
            Self::V1(_) => Kinds::V1,
        }
    }
}

impl FloorArguments {
    /// What is to be sent, on a machine with so many processors.
    pub fn sends(&self, processors: usize) -> Sends {
        Sends {
            connections: to_usize(self.connections),
            bytes: to_usize(self.bytes),
            tips: to_usize(self.tips),
            threads: self.threads.map_or(processors, to_usize),
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1e7 => Ok(value),
        _ => Err("give a number above 0 and at most 10000000".to_owned()),
    }
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "checked: 0 to 1e7")]
#[expect(clippy::cast_sign_loss, reason = "checked: 0 to 1e7")]
fn per_1000_seconds(per_second: f64) -> u64 {
    (per_second * 1_000.0) as u64
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl PoolArguments {
    /// Which miners are wanted.
    pub fn kinds(&self) -> Kinds {
        match self.kind {
            Kind::Standard => Kinds::Standard,
            Kind::Extended => Kinds::Extended,
            Kind::Mixed => Kinds::Mixed,
        }
    }
}

impl LoadArguments {
    /// The plan, or why there can be none, as a sentence.
    pub fn plan(&self) -> Result<Plan, String> {
        if self.start.is_empty() && self.address.is_none() {
            return Err("say what: --start adit, --start sri or --address HOST:PORT".into());
        }
        let mut plan = self.scenario.plan();
        plan.connections = self.connections.map_or(plan.connections, to_usize);
        plan.parallel = self.parallel.map_or(plan.parallel, to_usize);
        plan.tips = self.tips.map_or(plan.tips, usize::from);
        plan.threads = to_usize(self.threads);
        self.change_flows(&mut plan)?;
        let wants_tips = plan.tips > 0 || plan.flows.iter().any(|flow| flow.tip_every_seconds > 0);
        if wants_tips && self.address.is_some() && self.provider.is_none() {
            return Err("--provider: new tips come from this program, so the server at --address \
                        must take its templates from it; say where to serve them, or --tips 0"
                .into());
        }
        Ok(plan)
    }

    fn change_flows(&self, plan: &mut Plan) -> Result<(), String> {
        let pace = match (self.window, self.rate) {
            (Some(window), _) => Some(Pace::Window(to_usize(window))),
            (None, Some(rate)) => Some(Pace::Per1000Seconds(per_1000_seconds(rate))),
            (None, None) => None,
        };
        if let Some(pace) = pace {
            let own = Flow::new("shares", pace, 8);
            let flow = plan.flows.first().cloned().map_or(own, |flow| Flow { pace, ..flow });
            plan.flows = vec![flow];
        }
        let of_flows = [
            ("--seconds", self.seconds.is_some()),
            ("--repeats", self.repeats.is_some()),
            ("--wrong-every", self.wrong_every.is_some()),
            ("--visitors", self.visitors.is_some()),
            ("--tip-every", self.tip_every.is_some()),
        ];
        let given = of_flows.into_iter().find(|(_, is_given)| *is_given);
        if let (true, Some((option, _))) = (plan.flows.is_empty(), given) {
            return Err(format!("{option} is for shares: give --rate or --window with it"));
        }
        for flow in &mut plan.flows {
            flow.seconds = self.seconds.unwrap_or(flow.seconds);
            flow.repeats = self.repeats.map_or(flow.repeats, to_usize);
            flow.wrong_every = self.wrong_every.unwrap_or(flow.wrong_every);
            let visitors = self.visitors.map(per_1000_seconds);
            flow.visitors_per_1000_seconds = visitors.unwrap_or(flow.visitors_per_1000_seconds);
            flow.tip_every_seconds = self.tip_every.unwrap_or(flow.tip_every_seconds);
        }
        Ok(())
    }

    /// The server at --address, or why it cannot be named, as a sentence.
    pub fn resolved(&self) -> Result<Option<SocketAddr>, String> {
        let Some(address) = &self.address else { return Ok(None) };
        let resolved = address.to_socket_addrs().map_err(|error| {
            format!("--address: {address} is no HOST:PORT that can be found: {error}")
        })?;
        let first = resolved.into_iter().next();
        first.map(Some).ok_or_else(|| format!("--address: {address} has no address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<What, clap::Error> {
        let all = ["load", "pool"].iter().chain(arguments);
        Arguments::try_parse_from(all).map(|arguments| match arguments.command {
            Command::Measure(what) => *what,
            Command::Floor(floor) => panic!("{floor:?}"),
        })
    }

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        read(arguments).unwrap().load().plan()
    }

    #[test]
    fn a_scenario_is_changed_by_the_options_beside_it() {
        let plan = plan(&[
            "--start",
            "adit",
            "--scenario",
            "shares",
            "--connections",
            "16",
            "--window",
            "128",
            "--seconds",
            "2",
        ])
        .unwrap();
        assert_eq!(plan.connections, 16);
        assert_eq!((plan.flows[0].pace, plan.flows[0].seconds), (Pace::Window(128), 2));
        assert_eq!(plan.flows[0].repeats, 3);
    }

    #[test]
    fn the_kind_of_channel_is_for_pools_alone() {
        let What::Pool(pool) = read(&["--start", "adit", "--kind", "standard"]).unwrap() else {
            panic!("it was said to be a pool");
        };
        assert_eq!(pool.kinds(), Kinds::Standard);
        let v1 = ["load", "v1", "--start", "adit", "--kind", "standard"];
        assert!(Arguments::try_parse_from(v1).is_err());
    }

    #[test]
    fn a_rate_below_one_share_a_second_is_kept() {
        let plan = plan(&["--start", "sri", "--rate", "0.5"]).unwrap();
        assert_eq!(plan.flows[0].pace, Pace::Per1000Seconds(500));
    }

    #[test]
    fn without_a_pool_the_three_ways_to_name_one_are_said() {
        let error = plan(&[]).unwrap_err();
        assert!(error.contains("--start adit") && error.contains("--address"), "{error}");
    }

    #[test]
    fn an_option_for_shares_without_shares_is_refused() {
        let error = plan(&["--start", "adit", "--seconds", "5"]).unwrap_err();
        assert!(error.starts_with("--seconds") && error.contains("--rate"), "{error}");
    }

    #[test]
    fn tips_at_a_pool_of_somebody_else_need_a_provider() {
        let error = plan(&["--address", "127.0.0.1:1"]).unwrap_err();
        assert!(error.starts_with("--provider"), "{error}");
        assert!(plan(&["--address", "127.0.0.1:1", "--tips", "0"]).is_ok());
    }

    #[test]
    fn impossible_numbers_are_refused_by_the_command_line() {
        for wrong in [
            ["--connections", "0"],
            ["--rate", "-1"],
            ["--rate", "nan"],
            ["--window", "99999"],
            ["--authority", "x"],
        ] {
            assert!(read(&[&["--address", "127.0.0.1:1"], wrong.as_slice()].concat()).is_err());
        }
    }
}
