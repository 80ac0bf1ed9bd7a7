//! The settings of translator-v1: config/translator-v1.toml, key by key.

mod explain;
mod listen;
pub mod take_over;
mod upstream;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;
use service::config::ConfigError;
use service::health::HealthConfig;

pub use self::listen::{LimitsConfig, ListenConfig, ShutdownConfig, TlsConfig};
pub use self::upstream::{BackupConfig, UpstreamConfig};
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
    /// Other pools, best first, for when it gives no work.
    #[serde(default)]
    pub backup_upstream: Vec<BackupConfig>,
    /// How hard miners' shares are.
    #[serde(default)]
    pub vardiff: VardiffConfig,
    /// Where health is answered.
    #[serde(default)]
    pub health: HealthConfig,
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
        self.upstreams()?;
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
            channels: self.upstream.channels,
            answers: self.upstream.answers,
            lines_per_second_max: self.limits.lines_per_second_max,
            departed: Departed::default(),
        }
    }
}
