//! Proofs that a miner's work counted for a shared block, as `pool-sv2 payout check` takes them.
//!
//! The tree of a block is folded from the whole log, which takes long: one at a time, and the last
//! few are kept, so that a block's many miners cost no more than one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use service::clock;
use tracing::warn;

use super::{Api, Refusal};
use crate::accounting::bookkeeper::Sources;
use crate::accounting::payouts::ProofFile;
use crate::accounting::recompute::{RecomputeError, work_tree};
use crate::payout::proof::{Node, WorkTree};

/// A log that is read in less time may be read again at once.
const QUICK: Duration = Duration::from_millis(250);
/// Else it is left in peace for so many times as long as it took.
const REST: u32 = 9;
/// Trees that are kept.
const TREES_MAX: usize = 4;

/// The trees that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Trees {
    known: Mutex<VecDeque<Arc<Tree>>>,
    /// Held while one is made. Until then the log is left in peace.
    making: Mutex<Option<Instant>>,
}

/// What proofs of one block are taken from.
#[derive(Debug)]
struct Tree {
    block: BlockHash,
    root: Node,
    tree: WorkTree,
}

impl Api {
    /// `/api/v1/blocks/{hash}/proof/{account}`.
    pub(super) fn proof(&self, block: &str, account: &str) -> Result<serde_json::Value, Refusal> {
        let block: BlockHash = block
            .parse()
            .map_err(|_| Refusal::Wrong("write the block's hash as explorers do".to_owned()))?;
        let tree = self.trees.of(&self.facts.sources, block)?;
        let proof = tree
            .tree
            .proof(account)
            .ok_or(Refusal::NotFound("nobody of that name had work in the window of this block"))?;
        // What is wrong with the books must not leave the house as a proof.
        proof.check(&tree.root).map_err(|error| Refusal::Later(error.to_string()))?;
        let file = ProofFile { block: block.to_string(), root: tree.root, proof };
        serde_json::to_value(&file).map_err(|error| Refusal::Later(error.to_string()))
    }
}

impl Trees {
    fn of(&self, sources: &Sources, block: BlockHash) -> Result<Arc<Tree>, Refusal> {
        if let Some(known) = self.known(block) {
            return Ok(known);
        }
        let Ok(mut rests_until) = self.making.try_lock() else {
            let what = "another proof is being made from the log; ask again in a while";
            return Err(Refusal::Later(what.to_owned()));
        };
        if let Some(known) = self.known(block) {
            return Ok(known);
        }
        let began = clock::now();
        if rests_until.is_some_and(|until| began < until) {
            let what = "the log was read for a proof just now; ask again in a while";
            return Err(Refusal::Later(what.to_owned()));
        }
        let made = work_tree(sources, block).map_err(refusal);
        *rests_until = rest_after(clock::now().saturating_duration_since(began), clock::now());
        let made = made?;
        let (root, tree) =
            made.ok_or(Refusal::NotFound("nobody had worked when this block was shared"))?;
        let tree = Arc::new(Tree { block, root, tree });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.truncate(TREES_MAX - 1);
        known.push_front(Arc::clone(&tree));
        Ok(tree)
    }

    fn known(&self, block: BlockHash) -> Option<Arc<Tree>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|tree| tree.block == block).cloned()
    }
}

/// Whoever asks for one block after the other, or for some that never were, must not keep the disk
/// busy beside the log's writer.
fn rest_after(took: Duration, now: Instant) -> Option<Instant> {
    (took > QUICK).then(|| now + took.saturating_mul(REST))
}

fn refusal(error: RecomputeError) -> Refusal {
    match error {
        RecomputeError::NotShared(_) => Refusal::NotFound("the pool has shared no such block"),
        RecomputeError::SharesGone(_) => Refusal::NotFound(
            "the log of that time was moved away; the pool's operator can make a proof with it",
        ),
        // It may name files.
        error => {
            warn!(%error, "no proof made");
            Refusal::Later("the log cannot be read at the moment".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_took_long_to_read_is_left_in_peace_for_nine_times_as_long() {
        let now = clock::now();
        assert_eq!(rest_after(QUICK, now), None);
        let long = Duration::from_secs(20);
        assert_eq!(rest_after(long, now), Some(now + Duration::from_secs(180)));
    }
}
