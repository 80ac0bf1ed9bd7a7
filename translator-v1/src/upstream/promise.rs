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
/// Where the number of inputs stands: after the version. A witness has its marker there.
const INPUTS_AT: usize = 4;
/// Where the length of the only input's script stands, in one byte: after its outpoint.
const SCRIPT_BYTES_AT: usize = 41;
/// A length from here on is written in more than one byte.
const LONG_SCRIPT: u8 = 0xfd;

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
        if !has_extranonce_in_script(&coinbase, extranonce_bytes) {
            return Some("the extranonce is not in the script of the only input".to_owned());
        }
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

/// True if all bytes of extranonce that follow `prefix` belong to the script of a single input.
/// What stands in them would else be read as outputs, and the pool knows some of them before. With
/// a witness the coinbase is none: its hash is of what is here, and has none.
fn has_extranonce_in_script(prefix: &[u8], extranonce_bytes: usize) -> bool {
    let (inputs, script_bytes) = (prefix.get(INPUTS_AT), prefix.get(SCRIPT_BYTES_AT));
    let (Some(1), Some(&script_bytes)) = (inputs, script_bytes) else { return false };
    let script_end = SCRIPT_BYTES_AT + 1 + usize::from(script_bytes);
    script_bytes < LONG_SCRIPT && prefix.len() + extranonce_bytes <= script_end
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bitcoin::absolute::LockTime;
    use bitcoin::consensus::serialize;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, OutPoint, Sequence, TxIn, TxOut, Witness};
    use wire::sv2::codec::{Blob, List};

    use super::*;

    const OURS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const OTHER: &str = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2";

    fn coinbase(outputs: &[(&str, u64)]) -> Vec<u8> {
        let output = |(address, sats): &(&str, u64)| {
            let promise = Promise::new(address, 1).unwrap();
            TxOut { value: Amount::from_sat(*sats), script_pubkey: promise.script }
        };
        serialize(&Transaction {
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
        })
    }

    /// A job whose extranonce stands in these bytes of `coinbase`.
    fn cut(coinbase: &[u8], extranonce: Range<usize>) -> NewExtendedMiningJob {
        let (prefix, suffix) = (&coinbase[..extranonce.start], &coinbase[extranonce.end..]);
        let (prefix, suffix) = (prefix.to_vec(), suffix.to_vec());
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

    /// Version, count, outpoint, length: 42 bytes; four of the script; twelve of extranonce.
    fn job(outputs: &[(&str, u64)]) -> NewExtendedMiningJob {
        cut(&coinbase(outputs), 46..58)
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

    /// The pool knows its prefix of the extranonce, in which more than nothing stands.
    #[test]
    fn an_output_in_the_extranonce_is_a_breach_however_the_rest_reads() {
        let promise = Promise::new(OURS, 10_000).unwrap();
        let coinbase = coinbase(&[(OURS, 100), (OTHER, 0)]);
        // Up to the script's end 62 bytes, the sequence, the count, and an output of 31.
        let value = 98..106;
        assert_eq!(coinbase[value.clone()], [0; 8], "what is paid to the other");
        assert!(promise.breach(&cut(&coinbase, value), 8).is_some());
        assert_eq!(promise.breach(&cut(&coinbase, 42..62), 20), None, "the whole script");
        assert!(promise.breach(&cut(&coinbase, 42..63), 21).is_some(), "a byte beyond it");
        assert!(promise.breach(&cut(&coinbase, 41..53), 12).is_some(), "its length among it");
        assert!(promise.breach(&cut(&coinbase, 0..12), 12).is_some());
    }

    #[test]
    fn a_coinbase_with_a_witness_or_of_several_inputs_is_a_breach() {
        let promise = Promise::new(OURS, 1).unwrap();
        let good = coinbase(&[(OURS, 100)]);
        let (version, rest) = good.split_at(4);
        let (start, lock_time) = rest.split_at(rest.len() - 4);
        let witness = [version, &[0, 1], start, &[1, 1, 7], lock_time].concat();
        assert!(deserialize::<Transaction>(&witness).is_ok());
        assert!(promise.breach(&cut(&witness, 48..60), 12).is_some());
        let input = &rest[1..62];
        let two = [version, &[2], input, input, &rest[62..]].concat();
        assert!(deserialize::<Transaction>(&two).is_ok());
        assert!(promise.breach(&cut(&two, 46..58), 12).is_some());
    }

    #[test]
    fn a_promise_needs_an_address_and_a_part() {
        assert_eq!(Promise::new("bob", 9_800), Err(NoPromise::NoAddress));
        assert_eq!(Promise::new(OURS, 0), Err(NoPromise::NoPart));
        assert_eq!(Promise::new(OURS, 10_001), Err(NoPromise::NoPart));
    }
}
