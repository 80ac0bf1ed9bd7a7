//! Starts a pool for a measurement: settings in a folder of its own, templates from this program, a
//! target that every hash meets.
//!
//! Both pools get settings that mean the same; what each is told is to be read here.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::rngs::OsRng;
use tempfile::TempDir;
use testkit::process::{Process, describe};
use testkit::program::Programs;
use testkit::wait::until;
use toml::{Table, toml};
use wire::sv2::keys::AuthoritySecret;

use crate::arguments::Software;
use crate::provider::Provider;

/// How long a pool may take until it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// Whom blocks would pay, were there any: the address of BIP173's examples.
const PAYOUT: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
/// Lines of its log that are shown when a pool fails.
const LOG_LINES: usize = 20;

/// A pool that this program has started.
#[derive(Debug)]
pub struct Pool {
    /// Where miners connect.
    pub address: SocketAddr,
    process: Process,
    folder: TempDir,
}

/// What a pool is to be started with.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// Which one.
    pub software: Software,
    /// Its program, if it is not where it belongs.
    pub path: Option<&'a Path>,
    /// What it logs.
    pub log: &'a str,
    /// Connections that it must take.
    pub connections: usize,
}

impl Software {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Sri => "sri",
        }
    }
}

impl Pool {
    /// Starts it and waits until it has templates and listens.
    pub fn start(launch: &Launch<'_>, provider: &mut Provider) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("load-").tempdir()?;
        let address = free_address()?;
        let settings = match launch.software {
            Software::Adit => adit_settings(launch, address, provider, folder.path()),
            Software::Sri => sri_settings(address, provider)?,
        };
        let config = folder.path().join("pool.toml");
        fs::write(&config, settings.to_string())?;
        let mut command = command(launch, &config)?;
        let log = File::create(folder.path().join("pool.log"))?;
        command.env("RUST_LOG", launch.log).current_dir(folder.path());
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::start(&mut command)?;
        let mut pool = Self { address, process, folder };
        pool.wait(provider).with_context(|| pool.log_tail())?;
        Ok(pool)
    }

    fn wait(&mut self, provider: &mut Provider) -> Result<()> {
        until("the pool to take its first template", START_MAX, || {
            self.check()?;
            Ok(provider.was_written().then_some(()))
        })?;
        until("the pool to listen", START_MAX, || {
            self.check()?;
            Ok(TcpStream::connect(self.address).ok())
        })?;
        Ok(())
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.process.ending()? {
            Some(status) => bail!("the pool {}", describe(status)),
            None => Ok(()),
        }
    }

    /// Its process.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// The last lines that it logged.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("pool.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        format!("the pool's last words:\n{}", tail.join("\n"))
    }
}

fn command(launch: &Launch<'_>, config: &Path) -> Result<Command> {
    let mut command = match (launch.software, launch.path) {
        (_, Some(path)) => Command::new(
            path.canonicalize()
                .with_context(|| format!("{}: there is no such program", path.display()))?,
        ),
        (Software::Adit, None) => Command::new(beside_this_program("pool-sv2")?),
        (Software::Sri, None) => Command::new("pool_sv2"),
    };
    match launch.software {
        Software::Adit => command.args(["run", "--config"]),
        Software::Sri => command.arg("--config"),
    };
    command.arg(config);
    Ok(command)
}

fn beside_this_program(name: &str) -> Result<PathBuf> {
    let path = Programs::beside_this_executable()?.path(name);
    path.with_context(|| format!("{name} is not beside this program: build it, or give its path"))
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn adit_settings(
    launch: &Launch<'_>,
    address: SocketAddr,
    provider: &Provider,
    folder: &Path,
) -> Table {
    let listen = address.to_string();
    let (provider_address, provider_key) = (provider.address(), provider.key().to_string());
    let key_file = folder.join("pool.key").display().to_string();
    let ledger = folder.join("ledger").display().to_string();
    // Visitors come on top.
    let connections = i64::try_from(launch.connections + 1_000).unwrap_or(i64::MAX);
    toml! {
        [listen]
        address = listen
        [authority]
        secret_key_file = key_file
        [[template_provider]]
        address = provider_address
        authority_key = provider_key
        [payout]
        network = "mainnet"
        address = PAYOUT
        // More shares are wanted than come: vardiff leaves the target at what any hash meets.
        [vardiff]
        shares_per_minute = 10_000_000.0
        min_difficulty = 0.000000000001
        [ledger]
        directory = ledger
        [limits]
        connections_max = connections
        channels_max = connections
        shares_per_second_max = 1000000
        requests_per_second_max = 1000000
    }
}

/// Shares a minute decide how many shares SRI remembers for each channel and tip before it ends
/// the connection; 1000 is more than a flood sends here.
fn sri_settings(address: SocketAddr, provider: &Provider) -> Result<Table> {
    let authority = AuthoritySecret::generate(&mut OsRng);
    let (public, secret) = (authority.public().to_string(), authority.to_secret_text());
    let listen = address.to_string();
    let (provider_address, provider_key) = (provider.address(), provider.key().to_string());
    let script = format!("addr({PAYOUT})");
    let settings = toml! {
        authority_public_key = public
        authority_secret_key = secret
        cert_validity_sec = 86400
        listen_address = listen
        coinbase_reward_script = script
        server_id = 1
        pool_signature = "SRI"
        shares_per_minute = 1000.0
        share_batch_size = 10
        [template_provider_type.Sv2Tp]
        address = provider_address
        public_key = provider_key
    };
    Ok(settings)
}
