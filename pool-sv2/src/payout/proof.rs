//! The proof that a miner's work was counted: a Merkle tree whose nodes carry sums of work.
//!
//! The root commits to who was credited with what, and to the sum of all: whoever checks that his
//! own leaf is in it knows that his work counts in full, and that no work was added to the sum
//! beside it without an account. Siblings on his way are hashes and sums; they name nobody. Pure.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use mining::target::Hashes;
use serde::{Deserialize, Serialize};

/// Set before what is hashed, so that no leaf can be taken for a node of the tree.
const LEAF: &[u8] = b"adit-work-leaf";
const NODE: &[u8] = b"adit-work-node";
/// Steps of a proof: more accounts than there are atoms have no longer one.
const STEPS_MAX: usize = 256;

/// A node of the tree, the root among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// SHA-256 over what is below, in hex where people see it.
    #[serde(with = "text")]
    pub hash: sha256::Hash,
    /// The work of all accounts below, in hashes.
    #[serde(with = "text")]
    pub work: Hashes,
}

/// A sibling on the way from a leaf to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It stands to the left of what is proved.
    Left(Node),
    /// It stands to the right.
    Right(Node),
}

/// Shows that an account's work is in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Whose work.
    pub account: String,
    /// How much, in hashes.
    #[serde(with = "text")]
    pub work: Hashes,
    /// From the leaf to the root.
    pub steps: Vec<Step>,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The sums are more than there can be.
    #[error("the proof's sums of work overflow: it was not made by a pool")]
    Overflow,
    /// Longer than any tree is high.
    #[error("the proof has more steps than any tree has levels")]
    TooLong,
    /// It is another root.
    #[error("account, work and steps do not lead to this root")]
    OtherRoot,
}

impl Proof {
    /// Fails unless this account's work is in `root`.
    pub fn check(&self, root: &Node) -> Result<(), ProofError> {
        if self.steps.len() > STEPS_MAX {
            return Err(ProofError::TooLong);
        }
        let mut node = leaf(&self.account, self.work);
        for step in &self.steps {
            node = match step {
                Step::Left(sibling) => join(sibling, &node),
                Step::Right(sibling) => join(&node, sibling),
            }
            .ok_or(ProofError::Overflow)?;
        }
        if node == *root { Ok(()) } else { Err(ProofError::OtherRoot) }
    }
}

/// The tree over accounts and their work.
#[derive(Debug, Clone)]
pub struct WorkTree {
    leaves: Vec<(String, Hashes)>,
    /// From the leaves to the root. A node without a sibling goes up as it is.
    levels: Vec<Vec<Node>>,
}

impl WorkTree {
    /// Builds it, in the order of the accounts' names; `None` for no account, or for more work than
    /// 2^128 hashes.
    pub fn new(accounts: impl IntoIterator<Item = (String, Hashes)>) -> Option<Self> {
        let mut leaves: Vec<_> = accounts.into_iter().collect();
        leaves.sort();
        let mut level: Vec<_> = leaves.iter().map(|(account, work)| leaf(account, *work)).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above: Option<Vec<_>> = level.chunks(2).map(parent).collect();
            levels.push(std::mem::replace(&mut level, above?));
        }
        levels.push(level);
        (!leaves.is_empty()).then_some(Self { leaves, levels })
    }

    /// What is published.
    pub fn root(&self) -> Option<Node> {
        self.levels.last()?.first().copied()
    }

    /// The proof for one account; `None` if it is not in the tree.
    pub fn proof(&self, account: &str) -> Option<Proof> {
        let mut index =
            self.leaves.binary_search_by(|(name, _)| name.as_str().cmp(account)).ok()?;
        let (account, work) = self.leaves.get(index)?.clone();
        let mut steps = Vec::new();
        for level in &self.levels {
            let sibling = level.get(index ^ 1).copied();
            steps.extend(sibling.map(|node| match index % 2 {
                0 => Step::Right(node),
                _ => Step::Left(node),
            }));
            index /= 2;
        }
        Some(Proof { account, work, steps })
    }
}

