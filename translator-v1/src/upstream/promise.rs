//! Does the coinbase of a job pay what the miners were promised?
//!
//! Who mines in his own name (solo) can see it: the whole coinbase but for the extranonce is in
//! each job. It is checked before anybody mines it. Money is counted in whole satoshis.

use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::consensus::deserialize;
use bitcoin::{Address, ScriptBuf, Transaction};
use wire::sv2::mining::NewExtendedMiningJob;

/// Basis points of a whole.
const WHOLE: u16 = 10_000;

/// What each block has to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Whom, as it was written in the settings.
    address: String,
    script: ScriptBuf,
    /// At least so much of all that the coinbase pays, in basis points.
    basis_points: u16,
}

/// Why a promise is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPromise {
    /// The address cannot be read.
    #[error("no address of any Bitcoin network")]
    NoAddress,
    /// Nothing, or more than all.
    #[error("write basis points from 1 to 10000")]
    NoPart,
}

impl Promise {
    /// At least `basis_points` of what a coinbase pays go to `address`, of whichever network.
    pub fn new(address: &str, basis_points: u16) -> Result<Self, NoPromise> {
        let read = Address::<NetworkUnchecked>::from_str(address);
        let script = read.map_err(|_| NoPromise::NoAddress)?.assume_checked().script_pubkey();
        if !(1..=WHOLE).contains(&basis_points) {
            return Err(NoPromise::NoPart);
        }
        Ok(Self { address: address.to_owned(), script, basis_points })
    }

    /// What is wrong with the coinbase of `job`, in whose middle are so many bytes of extranonce;
    /// none if it pays as promised.
    pub(super) fn breach(
        &self,
        job: &NewExtendedMiningJob,
        extranonce_bytes: usize,
    ) -> Option<String> {
        let mut coinbase = job.coinbase_tx_prefix.as_slice().to_vec();
        coinbase.resize(coinbase.len() + extranonce_bytes, 0);
        coinbase.extend_from_slice(job.coinbase_tx_suffix.as_slice());
        let Ok(coinbase) = deserialize::<Transaction>(&coinbase) else {
            return Some("the coinbase cannot be read".to_owned());
        };
        let sum = |of_all: bool| {
            let outputs = coinbase.output.iter();
            let counted = outputs.filter(|output| of_all || output.script_pubkey == self.script);
            counted.map(|output| u128::from(output.value.to_sat())).sum::<u128>()
        };
        let (paid, all) = (sum(false), sum(true));
        let is_kept = paid * u128::from(WHOLE) >= all * u128::from(self.basis_points);
        (!is_kept).then(|| {
            format!(
                "the coinbase pays {paid} of {all} satoshis to {}, less than {} basis points",
                self.address, self.basis_points
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::consensus::serialize;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, OutPoint, Sequence, TxIn, TxOut, Witness};
    use wire::sv2::codec::{Blob, List};

    use super::*;

    const OURS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2";

    fn job(outputs: &[(&str, u64)]) -> NewExtendedMiningJob {
        let output = |(address, sats): &(&str, u64)| {
            let promise = Promise::new(address, 1).unwrap();
            TxOut { value: Amount::from_sat(*sats), script_pubkey: promise.script }
        };
        let coinbase = serialize(&Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                // A height, and room for an extranonce.
                script_sig: vec![0x51; 20].into(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: outputs.iter().map(output).collect(),
        });
        // Version, count, outpoint, length: 42 bytes; four of the script; twelve of extranonce.
        let (prefix, suffix) = (coinbase[..46].to_vec(), coinbase[58..].to_vec());
        NewExtendedMiningJob {
            channel_id: 1,
            job_id: 1,
            min_ntime: None,
            version: 0,
            version_rolling_allowed: true,
            merkle_path: List::new(Vec::new()).unwrap(),
            coinbase_tx_prefix: Blob::new(prefix).unwrap(),
            coinbase_tx_suffix: Blob::new(suffix).unwrap(),
        }
    }

    #[test]
    fn a_coinbase_has_to_pay_the_promised_part_of_all_that_it_pays() {
        let promise = Promise::new(OURS, 9_800).unwrap();
        let breach = |outputs: &[(&str, u64)]| promise.breach(&job(outputs), 12);
        assert_eq!(breach(&[(OURS, 100)]), None);
        assert_eq!(breach(&[(OTHER, 2), (OURS, 90), (OURS, 8)]), None, "with the pool's fee");
        let said = breach(&[(OTHER, 3), (OURS, 97)]).unwrap();
        assert!(said.contains("97 of 100 satoshis") && said.contains(OURS), "{said}");
        assert!(breach(&[(OTHER, 100)]).is_some());
        assert_eq!(breach(&[(OURS, 21_000_000 * 100_000_000)]), None);
    }

    #[test]
    fn a_coinbase_that_is_none_pays_nobody() {
        let promise = Promise::new(OURS, 1).unwrap();
        assert!(promise.breach(&job(&[(OURS, 100)]), 11).is_some(), "of another length");
    }

    #[test]
    fn a_promise_needs_an_address_and_a_part() {
        assert_eq!(Promise::new("bob", 9_800), Err(NoPromise::NoAddress));
        assert_eq!(Promise::new(OURS, 0), Err(NoPromise::NoPart));
        assert_eq!(Promise::new(OURS, 10_001), Err(NoPromise::NoPart));
    }
}
