//! The cut of the coinbase against rust-bitcoin and against SRI's job factory and BIP141 strip.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, TxOut};
use channels_sv2::bip141::try_strip_bip141;
use channels_sv2::server::jobs::factory::JobFactory;
use mining::coinbase::{Coinbase, CoinbaseError, EXTRANONCE_BYTES, Output};
use mining::hash::double_sha256;
use mining::template::Template;
use proptest::prelude::*;

use crate::property;
use crate::samples::{POOL_NAME, Sample, TAG, commitment, sample, tx_out};

fn build(sample: &Sample) -> Coinbase {
    Coinbase::build(&sample.template, TAG, &sample.payouts).unwrap()
}

fn template_outputs(template: &Template) -> Vec<TxOut> {
    let count = [u8::try_from(template.outputs_count).unwrap()];
    deserialize(&[&count, template.outputs.as_ref()].concat()).unwrap()
}

/// What rust-bitcoin reads in our whole coinbase is what the template and the payouts say.
fn check_whole(sample: &Sample, extranonce: [u8; 12]) -> Result<(), TestCaseError> {
    let Sample { template, .. } = sample;
    let coinbase = build(sample);
    let whole = coinbase.whole(&extranonce);
    let read: Transaction = deserialize(&whole).unwrap();
    prop_assert_eq!(serialize(&read), whole.as_ref());
    prop_assert!(read.is_coinbase());
    prop_assert_eq!(&read.version.0.to_le_bytes(), &template.coinbase_version.to_le_bytes());
    prop_assert_eq!(read.lock_time.to_consensus_u32(), template.coinbase_locktime);
    prop_assert_eq!(read.input[0].sequence.0, template.coinbase_sequence);
    let tag = [&[u8::try_from(TAG.len()).unwrap()], TAG].concat();
    let push = [u8::try_from(EXTRANONCE_BYTES).unwrap()];
    let script = [&template.coinbase_prefix, tag.as_slice(), &push, &extranonce].concat();
    prop_assert_eq!(read.input[0].script_sig.as_bytes(), script);
    let outputs = [sample.payouts_to_sri(), template_outputs(template)].concat();
    prop_assert_eq!(&read.output, &outputs);
    let committed = outputs.last().is_some_and(|it| it.script_pubkey.is_witness_commitment());
    prop_assert_eq!(coinbase.has_witness, committed);
    let witness: Vec<_> = read.input[0].witness.iter().map(<[u8]>::to_vec).collect();
    prop_assert_eq!(witness, if committed { vec![vec![0; 32]] } else { vec![] });
    let stripped = [&coinbase.prefix[..], &extranonce, &coinbase.suffix].concat();
    prop_assert_eq!(double_sha256(&stripped), read.compute_txid().to_byte_array());
    Ok(())
}

trait WitnessCommitment {
    fn is_witness_commitment(&self) -> bool;
}

impl WitnessCommitment for bitcoin::ScriptBuf {
    /// As consensus looks for it (BIP141), written once more.
    fn is_witness_commitment(&self) -> bool {
        let bytes = self.as_bytes();
        bytes.len() >= 38 && bytes[..6] == [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]
    }
}

#[test]
fn the_whole_coinbase_is_what_template_and_payouts_say() {
    property((sample(), any::<[u8; 12]>()), |(sample, extranonce)| {
        check_whole(&sample, extranonce)
    });
}

#[test]
fn stripped_by_sri_its_coinbase_is_cut_as_ours() {
    property(sample(), |sample| {
        let factory = JobFactory::new(true, Some(POOL_NAME.to_owned()), None);
        let (template, payouts) = (sample.to_sri(true), sample.payouts_to_sri());
        let whole = factory.new_coinbase_tx_prefix_and_suffix(template, payouts, EXTRANONCE_BYTES);
        let (prefix, suffix) = whole.unwrap();
        let (prefix, suffix) = try_strip_bip141(&prefix, &suffix).unwrap().unwrap();
        let ours = build(&sample);
        prop_assert_eq!(ours.prefix.as_ref(), prefix);
        prop_assert_eq!(ours.suffix.as_ref(), suffix);
        Ok(())
    });
}

#[test]
fn sri_finds_nothing_to_strip_in_what_our_miners_get() {
    property(sample(), |sample| {
        let Coinbase { prefix, suffix, .. } = build(&sample);
        prop_assert!(try_strip_bip141(&prefix, &suffix).unwrap().is_none());
        Ok(())
    });
}

