//! Everything together on one machine: node, template-provider, pool, translator, devices.
//!
//! Each program gets its settings as a person would give them: a TOML file and a command line. The
//! servers choose free ports and say which; when one is started again it keeps its port.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use toml::{Table, toml};

use crate::block::MinedBlock;
use crate::log::{Event, Mark};
use crate::node::Node;
use crate::program::{Launch, Program, Programs};
use crate::wait::until;

/// What the pool puts into each coinbase.
pub const COINBASE_TAG: &str = "/Adit/";
/// The user as which the translator mines at the pool.
pub const TRANSLATOR_USER: &str = "translator";
/// How long a pool that says where its first port is may take to say where the others are.
const PORTS_MAX: Duration = Duration::from_secs(10);
/// The window of shared blocks. On regtest two hashes are a block: this is some ten shares.
const WINDOW_BLOCKS: i64 = 1_000_000;
/// What a world is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the programs are.
    pub programs: Programs,
    /// The address on which miners are listened for, without a port.
    pub listen_host: String,
    /// Whether there is a translator for V1 devices.
    pub translator: bool,
    /// Hashes per second of each device.
    pub device_hashrate: u64,
    /// Shares that each device is to send, a minute. On regtest each is a block.
    pub shares_per_minute: f64,
    /// The least difficulty; what a device starts with whose hashrate is not known.
    pub min_difficulty: f64,
    /// What the programs log: a `RUST_LOG` filter.
    pub log_filter: String,
    /// Further ports of the pool.
    pub further_ports: Vec<PoolPort>,
    /// Where the reward goes if the coinbases are shielded; else to `World::payout_address`.
    pub shielded: Option<Shielded>,
    /// Whom blocks pay.
    pub paying: Paying,
}

/// Whom blocks pay, and the pool's part of them in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paying {
    /// `World::payout_address`.
    Pool,
    /// Who found them.
    Finder {
        /// The pool's part.
        fee: u16,
    },
    /// All who have worked lately.
    All {
        /// The pool's part.
        fee: u16,
        /// Outputs to miners in a coinbase.
        outputs_max: u16,
    },
    /// `World::payout_address`; each share is owed for, and nobody is paid yet.
    Shares {
        /// The pool's part.
        fee: u16,
    },
}

/// A port of the pool with rules of its own.
#[derive(Debug, Clone)]
pub struct PoolPort {
    /// The least difficulty there.
    pub min_difficulty: f64,
    /// Connections at a time.
    pub connections_max: u32,
    /// Whom its blocks pay: `"pool"` or `"solo"`.
    pub payout: &'static str,
}

/// A coinbase that pays into a note.
#[derive(Debug, Clone)]
pub struct Shielded {
    /// Public key of the note's owner, 64 hex digits.
    pub owner: String,
    /// Where notes of accepted blocks are sent, `http://HOST:PORT`.
    pub sidecar_url: String,
}

impl Plan {
    /// A world for a test: programs built first, slow devices, a block a second.
    pub fn for_test() -> Result<Self> {
        Ok(Self {
            programs: Programs::built()?,
            listen_host: "127.0.0.1".to_owned(),
            translator: false,
            device_hashrate: 300_000,
            shares_per_minute: 90.0,
            min_difficulty: 0.000_05,
            log_filter: "debug".to_owned(),
            further_ports: Vec::new(),
            shielded: None,
            paying: Paying::Pool,
        })
    }

    /// The same with shielded coinbases.
    #[must_use]
    pub fn with_shielded_coinbases(self, shielded: Shielded) -> Self {
        Self { shielded: Some(shielded), ..self }
    }

    /// The same where blocks pay others than the pool.
    #[must_use]
    pub fn paying(self, paying: Paying) -> Self {
        Self { paying, ..self }
    }

    /// The same with a further port of the pool.
    #[must_use]
    pub fn with_port(mut self, port: PoolPort) -> Self {
        self.further_ports.push(port);
        self
    }

