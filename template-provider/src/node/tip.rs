//! What is heard of one node's tip, and which signal was the first to tell.
//!
//! Long poll, ZMQ and tip poll race; none of them waits for another. What is said here is a hint:
//! only a template's own `previousblockhash` counts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use service::metrics::{Counter, Labelled};
use tokio::sync::watch;
use tokio::time::Instant;

/// Tips that are remembered, so that a late signal of one is not taken for a new one.
const REMEMBERED_MAX: usize = 16;

/// What tells of a new tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A long poll woke.
    LongPoll,
    /// The node published it.
    Zmq,
    /// The node was asked for its tip.
    TipPoll,
    /// A template that was asked for anyway.
    Refresh,
}

impl Signal {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::LongPoll => "long_poll",
            Self::Zmq => "zmq",
            Self::TipPoll => "tip_poll",
            Self::Refresh => "refresh",
        }
    }
}

/// The tip that the node was last heard to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenTip {
    /// In internal byte order; `None` until the node answered.
    pub hash: Option<[u8; 32]>,
    /// When it was heard of.
    pub heard_at: Option<Instant>,
    /// How often the node came back.
    pub returns: u64,
}

/// One node's tip, for all who watch it.
#[derive(Debug)]
pub struct Sight {
    tip: watch::Sender<SeenTip>,
    /// Tips with the moment at which they were first heard of, the newest last.
    first: Mutex<VecDeque<([u8; 32], Option<Instant>)>>,
    counters: Labelled<Counter>,
}

impl Sight {
    /// Nothing was heard yet. `counters` count who is first, by `Signal::name`.
    pub fn new(counters: Labelled<Counter>) -> Self {
        let tip = watch::Sender::new(SeenTip::default());
        Self { tip, first: Mutex::default(), counters }
    }

    /// For those who wait for another tip.
    pub fn subscribe(&self) -> watch::Receiver<SeenTip> {
        self.tip.subscribe()
    }

    /// The node said that `hash` is its tip, not before `since`.
    pub fn saw(&self, hash: [u8; 32], signal: Signal, since: Instant) {
        self.tip.send_if_modified(|seen| {
            // An answer from before a later signal, which overtook it.
            let is_overtaken = seen.heard_at.is_some_and(|heard_at| heard_at > since);
            if seen.hash == Some(hash) || is_overtaken {
                return false;
            }
            self.forget_if_left(hash, since);
            self.first_heard(hash, signal);
            (seen.hash, seen.heard_at) = (Some(hash), Some(Instant::now()));
            true
        });
    }

    /// The node answers again.
    pub fn returned(&self) {
        self.tip.send_modify(|seen| seen.returns += 1);
    }

    /// A tip that was left and is the tip again, not before `since`, is heard of anew: otherwise
    /// the time until clients have it would be counted from its first life. One that another
    /// signal told of a moment ago is the newest of all.
    fn forget_if_left(&self, hash: [u8; 32], since: Instant) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let was_left = first.back().is_some_and(|(newest, at)| {
            *newest != hash && at.is_some_and(|heard_at| heard_at < since)
        });
        if was_left {
            first.retain(|(known, _)| *known != hash);
        }
    }

    /// When this tip was first heard of: now, if nobody told before. `None` for the first tip of
    /// all, which is no new one, and for one that was left: it may be the tip again, and nobody
    /// told since when.
    pub fn first_heard(&self, hash: [u8; 32], signal: Signal) -> Option<Instant> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.iter().any(|(known, _)| *known == hash) {
            return first.back().filter(|(newest, _)| *newest == hash).and_then(|(_, at)| *at);
        }
        let at = (!first.is_empty()).then(Instant::now);
        if at.is_some() {
            self.counters.with(signal.name()).inc();
        }
        first.push_back((hash, at));
        if first.len() > REMEMBERED_MAX {
            first.pop_front();
        }
        at
    }

    /// The tip that was heard of last, by any signal, and when that was; not known of the first.
    pub fn newest(&self) -> Option<([u8; 32], Option<Instant>)> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).back().copied()
    }
}

#[cfg(test)]
mod tests {
    use service::metrics::Metrics;

    use super::*;

    fn sight() -> Sight {
        Sight::new(Metrics::new("x").counters("tips", "Tips", "signal"))
    }

    #[test]
    fn only_the_first_signal_of_a_tip_is_counted_and_not_that_of_the_first_tip() {
        let sight = sight();
        let now = Instant::now();
        assert_eq!(sight.first_heard([1; 32], Signal::LongPoll), None);
        sight.saw([1; 32], Signal::TipPoll, now);
        sight.saw([2; 32], Signal::Zmq, Instant::now());
        let heard_at = sight.first_heard([2; 32], Signal::LongPoll).unwrap();
        assert_eq!(sight.first_heard([2; 32], Signal::Refresh), Some(heard_at));
        let count = |signal: Signal| sight.counters.with(signal.name()).get();
        assert_eq!(count(Signal::Zmq), 1);
        assert_eq!(
            (count(Signal::LongPoll), count(Signal::TipPoll), count(Signal::Refresh)),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_tip_that_is_the_tip_again_is_heard_of_anew() {
        let sight = sight();
        for tip in [1, 2, 3] {
            sight.saw([tip; 32], Signal::Zmq, Instant::now());
        }
        let third = sight.first_heard([3; 32], Signal::LongPoll).unwrap();
        assert_eq!(sight.first_heard([2; 32], Signal::LongPoll), None, "nobody knows since when");
        sight.saw([2; 32], Signal::TipPoll, Instant::now());
        let again = sight.first_heard([2; 32], Signal::LongPoll).unwrap();
        assert!(again > third, "a reorg");
        assert_eq!(sight.first_heard([2; 32], Signal::Refresh), Some(again));
    }

    #[test]
    fn a_tip_that_another_signal_told_of_is_not_heard_of_anew() {
        let sight = sight();
        sight.saw([1; 32], Signal::TipPoll, Instant::now());
        let asked_at = Instant::now();
        sight.first_heard([2; 32], Signal::LongPoll).unwrap();
        let newest = sight.first_heard([3; 32], Signal::LongPoll).unwrap();
        // The second was the tip when this was asked.
        sight.saw([2; 32], Signal::TipPoll, asked_at);
        sight.saw([3; 32], Signal::TipPoll, Instant::now());
        assert_eq!(sight.first_heard([3; 32], Signal::Refresh), Some(newest));
    }

    #[test]
    fn an_answer_that_a_later_signal_overtook_does_not_lead_back() {
        let sight = sight();
        sight.saw([1; 32], Signal::TipPoll, Instant::now());
        let asked_at = Instant::now();
        sight.saw([2; 32], Signal::Zmq, Instant::now());
        sight.saw([1; 32], Signal::TipPoll, asked_at);
        assert_eq!(sight.subscribe().borrow().hash, Some([2; 32]));
        sight.saw([1; 32], Signal::TipPoll, Instant::now());
        assert_eq!(sight.subscribe().borrow().hash, Some([1; 32]), "a reorg");
    }
}