/// Spec 3.7.1: what miners hash is the coinbase without its BIP141 fields.
#[test]
fn our_whole_coinbase_stripped_by_sri_is_what_our_miners_get() {
    property((sample(), any::<[u8; 12]>()), |(mut sample, extranonce)| {
        let mut outputs = template_outputs(&sample.template);
        outputs.push(commitment([9; 32]));
        sample.template.outputs = outputs.iter().flat_map(serialize).collect::<Vec<_>>().into();
        sample.template.outputs_count += 1;
        let ours = build(&sample);
        let whole = ours.whole(&extranonce);
        // Marker and flag stand before the extranonce.
        let (before, after) = whole.split_at(ours.prefix.len() + 2);
        let (prefix, suffix) = try_strip_bip141(before, &after[12..]).unwrap().unwrap();
        prop_assert_eq!(ours.prefix.as_ref(), prefix);
        prop_assert_eq!(ours.suffix.as_ref(), suffix);
        Ok(())
    });
}

/// A template with one output, whose script is `script`.
fn with_output(script: Vec<u8>) -> Sample {
    let template = Template {
        id: 1,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: vec![0x03, 0x40, 0xe2, 0x01].into(),
        coinbase_sequence: u32::MAX,
        value_remaining: 0,
        outputs_count: 1,
        outputs: serialize(&tx_out(0, script)).into(),
        coinbase_locktime: 0,
        merkle_path: Vec::new(),
    };
    Sample { template, payouts: Vec::new() }
}

#[test]
fn the_magic_of_a_commitment_within_other_data_is_no_commitment() {
    let magic = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    let within = [&[0x6a, 0x30][..], &magic, &[7; 42]].concat();
    let short = [&magic[..], &[7; 31]].concat();
    let long = [&magic[..], &[7; 40]].concat();
    let plain = commitment([7; 32]).script_pubkey.into_bytes();
    for (script, committed) in [(within, false), (short, false), (long, true), (plain, true)] {
        let sample = with_output(script);
        assert_eq!(build(&sample).has_witness, committed, "{:?}", sample.template.outputs);
        check_whole(&sample, [3; 12]).unwrap();
    }
}

#[test]
fn many_outputs_and_long_scripts_are_counted_as_consensus_does() {
    for (count, length) in [(251, 252), (252, 253), (253, 254), (300, 10_000), (1, 65_536)] {
        let output = Output { value: 1, script: vec![0x51; length].into() };
        let mut sample = with_output(commitment([7; 32]).script_pubkey.into_bytes());
        sample.payouts = vec![output; count];
        sample.template.value_remaining = count.try_into().unwrap();
        check_whole(&sample, [3; 12]).unwrap();
    }
}

#[test]
fn the_script_may_take_100_bytes_and_not_one_more() {
    let sample = with_output(vec![0x51]);
    // Height, OP_PUSHDATA1 with its count, and the push of the extranonce.
    let free = 100 - sample.template.coinbase_prefix.len() - 2 - 1 - EXTRANONCE_BYTES;
    let tag = vec![b'x'; free];
    let coinbase = Coinbase::build(&sample.template, &tag, &[]).unwrap();
    let read: Transaction = deserialize(&coinbase.whole(&[0; 12])).unwrap();
    assert_eq!(read.input[0].script_sig.len(), 100);
    let tag = vec![b'x'; free + 1];
    let refused = Coinbase::build(&sample.template, &tag, &[]);
    assert_eq!(refused, Err(CoinbaseError::ScriptSigTooLong(101)));
}

#[test]
fn the_script_pushes_height_tag_and_extranonce_and_nothing_else() {
    let sample = with_output(vec![0x51]);
    for length in [0, 1, 6, 75, 76, 81] {
        let tag = vec![b'x'; length];
        let coinbase = Coinbase::build(&sample.template, &tag, &[]).unwrap();
        let read: Transaction = deserialize(&coinbase.whole(&[7; 12])).unwrap();
        let pushed = read.input[0].script_sig.instructions().map(|instruction| {
            instruction.unwrap().push_bytes().expect("a push").as_bytes().to_vec()
        });
        let expected = vec![vec![0x40, 0xe2, 0x01], tag, vec![7; 12]];
        assert_eq!(pushed.collect::<Vec<_>>(), expected, "a tag of {length} bytes");
    }
}
