//! The settings of the pool: one section a room, each room's own type.

pub mod take_over;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;
use service::authority::AuthorityConfig;
use service::config::{ConfigError, host_and_port};
use service::health::HealthConfig;

use crate::accounting::ledger::SharesConfig;
use crate::downstream::connection::Limits;
use crate::payout::{Payout, PayoutConfig};
use crate::template_receiver::supervise::TemplateProviderConfig;

/// The whole of config/pool-sv2.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where miners connect.
    pub listen: ListenConfig,
    /// The pool's own key.
    pub authority: AuthorityConfig,
    /// Where templates come from; the first that is there is used.
    #[serde(default)]
    pub template_provider: Vec<TemplateProviderConfig>,
    /// Whom blocks pay.
    pub payout: PayoutConfig,
    /// How difficulty follows hashrate.
    #[serde(default)]
    pub vardiff: VardiffConfig,
    /// The share log.
    pub shares: SharesConfig,
    /// What peers may hold.
    #[serde(default)]
    pub limits: Limits,
    /// Where health is asked for.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `HOST:PORT`.
    pub address: String,
}

/// `[vardiff]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VardiffConfig {
    /// Shares per minute and channel.
    pub shares_per_minute: f64,
    /// No target is easier than this difficulty.
    pub min_difficulty: f64,
}

impl Default for VardiffConfig {
    fn default() -> Self {
        Self { shares_per_minute: 6.0, min_difficulty: 1.0 }
    }
}

impl VardiffConfig {
    /// Checked.
    pub fn policy(&self) -> Result<VardiffPolicy, ConfigError> {
        let in_range = |value: f64, max: f64| value.is_finite() && value > 0.0 && value <= max;
        if !in_range(self.shares_per_minute, 10_000.0) {
            let remedy = "must be above 0 and at most 10000; 6 is usual";
            return Err(ConfigError::unusable("vardiff.shares_per_minute", remedy));
        }
        if !in_range(self.min_difficulty, 1e15) {
            let remedy = "must be above 0; 1 suits large miners, 0.001 a CPU";
            return Err(ConfigError::unusable("vardiff.min_difficulty", remedy));
        }
        let Self { shares_per_minute, min_difficulty } = *self;
        Ok(VardiffPolicy { shares_per_minute, min_difficulty })
    }
}

impl Config {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        Payout::from_config(&self.payout, [0; 4])?;
        self.limits.check()?;
        self.vardiff.policy()?;
        if self.template_provider.is_empty() {
            let remedy = "name at least one [[template_provider]]: without it there is no work";
            return Err(ConfigError::unusable("template_provider", remedy));
        }
        for provider in &self.template_provider {
            provider.expected_key()?;
            host_and_port("template_provider.address", &provider.address)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EXAMPLE: &str = include_str!("../../config/pool-sv2.toml");

    fn read(text: &str) -> Config {
        service::config::parse(Path::new("config/pool-sv2.toml"), text, "POOL_SV2", []).unwrap()
    }

    #[test]
    fn the_example_is_well_formed_and_asks_for_a_payout_before_it_is_usable() {
        let error = read(EXAMPLE).check().unwrap_err().to_string();
        assert!(error.contains("payout"), "{error}");
        let with_payout = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        assert!(read(&with_payout).check().is_ok());
    }

    #[test]
    fn an_impossible_share_rate_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, 1e9] {
            let config = VardiffConfig { shares_per_minute: rate, ..VardiffConfig::default() };
            assert!(config.policy().is_err(), "{rate}");
        }
    }
}
