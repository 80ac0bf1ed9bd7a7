//! What a template demands of its coinbase: the height (BIP34) and the commitment to the block's
//! witnesses (BIP141).
//!
//! The coinbase itself is the client's to make.

use bytes::{BufMut, Bytes, BytesMut};
use mining::hash::double_sha256;
use mining::merkle;

use crate::block_template::Output;

/// nVersion of the coinbase, as bitcoind's.
pub const COINBASE_VERSION: u32 = 2;

/// nSequence of the coinbase input. Not final, so that nLockTime counts: with nLockTime one below
/// the height no two coinbases can ever be the same transaction. Every chain accepts it today, and
/// where BIP54 comes into force it will be demanded.
pub const COINBASE_SEQUENCE: u32 = 0xffff_fffe;

/// OP_RETURN, a push of 36 bytes, and the magic of a witness commitment.
const WITNESS_COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// The witness reserved value: 32 zero bytes, which is also what TDP assumes (spec 7.2).
pub const WITNESS_RESERVED_VALUE: [u8; 32] = [0; 32];

/// nLockTime of the coinbase; see `COINBASE_SEQUENCE`.
pub fn coinbase_locktime(height: u32) -> u32 {
    height.saturating_sub(1)
}

/// The start of the scriptSig: `height` as the push that BIP34 asks for.
///
/// Up to height 16 this is an opcode alone. The scriptSig must have two bytes at least, so it is
/// followed by OP_0 there, for clients that add nothing (bitcoind does the same).
pub fn bip34_prefix(height: u32) -> Vec<u8> {
    let small = u8::try_from(height).ok().filter(|small| (1..=16).contains(small));
    if let Some(small) = small {
        return vec![0x50 + small, 0x00];
    }
    let mut number = height.to_le_bytes().to_vec();
    while number.last() == Some(&0) {
        number.pop();
    }
    // A script number's highest bit is its sign.
    if number.last().is_some_and(|highest| highest & 0x80 != 0) {
        number.push(0);
    }
    let length = u8::try_from(number.len()).unwrap_or(u8::MAX);
    number.insert(0, length);
    number
}

/// scriptPubKey that commits to the witnesses of a block whose transactions but the coinbase have
/// `wtxids` (the coinbase's own counts as zero).
pub fn witness_commitment(wtxids: &[[u8; 32]]) -> Bytes {
    let root = merkle::root_from_path([0; 32], &merkle::path_of_coinbase(wtxids));
    let mut committed = BytesMut::with_capacity(64);
    committed.put_slice(&root);
    committed.put_slice(&WITNESS_RESERVED_VALUE);
    let mut script = BytesMut::with_capacity(38);
    script.put_slice(&WITNESS_COMMITMENT_START);
    script.put_slice(&double_sha256(&committed));
    script.freeze()
}

/// True for a scriptPubKey in which BIP141 sees a commitment to witnesses.
pub fn is_witness_commitment(script: &[u8]) -> bool {
    script.len() >= 38 && script.starts_with(&WITNESS_COMMITMENT_START)
}

/// An output as it stands in a transaction: value, length of the script, script.
pub fn serialise_output(output: &Output, into: &mut BytesMut) {
    let length = u64::try_from(output.script.len()).unwrap_or(u64::MAX);
    into.put_u64_le(output.value);
    into.put_slice(&bitcoin::consensus::serialize(&bitcoin::VarInt(length)));
    into.put_slice(&output.script);
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::script::Builder;

    use super::*;

    #[test]
    fn the_height_is_pushed_as_bitcoin_script_pushes_numbers() {
        for height in [17, 127, 128, 255, 256, 32_767, 32_768, 500_000, 8_388_608, u32::MAX] {
            let expected = Builder::new().push_int(i64::from(height)).into_script();
            assert_eq!(bip34_prefix(height), expected.as_bytes(), "height {height}");
        }
    }

    #[test]
    fn the_heights_of_known_blocks_have_known_pushes() {
        // Block 227,931, the first after BIP34 was in force everywhere; and 840,000.
        assert_eq!(bip34_prefix(227_931), [0x03, 0x5b, 0x7a, 0x03]);
        assert_eq!(bip34_prefix(840_000), [0x03, 0x40, 0xd1, 0x0c]);
    }

    #[test]
    fn the_lowest_heights_are_an_opcode_and_a_byte_to_fill() {
        assert_eq!(bip34_prefix(1), [0x51, 0x00]);
        assert_eq!(bip34_prefix(16), [0x60, 0x00]);
        assert_eq!(bip34_prefix(17), [0x01, 0x11]);
    }

    #[test]
    fn the_commitment_of_an_empty_block_is_the_known_one() {
        // What every regtest node gives for a block of the coinbase alone.
        let known = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
        assert_eq!(witness_commitment(&[]), hex(known));
    }

    #[test]
    fn the_commitment_agrees_with_rust_bitcoin() {
        let wtxids: Vec<[u8; 32]> = (1..8).map(|byte| [byte; 32]).collect();
        let all = std::iter::once([0; 32]).chain(wtxids.iter().copied());
        let root = bitcoin::merkle_tree::calculate_root(
            all.map(bitcoin::WitnessMerkleNode::from_byte_array),
        );
        let expected =
            bitcoin::Block::compute_witness_commitment(&root.unwrap(), &WITNESS_RESERVED_VALUE);
        assert_eq!(witness_commitment(&wtxids)[6..], expected.to_byte_array());
    }

    fn hex(text: &str) -> Vec<u8> {
        bitcoin::hex::FromHex::from_hex(text).unwrap()
    }
}
