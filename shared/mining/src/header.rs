//! The block header: 80 bytes, all integers little-endian.

use bytes::BufMut;

use crate::hash::double_sha256_of_two_blocks;

/// A block header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// nVersion.
    pub version: u32,
    /// Hash of the previous block, internal byte order.
    pub prev_hash: [u8; 32],
    /// Merkle root, internal byte order.
    pub merkle_root: [u8; 32],
    /// nTime, seconds since 1970.
    pub ntime: u32,
    /// nBits, the compact target.
    pub nbits: u32,
    /// nNonce.
    pub nonce: u32,
}

impl Header {
    /// Consensus serialisation.
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        let mut rest = bytes.as_mut_slice();
        rest.put_u32_le(self.version);
        rest.put_slice(&self.prev_hash);
        rest.put_slice(&self.merkle_root);
        rest.put_u32_le(self.ntime);
        rest.put_u32_le(self.nbits);
        rest.put_u32_le(self.nonce);
        bytes
    }

    /// The block hash, internal byte order.
    pub fn hash(&self) -> [u8; 32] {
        double_sha256_of_two_blocks(&self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn the_genesis_header_hashes_to_the_genesis_block() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        let header = Header {
            version: 1,
            prev_hash: [0; 32],
            merkle_root: genesis.header.merkle_root.to_byte_array(),
            ntime: 1_231_006_505,
            nbits: 0x1d00_ffff,
            nonce: 2_083_236_893,
        };
        assert_eq!(header.to_bytes().to_vec(), bitcoin::consensus::serialize(&genesis.header));
        assert_eq!(header.hash(), genesis.block_hash().to_byte_array());
    }
}
