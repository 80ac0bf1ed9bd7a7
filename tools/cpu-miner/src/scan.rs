//! Hashing one header over many nonces.
//!
//! The first 64 bytes of a header are hashed once (the midstate); each nonce costs two
//! compressions. `sha2` picks the processor's SHA instructions at run time. Nothing here knows of
//! jobs or pools.

use std::ops::Range;
use std::slice;

use mining::header::Header;
use mining::target::Target;
use sha2::block_api::compress256;

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// One header, ready to be hashed with any nonce.
#[derive(Debug, Clone)]
pub struct Scan {
    /// State after the first 64 bytes.
    midstate: [u32; 8],
    /// Bytes 64..80 of the header with SHA-256's padding; the nonce is at 12..16.
    second_block: [u8; 64],
    /// The inner digest with SHA-256's padding.
    outer_block: [u8; 64],
    target: Target,
    /// The target's most significant 32 bits: nearly every hash fails on these alone.
    target_top: u32,
}

impl Scan {
    /// Prepares `header`, whose nonce is not looked at.
    pub fn new(header: &Header, target: Target) -> Self {
        let bytes = header.to_bytes();
        let (first, rest) = bytes.split_at(64);
        let mut midstate = INITIAL_STATE;
        let mut block = [0; 64];
        block.copy_from_slice(first);
        compress256(&mut midstate, slice::from_ref(&block));
        let [.., a, b, c, d] = target.to_le_bytes();
        Self {
            midstate,
            second_block: padded(rest, 80),
            outer_block: padded(&[0; 32], 32),
            target,
            target_top: u32::from_le_bytes([a, b, c, d]),
        }
    }

    /// The first nonce of `nonces` whose hash meets the target.
    pub fn find(&mut self, nonces: Range<u64>) -> Option<u32> {
        nonces.map_while(|nonce| u32::try_from(nonce).ok()).find(|nonce| self.meets_target(*nonce))
    }

    fn meets_target(&mut self, nonce: u32) -> bool {
        let state = self.hash(nonce);
        let [.., last] = state;
        last.swap_bytes() <= self.target_top && self.target.is_met_by(&digest(&state))
    }

    /// The state after double SHA-256; `digest` makes it the hash in internal byte order.
    #[inline]
    fn hash(&mut self, nonce: u32) -> [u32; 8] {
        let [a, b, c, d] = nonce.to_le_bytes();
        self.second_block[12] = a;
        self.second_block[13] = b;
        self.second_block[14] = c;
        self.second_block[15] = d;
        let mut inner = self.midstate;
        compress256(&mut inner, slice::from_ref(&self.second_block));
        for (to, word) in self.outer_block.chunks_exact_mut(4).zip(inner) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        let mut outer = INITIAL_STATE;
        compress256(&mut outer, slice::from_ref(&self.outer_block));
        outer
    }
}

/// `bytes` as the last block of a message of `message_bytes` (FIPS 180-4, 5.1.1). Callers hold
/// `bytes.len() <= 55`.
fn padded(bytes: &[u8], message_bytes: u64) -> [u8; 64] {
    let mut block = [0; 64];
    let marked = bytes.iter().chain(&[0x80]);
    for (to, from) in block.iter_mut().zip(marked) {
        *to = *from;
    }
    let bits = (message_bytes * 8).to_be_bytes();
    for (to, from) in block.iter_mut().skip(56).zip(bits) {
        *to = from;
    }
    block
}

fn digest(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let flat = state.iter().flat_map(|word| word.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(flat) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of mainnet's genesis block.
    fn genesis() -> Header {
        let mut merkle_root = *b"\x4a\x5e\x1e\x4b\xaa\xb8\x9f\x3a\x32\x51\x8a\x88\xc3\x1b\xc8\x7f\
            \x61\x8f\x76\x67\x3e\x2c\xc7\x7a\xb2\x12\x7b\x7a\xfd\xed\xa3\x3b";
        merkle_root.reverse();
        Header {
            version: 1,
            prev_hash: [0; 32],
            merkle_root,
            ntime: 1_231_006_505,
            nbits: 0x1d00_ffff,
            nonce: 2_083_236_893,
        }
    }

    #[test]
    fn the_nonce_of_the_genesis_block_is_found() {
        let header = genesis();
        let target = Target::from_nbits(header.nbits).unwrap();
        let mut scan = Scan::new(&header, target);
        let nonce = u64::from(header.nonce);
        assert_eq!(scan.find(nonce - 1000..nonce + 1000), Some(header.nonce));
        assert_eq!(scan.find(nonce + 1..nonce + 1000), None);
    }

    #[test]
    fn every_hash_is_the_double_sha256_of_the_header() {
        let mut header = genesis();
        let mut scan = Scan::new(&header, Target::MAX);
        for nonce in [0, 1, 0x0102_0304, u32::MAX] {
            header.nonce = nonce;
            assert_eq!(digest(&scan.hash(nonce)), header.hash());
        }
    }

    #[test]
    fn the_last_nonce_is_reached_and_not_passed() {
        let mut scan = Scan::new(&genesis(), Target::MAX);
        let last = u64::from(u32::MAX);
        assert_eq!(scan.find(last..last + 1), Some(u32::MAX));
        assert_eq!(scan.find(last + 1..last + 2), None);
    }
}
