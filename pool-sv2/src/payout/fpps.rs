//! `[payout.fpps]`: what a share is worth where shares are paid for at a fixed rate.

use bitcoin::Network;
use bitcoin::constants::SUBSIDY_HALVING_INTERVAL;
use mining::template::{ChainTip, Template};
use serde::Deserialize;
use service::config::ConfigError;

use super::fixed::Rate;
use super::identity::Mode;
use super::{Payout, WHOLE_BASIS_POINTS, basis_points_of};

/// Satoshis that the first blocks make.
const FIRST_SUBSIDY: u64 = 5_000_000_000;
/// Regtest halves sooner.
const REGTEST_HALVING_INTERVAL: u32 = 150;

/// What counts of a block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FppsConfig {
    /// The part of the templates' fees that is credited, in hundredths of a percent.
    pub fees_basis_points: u16,
    /// No more of a template's fees counts, in satoshis: one transaction with an absurd fee would
    /// be owed for all the work of its time.
    pub fees_max_sat: u64,
}

impl Default for FppsConfig {
    fn default() -> Self {
        Self { fees_basis_points: WHOLE_BASIS_POINTS, fees_max_sat: 100_000_000 }
    }
}

impl FppsConfig {
    pub(super) fn checked(&self) -> Result<Self, ConfigError> {
        if self.fees_basis_points > WHOLE_BASIS_POINTS {
            let remedy = "at most 10000, which is all of a template's fees; 0 is none";
            return Err(ConfigError::unusable("payout.fpps.fees_basis_points", remedy));
        }
        Ok(self.clone())
    }
}

impl Payout {
    /// True if a port that pays by `mode`, or as all do, pays for each share.
    pub fn pays_shares(&self, mode: Option<Mode>) -> bool {
        mode.unwrap_or(self.mode) == Mode::Fpps
    }

    /// What work on this template is worth.
    pub fn rate(&self, tip: &ChainTip, template: &Template) -> Rate {
        let value = template.value_remaining;
        let subsidy = template.height().map_or(value, |height| subsidy(height, self.network));
        let subsidy = subsidy.min(value);
        let fees = (value - subsidy).min(self.fpps.fees_max_sat);
        Rate {
            value: subsidy + basis_points_of(fees, self.fpps.fees_basis_points),
            work: tip.target.work(),
            fee_basis_points: self.fee_basis_points,
        }
    }
}

/// What a block of this height makes, in satoshis (consensus).
fn subsidy(height: u32, network: Network) -> u64 {
    let interval = match network {
        Network::Regtest => REGTEST_HALVING_INTERVAL,
        _ => SUBSIDY_HALVING_INTERVAL,
    };
    FIRST_SUBSIDY.checked_shr(height / interval).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_makes_half_of_what_it_did_after_each_interval() {
        for (height, network, expected) in [
            (209_999, Network::Bitcoin, 5_000_000_000),
            (840_000, Network::Bitcoin, 312_500_000),
            (150, Network::Regtest, 2_500_000_000),
            (u32::MAX, Network::Bitcoin, 0),
            (u32::MAX, Network::Regtest, 0),
        ] {
            assert_eq!(subsidy(height, network), expected, "{height}");
        }
    }
}
