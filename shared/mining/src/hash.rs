//! Double SHA-256, and how hashes are shown to people.
//!
//! A pool does little else: a share of an extended channel takes some forty blocks. Nearly all of
//! them are headers and merkle nodes, whose padding is the same each time: it is made when this is
//! compiled, and `sha2` is given whole blocks.

use bitcoin::hex::DisplayHex;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Words of SHA-256 between two blocks.
type State = [u32; 8];
/// The state before the first block (FIPS 180-4, 5.3.3).
const INITIAL_STATE: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA256(SHA256(bytes)), in internal byte order.
pub fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    hash_again(Sha256::digest(bytes).into())
}

/// The same of as many bytes as take two blocks with their padding, which is 56 to 119: headers
/// and merkle nodes.
pub fn double_sha256_of_two_blocks<const N: usize>(bytes: &[u8; N]) -> [u8; 32] {
    let mut blocks = const { padding::<N, 2>() };
    if let Some(message) = blocks.as_flattened_mut().first_chunk_mut() {
        *message = *bytes;
    }
    hash_again(to_bytes(&compressed(&blocks)))
}

fn hash_again(hash: [u8; 32]) -> [u8; 32] {
    let mut blocks = const { padding::<32, 1>() };
    if let Some(message) = blocks.as_flattened_mut().first_chunk_mut() {
        *message = hash;
    }
    to_bytes(&compressed(&blocks))
}

fn compressed(blocks: &[[u8; BLOCK_BYTES]]) -> State {
    let mut state = INITIAL_STATE;
    compress256(&mut state, blocks);
    state
}

/// What stands behind a message of `N` bytes that takes `BLOCKS` blocks with it: a bit, zeros, and
/// the message's length in bits, big-endian (FIPS 180-4, 5.1.1).
#[expect(clippy::indexing_slicing, reason = "it runs when this is compiled, and would fail there")]
const fn padding<const N: usize, const BLOCKS: usize>() -> [[u8; BLOCK_BYTES]; BLOCKS] {
    assert!((N + 8) / BLOCK_BYTES + 1 == BLOCKS, "so many bytes take another number of blocks");
    let bits = N * 8;
    assert!(bits < 1 << 16, "so many bits do not fit into two bytes");
    let [low, high, ..] = bits.to_le_bytes();
    let mut blocks = [[0; BLOCK_BYTES]; BLOCKS];
    blocks[N / BLOCK_BYTES][N % BLOCK_BYTES] = 0x80;
    blocks[BLOCKS - 1][BLOCK_BYTES - 2] = high;
    blocks[BLOCKS - 1][BLOCK_BYTES - 1] = low;
    blocks
}

/// The words of a state are big-endian in the digest.
fn to_bytes(state: &State) -> [u8; 32] {
    let mut bytes = [0; 32];
    let (words, _) = bytes.as_chunks_mut();
    for (to, word) in words.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    bytes
}

/// The hasher after some bytes that many inputs share, so that they are hashed once.
#[derive(Clone)]
pub struct Midstate(Sha256);

impl Midstate {
    /// Hashes the common start.
    pub fn after(bytes: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(bytes))
    }

    /// Double SHA-256 of the common start followed by `parts`.
    pub fn finish(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = self.0.clone();
        for part in parts {
            hasher.update(part);
        }
        hash_again(hasher.finalize().into())
    }
}

/// Hex in display order: the byte-reversed form that nodes and explorers print.
pub fn display(hash: &[u8; 32]) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    reversed.to_lower_hex_string()
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::{Hash, sha256d};
    use proptest::prelude::*;

    use super::*;

    fn oracle(bytes: &[u8]) -> [u8; 32] {
        sha256d::Hash::hash(bytes).to_byte_array()
    }

    proptest! {
        #[test]
        fn hashes_are_those_that_rust_bitcoin_gives(
            whole in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in any::<[proptest::sample::Index; 2]>(),
        ) {
            prop_assert_eq!(double_sha256(&whole), oracle(&whole));
            let [a, b] = cuts.map(|cut| cut.index(whole.len() + 1));
            let (start, rest) = whole.split_at(a.min(b));
            let (middle, end) = rest.split_at(a.abs_diff(b));
            prop_assert_eq!(Midstate::after(start).finish(&[middle, end]), oracle(&whole));
        }

        #[test]
        fn two_blocks_hash_as_any_other_bytes(
            header in any::<[[u8; 16]; 5]>(),
            node in any::<[u8; 32]>(),
        ) {
            let header = header.as_flattened().first_chunk::<80>().unwrap();
            prop_assert_eq!(double_sha256_of_two_blocks(header), oracle(header));
            let node = [node; 2];
            let node = node.as_flattened().first_chunk::<64>().unwrap();
            prop_assert_eq!(double_sha256_of_two_blocks(node), oracle(node));
        }
    }

    #[test]
    fn the_shortest_and_the_longest_message_of_two_blocks_are_padded_right() {
        assert_eq!(double_sha256_of_two_blocks(&[7; 56]), oracle(&[7; 56]));
        assert_eq!(double_sha256_of_two_blocks(&[7; 119]), oracle(&[7; 119]));
    }
}
