//! Follows the pool's blocks by the node's word until they are mature, or out of the chain.
//!
//! What it learns goes into the log, and from there into the books; it decides nothing about money.
//! A block that left the chain is asked for a while longer, for it may come back.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::hashes::Hash;
use rpc::{NOT_FOUND, Rpc, RpcError};
use serde::Deserialize;
use serde_json::json;
use service::clock;
use service::health::Health;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::accounting::bookkeeper::Shelf;
use crate::accounting::books::OpenBlock;
use crate::shares::{BlockStage, BlockState, Entry, Gathered, ShareSender};

/// The node's name in /health.
pub(super) const NODE: &str = "node";
/// Blocks that may wait to be noted as submitted; more than are ever found at once.
pub(super) const SUBMITTED_MAX: usize = 256;
/// Blocks of which it is remembered what was said; more than are open at once.
const TOLD_MAX: usize = 1_024;
/// How long the node may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Confirmations from which on a coinbase can be spent (consensus).
const MATURITY: i64 = 100;
/// A block that the node has never seen is given up when its chain is so much higher: the
/// template provider goes on submitting it until then.
const UNSEEN_DEPTH: u64 = 6;
/// A block that left the chain is asked for until so long after it was found.
const ORPHAN_WATCHED_MS: u64 = 2 * 24 * 3_600 * 1_000;

/// The watch and what it needs.
pub(super) struct BlockWatch {
    /// None where no node is configured: then only what was submitted is noted.
    pub(super) node: Option<Rpc>,
    pub(super) every: Duration,
    pub(super) shelf: Shelf,
    pub(super) shares: ShareSender,
    /// Blocks that went to a template provider.
    pub(super) submitted: mpsc::Receiver<[u8; 32]>,
    pub(super) health: Health,
}

#[derive(Deserialize)]
struct Header {
    /// -1: not in the best chain.
    confirmations: i64,
}

impl BlockWatch {
    /// Watches until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        // What was said of a block and may not be in the books yet.
        let mut told = BTreeMap::new();
        let mut tick = interval_at(Instant::now() + self.every, self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                hash = self.submitted.recv() => match hash {
                    Some(hash) => self.tell(&mut told, hash, BlockStage::Submitted).await,
                    None => return,
                },
                _ = tick.tick(), if self.node.is_some() => self.look(&mut told).await,
            }
        }
    }

    /// Asks for every open block. A node that is away holds nobody up, and is not missed by
    /// miners.
    async fn look(&mut self, told: &mut BTreeMap<[u8; 32], BlockStage>) {
        match self.ask_for_all(told).await {
            Ok(tip) => self.health.found(NODE, format!("its chain is {tip} blocks long")),
            Err(error) => {
                warn!(%error, "the node does not say what became of blocks");
                self.health.lost_spare(NODE, error.to_string());
            }
        }
    }

    /// Gives the height of the node's chain.
    async fn ask_for_all(
        &mut self,
        told: &mut BTreeMap<[u8; 32], BlockStage>,
    ) -> Result<u64, RpcError> {
        let Some(mut node) = self.node.take() else {
            return Ok(0);
        };
        let open = self.shelf.open_blocks();
        told.retain(|hash, _| open.iter().any(|block| block.hash == *hash));
        let tip = node.ask("getblockcount", json!([]), ANSWER_MAX).await;
        let mut asked = tip;
        for block in open.iter().filter(|block| is_watched(block)) {
            let Ok(tip) = asked else {
                break;
            };
            match ask(&mut node, block, tip).await {
                Ok(stage) => {
                    let known = told.get(&block.hash).copied().unwrap_or(block.stage);
                    if let Some(stage) = stage.filter(|stage| *stage != known) {
                        self.tell(told, block.hash, stage).await;
                    }
                }
                Err(error) => asked = Err(error),
            }
        }
        self.node = Some(node);
        asked
    }

    async fn tell(
        &self,
        told: &mut BTreeMap<[u8; 32], BlockStage>,
        hash: [u8; 32],
        stage: BlockStage,
    ) {
        // To hear of a submission late changes nothing.
        if stage == BlockStage::Submitted && told.contains_key(&hash) {
            return;
        }
        if told.len() >= TOLD_MAX {
            told.pop_first();
        }
        told.insert(hash, stage);
        info!(hash = mining::hash::display(&hash), stage = stage.name(), "block followed");
        let entries = vec![Entry::BlockState(BlockState::new(hash, stage))];
        let mut gathered = Gathered { entries, ..Gathered::default() };
        // The ledger is gone only when the program ends; the node is asked again at the next start.
        let _ = self.shares.send(&mut gathered).await;
    }
}

fn is_watched(block: &OpenBlock) -> bool {
    let age = clock::unix_now_milliseconds().saturating_sub(block.found_ms);
    block.stage != BlockStage::Orphaned || age < ORPHAN_WATCHED_MS
}

/// How far the block has come by the node's word; none if it has none yet.
async fn ask(node: &mut Rpc, block: &OpenBlock, tip: u64) -> Result<Option<BlockStage>, RpcError> {
    let hash = bitcoin::BlockHash::from_byte_array(block.hash).to_string();
    let header = node.ask::<Header>("getblockheader", json!([hash]), ANSWER_MAX).await;
    match header {
        Ok(Header { confirmations: MATURITY.. }) => Ok(Some(BlockStage::Mature)),
        Ok(Header { confirmations: 1.. }) => Ok(Some(BlockStage::Accepted)),
        Ok(_) => Ok(Some(BlockStage::Orphaned)),
        Err(RpcError::Node { code: NOT_FOUND, .. }) => {
            let given_up = block.height.map(|height| u64::from(height) + UNSEEN_DEPTH);
            let is_lost = given_up.is_some_and(|given_up| tip >= given_up);
            Ok(is_lost.then_some(BlockStage::Orphaned))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use testkit::stub::{Reply, Stub, error, result};

    use super::*;

    async fn stage(reply: Reply, tip: u64, height: Option<u32>) -> Option<BlockStage> {
        let stub = Stub::start([reply]).await;
        let endpoint = rpc::http::Endpoint::parse(&stub.url()).unwrap();
        let mut node = Rpc::version_2(endpoint);
        let stage = BlockStage::Submitted;
        let block = OpenBlock { hash: [7; 32], height, found_ms: 0, stage };
        ask(&mut node, &block, tip).await.unwrap()
    }

    fn confirmations(count: i64) -> Reply {
        result(&json!({ "confirmations": count }))
    }

    #[tokio::test]
    async fn a_block_is_as_far_as_the_node_says() {
        for (count, expected) in [
            (1, BlockStage::Accepted),
            (99, BlockStage::Accepted),
            (100, BlockStage::Mature),
            (-1, BlockStage::Orphaned),
        ] {
            assert_eq!(stage(confirmations(count), 200, Some(10)).await, Some(expected));
        }
    }

    #[tokio::test]
    async fn a_block_that_the_node_has_never_seen_is_given_up_when_the_chain_has_gone_on() {
        let after = |tip, height| stage(error(-5, "Block not found"), tip, height);
        assert_eq!(after(15, Some(10)).await, None);
        assert_eq!(after(16, Some(10)).await, Some(BlockStage::Orphaned));
        assert_eq!(after(16, None).await, None);
    }
}
