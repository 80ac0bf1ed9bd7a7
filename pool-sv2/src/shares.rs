//! Accepted shares on their way from connections to the ledger, and the word that comes back.
//!
//! Connections hand over batches and get a ticket each; the ledger answers all of them with one
//! watermark: every ticket below it is durable. Nobody routes acknowledgements.

mod earner;
mod entry;
mod watermark;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mining::memo::Memo;
use mining::target::Hashes;
use service::clock;
use tokio::sync::mpsc;

pub use self::earner::{Earner, PAYS_ALL, PAYS_FINDER, PAYS_POOL, PAYS_SHARES};
pub use self::entry::{BlockFound, BlockStage, BlockState, Entry, PayoutRecord, Reason};
pub use self::watermark::Watermark;
use self::watermark::{Parts, Teller};

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
    /// What blocks among them promise. They live until the ledger takes it all, so that no moment
    /// passes in which a promise neither lives nor stands before whatever is handed over next.
    pub memos: Vec<Memo>,
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
    let (next_ticket, parts) = (Arc::new(AtomicU64::new(0)), Parts::new());
    let sender = ShareSender { batches: sender, next_ticket, parts: parts.clone() };
    (sender, ShareQueue { batches, teller: Teller::new(parts) })
}

/// A connection's end.
#[derive(Debug, Clone)]
pub struct ShareSender {
    batches: mpsc::Sender<Batch>,
    next_ticket: Arc<AtomicU64>,
    parts: Parts,
}

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
        self.parts.watermark()
    }
}

/// The ledger's end.
#[derive(Debug)]
pub struct ShareQueue {
    batches: mpsc::Receiver<Batch>,
    teller: Teller,
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

    /// The batches with these tickets are durable: tells the first connections. The others wait
    /// for [`Self::tell_more`].
    pub fn publish(&mut self, tickets: &[u64]) {
        self.teller.move_past(tickets);
        self.teller.tell();
    }

    /// Tells the next few connections what was published last; false if all of them know.
    pub fn tell_more(&mut self) -> bool {
        self.teller.tell()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_batch_gets_a_ticket_of_its_own() {
        let (sender, mut queue) = queue();
        let mut nothing = Gathered::default();
        let tickets = [sender.send(&mut nothing).await, sender.clone().send(&mut nothing).await];
        assert_eq!(tickets, [Some(0), Some(1)]);
        assert!(queue.take().is_some() && queue.take().is_some() && queue.take().is_none());
    }
}
