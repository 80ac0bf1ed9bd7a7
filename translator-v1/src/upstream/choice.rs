//! Which of several upstreams is mined on: the best one that gives work of the newest tip.
//!
//! A state machine without I/O. It must not flap: a better upstream is returned to only once it has
//! given work of the newest tip for a while, and for longer with each time that it was lost. One is
//! late only if another was seen to go on from the tip on which it stands, and then until it has
//! caught up, however often it is connected anew meanwhile. One upstream's word for that is not
//! proof: who was wrong is not believed for a while.

mod trust;

use std::time::{Duration, Instant};

use self::trust::Trust;
use super::tips::{Tip, Tips};

/// An upstream that still stands on the tip from which another went on so long ago gives work that
/// is worth nothing.
const LATE_AFTER: Duration = Duration::from_secs(2);
/// How often the wait before an upstream is returned to is doubled.
const DOUBLINGS_MAX: u32 = 5;
/// An upstream that has given work for so long is trusted as one that was never lost.
const RELIABLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The choice among the upstreams, the first of which is the best.
#[derive(Debug)]
pub struct Choice {
    upstreams: Vec<Upstream>,
    tips: Tips,
    active: Option<usize>,
    return_after: Duration,
    /// When it was decided last.
    decided_at: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Upstream {
    /// Since when it gives work of the newest tip; none while it gives none at all.
    works_since: Option<Instant>,
    /// The tip of its work.
    tip: Option<Tip>,
    /// The tip on which others have left it behind; none once it has caught up.
    left_behind: Option<Tip>,
    /// On whose word alone that is so; none if several say it.
    accuser: Option<usize>,
    /// Whether it is believed about others.
    trust: Trust,
    /// How often it was lost or late since it was last reliable.
    losses: u32,
}

impl Upstream {
    /// It was lost, or others have left it behind.
    fn count_loss(&mut self, now: Instant) {
        let Some(since) = self.works_since else { return };
        if since + RELIABLE_AFTER <= now {
            self.losses = 0;
        }
        self.losses = self.losses.saturating_add(1);
    }

    /// It was not late: that is no loss, and nothing to prove.
    fn forgive(&mut self) {
        self.left_behind = None;
        self.losses = self.losses.saturating_sub(1);
    }

    /// How long it has to give work before it is returned to: the first loss is forgiven.
    fn patience(&self, return_after: Duration) -> Duration {
        let doublings = self.losses.saturating_sub(1).min(DOUBLINGS_MAX);
        return_after.saturating_mul(1 << doublings)
    }
}

impl Choice {
    /// None of `count` upstreams gives work yet. A better one is returned to after it has given
    /// work for `return_after`.
    pub fn new(count: usize, return_after: Duration) -> Self {
        let upstreams = vec![Upstream::default(); count];
        Self { upstreams, tips: Tips::default(), active: None, return_after, decided_at: None }
    }

    /// `upstream` gave work on the tip `hash`.
    pub fn heard(&mut self, upstream: usize, hash: [u8; 32], now: Instant) {
        let Some(state) = self.upstreams.get_mut(upstream) else { return };
        state.works_since.get_or_insert(now);
        let before = state.tip;
        if before.is_none_or(|tip| tip.hash != hash) {
            let known = self.tips.find(&hash);
            state.tip = Some(self.tips.note(hash, before, now));
            self.judge_accuser(upstream, before, known, now);
            self.note_withdrawal(upstream, now);
        }
        if self.is_left_behind(upstream)
            && self.has_caught_up(upstream, now)
            && let Some(state) = self.upstreams.get_mut(upstream)
        {
            (state.left_behind, state.works_since) = (None, Some(now));
        }
    }