fn leaf(account: &str, work: Hashes) -> Node {
    Node { hash: hash(LEAF, &[&work.0.to_le_bytes(), account.as_bytes()]), work }
}

fn parent(children: &[Node]) -> Option<Node> {
    match children {
        [left, right] => join(left, right),
        [alone] => Some(*alone),
        _ => None,
    }
}

fn join(left: &Node, right: &Node) -> Option<Node> {
    let work = Hashes(left.work.0.checked_add(right.work.0)?);
    let side = |node: &Node| [&node.hash.to_byte_array()[..], &node.work.0.to_le_bytes()].concat();
    Some(Node { hash: hash(NODE, &[&side(left), &side(right)]), work })
}

/// SHA-256 over the parts; numbers among them are little-endian.
fn hash(tag: &[u8], parts: &[&[u8]]) -> sha256::Hash {
    let mut engine = sha256::Hash::engine();
    engine.input(tag);
    parts.iter().for_each(|part| engine.input(part));
    sha256::Hash::from_engine(engine)
}

/// Hashes as hex and work as decimal text: JSON numbers lose the digits of large integers in many
/// readers.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        it: &impl Display,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(it)
    }

    pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(count: u32) -> WorkTree {
        WorkTree::new((0..count).map(|id| (format!("account {id}"), Hashes(u128::from(id) + 1))))
            .unwrap()
    }

    #[test]
    fn no_account_has_no_tree() {
        assert!(WorkTree::new([]).is_none());
    }

    #[test]
    fn more_work_than_can_be_is_refused() {
        let huge = |name: &str| (name.to_owned(), Hashes(u128::MAX));
        assert!(WorkTree::new([huge("a"), huge("b")]).is_none());
    }

    #[test]
    fn the_root_of_one_account_is_its_leaf() {
        let root = tree(1).root().unwrap();
        // printf 'adit-work-leaf\1\0…(16 bytes)account 0' | sha256sum
        assert_eq!(root.work, Hashes(1));
        assert_eq!(root, leaf("account 0", Hashes(1)));
        tree(1).proof("account 0").unwrap().check(&root).unwrap();
    }

    #[test]
    fn a_proof_survives_json() {
        let proof = tree(5).proof("account 3").unwrap();
        let text = serde_json::to_string(&proof).unwrap();
        assert!(text.contains("\"work\":\"4\""), "{text}");
        assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
    }

    #[test]
    fn an_endless_proof_is_refused() {
        let mut proof = tree(2).proof("account 0").unwrap();
        let step = *proof.steps.first().unwrap();
        proof.steps = vec![step; STEPS_MAX + 1];
        assert_eq!(proof.check(&tree(2).root().unwrap()), Err(ProofError::TooLong));
    }

    proptest! {
        #[test]
        fn each_account_can_prove_its_work_and_no_other(count in 1..70_u32, id in 0..70_u32) {
            let tree = tree(count);
            let root = tree.root().unwrap();
            prop_assert_eq!(root.work.0, u128::from(count) * (u128::from(count) + 1) / 2);
            let Some(proof) = tree.proof(&format!("account {id}")) else {
                prop_assert!(id >= count);
                return Ok(());
            };
            prop_assert_eq!(proof.check(&root), Ok(()));
            let more = Proof { work: proof.work.plus(Hashes(1)), ..proof.clone() };
            prop_assert_eq!(more.check(&root), Err(ProofError::OtherRoot));
            let other = Proof { account: "mallory".to_owned(), ..proof };
            prop_assert_eq!(other.check(&root), Err(ProofError::OtherRoot));
        }

        #[test]
        fn a_sum_on_the_way_that_is_not_the_trees_leads_elsewhere(count in 2..70_u32) {
            let tree = tree(count);
            let mut proof = tree.proof("account 0").unwrap();
            if let Some(Step::Right(node)) = proof.steps.first_mut() {
                node.work = Hashes(0);
            }
            prop_assert_eq!(proof.check(&tree.root().unwrap()), Err(ProofError::OtherRoot));
        }
    }
}
