//! A found block goes to the node and to disk at the same moment, and neither waits for the other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use mining::hash;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::node::Node;
use crate::node::submit::{Verdict, submit};
use crate::templates::assemble::FoundBlock;
use crate::vault::{PendingBlock, Vault};

/// Blocks that may wait for the node's verdict at a time. On a real chain there is one; past the
/// limit (a regtest miner at full speed with the node away) a block is only kept on disk, and
/// submitted at the next start.
const IN_FLIGHT_MAX: usize = 256;
/// How long the program waits for verdicts when it ends; what has none is on disk.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Brings blocks to the node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Submissions {
    nodes: Arc<[Node]>,
    vault: Vault,
    tasks: TaskTracker,
    /// Hashes without a verdict, so that two clients who send one block do not submit it twice.
    in_flight: Arc<Mutex<HashSet<String>>>,
}

impl Submissions {
    pub(super) fn new(nodes: Arc<[Node]>, vault: Vault) -> Self {
        Self { nodes, vault, tasks: TaskTracker::new(), in_flight: Arc::default() }
    }

    /// Submits what an earlier run of the program found and could not bring to the node.
    pub(super) async fn resume(&self) {
        let vault = self.vault.clone();
        let pending = spawn_blocking(move || vault.pending()).await;
        match pending.map_err(std::io::Error::other).flatten() {
            Ok(blocks) => {
                for PendingBlock { hash, block_hex } in blocks {
                    info!(%hash, "block of an earlier run found on disk");
                    self.start(hash, None, block_hex);
                }
            }
            Err(error) => error!(%error, "blocks of an earlier run cannot be read"),
        }
    }

    /// Submits a block; returns at once.
    pub(super) fn submit(&self, block: &FoundBlock) {
        let block_hex = block.bytes.to_lower_hex_string();
        self.start(hash::display(&block.hash), Some(block.height), block_hex);
    }

    fn start(&self, hash: String, height: Option<u32>, block_hex: String) {
        let (is_new, is_full) = {
            let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            let is_full = in_flight.len() >= IN_FLIGHT_MAX;
            (!is_full && in_flight.insert(hash.clone()), is_full)
        };
        let this = self.clone();
        if is_full {
            error!(%hash, "too many blocks wait for the node: kept on disk until the next start");
            self.tasks.spawn(async move { this.keep(hash, block_hex.into()).await });
        } else if is_new {
            self.tasks.spawn(async move { this.bring(hash, height, block_hex).await });
        }
    }

    async fn bring(self, hash: String, height: Option<u32>, block_hex: String) {
        let block_hex: Arc<str> = block_hex.into();
        let kept = self.tasks.spawn({
            let (this, hash, block_hex) = (self.clone(), hash.clone(), Arc::clone(&block_hex));
            async move { this.keep(hash, block_hex).await }
        });
        let Some(node) = self.nodes.first() else { return };
        let verdict = submit(node, &hash, &block_hex).await;
        match &verdict {
            Verdict::Accepted => info!(%hash, height, "block accepted"),
            Verdict::Refused(reason) => error!(%hash, height, %reason, "block refused"),
        }
        // The verdict may come before the disk: only what is written can be settled.
        if kept.await.unwrap_or(false) {
            self.settle(&hash, verdict).await;
        }
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }

    /// True if the block is on disk.
    async fn keep(self, hash: String, block_hex: Arc<str>) -> bool {
        let (vault, name) = (self.vault, hash.clone());
        let kept = spawn_blocking(move || vault.keep(&name, &block_hex)).await;
        match kept.map_err(std::io::Error::other).flatten() {
            Ok(()) => true,
            Err(error) => {
                error!(%hash, %error, "found block not written to disk");
                false
            }
        }
    }

    async fn settle(&self, hash: &str, verdict: Verdict) {
        let (vault, name) = (self.vault.clone(), hash.to_owned());
        let settled = spawn_blocking(move || match verdict {
            Verdict::Accepted => vault.settle_accepted(&name),
            Verdict::Refused(_) => vault.settle_refused(&name),
        });
        if let Err(error) = settled.await.map_err(std::io::Error::other).flatten() {
            error!(%hash, %error, "block not settled on disk: it is submitted again at next start");
        }
    }

    /// Waits a little for verdicts that are still missing.
    pub(super) async fn drain(&self) {
        self.tasks.close();
        if timeout(DRAIN_MAX, self.tasks.wait()).await.is_err() {
            error!("blocks without a verdict of the node are submitted again at the next start");
        }
    }
}