    /// The same with a translator.
    #[must_use]
    pub fn with_translator(self) -> Self {
        Self { translator: true, ..self }
    }

    /// Starts everything but devices, each part when the one that it needs is up.
    pub fn start(self) -> Result<World> {
        World::start(self)
    }
}

/// How a device reaches the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Stratum V1, through the translator.
    V1,
    /// Stratum V2, an extended channel.
    V2Extended,
    /// Stratum V2, a standard channel.
    V2Standard,
}

/// A running stack.
#[derive(Debug)]
pub struct World {
    /// Bitcoin on regtest.
    pub node: Node,
    /// template-provider.
    pub template_provider: Server,
    /// pool-sv2.
    pub pool: Server,
    /// translator-v1, if the plan has one.
    pub translator: Option<Server>,
    /// Where the pool's pages for people are, on this machine alone: `http://HOST:PORT/`.
    pub dashboard: String,
    /// The same of the translator, if the plan has one.
    pub translator_pages: Option<String>,
    /// Where the pool's blocks pay.
    pub payout_address: String,
    plan: Plan,
    folder: TempDir,
}

/// A server of the stack: a program with a URL.
#[derive(Debug)]
pub struct Server {
    /// The program.
    pub program: Program,
    /// Where it listens, as it printed it.
    pub url: String,
    /// How the line with the URL starts.
    said: &'static str,
}

impl Server {
    /// Starts a server and waits until it says where it listens.
    fn start(launch: Launch, said: &'static str, address_variable: &str) -> Result<Self> {
        let mut program = Program::start(launch)?;
        let url = program.wait_said(said)?;
        let address = address_of(&url);
        program.set_variable(address_variable, address);
        Ok(Self { url, said, program })
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        address_of(&self.url)
    }

    /// The authority key; empty for V1.
    pub fn key(&self) -> &str {
        self.url.rsplit_once('/').map_or("", |(_, key)| key)
    }

    /// SIGKILL, then the same again on the same port.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.program.kill();
        self.restart()
    }

    /// The same again on the same port, once it is ended.
    pub fn restart(&mut self) -> Result<()> {
        self.program.restart()?;
        let url = self.program.wait_said(self.said)?;
        anyhow::ensure!(url == self.url, "it came back as {url} and was {} before", self.url);
        Ok(())
    }
}

/// `HOST:PORT` of what a server says of itself.
pub fn address_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

