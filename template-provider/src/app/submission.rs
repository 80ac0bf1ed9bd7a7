//! A found block goes to the nodes and to disk at the same moment, and neither waits for the other;
//! unless parcels hang on it: then it is on disk first, if the disk is not slow.
//!
//! The vault's record is the log from which everything is done again after a crash: the parcels are
//! in the outbox before the record goes, and only of a block that is in the chain.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use mining::hash;
use service::advice;
use service::backoff::Backoff;
use service::metrics::{Counter, Labelled, Metrics};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::extension::AcceptedBlock;
use crate::node::Node;
use crate::node::submit::{Dispatch, Verdict, submit};
use crate::outbox::store::{Pending, Put, Store as Outbox};
use crate::templates::assemble::FoundBlock;
use crate::vault::{Record, Vault};

/// Blocks that may wait for the nodes' verdict at a time. On a real chain there is one; past the
/// limit (a regtest miner at full speed with the node away) a block is only kept on disk, and
/// submitted at the next start.
const IN_FLIGHT_MAX: usize = 256;
/// How long the program waits for verdicts when it ends; what has none is on disk.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long a block with parcels waits for its record: some writes of a busy disk, and little
/// beside what another miner needs to find a block. A block without its record is worth more than
/// a record without its block: past it the block goes out, and the record is still tried for.
const RECORD_MAX: Duration = Duration::from_millis(250);
/// Waits between attempts to write to a disk that does not take it.
const DISK_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Brings blocks to the nodes. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Submissions {
    nodes: Arc<[Node]>,
    vault: Vault,
    outbox: Outbox,
    tasks: TaskTracker,
    /// Calls to nodes, which may last longer than it takes to a verdict.
    dispatch: Dispatch,
    /// Hashes without a verdict, so that two clients who send one block do not submit it twice.
    in_flight: Arc<Mutex<HashSet<String>>>,
    metrics: BlockMetrics,
}

/// What people watch of found blocks.
#[derive(Clone)]
struct BlockMetrics {
    found: Counter,
    judged: Labelled<Counter>,
}

impl BlockMetrics {
    fn new(metrics: &Metrics) -> Self {
        Self {
            found: metrics.counter("blocks_found", "Blocks that clients found"),
            judged: metrics.counters("blocks_judged", "Blocks that nodes judged", "verdict"),
        }
    }
}

impl Submissions {
    pub(super) fn new(nodes: Arc<[Node]>, vault: Vault, outbox: Outbox, metrics: &Metrics) -> Self {
        let (tasks, dispatch) = (TaskTracker::new(), Dispatch::default());
        let (in_flight, metrics) = (Arc::default(), BlockMetrics::new(metrics));
        Self { nodes, vault, outbox, tasks, dispatch, in_flight, metrics }
    }

    /// Submits what an earlier run of the program found and could not bring to its end.
    pub(super) async fn resume(&self) {
        let vault = self.vault.clone();
        match on_disk(move || vault.pending()).await {
            Ok(blocks) => {
                for record in blocks {
                    info!(hash = %record.hash, "block of an earlier run found on disk");
                    self.start(record);
                }
            }
            Err(error) => error!(code = advice::VAULT_BROKEN,
                %error, "blocks of an earlier run cannot be read"),
        }
    }

    /// Submits a block; returns at once.
    pub(super) fn submit(&self, block: FoundBlock) {
        self.metrics.found.inc();
        self.start(Record {
            hash: hash::display(&block.hash),
            height: Some(block.height),
            block_hex: block.bytes.to_lower_hex_string(),
            parcels: block.parcels,
        });
    }

    /// Submits a block that is on disk, for somebody who waits for the verdict.
    pub(super) async fn submit_again(&self, record: Record) -> Verdict {
        self.clone().bring(Arc::new(record)).await
    }

    fn start(&self, record: Record) {
        let (is_new, is_full) = {
            let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            let is_full = in_flight.len() >= IN_FLIGHT_MAX;
            (!is_full && in_flight.insert(record.hash.clone()), is_full)
        };
        let (this, record) = (self.clone(), Arc::new(record));
        if is_full {
            let hash = &record.hash;
            error!(code = advice::BLOCK_WAITS,
                %hash, "too many blocks wait for the node: kept on disk until the next start");
            self.tasks.spawn(async move { this.writer(&record).write().await });
        } else if is_new {
            self.tasks.spawn(this.bring(record));
        }
    }

