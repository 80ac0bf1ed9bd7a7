//! The coinbase transaction, cut around the extranonce.
//!
//! Miners get it stripped of its BIP141 fields (spec 3.7.1), so that what they hash is the txid; a
//! solution carries it whole (spec 3.7.3). The outputs of the template come last, byte for byte.

use bitcoin::TxOut;
use bitcoin::consensus::Decodable;
use bytes::{BufMut, Bytes, BytesMut};

use crate::template::Template;

/// Bytes of the whole extranonce in every coinbase of this pool: prefix and rollable part together.
///
/// Twelve is what lets a V1 proxy give its miners 4 + 8 (miner-clients rule 17) and keeps the
/// coinbase short for devices with small buffers.
pub const EXTRANONCE_BYTES: usize = 12;

/// The most that consensus lets a scriptSig of a coinbase hold.
const SCRIPT_SIG_BYTES_MAX: usize = 100;

/// Start of the script of a witness commitment: OP_RETURN, push of 36 bytes, magic (BIP141).
const WITNESS_COMMITMENT_MAGIC: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// The least that such a script holds: the magic and a hash.
const WITNESS_COMMITMENT_BYTES: usize = 38;

/// An output that the pool adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Satoshis.
    pub value: u64,
    /// scriptPubKey.
    pub script: Bytes,
}

/// Why no coinbase can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseError {
    /// Prefix, tag and extranonce do not fit.
    #[error("the scriptSig would take {0} bytes, 100 are allowed; shorten the coinbase tag")]
    ScriptSigTooLong(usize),
    /// A transaction without outputs is invalid.
    #[error("the template pays nobody and leaves nothing to pay")]
    NoOutputs,
    /// The pool's outputs do not add up to what the template leaves.
    #[error("outputs of {paid} satoshis where the template leaves {remaining}")]
    WrongValue {
        /// Sum of the pool's outputs.
        paid: u64,
        /// `coinbase_tx_value_remaining`.
        remaining: u64,
    },
}

/// A coinbase transaction but for its extranonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coinbase {
    /// Stripped serialisation up to the extranonce.
    pub prefix: Bytes,
    /// Stripped serialisation after the extranonce.
    pub suffix: Bytes,
    /// True if the outputs hold a witness commitment, so that the whole form carries a witness.
    pub has_witness: bool,
}

impl Coinbase {
    /// Builds the coinbase of `template` with the pool's `tag` and `outputs`, whose values must add
    /// up to what the template leaves, to the satoshi. Outputs of value 0 for nothing are left out
    /// by the caller.
    pub fn build(
        template: &Template,
        tag: &[u8],
        outputs: &[Output],
    ) -> Result<Self, CoinbaseError> {
        check_value(template, outputs)?;
        if outputs.is_empty() && template.outputs_count == 0 {
            return Err(CoinbaseError::NoOutputs);
        }
        let script_start = script_start(template, tag)?;
        let mut prefix = BytesMut::new();
        prefix.put_u32_le(template.coinbase_version);
        prefix.put_u8(1);
        prefix.put_bytes(0, 32);
        prefix.put_u32_le(u32::MAX);
        put_compact_size(&mut prefix, script_start.len() + EXTRANONCE_BYTES);
        prefix.put_slice(&script_start);
        let mut suffix = BytesMut::new();
        suffix.put_u32_le(template.coinbase_sequence);
        let theirs = usize::try_from(template.outputs_count).unwrap_or(usize::MAX);
        put_compact_size(&mut suffix, outputs.len().saturating_add(theirs));
        for output in outputs {
            suffix.put_u64_le(output.value);
            put_compact_size(&mut suffix, output.script.len());
            suffix.put_slice(&output.script);
        }
        suffix.put_slice(&template.outputs);
        suffix.put_u32_le(template.coinbase_locktime);
        let has_witness = holds_witness_commitment(&template.outputs);
        Ok(Self { prefix: prefix.freeze(), suffix: suffix.freeze(), has_witness })
    }

    /// The whole transaction with `extranonce`, with marker, flag and witness where there is a
    /// witness commitment (32 zero bytes are the reserved value that TDP assumes, spec 7.2).
    pub fn whole(&self, extranonce: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        let (version, rest) = self.prefix.split_at_checked(4).unwrap_or_default();
        let end = self.suffix.len().saturating_sub(4);
        let (outputs, locktime) = self.suffix.split_at_checked(end).unwrap_or_default();
        out.put_slice(version);
        if self.has_witness {
            out.put_slice(&[0x00, 0x01]);
        }
        out.put_slice(rest);
        out.put_slice(extranonce);
        out.put_slice(outputs);
        if self.has_witness {
            out.put_slice(&[0x01, 0x20]);
            out.put_bytes(0, 32);
        }
        out.put_slice(locktime);
        out.freeze()
    }
}

fn check_value(template: &Template, outputs: &[Output]) -> Result<(), CoinbaseError> {
    let remaining = template.value_remaining;
    let paid = outputs.iter().fold(0_u64, |sum, output| sum.saturating_add(output.value));
    if paid == remaining { Ok(()) } else { Err(CoinbaseError::WrongValue { paid, remaining }) }
}