impl World {
    fn start(plan: Plan) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("adit-world-").tempdir()?;
        let node = Node::start_funded()?;
        let payout_address = node.new_address()?;
        let start = |name: &str, settings: Table, said, variable| {
            let launch = server_launch(&plan, folder.path(), name, &settings)?;
            Server::start(launch, said, variable).with_context(|| format!("{name} does not start"))
        };
        let template_provider = start(
            "template-provider",
            template_provider_settings(&plan, &node, folder.path()),
            "templates at ",
            "TEMPLATE_PROVIDER__LISTEN__ADDRESS",
        )?;
        let mut pool = start(
            "pool-sv2",
            pool_settings(&plan, &node, &template_provider, &payout_address, folder.path()),
            "mining at ",
            "POOL_SV2__LISTEN__ADDRESS",
        )?;
        let dashboard = pool.program.wait_said("dashboard at ")?;
        pool.program.set_variable("POOL_SV2__HEALTH__ADDRESS", address_of(&dashboard));
        let mut translator = match plan.translator {
            true => Some(start(
                "translator-v1",
                translator_settings(&plan, &pool),
                "mining at ",
                "TRANSLATOR_V1__LISTEN__ADDRESS",
            )?),
            false => None,
        };
        let translator_pages = translator.as_mut().map(pages_of).transpose()?;
        Ok(Self {
            node,
            template_provider,
            pool,
            translator,
            dashboard,
            translator_pages,
            payout_address,
            plan,
            folder,
        })
    }

    /// Starts a device that mines as `user`.
    pub fn start_device(&self, route: Route, user: &str) -> Result<Program> {
        let url = match route {
            Route::V1 => &self.translator.as_ref().context("a V1 device needs a translator")?.url,
            Route::V2Extended | Route::V2Standard => &self.pool.url,
        };
        self.start_device_at(url, route, user)
    }

    /// The same at one of the ports that its route leads to.
    pub fn start_device_at(&self, url: &str, route: Route, user: &str) -> Result<Program> {
        let rate = self.plan.device_hashrate.to_string();
        let channel = match route {
            Route::V2Standard => "standard",
            Route::V1 | Route::V2Extended => "extended",
        };
        let arguments = [
            url,
            "--user",
            user,
            "--threads",
            "1",
            "--channel",
            channel,
            "--hashrate-limit",
            &rate,
            "--nominal-hashrate",
            &rate,
        ];
        Program::start(Launch {
            name: format!("cpu-miner {user}"),
            path: self.plan.programs.path("cpu-miner")?,
            arguments: arguments.into_iter().map(OsString::from).collect(),
            variables: vec![("RUST_LOG".to_owned(), self.plan.log_filter.clone())],
        })
    }

    /// The URLs of the pool's ports, in the order of the plan.
    pub fn pool_ports(&self) -> Result<Vec<String>> {
        let count = 1 + self.plan.further_ports.len();
        self.pool.program.log().wait_said_all(self.pool.said, count, PORTS_MAX)
    }

    /// Every event of the servers from now on, each with the program's name, in the order in which
    /// they were read.
    pub fn follow(&self) -> Receiver<(String, Event)> {
        let (sender, events) = channel();
        let servers = [Some(&self.template_provider), Some(&self.pool), self.translator.as_ref()];
        for server in servers.into_iter().flatten() {
            server.program.log().follow(sender.clone());
        }
        events
    }

    /// Waits for a block that the pool says `user` found after `from`, and that the node has in
    /// its chain. One of two devices that find a block at the same moment loses it.
    pub fn wait_for_block(
        &mut self,
        user: &str,
        from: Mark,
        within: Duration,
    ) -> Result<MinedBlock> {
        let log = self.pool.program.log().clone();
        let found = until(&format!("a block of {user} in the node's chain"), within, || {
            let events = log.events(from).into_iter();
            let mut hashes = events
                .filter(|event| event.is("block found") && event.text("user") == user)
                .map(|event| event.text("hash"));
            Ok(hashes.find_map(|hash| MinedBlock::read(&self.node, &hash).ok()))
        });
        found.with_context(|| {
            format!("{}\n{}", self.template_provider.program.log().tail(), log.tail())
        })
    }

    /// The folder of keys, settings and the ledger.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn server_launch(plan: &Plan, folder: &Path, name: &str, settings: &Table) -> Result<Launch> {
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, settings.to_string())?;
    Ok(Launch::server(name, plan.programs.path(name)?, file, &plan.log_filter))
}

fn template_provider_settings(plan: &Plan, node: &Node, folder: &Path) -> Table {
    let key_file = display(&folder.join("template-provider.key"));
    let (rpc_url, cookie_file) = (node.rpc_url(), display(&node.cookie_file()));
    let mut settings = toml! {
        [listen]
        address = "127.0.0.1:0"
        [authority]
        secret_key_file = key_file
        [node]
        rpc_url = rpc_url
        network = "regtest"
        cookie_file = cookie_file
        template_refresh_seconds = 1
    };
    if let Some(Shielded { owner, sidecar_url }) = plan.shielded.clone() {
        settings.extend(toml! {
            [shielded]
            pubkey = owner
            sidecar_url = sidecar_url
            test_network = true
        });
    }
    settings
}

