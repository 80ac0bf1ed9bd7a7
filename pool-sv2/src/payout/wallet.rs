//! `[payout.wallet]`: when balances are paid from a wallet of the node, and what that may cost.

use serde::Deserialize;
use service::config::ConfigError;

use super::OUTPUT_MIN;

/// Longest name of a wallet.
const NAME_BYTES_MAX: usize = 64;
/// The node estimates fees for at most so many blocks.
const TARGET_BLOCKS_MAX: u16 = 1_008;

/// One wallet and the rules by which it pays.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletConfig {
    /// Its name at the node. It should be used for nothing else.
    pub name: String,
    /// Balances are paid from so many satoshis on.
    #[serde(default = "default_threshold")]
    pub threshold_sat: u64,
    /// How often it is looked whether anybody is to be paid.
    #[serde(default = "default_every")]
    pub every_seconds: u64,
    /// Within how many blocks a transaction should confirm: what the node estimates its fee by.
    #[serde(default = "default_target")]
    pub confirm_within_blocks: u16,
    /// A transaction that would cost more, in satoshis per virtual byte, waits for a better time.
    #[serde(default = "default_fee_rate")]
    pub fee_rate_max: u64,
    /// True to say in the log what would be paid, and to pay nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A thousandth of a bitcoin.
fn default_threshold() -> u64 {
    100_000
}

fn default_every() -> u64 {
    3_600
}

fn default_target() -> u16 {
    36
}

fn default_fee_rate() -> u64 {
    50
}

impl WalletConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let unusable = |key: &str, remedy: String| {
            Err(ConfigError::unusable(format!("payout.wallet.{key}"), remedy))
        };
        let is_plain = |name: &str| name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !is_plain(&self.name) {
            return unusable("name", "letters, digits and - alone, at most 64".to_owned());
        }
        if self.threshold_sat < OUTPUT_MIN {
            let remedy = format!("must be at least {OUTPUT_MIN}; 100000 is usual");
            return unusable("threshold_sat", remedy);
        }
        if self.every_seconds == 0 {
            return unusable("every_seconds", "must be above 0; 3600 is usual".to_owned());
        }
        if !(1..=TARGET_BLOCKS_MAX).contains(&self.confirm_within_blocks) {
            let remedy = format!("must be from 1 to {TARGET_BLOCKS_MAX}; 36 is usual");
            return unusable("confirm_within_blocks", remedy);
        }
        if self.fee_rate_max == 0 {
            return unusable("fee_rate_max", "must be above 0; 50 is usual".to_owned());
        }
        Ok(())
    }
}
