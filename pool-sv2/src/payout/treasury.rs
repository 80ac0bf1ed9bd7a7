//! Parts of the fee that go elsewhere than to the pool's own destination: a treasury, a donation.
//!
//! They come off the pool's output alone; what miners get does not change by them.

use bitcoin::{Network, ScriptBuf};
use mining::coinbase::Output;
use serde::Deserialize;
use service::config::ConfigError;

use super::identity::read_address;
use super::{ADDRESS_SCRIPT_BYTES_MAX, ADDRESS_SIGOPS_MAX, OUTPUT_MIN, basis_points_of, output};

/// Each takes bytes of every coinbase.
const PARTS_MAX: usize = 8;

/// One of `[[payout.treasury]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreasuryConfig {
    /// Where it goes.
    pub address: String,
    /// How much, in hundredths of a percent of the block; with the others no more than the fee.
    pub basis_points: u16,
}

/// The parts, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Treasury(Vec<(ScriptBuf, u16)>);

impl Treasury {
    pub(super) fn from_config(
        parts: &[TreasuryConfig],
        fee_basis_points: u16,
        network: Network,
    ) -> Result<Self, ConfigError> {
        if parts.len() > PARTS_MAX {
            let remedy = format!("name at most {PARTS_MAX}");
            return Err(ConfigError::unusable("payout.treasury", remedy));
        }
        let sum: u32 = parts.iter().map(|part| u32::from(part.basis_points)).sum();
        if sum > fee_basis_points.into() {
            let remedy = "all parts together must be at most fee_basis_points, of which they are";
            return Err(ConfigError::unusable("payout.treasury", remedy));
        }
        let read = |(index, part): (usize, &TreasuryConfig)| {
            let paid = read_address(&part.address, network).map_err(|error| {
                let field = format!("payout.treasury[{index}].address");
                ConfigError::unusable(field, error.to_string())
            })?;
            Ok((paid.script, part.basis_points))
        };
        Ok(Self(parts.iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// The outputs that take the place of the pool's, of `pools` satoshis, in a block of `value`. A
    /// part that is too small for an output, or more than the pool has, stays in the pool's.
    pub(super) fn outputs(&self, own: &ScriptBuf, pools: u64, value: u64) -> Vec<Output> {
        let (mut outputs, mut left) = (Vec::new(), pools);
        for (script, basis_points) in &self.0 {
            let part = basis_points_of(value, *basis_points);
            let rest = left.saturating_sub(part);
            if part >= OUTPUT_MIN && part <= left && (rest == 0 || rest >= OUTPUT_MIN) {
                outputs.push(output(script, part));
                left = rest;
            }
        }
        outputs.extend((left > 0).then(|| output(own, left)));
        outputs
    }

    /// Serialised bytes of the outputs besides the pool's own.
    pub(super) fn bytes(&self) -> u32 {
        let parts = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        parts.saturating_mul(ADDRESS_SCRIPT_BYTES_MAX + 8 + 1)
    }

    /// Signature operations of them.
    pub(super) fn sigops(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX).saturating_mul(ADDRESS_SIGOPS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn treasury(parts: &[u16], fee: u16) -> Result<Treasury, String> {
        let part = |basis_points: &u16| TreasuryConfig {
            address: ANN.to_owned(),
            basis_points: *basis_points,
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        Treasury::from_config(&parts, fee, Network::Regtest).map_err(|error| error.to_string())
    }

    fn values(parts: &[u16], pools: u64, value: u64) -> Vec<u64> {
        let own = ScriptBuf::from_bytes(vec![0x51]);
        let outputs = treasury(parts, 500).unwrap().outputs(&own, pools, value);
        outputs.into_iter().map(|output| output.value).collect()
    }

    #[test]
    fn parts_of_the_fee_come_off_the_pools_output_alone() {
        assert_eq!(values(&[], 50_000, 1_000_000), [50_000]);
        assert_eq!(values(&[100, 50], 50_000, 1_000_000), [10_000, 5_000, 35_000]);
        assert_eq!(values(&[300, 200], 50_000, 1_000_000), [30_000, 20_000]);
        // Too small for an output; more than the pool has; or hardly anything would be left.
        assert_eq!(values(&[5], 50_000, 1_000_000), [50_000]);
        assert_eq!(values(&[300], 20_000, 1_000_000), [20_000]);
        assert_eq!(values(&[300], 30_500, 1_000_000), [30_500]);
        assert!(values(&[300], 0, 1_000_000).is_empty());
    }

    #[test]
    fn more_than_the_fee_cannot_be_given_away() {
        let error = treasury(&[300, 201], 500).unwrap_err();
        assert!(error.starts_with("payout.treasury: all parts together"), "{error}");
        let error = Treasury::from_config(
            &[TreasuryConfig { address: "bob".to_owned(), basis_points: 1 }],
            1,
            Network::Regtest,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("payout.treasury[0].address: "), "{error}");
    }
}