    /// `upstream` is gone, or gives no work any more.
    pub fn lost(&mut self, upstream: usize, now: Instant) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            // One that was left behind has been counted.
            if state.left_behind.is_none() {
                state.count_loss(now);
            }
            (state.works_since, state.tip) = (None, None);
        }
    }

    /// The upstream to mine on now; none if nobody gives work.
    pub fn decide(&mut self, now: Instant) -> Option<usize> {
        self.decided_at = Some(now);
        self.note_late(now);
        let usable = |index: &usize| self.works(*index) && !self.is_left_behind(*index);
        let count = self.upstreams.len();
        let best = (0..count).find(usable);
        let present = self.active.filter(usable);
        self.active = match (present, best) {
            (Some(present), Some(best)) if best < present && !self.is_settled(best, now) => {
                let settled = |index: &usize| usable(index) && self.is_settled(*index, now);
                (0..present).find(settled).or(Some(present))
            }
            (_, Some(best)) => Some(best),
            // Old work is better than none: perhaps it is the others that are wrong.
            (_, None) => {
                let present = self.active.filter(|index| self.works(*index));
                present.or_else(|| (0..count).find(|index| self.works(*index)))
            }
        };
        self.active
    }

    /// When to decide again though nothing was heard. It may have passed since the last decision.
    pub fn next_look(&self) -> Option<Instant> {
        let decided_at = self.decided_at?;
        let settled = self.upstreams.iter().filter_map(|state| {
            state.works_since.map(|since| since + state.patience(self.return_after))
        });
        let late = self.tips.times().map(|seen| seen + LATE_AFTER);
        let believed = self.upstreams.iter().filter_map(|state| state.trust.returns_at());
        settled.chain(late).chain(believed).filter(|at| *at > decided_at).min()
    }

    /// Until when the word of `upstream` on the others' tips does not count; none if it does.
    pub fn mistrusted_until(&self, upstream: usize, now: Instant) -> Option<Instant> {
        let trust = &self.upstreams.get(upstream)?.trust;
        trust.returns_at().filter(|_| !trust.holds(now))
    }

    /// One that was left behind on the word of another went on from where it stood, to a tip that
    /// was `known` before, or not. Either that is the other's way, or that one was wrong.
    fn judge_accuser(
        &mut self,
        upstream: usize,
        before: Option<Tip>,
        known: Option<Tip>,
        now: Instant,
    ) {
        let Some(state) = self.upstreams.get(upstream) else { return };
        let (Some(left), Some(accuser)) = (state.left_behind, state.accuser) else { return };
        // After another connection it may stand anywhere.
        if before.is_none_or(|before| before.hash != left.hash) {
            return;
        }
        if known.is_some_and(|known| self.tips.is_passed(left, known)) {
            self.trust_of(accuser, Trust::count_true_alarm);
            if let Some(state) = self.upstreams.get_mut(upstream) {
                state.accuser = None;
            }
        } else {
            self.clear(upstream, accuser, now);
        }
    }

    /// One that has left others behind stands beyond them no more.
    fn note_withdrawal(&mut self, accuser: usize, now: Instant) {
        let Some(shown) = self.upstreams.get(accuser).and_then(|state| state.tip) else { return };
        for index in 0..self.upstreams.len() {
            let Some(state) = self.upstreams.get(index) else { continue };
            if state.accuser == Some(accuser)
                && let Some(left) = state.left_behind
                && left.chain == shown.chain
                && !self.tips.is_passed(left, shown)
            {
                self.clear(index, accuser, now);
            }
        }
    }

    /// `upstream` was not late, as `accuser` had it.
    fn clear(&mut self, upstream: usize, accuser: usize, now: Instant) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.forgive();
        }
        self.trust_of(accuser, |trust| trust.count_false_alarm(now));
    }

    fn trust_of(&mut self, upstream: usize, change: impl FnOnce(&mut Trust)) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            change(&mut state.trust);
        }
    }

    /// Marks those that others have left behind.
    fn note_late(&mut self, now: Instant) {
        for index in 0..self.upstreams.len() {
            let is_late = self.is_late(index, now);
            let accuser = {
                let mut witnesses = self.those_beyond(index, now);
                witnesses.next().filter(|_| witnesses.next().is_none())
            };
            if let Some(state) = self.upstreams.get_mut(index).filter(|_| is_late)
                && state.left_behind.is_none()
            {
                state.count_loss(now);
                (state.left_behind, state.accuser) = (state.tip, accuser);
            }
        }
    }

    /// The upstreams that stand beyond this one, as far as they are believed.
    fn those_beyond(&self, index: usize, now: Instant) -> impl Iterator<Item = usize> {
        let tip = self.upstreams.get(index).and_then(|state| state.tip);
        let others = self.upstreams.iter().enumerate();
        let believed = others.filter(move |(_, other)| other.trust.holds(now));
        believed.filter_map(move |(other, state)| {
            self.tips.is_passed(tip?, state.tip?).then_some(other)
        })
    }

    fn works(&self, index: usize) -> bool {
        self.upstreams.get(index).is_some_and(|state| state.works_since.is_some())
    }

    fn is_left_behind(&self, index: usize) -> bool {
        self.upstreams.get(index).is_some_and(|state| state.left_behind.is_some())
    }

    fn is_settled(&self, index: usize, now: Instant) -> bool {
        let Some(state) = self.upstreams.get(index) else { return false };
        let patience = state.patience(self.return_after);
        state.works_since.is_some_and(|since| since + patience <= now)
    }

    /// Tips of the upstreams that nobody has left behind.
    fn good_tips(&self) -> impl Iterator<Item = Tip> {
        let good = self.upstreams.iter().filter(|upstream| upstream.left_behind.is_none());
        good.filter_map(|upstream| upstream.tip)
    }

    /// True if one that was left behind need not be any more. Another job on the same tip is no
    /// sign of it, even if nobody is there any more who is known to have gone on from there.
    fn has_caught_up(&self, index: usize, now: Instant) -> bool {
        let Some(state) = self.upstreams.get(index) else { return false };
        let (Some(tip), Some(left)) = (state.tip, state.left_behind) else { return false };
        let has_moved = tip.hash != left.hash || self.good_tips().any(|it| it.hash == tip.hash);
        has_moved && !self.is_late(index, now)
    }

    /// True if another upstream went on from the tip on which this one stands. One that was left
    /// behind, and then shows a tip of which nothing is known, has not caught up while somebody
    /// who was not stands on the chain that it has left.
    fn is_late(&self, index: usize, now: Instant) -> bool {
        let Some(state) = self.upstreams.get(index) else { return false };
        let Some(tip) = state.tip else { return false };
        if let Some(left) = state.left_behind.filter(|left| left.chain != tip.chain) {
            return self.good_tips().any(|good| good.chain == left.chain);
        }
        if self.those_beyond(index, now).next().is_none() {
            return false;
        }
        let passed_since = self.tips.passed_since(tip);
        passed_since.is_some_and(|since| since + LATE_AFTER <= now)
    }
}

#[cfg(test)]
mod tests;
