//! Double SHA-256, and how hashes are shown to people.

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use bitcoin::hex::DisplayHex;

/// SHA256(SHA256(bytes)), in internal byte order.
pub fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    sha256d::Hash::hash(bytes).to_byte_array()
}

/// The hasher after some bytes that many inputs share, so that they are hashed once.
#[derive(Clone)]
pub struct Midstate(sha256::HashEngine);

impl Midstate {
    /// Hashes the common start.
    pub fn after(bytes: &[u8]) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(bytes);
        Self(engine)
    }

    /// Double SHA-256 of the common start followed by `parts`.
    pub fn finish(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut engine = self.0.clone();
        for part in parts {
            engine.input(part);
        }
        sha256::Hash::from_engine(engine).hash_again().to_byte_array()
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
    use super::*;

    #[test]
    fn a_midstate_gives_the_hash_of_the_whole() {
        let (start, a, b) = ([7; 100], [8; 12], [9; 61]);
        let whole = [&start[..], &a, &b].concat();
        assert_eq!(Midstate::after(&start).finish(&[&a, &b]), double_sha256(&whole));
    }
}
