//! The settings of translator-v1: config/translator-v1.toml, key by key.

mod listen;
pub mod take_over;

use std::path::PathBuf;
use std::time::Duration;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;
use service::authority::ExpectedKey;
use service::config::{ConfigError, host_and_port};
use service::health::HealthConfig;

pub use self::listen::{LimitsConfig, ListenConfig, ShutdownConfig, TlsConfig};
use crate::downstream::MinerSettings;
use crate::downstream::resume::Departed;

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where miners connect.
    pub listen: ListenConfig,
    /// Where they connect with TLS.
    pub tls: Option<TlsConfig>,
    /// What peers may hold and do.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What happens at the end.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// The pool.
    pub upstream: UpstreamConfig,
    /// How hard miners' shares are.
    #[serde(default)]
    pub vardiff: VardiffConfig,
    /// Where health is answered.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[upstream]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `HOST:PORT` of an SV2 pool.
    pub address: String,
    /// The pool's authority key, base58check.
    pub authority_key: Option<String>,
    /// A file with that key.
    pub authority_key_file: Option<PathBuf>,
    /// True takes any pool for the right one.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Whom the pool pays.
    pub user_identity: String,
    /// How long miners keep their last work when the pool is gone.
    #[serde(default = "default_work_seconds")]
    pub work_without_upstream_seconds: u32,
    /// How long a share may wait for the pool's verdict.
    #[serde(default = "default_answer_seconds")]
    pub share_answer_seconds: u32,
}

fn default_work_seconds() -> u32 {
    120
}

fn default_answer_seconds() -> u32 {
    30
}

/// `[vardiff]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VardiffConfig {
    /// Shares per minute and miner.
    pub shares_per_minute: f64,
    /// No miner gets an easier difficulty, unless the pool's own is.
    pub min_difficulty: f64,
    /// Hashes per second that a new miner is taken to have.
    pub initial_hashrate: f64,
}

impl Default for VardiffConfig {
    fn default() -> Self {
        Self { shares_per_minute: 6.0, min_difficulty: 0.0001, initial_hashrate: 1e11 }
    }
}

impl Config {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.upstream.expected_key()?;
        self.upstream.host_and_port()?;
        let positive = [
            ("vardiff.shares_per_minute", self.vardiff.shares_per_minute),
            ("vardiff.min_difficulty", self.vardiff.min_difficulty),
            ("vardiff.initial_hashrate", self.vardiff.initial_hashrate),
        ];
        for (field, value) in positive {
            if !value.is_finite() || value <= 0.0 {
                return Err(ConfigError::unusable(field, "write a number above 0"));
            }
        }
        self.listen.check()?;
        self.limits.check()?;
        self.shutdown.elsewhere()?;
        if let Some(tls) = &self.tls {
            tls.read()?;
        }
        if self.upstream.share_answer_seconds == 0 {
            let remedy = "write a number above 0: no pool answers at once";
            return Err(ConfigError::unusable("upstream.share_answer_seconds", remedy));
        }
        Ok(())
    }

    /// What all miners' sessions have in common.
    pub fn miner_settings(&self) -> MinerSettings {
        MinerSettings {
            vardiff: VardiffPolicy {
                shares_per_minute: self.vardiff.shares_per_minute,
                // The first difficulty is the one that the operator reckoned with.
                search_shares_per_minute: self.vardiff.shares_per_minute,
                min_difficulty: self.vardiff.min_difficulty,
            },
            initial_hashrate: self.vardiff.initial_hashrate,
            departed: Departed::default(),
        }
    }
}

impl UpstreamConfig {
    /// The key that the pool must prove to have.
    pub fn expected_key(&self) -> Result<ExpectedKey, ConfigError> {
        ExpectedKey::from_settings(
            "upstream",
            self.authority_key.as_deref(),
            self.authority_key_file.as_deref(),
            self.unauthenticated,
        )
    }

    /// The two parts of the address.
    pub fn host_and_port(&self) -> Result<(String, u16), ConfigError> {
        host_and_port("upstream.address", &self.address)
    }

    /// How long miners keep their last work when the pool is gone.
    pub fn work_without_upstream(&self) -> Duration {
        Duration::from_secs(self.work_without_upstream_seconds.into())
    }

    /// How long a share may wait for the pool's verdict.
    pub fn share_answer_max(&self) -> Duration {
        Duration::from_secs(self.share_answer_seconds.into())
    }
}