/// The scriptSig before the extranonce: BIP34 height, the tag as a push, and the extranonce's push.
fn script_start(template: &Template, tag: &[u8]) -> Result<BytesMut, CoinbaseError> {
    let push = push_of(tag.len());
    let whole = template.coinbase_prefix.len() + push.len() + tag.len() + 1 + EXTRANONCE_BYTES;
    if whole > SCRIPT_SIG_BYTES_MAX {
        return Err(CoinbaseError::ScriptSigTooLong(whole));
    }
    let mut script = BytesMut::from(template.coinbase_prefix.as_ref());
    script.extend_from_slice(&push);
    script.put_slice(tag);
    script.extend_from_slice(&push_of(EXTRANONCE_BYTES));
    Ok(script)
}

/// The opcode that pushes `count` bytes, for as many as fit into a coinbase's scriptSig.
fn push_of(count: usize) -> Vec<u8> {
    const OP_PUSHDATA1: u8 = 0x4c;
    match u8::try_from(count).unwrap_or(u8::MAX) {
        direct @ 0..OP_PUSHDATA1 => vec![direct],
        counted => vec![OP_PUSHDATA1, counted],
    }
}

/// True if one of the consensus-serialised `outputs` is a witness commitment; the magic within
/// other data is none.
fn holds_witness_commitment(mut outputs: &[u8]) -> bool {
    while let Ok(output) = TxOut::consensus_decode(&mut outputs) {
        let script = output.script_pubkey.as_bytes();
        if script.len() >= WITNESS_COMMITMENT_BYTES && script.starts_with(&WITNESS_COMMITMENT_MAGIC)
        {
            return true;
        }
    }
    false
}

/// Bitcoin's variable-length count.
fn put_compact_size(out: &mut BytesMut, count: usize) {
    match u32::try_from(count).unwrap_or(u32::MAX) {
        small @ 0..=252 => out.put_u8(u8::try_from(small).unwrap_or(0)),
        medium @ 253..=65_535 => {
            out.put_u8(0xfd);
            out.put_u16_le(u16::try_from(medium).unwrap_or(0));
        }
        large => {
            out.put_u8(0xfe);
            out.put_u32_le(large);
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Transaction;
    use bitcoin::consensus::deserialize;
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::hash::double_sha256;
    use crate::template::tests::template;

    fn payout(value: u64) -> Output {
        let mut script = vec![0x00, 0x14];
        script.extend([9; 20]);
        Output { value, script: script.into() }
    }

    #[test]
    fn the_stripped_form_hashes_to_the_txid_of_the_whole() {
        let coinbase = Coinbase::build(&template(1), b"/Adit/", &[payout(5_000_000_000)]).unwrap();
        let extranonce = [5; EXTRANONCE_BYTES];
        let stripped = [&coinbase.prefix[..], &extranonce, &coinbase.suffix].concat();
        let whole: Transaction = deserialize(&coinbase.whole(&extranonce)).unwrap();
        assert_eq!(whole.compute_txid().to_byte_array(), double_sha256(&stripped));
        assert_ne!(whole.compute_wtxid().to_byte_array(), whole.compute_txid().to_byte_array());
        assert!(whole.is_coinbase());
        assert_eq!(whole.output.len(), 2);
        assert_eq!(whole.output[0].value.to_sat(), 5_000_000_000);
    }

    #[test]
    fn the_script_starts_with_the_height_and_holds_tag_and_extranonce() {
        let coinbase = Coinbase::build(&template(1), b"/Adit/", &[payout(5_000_000_000)]).unwrap();
        let whole: Transaction = deserialize(&coinbase.whole(&[5; EXTRANONCE_BYTES])).unwrap();
        let script = whole.input[0].script_sig.as_bytes();
        assert!(script.starts_with(&[0x03, 0x40, 0xe2, 0x01, 6]));
        assert!(script.ends_with(&[5; EXTRANONCE_BYTES]));
        assert!(script.windows(6).any(|window| window == b"/Adit/"));
    }

    #[test]
    fn without_a_commitment_the_coinbase_has_no_witness() {
        let bare = Template { outputs: Bytes::new(), outputs_count: 0, ..template(1) };
        let coinbase = Coinbase::build(&bare, b"", &[payout(5_000_000_000)]).unwrap();
        let whole: Transaction = deserialize(&coinbase.whole(&[0; EXTRANONCE_BYTES])).unwrap();
        assert!(whole.input[0].witness.is_empty());
    }

    #[test]
    fn outputs_that_do_not_add_up_are_refused() {
        let error = Coinbase::build(&template(1), b"", &[payout(4_999_999_999)]).unwrap_err();
        let wrong = CoinbaseError::WrongValue { paid: 4_999_999_999, remaining: 5_000_000_000 };
        assert_eq!(error, wrong);
    }

    #[test]
    fn a_template_that_leaves_nothing_takes_no_outputs() {
        let shielded = Template { value_remaining: 0, ..template(1) };
        let coinbase = Coinbase::build(&shielded, b"", &[]).unwrap();
        let whole: Transaction = deserialize(&coinbase.whole(&[0; EXTRANONCE_BYTES])).unwrap();
        assert_eq!(whole.output.len(), 1);
    }

    #[test]
    fn a_coinbase_without_any_output_is_refused() {
        let empty = Template { outputs: Bytes::new(), outputs_count: 0, ..template(1) };
        let empty = Template { value_remaining: 0, ..empty };
        assert_eq!(Coinbase::build(&empty, b"", &[]), Err(CoinbaseError::NoOutputs));
    }

    #[test]
    fn a_tag_that_does_not_fit_is_refused() {
        let error = Coinbase::build(&template(1), &[b'x'; 90], &[payout(5_000_000_000)]);
        assert_eq!(error, Err(CoinbaseError::ScriptSigTooLong(109)));
    }
}