    async fn bring(self, record: Arc<Record>) -> Verdict {
        let Record { hash, height, block_hex, parcels } = &*record;
        let writer = self.writer(&record);
        let (is_judged, mut is_written) = (writer.is_judged.clone(), writer.is_written.subscribe());
        let written = self.tasks.spawn(writer.write());
        if !parcels.is_empty() {
            let waited = timeout(RECORD_MAX, is_written.wait_for(|is_written| *is_written)).await;
            if waited.is_err() {
                error!(code = advice::VAULT_BROKEN,
                    %hash, "block with parcels submitted before it is on disk: slow disk");
            }
        }
        let verdict = submit(&self.nodes, hash, block_hex, &self.dispatch).await;
        match &verdict {
            Verdict::Accepted => {
                info!(%hash, height, "block accepted");
                self.metrics.judged.with("accepted").inc();
                self.promote(&record).await;
            }
            Verdict::Refused(reason) => {
                error!(code = advice::BLOCK_REFUSED, %hash, height, %reason, "block refused");
                self.metrics.judged.with("refused").inc();
            }
        }
        is_judged.cancel();
        // The verdict may come before the disk: only what is written can be settled.
        if written.await.unwrap_or(false) {
            self.settle(hash, verdict.clone()).await;
        }
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
        verdict
    }

    /// Puts the parcels of an accepted block into the outbox. Until that is done the block's record
    /// stays, and they are in memory: so it is tried for as long as the program lives.
    async fn promote(&self, record: &Record) {
        let block =
            AcceptedBlock { hash: record.hash.clone(), height: record.height.unwrap_or_default() };
        for parcel in &record.parcels {
            let pending = Pending::new(block.clone(), parcel.clone());
            let mut backoff = Backoff::new(DISK_RETRY.0, DISK_RETRY.1);
            let (hash, key) = (&record.hash, &parcel.key);
            let put = loop {
                let (outbox, pending) = (self.outbox.clone(), pending.clone());
                let error = match on_disk(move || outbox.put(&pending)).await {
                    Ok(put) => break put,
                    Err(error) => error,
                };
                error!(code = advice::OUTBOX_BROKEN,
                    %hash, %key, %error, "parcel of an accepted block not in the outbox yet");
                sleep(backoff.next_delay()).await;
            };
            match put {
                Put::New | Put::Waiting => info!(%hash, %key, "parcel put into the outbox"),
                known => info!(%hash, %key, ?known, "parcel known to the outbox"),
            }
        }
    }

    async fn settle(&self, hash: &str, verdict: Verdict) {
        let (vault, name) = (self.vault.clone(), hash.to_owned());
        let settled = on_disk(move || match verdict {
            Verdict::Accepted => vault.settle_accepted(&name),
            Verdict::Refused(_) => vault.settle_refused(&name),
        });
        match settled.await {
            Ok(()) => debug!(%hash, "block settled on disk"),
            Err(error) => {
                error!(code = advice::VAULT_BROKEN,
                    %hash, %error, "block not settled on disk: submitted again at next start");
            }
        }
    }

    fn writer(&self, record: &Arc<Record>) -> Writer {
        Writer {
            vault: self.vault.clone(),
            record: Arc::clone(record),
            is_judged: CancellationToken::new(),
            is_written: watch::Sender::new(false),
        }
    }

    /// Sees `task` to its end, as far as the program's own end allows: a block may come of it.
    pub(super) fn follow(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits a little for verdicts that are still missing, and for nodes that have not answered.
    pub(super) async fn drain(&self) {
        self.tasks.close();
        let couriers = self.couriers_back(DRAIN_MAX);
        let (is_judged, is_back) = tokio::join!(timeout(DRAIN_MAX, self.tasks.wait()), couriers);
        if is_judged.is_err() {
            error!(
                code = advice::BLOCK_WAITS,
                "blocks without a verdict of the node are submitted again at the next start"
            );
        } else if !is_back {
            warn!("a node did not answer whether it takes a block that another one has taken");
        }
    }

    /// Waits until all nodes have answered what they were asked; false if that takes too long.
    pub(super) async fn couriers_back(&self, at_most: Duration) -> bool {
        self.dispatch.couriers.close();
        timeout(at_most, self.dispatch.couriers.wait()).await.is_ok()
    }
}

/// Writes one record, until the disk takes it or the block is judged and needs none.
struct Writer {
    vault: Vault,
    record: Arc<Record>,
    is_judged: CancellationToken,
    is_written: watch::Sender<bool>,
}

impl Writer {
    /// True if the block is on disk.
    async fn write(self) -> bool {
        let mut backoff = Backoff::new(DISK_RETRY.0, DISK_RETRY.1);
        loop {
            let (vault, record) = (self.vault.clone(), Arc::clone(&self.record));
            let Err(error) = on_disk(move || vault.keep(&record)).await else {
                debug!(hash = %self.record.hash, "found block written to disk");
                self.is_written.send_replace(true);
                return true;
            };
            error!(code = advice::VAULT_BROKEN,
                hash = %self.record.hash, %error, "found block not written to disk");
            tokio::select! {
                () = sleep(backoff.next_delay()) => {}
                () = self.is_judged.cancelled() => return false,
            }
        }
    }
}

async fn on_disk<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(call).await.map_err(io::Error::other).flatten()
}