fn pool_settings(
    plan: &Plan,
    node: &Node,
    provider: &Server,
    payout_address: &str,
    folder: &Path,
) -> Table {
    let key_file = display(&folder.join("pool-sv2.key"));
    let ledger = display(&folder.join("ledger"));
    let (address, key) = (provider.address(), provider.key());
    let listen = format!("{}:0", plan.listen_host);
    let (shares_per_minute, min_difficulty) = (plan.shares_per_minute, plan.min_difficulty);
    let (rpc_url, cookie_file) = (node.rpc_url(), display(&node.cookie_file()));
    let mut settings = toml! {
        [listen]
        address = listen
        [authority]
        secret_key_file = key_file
        [node]
        rpc_url = rpc_url
        cookie_file = cookie_file
        poll_seconds = 1
        [[template_provider]]
        address = address
        authority_key = key
        [vardiff]
        shares_per_minute = shares_per_minute
        min_difficulty = min_difficulty
        [ledger]
        directory = ledger
        [health]
        address = "127.0.0.1:0"
        [api]
        enabled = true
        [dashboard]
        enabled = true
    };
    settings.insert("payout".to_owned(), payout_settings(plan, payout_address).into());
    // In front of the others stays the one with the rules of the pool.
    if !plan.further_ports.is_empty() {
        let further = plan.further_ports.iter().map(|port| {
            let (listen, min_difficulty) = (format!("{}:0", plan.listen_host), port.min_difficulty);
            let (connections_max, payout) = (i64::from(port.connections_max), port.payout);
            let port = toml! {
                address = listen
                min_difficulty = min_difficulty
                connections_max = connections_max
                payout = payout
            };
            toml::Value::Table(port)
        });
        let first = settings.remove("listen");
        let ports: Vec<_> = first.into_iter().chain(further).collect();
        settings.insert("listen".to_owned(), ports.into());
    }
    settings
}

/// Whom blocks pay.
fn payout_settings(plan: &Plan, payout_address: &str) -> Table {
    let mut payout = match plan.shielded {
        Some(_) => toml! { by_template = true },
        None => toml! { address = payout_address },
    };
    payout.extend(toml! {
        network = "regtest"
        coinbase_tag = COINBASE_TAG
    });
    match plan.paying {
        Paying::Pool => {}
        Paying::Finder { fee } => payout.extend(toml! {
            mode = "solo"
            fee_basis_points = (i64::from(fee))
        }),
        Paying::All { fee, outputs_max } => payout.extend(toml! {
            mode = "pplns"
            fee_basis_points = (i64::from(fee))
            pplns = { window = WINDOW_BLOCKS, outputs_max = (i64::from(outputs_max)) }
        }),
        Paying::Shares { fee } => payout.extend(toml! {
            mode = "fpps"
            fee_basis_points = (i64::from(fee))
            wallet = { name = "testkit", dry_run = true }
        }),
    }
    payout
}

/// Where a translator's pages are; it keeps that port.
fn pages_of(translator: &mut Server) -> Result<String> {
    let url = translator.program.wait_said("dashboard at ")?;
    translator.program.set_variable("TRANSLATOR_V1__HEALTH__ADDRESS", address_of(&url));
    Ok(url)
}

fn translator_settings(plan: &Plan, pool: &Server) -> Table {
    let (address, key) = (pool.address(), pool.key());
    let listen = format!("{}:0", plan.listen_host);
    let (shares_per_minute, min_difficulty) = (plan.shares_per_minute, plan.min_difficulty);
    let initial_hashrate = i64::try_from(plan.device_hashrate).unwrap_or(i64::MAX);
    toml! {
        [listen]
        address = listen
        [upstream]
        address = address
        authority_key = key
        user_identity = TRANSLATOR_USER
        // Shares and blocks are told apart by user.
        worker_names = false
        [health]
        address = "127.0.0.1:0"
        [vardiff]
        shares_per_minute = shares_per_minute
        min_difficulty = min_difficulty
        initial_hashrate = initial_hashrate
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
