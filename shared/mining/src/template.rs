//! What is mined on: the chain tip and the block template that goes with it.
//!
//! The two travel in one value, so that nobody ever holds a tip without its template.

use bytes::Bytes;

use crate::target::Target;

/// A block template, as the Template Distribution Protocol describes it (spec 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The template provider's name for it.
    pub id: u64,
    /// Header version.
    pub version: u32,
    /// nVersion of the coinbase.
    pub coinbase_version: u32,
    /// First bytes of the scriptSig (BIP34 height).
    pub coinbase_prefix: Bytes,
    /// nSequence of the coinbase input.
    pub coinbase_sequence: u32,
    /// Satoshis for outputs that the pool adds.
    pub value_remaining: u64,
    /// Number of outputs in `outputs`.
    pub outputs_count: u32,
    /// Consensus-serialised outputs that come last.
    pub outputs: Bytes,
    /// nLockTime of the coinbase.
    pub coinbase_locktime: u32,
    /// Merkle path of the coinbase, deepest first, internal byte order.
    pub merkle_path: Vec<[u8; 32]>,
}

/// The block to build on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainTip {
    /// Its hash, internal byte order.
    pub hash: [u8; 32],
    /// Where nTime of the next block starts, seconds since 1970.
    pub header_timestamp: u32,
    /// nBits of the next block.
    pub nbits: u32,
    /// The highest hash that makes a block.
    pub target: Target,
}

impl ChainTip {
    /// True if work for the one is work for the other: same block, same difficulty. The time at
    /// which it was announced does not matter.
    pub fn is_same_work(&self, other: &Self) -> bool {
        (self.hash, self.nbits, self.target) == (other.hash, other.nbits, other.target)
    }
}

impl Template {
    /// The height that the BIP34 prefix states: a script number push, or OP_1 to OP_16.
    pub fn height(&self) -> Option<u32> {
        let (opcode, rest) = self.coinbase_prefix.split_first()?;
        match *opcode {
            small @ 0x51..=0x60 => Some(u32::from(small - 0x50)),
            length @ 1..=4 => {
                let bytes = rest.get(..usize::from(length))?;
                Some(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A template like regtest's: one witness commitment output.
    pub(crate) fn template(id: u64) -> Template {
        let mut outputs = vec![0; 8];
        outputs.extend([38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
        outputs.extend([7; 32]);
        Template {
            id,
            version: 0x2000_0000,
            coinbase_version: 2,
            coinbase_prefix: Bytes::from_static(&[0x03, 0x40, 0xe2, 0x01]),
            coinbase_sequence: u32::MAX,
            value_remaining: 5_000_000_000,
            outputs_count: 1,
            outputs: outputs.into(),
            coinbase_locktime: 0,
            merkle_path: vec![[1; 32], [2; 32]],
        }
    }

    /// A tip that any hash can build on, or none if `nbits` are harder.
    pub(crate) fn tip(hash: u8, nbits: u32) -> ChainTip {
        let target = Target::from_nbits(nbits).unwrap();
        ChainTip { hash: [hash; 32], header_timestamp: 1_700_000_000, nbits, target }
    }

    #[test]
    fn the_height_is_read_from_the_bip34_prefix() {
        assert_eq!(template(1).height(), Some(123_456));
        let low = Template { coinbase_prefix: Bytes::from_static(&[0x51]), ..template(1) };
        assert_eq!(low.height(), Some(1));
        let none = Template { coinbase_prefix: Bytes::new(), ..template(1) };
        assert_eq!(none.height(), None);
    }
}
