//! The tips that were seen last at all upstreams, and which of them follows which.
//!
//! Pools may mine on different chains: tips are compared only where an upstream was seen to go on
//! from the one to the other, over as many steps as are remembered. Nothing here knows a pool.

use std::collections::VecDeque;
use std::time::Instant;

/// Tips that are remembered; with one more the oldest is forgotten.
const TIPS_MAX: usize = 8;

/// The newest tips of all upstreams.
#[derive(Debug, Default)]
pub(super) struct Tips {
    /// In the order in which they were seen first.
    seen: VecDeque<Tip>,
    chains: u32,
}

/// A tip, and where it stands among others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tip {
    /// Its hash, internal byte order.
    pub(super) hash: [u8; 32],
    /// When it was seen first, at whichever upstream.
    since: Instant,
    /// Tips of different chains say nothing of each other.
    pub(super) chain: u32,
    /// Steps from the first tip of its chain.
    height: u32,
}

impl Tips {
    /// Notes that an upstream shows `hash`, after it has shown `before` on the same connection.
    pub(super) fn note(&mut self, hash: [u8; 32], before: Option<Tip>, now: Instant) -> Tip {
        let before = before.map(|tip| self.present(tip));
        if let Some(known) = self.seen.iter_mut().find(|tip| tip.hash == hash) {
            // One that was seen first by somebody who had missed a step stands higher than he
            // knew. An upstream that goes back to an older tip moves none.
            let is_next = |before: &Tip| before.chain == known.chain && before.since <= known.since;
            if let Some(before) = before.filter(is_next) {
                known.height = known.height.max(before.height.saturating_add(1));
            }
            return *known;
        }
        let (chain, height) = match before {
            Some(before) => (before.chain, before.height.saturating_add(1)),
            None => (self.chains, 0),
        };
        self.chains = self.chains.max(chain.saturating_add(1));
        if self.seen.len() == TIPS_MAX {
            self.seen.pop_front();
        }
        let tip = Tip { hash, since: now, chain, height };
        self.seen.push_back(tip);
        tip
    }

    /// The tip with that hash, if it was seen lately.
    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<Tip> {
        self.seen.iter().find(|known| known.hash == *hash).copied()
    }

    /// The tip as it stands now.
    fn present(&self, tip: Tip) -> Tip {
        self.find(&tip.hash).unwrap_or(tip)
    }

    /// True if `other` is further on the same chain.
    pub(super) fn is_passed(&self, tip: Tip, other: Tip) -> bool {
        let (tip, other) = (self.present(tip), self.present(other));
        tip.chain == other.chain && tip.height < other.height
    }

    /// Since when a tip beyond `tip` is known.
    pub(super) fn passed_since(&self, tip: Tip) -> Option<Instant> {
        let beyond = self.seen.iter().filter(|other| self.is_passed(tip, **other));
        beyond.map(|other| other.since).min()
    }

    /// When each of the tips was seen first.
    pub(super) fn times(&self) -> impl Iterator<Item = Instant> {
        self.seen.iter().map(|tip| tip.since)
    }
}
