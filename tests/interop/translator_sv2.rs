//! Stands in for SRI's crate `translator_sv2` while its integration suites run, so that their
//! start functions, which stay as they are published, start our translator. `scripts/interop`
//! compiles it with the suites; it is no part of the workspace. Must not answer anything in the
//! translator's place.

mod process;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stratum_apps::key_utils::Secp256k1PublicKey;
use stratum_apps::payout::PayoutMode;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use config::TranslatorConfig;

/// SRI's settings, as far as our translator knows them.
pub mod config {
    use super::*;

    /// A pool, and the name that channels there are opened in.
    pub struct Upstream {
        address: String,
        authority: Secp256k1PublicKey,
        user_identity: String,
    }

    impl Upstream {
        pub fn new(
            host: String,
            port: u16,
            authority: Secp256k1PublicKey,
            user_identity: String,
        ) -> Self {
            Self { address: format!("{host}:{port}"), authority, user_identity }
        }
    }

    /// How hard miners' shares are.
    pub struct DownstreamDifficultyConfig {
        miner_hashrate: f32,
        shares_per_minute: f32,
    }

    impl DownstreamDifficultyConfig {
        /// Ours always follows a miner's hashrate, and sends no work but the pool's:
        /// `_enable_vardiff` and `_job_keepalive_seconds` have no counterpart.
        pub fn new(
            miner_hashrate: f32,
            shares_per_minute: f32,
            _enable_vardiff: bool,
            _job_keepalive_seconds: u16,
        ) -> Self {
            Self { miner_hashrate, shares_per_minute }
        }
    }

    /// All of them.
    pub struct TranslatorConfig {
        upstreams: Vec<Upstream>,
        listen: String,
        difficulty: DownstreamDifficultyConfig,
        verifies_payout: bool,
        has_one_channel: bool,
        names_workers: bool,
        monitoring: Option<SocketAddr>,
    }

    /// The extension that names the worker of each share.
    const WORKER_NAMES: u16 = 2;

    impl TranslatorConfig {
        /// Ours speaks version 2, knows one extension, and gives a miner an extranonce2 of the
        /// length that all miners can roll: the other parameters have no counterpart.
        #[allow(clippy::too_many_arguments)]
        pub fn new(
            upstreams: Vec<Upstream>,
            listen_host: String,
            listen_port: u16,
            difficulty: DownstreamDifficultyConfig,
            _max_version: u16,
            _min_version: u16,
            _extranonce_2_bytes: u16,
            verifies_payout: bool,
            has_one_channel: bool,
            supported_extensions: Vec<u16>,
            required_extensions: Vec<u16>,
            monitoring: Option<SocketAddr>,
            _monitoring_refresh_seconds: Option<u64>,
        ) -> Self {
            Self {
                upstreams,
                listen: format!("{listen_host}:{listen_port}"),
                difficulty,
                verifies_payout,
                has_one_channel,
                names_workers: [supported_extensions, required_extensions]
                    .iter()
                    .any(|extensions| extensions.contains(&WORKER_NAMES)),
                monitoring,
            }
        }

        /// Where the settings, what the program says, and nothing else of one translator stand.
        pub(super) fn folder(&self) -> PathBuf {
            std::env::temp_dir().join(format!("translator-{}", self.listen.replace(':', "-")))
        }

        /// Writes what `translator-v1 run --config` reads into `folder`; gives the path.
        pub(super) fn write(&self, folder: &Path) -> PathBuf {
            let DownstreamDifficultyConfig { miner_hashrate, shares_per_minute } = self.difficulty;
            let mut text = format!(
                "[listen]\naddress = \"{}\"\n\
                [vardiff]\nshares_per_minute = {shares_per_minute:?}\nmin_difficulty = 1e-9\n\
                initial_hashrate = {miner_hashrate:?}\n",
                self.listen,
            );
            if let Some(address) = self.monitoring {
                let _ = write!(text, "[health]\naddress = \"{address}\"\n");
            }
            for (index, upstream) in self.upstreams.iter().enumerate() {
                let Upstream { address, authority, user_identity } = upstream;
                let section = if index == 0 { "[upstream]" } else { "[[backup_upstream]]" };
                let _ = write!(
                    text,
                    "{section}\naddress = \"{address}\"\nauthority_key = \"{authority}\"\n\
                    user_identity = \"{user_identity}\"\n",
                );
                if index == 0 {
                    text += &self.channels(user_identity);
                }
            }
            let path = folder.join("translator-v1.toml");
            fs::write(&path, text).expect("the settings are written");
            path
        }

        /// The keys of `[upstream]` that hold for all pools.
        fn channels(&self, user_identity: &str) -> String {
            let channels = if self.has_one_channel { "one" } else { "per-miner" };
            let names_workers = self.names_workers;
            let mut keys = format!("channels = \"{channels}\"\nworker_names = {names_workers}\n");
            if self.verifies_payout {
                let (address, percentage) = promised(user_identity);
                let _ = write!(
                    keys,
                    "expect_payout = \"{address}\"\nexpect_payout_basis_points = {}\n",
                    u16::from(percentage) * 100
                );
            }
            keys
        }
    }

    /// Whom SRI expects to be paid for this name, and how much of the whole.
    fn promised(user_identity: &str) -> (String, u8) {
        match PayoutMode::try_from(user_identity) {
            Ok(PayoutMode::Solo { address, .. }) => (address, 100),
            Ok(PayoutMode::LegacySolo { address, .. }) => (address, 90),
            Ok(PayoutMode::Donate { percentage, address, .. }) => (address, 100 - percentage),
            other => panic!("the suites name whom to pay, not {other:?}"),
        }
    }
}

/// SRI's side of a connection waits at its end, on the only thread that a test has, for whatever it
/// was sent and has not looked at. Their mock sleeps for a second before it looks.
const READ_MAX: Duration = Duration::from_secs(2);

/// Our translator as a process, with the face of SRI's.
#[derive(Clone)]
pub struct TranslatorSv2 {
    config: Arc<TranslatorConfig>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl TranslatorSv2 {
    pub fn new(config: TranslatorConfig) -> Self {
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        Self { config: Arc::new(config), stop, stopped }
    }

    /// Runs until `shutdown`, or until the translator ends by itself.
    pub async fn start(&self) -> std::io::Result<()> {
        let folder = self.config.folder();
        fs::create_dir_all(&folder)?;
        let path = self.config.write(&folder);
        let mut translator = process::started("translator-v1", &path, &folder)?;
        let ended = tokio::select! {
            status = translator.wait() => status.map(|_| ()),
            () = self.stop.cancelled() => {
                silence(translator.id()).await?;
                translator.kill().await
            }
        };
        self.stopped.cancel();
        ended
    }

    /// Ends the translator and waits until it has.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}

/// Holds the process until all that it has sent is read.
async fn silence(process: Option<u32>) -> std::io::Result<()> {
    if let Some(process) = process {
        Command::new("kill").args(["-STOP", &process.to_string()]).status().await?;
        tokio::time::sleep(READ_MAX).await;
    }
    Ok(())
}
