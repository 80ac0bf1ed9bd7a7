//! Which of several upstreams is mined on: the best one that gives work of the newest tip.
//!
//! A state machine without I/O. It must not flap: a better upstream is returned to only once it has
//! given work for a while, and one is late only if another went on from the same tip and it did
//! not.

use std::time::{Duration, Instant};

/// An upstream that still stands on the tip from which another went on so long ago gives work that
/// is worth nothing.
const LATE_AFTER: Duration = Duration::from_secs(2);

/// The choice among the upstreams, the first of which is the best.
#[derive(Debug)]
pub struct Choice {
    upstreams: Vec<Upstream>,
    active: Option<usize>,
    return_after: Duration,
}

#[derive(Debug, Clone, Default)]
struct Upstream {
    /// Since when it gives work; none while it does not.
    works_since: Option<Instant>,
    tip: Option<TipSeen>,
}

#[derive(Debug, Clone, Copy)]
struct TipSeen {
    hash: [u8; 32],
    since: Instant,
    /// The tip before it; none if that was not seen on the same connection.
    before: Option<[u8; 32]>,
}

impl Choice {
    /// None of `count` upstreams gives work yet. A better one is returned to after it has given
    /// work for `return_after`.
    pub fn new(count: usize, return_after: Duration) -> Self {
        let upstreams = vec![Upstream::default(); count];
        Self { upstreams, active: None, return_after }
    }

    /// `upstream` gave work on the tip `hash`.
    pub fn heard(&mut self, upstream: usize, hash: [u8; 32], now: Instant) {
        let Some(state) = self.upstreams.get_mut(upstream) else { return };
        state.works_since.get_or_insert(now);
        if state.tip.is_none_or(|tip| tip.hash != hash) {
            let before = state.tip.map(|tip| tip.hash);
            state.tip = Some(TipSeen { hash, since: now, before });
        }
    }

    /// `upstream` is gone, or gives no work any more.
    pub fn lost(&mut self, upstream: usize) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            *state = Upstream::default();
        }
    }

    /// The upstream to mine on now; none if nobody gives work.
    pub fn decide(&mut self, now: Instant) -> Option<usize> {
        let usable = |index: &usize| self.works(*index) && !self.is_late(*index, now);
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

    /// When to decide again though nothing was heard.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        let states = self.upstreams.iter();
        let looks = states.flat_map(|state| {
            let settled = state.works_since.map(|since| since + self.return_after);
            let late = state.tip.map(|tip| tip.since + LATE_AFTER);
            [settled, late].into_iter().flatten()
        });
        looks.filter(|at| *at > now).min()
    }

    fn works(&self, index: usize) -> bool {
        self.upstreams.get(index).is_some_and(|state| state.works_since.is_some())
    }

    fn is_settled(&self, index: usize, now: Instant) -> bool {
        let since = self.upstreams.get(index).and_then(|state| state.works_since);
        since.is_some_and(|since| since + self.return_after <= now)
    }

    /// True if another upstream went on from the tip on which this one still stands.
    fn is_late(&self, index: usize, now: Instant) -> bool {
        let tip = self.upstreams.get(index).and_then(|state| state.tip);
        let Some(tip) = tip else { return false };
        let others = self.upstreams.iter().filter_map(|state| state.tip);
        let mut ahead = others.filter(|other| other.before == Some(tip.hash));
        ahead.any(|other| other.since + LATE_AFTER <= now && other.since >= tip.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn choice() -> (Choice, Instant) {
        (Choice::new(2, 30 * SECOND), Instant::now())
    }

    #[test]
    fn the_next_one_is_mined_on_at_once_when_the_best_is_lost() {
        let (mut choice, now) = choice();
        assert_eq!(choice.decide(now), None);
        choice.heard(1, [1; 32], now);
        assert_eq!(choice.decide(now), Some(1), "the best that there is");
        choice.heard(0, [1; 32], now);
        assert_eq!(choice.decide(now + 29 * SECOND), Some(1));
        assert_eq!(choice.next_look(now + 29 * SECOND), Some(now + 30 * SECOND));
        assert_eq!(choice.decide(now + 30 * SECOND), Some(0), "and back to the better one");
        choice.lost(0);
        assert_eq!(choice.decide(now + 30 * SECOND), Some(1));
        choice.lost(1);
        assert_eq!(choice.decide(now + 30 * SECOND), None);
    }

    #[test]
    fn one_that_stays_behind_on_the_old_tip_is_left_after_two_seconds() {
        let (mut choice, now) = choice();
        for upstream in [0, 1] {
            choice.heard(upstream, [1; 32], now);
        }
        assert_eq!(choice.decide(now), Some(0));
        choice.heard(1, [2; 32], now + 60 * SECOND);
        assert_eq!(choice.decide(now + 61 * SECOND), Some(0), "it may be on its way");
        assert_eq!(choice.next_look(now + 61 * SECOND), Some(now + 62 * SECOND));
        assert_eq!(choice.decide(now + 62 * SECOND), Some(1));
        choice.heard(0, [2; 32], now + 70 * SECOND);
        assert_eq!(choice.decide(now + 70 * SECOND), Some(0), "it has been there all the time");
    }

    #[test]
    fn upstreams_that_never_agreed_on_a_tip_say_nothing_of_each_other() {
        let (mut choice, now) = choice();
        choice.heard(0, [1; 32], now);
        choice.heard(1, [7; 32], now);
        choice.heard(1, [8; 32], now + 5 * SECOND);
        assert_eq!(choice.decide(now + 50 * SECOND), Some(0));
    }

    #[test]
    fn the_only_one_is_mined_on_however_late_it_is() {
        let (mut choice, now) = choice();
        choice.heard(0, [1; 32], now);
        choice.heard(1, [1; 32], now);
        choice.heard(1, [2; 32], now);
        choice.decide(now);
        choice.lost(1);
        assert_eq!(choice.decide(now + 10 * SECOND), Some(0));
    }
}
