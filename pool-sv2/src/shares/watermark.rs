//! The ledger's word to the connections, passed on a few at a time.
//!
//! A commit answers everybody. Told all at once, some hundreds of connections would write their
//! acknowledgements in one burst, and whatever else arrives meanwhile, a refused share or a new
//! channel, would wait behind them. So the connections are in parts, told one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Parts that are told by themselves.
const PARTS: usize = 16;
/// Connections that are told at once, as long as a part holds no more.
const TOLD_AT_ONCE: usize = 32;

/// Hands out watermarks, to each part its turn.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    senders: Arc<[watch::Sender<u64>]>,
    next: Arc<AtomicUsize>,
}

impl Parts {
    pub(super) fn new() -> Self {
        let senders = (0..PARTS).map(|_| watch::Sender::new(0)).collect();
        Self { senders, next: Arc::default() }
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many senders as parts")]
    pub(super) fn watermark(&self) -> Watermark {
        let part = self.next.fetch_add(1, Ordering::Relaxed) % PARTS;
        Watermark(self.senders[part].subscribe())
    }
}

/// What a connection looks at to know which of its shares are durable.
#[derive(Debug)]
pub struct Watermark(watch::Receiver<u64>);

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

/// Moves the watermark, at the ledger's end.
#[derive(Debug)]
pub(super) struct Teller {
    parts: Parts,
    mark: u64,
    /// The next part to be told; [`PARTS`] once all of them know.
    untold: usize,
    /// Durable tickets above the mark: a batch may overtake another on its way here.
    early: BTreeSet<u64>,
}

impl Teller {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, mark: 0, untold: PARTS, early: BTreeSet::new() }
    }

    /// The batches with these tickets are durable. Nobody hears of it before [`Self::tell`].
    pub(super) fn move_past(&mut self, tickets: &[u64]) {
        self.early.extend(tickets);
        while self.early.remove(&self.mark) {
            self.mark += 1;
        }
        self.untold = 0;
    }

    /// Tells the next few connections; false if all of them know.
    pub(super) fn tell(&mut self) -> bool {
        let untold = self.parts.senders.get(self.untold..).unwrap_or_default();
        let mut told = 0;
        for part in untold {
            if told > 0 && told + part.receiver_count() > TOLD_AT_ONCE {
                break;
            }
            told += part.receiver_count();
            part.send_replace(self.mark);
            self.untold += 1;
        }
        !untold.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(watermarks: &mut [Watermark], mark: u64) -> usize {
        watermarks.iter_mut().filter_map(|it| (it.durable() == mark).then_some(())).count()
    }

    #[test]
    fn the_watermark_waits_for_a_batch_that_was_overtaken() {
        let parts = Parts::new();
        let (mut watermark, mut teller) = (parts.watermark(), Teller::new(parts));
        teller.move_past(&[1, 2]);
        assert!(teller.tell());
        assert_eq!(watermark.durable(), 0);
        teller.move_past(&[0]);
        assert!(teller.tell());
        assert_eq!(watermark.durable(), 3);
    }

    #[test]
    fn few_connections_are_told_at_once_and_many_by_and_by() {
        let parts = Parts::new();
        let mut few: Vec<_> = (0..TOLD_AT_ONCE).map(|_| parts.watermark()).collect();
        let mut teller = Teller::new(parts.clone());
        teller.move_past(&[0]);
        assert!(teller.tell());
        assert_eq!(told(&mut few, 1), TOLD_AT_ONCE);
        assert!(!teller.tell());

        let mut many: Vec<_> = (0..10 * TOLD_AT_ONCE).map(|_| parts.watermark()).collect();
        teller.move_past(&[1]);
        let (mut rounds, mut before) = (0, 0);
        while teller.tell() {
            let now = told(&mut many, 2);
            assert!(now - before <= TOLD_AT_ONCE, "{} told at once", now - before);
            (rounds, before) = (rounds + 1, now);
        }
        assert_eq!((rounds, before), (PARTS, many.len()));
    }

    #[test]
    fn who_was_not_told_of_one_commit_hears_of_the_next() {
        let parts = Parts::new();
        let mut all: Vec<_> = (0..10 * TOLD_AT_ONCE).map(|_| parts.watermark()).collect();
        let mut teller = Teller::new(parts);
        teller.move_past(&[0]);
        assert!(teller.tell());
        teller.move_past(&[1]);
        while teller.tell() {}
        assert_eq!(told(&mut all, 2), all.len());
    }
}
