//! Merkle paths of the coinbase, deepest first.

use crate::hash::double_sha256_of_two_blocks;

/// The path that leads from the coinbase to the merkle root of a block whose other transactions
/// have `txids`, in block order and internal byte order.
pub fn path_of_coinbase(txids: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let mut path = Vec::new();
    // The coinbase's own place is left out: on each level its sibling is the first element.
    let mut level = txids.to_vec();
    while let Some((sibling, rest)) = level.split_first() {
        path.push(*sibling);
        level = rest.chunks(2).map(parent).collect();
    }
    path
}

/// A lone node at the end of a level is paired with itself.
fn parent(pair: &[[u8; 32]]) -> [u8; 32] {
    match pair {
        [left, right] => join(left, right),
        [alone] => join(alone, alone),
        _ => [0; 32],
    }
}

/// Folds `path` over the txid of the coinbase (spec 5.3.16).
pub fn root_from_path(coinbase_txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(coinbase_txid, |left, right| join(&left, right))
}

fn join(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    double_sha256_of_two_blocks(&both)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::{Hash, sha256d};
    use bitcoin::merkle_tree::calculate_root;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn path_and_fold_give_the_root_that_rust_bitcoin_gives(
            leaves in proptest::collection::vec(any::<[u8; 32]>(), 1..40),
        ) {
            let root = calculate_root(leaves.iter().copied().map(sha256d::Hash::from_byte_array));
            let path = path_of_coinbase(&leaves[1..]);
            prop_assert_eq!(root_from_path(leaves[0], &path), root.unwrap().to_byte_array());
        }
    }

    #[test]
    fn a_lone_coinbase_has_an_empty_path() {
        assert!(path_of_coinbase(&[]).is_empty());
    }
}
