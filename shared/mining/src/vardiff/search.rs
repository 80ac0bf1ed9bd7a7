//! The search for a channel's hashrate: many easy shares for a short time.
//!
//! How many shares came in how much time at which target is all that their Poisson distribution
//! knows of a hashrate, so targets may change while the evidence goes on. It sets no target.

use std::time::{Duration, Instant};

/// So many shares say what the hashrate is: to 9 in a hundred, one standard deviation.
const SHARES_ENOUGH: f64 = 120.0;
/// A search that started so long ago ends with fewer,
const SEARCH_MAX: Duration = Duration::from_secs(165);
/// if there are at least so many,
const SHARES_MIN: f64 = 16.0;
/// and so long after its first share with what there is.
const EVIDENCE_MAX: Duration = Duration::from_secs(150);
/// But no search ends sooner: shares that waited somewhere come all at once.
const SEARCH_MIN: Duration = Duration::from_secs(10);
/// For the same reason shares within so short a time prove nothing.
const FLOOD_TIME_MIN: Duration = Duration::from_secs(1);
/// So many shares prove that they come by far too fast,
const FLOOD_SHARES: f64 = 10.0;
/// that is so many times as fast as wanted.
const FLOOD: f64 = 5.0;
/// So many expected shares without a single one are silence,
const SILENCE_SHARES: f64 = 4.0;
/// but no shorter time is: devices need a moment to begin.
const SILENCE_MIN: Duration = Duration::from_secs(12);
/// By how much silence eases the target.
const SILENCE_STEP: f64 = 8.0;
/// So many expected shares prove that too few came,
const SLOW_SHARES: f64 = 12.0;
/// that is fewer than one in so many.
const SLOW: f64 = 2.5;

/// What is known so far.
#[derive(Debug, Clone)]
pub(super) struct Search {
    per_minute: f64,
    started: Instant,
    /// Of the first share of the evidence.
    first_share: Option<Instant>,
    /// The evidence: shares,
    shares: f64,
    /// and the time in which they came, in seconds over the expected hashes of a share.
    exposure: f64,
    accounted: Instant,
    /// Since when the present target is in force, and the shares since then.
    turned: Instant,
    turn_shares: f64,
}

/// What a search comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// The target is wrong by this factor; the search goes on.
    Ratio(f64),
    /// Hashes per second; the search is over.
    Hashrate(f64),
}

impl Search {
    pub(super) fn new(per_minute: f64, now: Instant) -> Self {
        Self {
            per_minute,
            started: now,
            first_share: None,
            shares: 0.0,
            exposure: 0.0,
            accounted: now,
            turned: now,
            turn_shares: 0.0,
        }
    }

    /// A share at a target of `work` expected hashes.
    pub(super) fn count(&mut self, work: f64, now: Instant) {
        self.account(work, now);
        self.first_share.get_or_insert(now);
        self.shares += 1.0;
        self.turn_shares += 1.0;
    }

    pub(super) fn account(&mut self, work: f64, now: Instant) {
        self.exposure += seconds(self.accounted, now) / work;
        self.accounted = now;
    }

    /// Another target is in force.
    pub(super) fn turn(&mut self, now: Instant) {
        self.turned = now;
        self.turn_shares = 0.0;
    }

    pub(super) fn judge(&mut self, now: Instant) -> Option<Found> {
        let at_target = seconds(self.turned, now);
        let expected = at_target * self.per_minute / 60.0;
        let is_flood = self.turn_shares >= FLOOD_SHARES && self.turn_shares > expected * FLOOD;
        if is_flood && at_target < FLOOD_TIME_MIN.as_secs_f64() {
            return None;
        }
        if is_flood {
            let ratio = self.turn_shares / expected.max(f64::MIN_POSITIVE);
            // Of a flood only the speed of the line is known.
            *self = Self { started: self.started, ..Self::new(self.per_minute, now) };
            return Some(Found::Ratio(ratio));
        }
        if self.is_over(now) {
            return Some(Found::Hashrate(self.shares / self.exposure.max(f64::MIN_POSITIVE)));
        }
        if at_target < SILENCE_MIN.as_secs_f64() {
            return None;
        }
        if self.turn_shares == 0.0 {
            let is_silent = expected >= SILENCE_SHARES;
            return is_silent.then_some(Found::Ratio(SILENCE_STEP.recip()));
        }
        let is_slow = expected >= SLOW_SHARES && self.turn_shares * SLOW < expected;
        is_slow.then(|| Found::Ratio((self.turn_shares + 1.0) / (expected + 1.0)))
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(first) = self.first_share else { return false };
        let is_late = now.saturating_duration_since(self.started) >= SEARCH_MAX;
        let evidence = now.saturating_duration_since(first);
        (self.shares >= SHARES_ENOUGH && evidence >= SEARCH_MIN)
            || (is_late && self.shares >= SHARES_MIN)
            || evidence >= EVIDENCE_MAX
    }
}

fn seconds(since: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64()
}
