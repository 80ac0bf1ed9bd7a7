//! Stands in for SRI's crate `pool_sv2` while its integration suites run, so that their start
//! functions, which stay as they are published, start our pool. `scripts/interop` compiles it with
//! the suites; it is no part of the workspace. Must not answer anything in the pool's place.

mod process;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stratum_apps::config_helpers::CoinbaseRewardScript;
use stratum_apps::key_utils::{Secp256k1PublicKey, Secp256k1SecretKey};
use stratum_apps::tp_type::{BitcoinNetwork, TemplateProviderType};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use config::PoolConfig;

/// SRI's settings, as far as our pool knows them.
pub mod config {
    use super::*;

    /// Where the pool listens, and its text in each coinbase.
    pub struct ConnectionConfig {
        listen: SocketAddr,
        certificate_validity_seconds: u64,
        coinbase_tag: String,
    }

    impl ConnectionConfig {
        pub fn new(listen: SocketAddr, validity_seconds: u64, coinbase_tag: String) -> Self {
            Self { listen, certificate_validity_seconds: validity_seconds, coinbase_tag }
        }
    }

    /// The pool's key pair, of which our pool needs the secret half.
    pub struct AuthorityConfig(Secp256k1SecretKey);

    impl AuthorityConfig {
        pub fn new(_public: Secp256k1PublicKey, secret: Secp256k1SecretKey) -> Self {
            Self(secret)
        }
    }

    /// Where a job declarator would listen; our pool has none.
    pub struct JDSPartialConfig;

    impl JDSPartialConfig {
        pub fn new(_listen: SocketAddr) -> Self {
            Self
        }
    }

    /// All of them.
    pub struct PoolConfig {
        pub(super) template_provider: TemplateProviderType,
        connection: ConnectionConfig,
        authority: AuthorityConfig,
        payout_script: String,
        shares_per_minute: f32,
    }

    impl PoolConfig {
        /// Extensions are negotiated by our pool without settings, and its health is asked for at
        /// another path: `_supported`, `_required` and `_monitoring` have no counterpart.
        #[allow(clippy::too_many_arguments)]
        pub fn new(
            connection: ConnectionConfig,
            template_provider: TemplateProviderType,
            authority: AuthorityConfig,
            payout: CoinbaseRewardScript,
            shares_per_minute: f32,
            _share_batch_size: usize,
            _server_id: u8,
            _supported: Vec<u16>,
            _required: Vec<u16>,
            _monitoring: Option<SocketAddr>,
            _monitoring_refresh_seconds: Option<u64>,
            _job_declarator: Option<JDSPartialConfig>,
        ) -> Self {
            let payout_script = payout.script_pubkey().to_hex_string();
            Self { template_provider, connection, authority, payout_script, shares_per_minute }
        }

        /// Writes what `pool-sv2 run --config` reads into `folder`; gives the path.
        pub(super) fn write(&self, folder: &Path, provider: &str) -> PathBuf {
            let ConnectionConfig { listen, certificate_validity_seconds, coinbase_tag } =
                &self.connection;
            let secret = folder.join("authority.key");
            fs::write(&secret, self.authority.0.to_string()).expect("the key is written");
            let path = folder.join("pool-sv2.toml");
            let text = format!(
                "[listen]\naddress = \"{listen}\"\n\
                [authority]\nsecret_key_file = \"{secret}\"\n\
                certificate_validity_seconds = {certificate_validity_seconds}\n\
                [[template_provider]]\naddress = \"{provider}\"\nunauthenticated = true\n\
                [payout]\nnetwork = \"testnet4\"\nscript = \"{payout_script}\"\n\
                mode = \"{mode}\"\ncoinbase_tag = \"{coinbase_tag}\"\n\
                [vardiff]\nshares_per_minute = {shares_per_minute:?}\nmin_difficulty = 1e-9\n\
                [ledger]\ndirectory = \"{ledger}\"\n",
                secret = secret.display(),
                payout_script = self.payout_script,
                // SRI tells by each name whom a block pays, ours by port and then by name.
                mode = std::env::var("ADIT_PAYOUT_MODE").unwrap_or_else(|_| "pool".to_owned()),
                shares_per_minute = self.shares_per_minute,
                ledger = folder.join("ledger").display(),
            );
            fs::write(&path, text).expect("the settings are written");
            path
        }

        pub(super) fn listen_port(&self) -> u16 {
            self.connection.listen.port()
        }
    }
}

/// Our pool as a process, with the face of SRI's.
#[derive(Clone)]
pub struct PoolSv2 {
    config: Arc<PoolConfig>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl PoolSv2 {
    pub fn new(config: PoolConfig) -> Self {
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        Self { config: Arc::new(config), stop, stopped }
    }

    /// Runs until `shutdown`, or until the pool ends by itself.
    pub async fn start(&self) -> std::io::Result<()> {
        let folder = std::env::temp_dir().join(format!("pool-{}", self.config.listen_port()));
        fs::create_dir_all(&folder)?;
        let provider = &self.config.template_provider;
        let (address, _template_provider) = match provider {
            TemplateProviderType::Sv2Tp { address, .. } => (address.clone(), None),
            TemplateProviderType::BitcoinCoreIpc { network, data_dir, .. } => {
                let data_dir = data_dir.as_deref().expect("the suites name the node's folder");
                let (address, child) = start_template_provider(network, data_dir)?;
                (address, Some(child))
            }
        };
        let path = self.config.write(&folder, &address);
        let mut pool = process::started("pool-sv2", &path, &folder)?;
        let ended = tokio::select! {
            status = pool.wait() => status.map(|_| ()),
            () = self.stop.cancelled() => pool.kill().await,
        };
        self.stopped.cancel();
        ended
    }

    /// Ends the pool and waits until it has.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}

/// For tests whose pool would take templates from the node over IPC: our template-provider in
/// between, by the script that stands at the path of `sv2-tp`.
fn start_template_provider(
    network: &BitcoinNetwork,
    data_dir: &Path,
) -> std::io::Result<(String, Child)> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let network = match network {
        BitcoinNetwork::Signet => "-signet",
        _ => "-regtest",
    };
    let script = std::env::var_os("ADIT_SV2_TP").expect("scripts/interop sets ADIT_SV2_TP");
    let child = Command::new(script)
        .args([network, &format!("-sv2port={port}"), "-templateinterval=5"])
        .arg(format!("-datadir={}", data_dir.display()))
        .kill_on_drop(true)
        .spawn()?;
    Ok((format!("127.0.0.1:{port}"), child))
}
