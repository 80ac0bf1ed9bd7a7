//! Accepted shares on their way from connections to the ledger, and the word that comes back.
//!
//! Connections hand over batches and get a ticket each; the ledger answers all of them with one
//! watermark: every ticket below it is durable. Nobody routes acknowledgements.

mod earner;
mod entry;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mining::target::Hashes;
use service::clock;
use tokio::sync::{mpsc, watch};

pub use self::earner::{Earner, PAYS_ALL, PAYS_FINDER, PAYS_POOL};
pub use self::entry::{BlockFound, BlockStage, BlockState, Entry, PayoutRecord, Reason};

/// Batches that may wait for the ledger. A connection that finds it full keeps its shares until
/// there is room, and goes on with everything else.
pub(crate) const QUEUE_MAX: usize = 4_096;

/// An accepted share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRecord {
    /// Who is credited.
    pub earner: Arc<Earner>,
    /// With what.
    pub work: Hashes,
    /// The header hash, internal byte order.
    pub hash: [u8; 32],
}

/// What a connection has gathered for the ledger.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the order of their acceptance.
    pub shares: Vec<ShareRecord>,
    /// In the order of their happening.
    pub entries: Vec<Entry>,
}

impl Gathered {
    /// True if there is nothing to hand over.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty() && self.entries.is_empty()
    }
}

/// What is made durable together.
#[derive(Debug)]
pub struct Batch {
    /// What the watermark counts.
    pub ticket: u64,
    /// When it was handed over, milliseconds since 1970.
    pub time_ms: u64,
    /// What it holds.
    pub gathered: Gathered,
}

/// Makes the two ends.
pub fn queue() -> (ShareSender, ShareQueue) {
    let (sender, batches) = mpsc::channel(QUEUE_MAX);
    let durable = watch::Sender::new(0);
    let watermark = Watermark(durable.subscribe());
    let next_ticket = Arc::new(AtomicU64::new(0));
    let sender = ShareSender { batches: sender, next_ticket, watermark };
    (sender, ShareQueue { batches, durable, early: BTreeSet::new() })
}

/// A connection's end.
#[derive(Debug, Clone)]
pub struct ShareSender {
    batches: mpsc::Sender<Batch>,
    next_ticket: Arc<AtomicU64>,
    watermark: Watermark,
}

/// What a connection looks at to know which of its shares are durable.
#[derive(Debug, Clone)]
pub struct Watermark(watch::Receiver<u64>);

impl ShareSender {
    /// Hands over all of `gathered` once there is room, and gives its ticket; `None` if the ledger
    /// is gone. Cancel-safe: dropped before it is done, it has taken nothing.
    pub async fn send(&self, gathered: &mut Gathered) -> Option<u64> {
        let permit = self.batches.reserve().await.ok()?;
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (time_ms, gathered) = (clock::unix_now_milliseconds(), std::mem::take(gathered));
        permit.send(Batch { ticket, time_ms, gathered });
        Some(ticket)
    }

    /// The ledger's word on what was sent.
    pub fn watermark(&self) -> Watermark {
        self.watermark.clone()
    }
}

impl Watermark {
    /// Every ticket below this is durable.
    pub fn durable(&mut self) -> u64 {
        *self.0.borrow_and_update()
    }

    /// Waits until the watermark has moved; never ends if the ledger is gone.
    pub async fn moved(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The ledger's end.
#[derive(Debug)]
pub struct ShareQueue {
    batches: mpsc::Receiver<Batch>,
    durable: watch::Sender<u64>,
    /// Durable tickets above the watermark: a batch may overtake another on its way here.
    early: BTreeSet<u64>,
}

impl ShareQueue {
    /// Waits for a batch, on a thread that may block; `None` once every sender is gone.
    pub fn wait(&mut self) -> Option<Batch> {
        self.batches.blocking_recv()
    }

    /// A batch that is there already.
    pub fn take(&mut self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// The batches with these tickets are durable.
    pub fn publish(&mut self, tickets: &[u64]) {
        self.early.extend(tickets);
        let mut mark = *self.durable.borrow();
        while self.early.remove(&mark) {
            mark += 1;
        }
        self.durable.send_replace(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_waits_for_a_batch_that_was_overtaken() {
        let (sender, mut queue) = queue();
        let mut watermark = sender.watermark();
        queue.publish(&[1, 2]);
        assert_eq!(watermark.durable(), 0);
        queue.publish(&[0]);
        assert_eq!(watermark.durable(), 3);
    }

    #[tokio::test]
    async fn each_batch_gets_a_ticket_of_its_own() {
        let (sender, mut queue) = queue();
        let mut nothing = Gathered::default();
        let tickets = [sender.send(&mut nothing).await, sender.clone().send(&mut nothing).await];
        assert_eq!(tickets, [Some(0), Some(1)]);
        assert!(queue.take().is_some() && queue.take().is_some() && queue.take().is_none());
    }
}
