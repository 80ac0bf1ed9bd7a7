//! A whole block of a template that nobody has mined, to be shown to the node.
//!
//! Its coinbase is as large as any that clients make: what they reserve is used to the last byte
//! and signature operation. It must be as valid as theirs, or the node's verdict would be about
//! the dummy.

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use bytes::Bytes;
use mining::header::Header;
use mining::merkle;

use super::assemble::serialise;
use super::build::Contents;
use super::coinbase::{
    COINBASE_SEQUENCE, COINBASE_VERSION, WITNESS_RESERVED_VALUE, coinbase_locktime,
};
use super::trim::Room;

/// The longest scriptSig that a coinbase may have.
const SCRIPT_SIG_MAX: usize = 100;
/// OP_PUSHDATA1.
const PUSH_WITH_LENGTH: u8 = 0x4c;
/// OP_CHECKSIG, one signature operation.
const CHECKSIG: u8 = 0xac;
/// OP_CHECKMULTISIG; without the number of keys before it, it counts as 20 signature operations.
const CHECKMULTISIG: u8 = 0xae;
/// Signature operations that `CHECKMULTISIG` counts as.
const MULTISIG_OPERATIONS: usize = 20;
/// OP_TRUE.
const TRUE: u8 = 0x51;
/// Bytes of an output with an empty script.
const EMPTY_OUTPUT: u64 = 9;

/// The block of `contents` with a coinbase whose own outputs use `room` as far as they can: no
/// output has less than nine bytes, and no byte counts as more than 20 signature operations.
/// Without a proof of work.
pub fn proposal(contents: &Contents, ntime: u32, room: Room) -> Bytes {
    let coinbase = coinbase(contents, room);
    let header = Header {
        version: contents.version,
        prev_hash: contents.prev_hash,
        merkle_root: merkle::root_from_path(
            coinbase.compute_txid().to_byte_array(),
            &contents.merkle_path,
        ),
        ntime,
        nbits: contents.nbits,
        nonce: 0,
    };
    serialise(contents, &header, &serialize(&coinbase))
}

fn coinbase(contents: &Contents, room: Room) -> Transaction {
    let mut witness = Witness::new();
    if contents.segwit {
        witness.push(WITNESS_RESERVED_VALUE);
    }
    let mut output = client_outputs(contents, room);
    output.extend(contents.outputs());
    Transaction {
        version: bitcoin::transaction::Version(COINBASE_VERSION.try_into().unwrap_or(i32::MAX)),
        lock_time: bitcoin::absolute::LockTime::from_consensus(coinbase_locktime(contents.height)),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: script_sig(&contents.coinbase_prefix),
            sequence: Sequence(COINBASE_SEQUENCE),
            witness,
        }],
        output,
    }
}

/// The prefix and a push that fills it up.
fn script_sig(prefix: &[u8]) -> ScriptBuf {
    let mut script = prefix.to_vec();
    let filler = SCRIPT_SIG_MAX.saturating_sub(prefix.len() + 2);
    script.push(PUSH_WITH_LENGTH);
    script.push(u8::try_from(filler).unwrap_or(0));
    script.resize(SCRIPT_SIG_MAX.max(script.len()), 0);
    script.into()
}

/// The first takes all that the template leaves. Where it leaves nothing there is nobody to be
/// paid, and chains that demand that may not suffer any other output.
fn client_outputs(contents: &Contents, room: Room) -> Vec<TxOut> {
    if contents.value_remaining == 0 {
        return Vec::new();
    }
    let mut value = contents.value_remaining;
    let mut operations = usize::from(room.output_sigops);
    let lengths = script_lengths(room.output_bytes.into());
    let output = |length| TxOut {
        value: Amount::from_sat(std::mem::take(&mut value)),
        script_pubkey: script(length, &mut operations),
    };
    lengths.into_iter().map(output).collect()
}

/// Scripts for outputs that take `bytes` together, the longest first. Few lengths cannot be had
/// with one output, for the number before the script grows by two bytes at a time.
fn script_lengths(bytes: u64) -> Vec<u64> {
    let fitting = |bytes: u64| {
        let longest = bytes.checked_sub(EMPTY_OUTPUT)?;
        let shorter = longest.saturating_sub(8)..=longest;
        shorter.rev().find(|length| output_bytes(*length) == bytes)
    };
    match (fitting(bytes), bytes.checked_sub(EMPTY_OUTPUT).and_then(fitting)) {
        (Some(one), _) => vec![one],
        (None, Some(first)) => vec![first, 0],
        (None, None) => Vec::new(),
    }
}

/// Bytes of an output whose script has this length.
fn output_bytes(script: u64) -> u64 {
    let number = u64::try_from(bitcoin::VarInt(script).size()).unwrap_or(u64::MAX);
    script.saturating_add(number).saturating_add(8)
}

/// A script with as many of the signature operations as it can hold; they are taken from
/// `operations`.
fn script(length: u64, operations: &mut usize) -> ScriptBuf {
    let length = usize::try_from(length).unwrap_or(0);
    let multiple = (*operations / MULTISIG_OPERATIONS).min(length);
    let single = (*operations % MULTISIG_OPERATIONS).min(length - multiple);
    *operations -= multiple * MULTISIG_OPERATIONS + single;
    let mut script = vec![CHECKMULTISIG; multiple];
    script.resize(multiple + single, CHECKSIG);
    script.resize(length, TRUE);
    script.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_template::{BlockTemplate, Output};
    use crate::templates::build::build;
    use crate::templates::samples::{none, offer, transaction};
    use crate::templates::trim::Load;

    fn proposed(contents: &Contents, room: Room) -> bitcoin::Block {
        bitcoin::consensus::deserialize(&proposal(contents, 1_700_000_000, room)).unwrap()
    }

    fn contents() -> Contents {
        let given_outputs = vec![Output::valueless(vec![0x6a, 1])];
        let offer = offer(&[transaction(1, &[], 500, 400, 0)]);
        build(&BlockTemplate { given_outputs, ..offer }, &none()).unwrap()
    }

    #[test]
    fn it_is_a_whole_block_but_for_the_work() {
        let contents = contents();
        let block = proposed(&contents, Room { output_bytes: 100, output_sigops: 4 });
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert_eq!(block.bip34_block_height(), Ok(200));
        assert_eq!(block.header.time, 1_700_000_000);
        let coinbase = &block.txdata[0];
        assert_eq!(coinbase.input[0].script_sig.len(), 100);
        assert_eq!(coinbase.output[0].value.to_sat(), contents.value_remaining);
        assert_eq!(coinbase.output[1..], contents.outputs());
    }

    #[test]
    fn what_clients_reserve_is_used_to_the_last_byte_and_signature_operation() {
        let contents = contents();
        let near = |bytes: u32| bytes - 20..bytes + 20;
        for output_bytes in (9..600).chain(near(65_546)) {
            let room = Room { output_bytes, output_sigops: 4 };
            let block = proposed(&contents, room);
            let own = contents.outputs().len();
            let outputs = &block.txdata[0].output;
            let outputs = &outputs[..outputs.len() - own];
            let loads = outputs.iter().map(|output| Load::of_output(&output.script_pubkey));
            let load = loads.fold(Load::default(), Load::plus);
            assert_eq!(load.weight, room.load().weight, "{output_bytes} bytes");
            if output_bytes > 20 {
                assert_eq!(load.sigops, room.load().sigops, "{output_bytes} bytes");
            }
        }
    }

    #[test]
    fn more_operations_than_bytes_are_had_by_multisig() {
        let mut left = 20_000;
        let script = script(1100, &mut left);
        assert_eq!((script.count_sigops_legacy(), left), (20_000, 0));
        let mut left = 20_019;
        assert_eq!(super::script(1018, &mut left).count_sigops_legacy(), 20_018);
        assert_eq!(left, 1);
    }

    #[test]
    fn where_nothing_is_left_there_is_no_output_but_the_templates() {
        let contents = Contents { value_remaining: 0, ..contents() };
        let block = proposed(&contents, Room { output_bytes: 100, output_sigops: 4 });
        assert_eq!(block.txdata[0].output, contents.outputs());
    }
}
