//! Vardiff: the target at which a channel finds the wanted number of shares per minute.
//!
//! Shares are Poisson distributed, so a few of them prove little. A new channel is *searched*: its
//! target is so easy that a hundred shares come within two minutes, and these say what its hashrate
//! is, to a tenth. After that the target is *held*: it moves only when the count of a window is so
//! far from the expected one that luck does not explain it. Silence is evidence like any other, and
//! is looked at on a timer. It sends nothing and knows no protocol.

mod search;
mod window;

use std::time::Instant;

use self::search::{Found, Search};
use self::window::{Estimate, Windows};
use crate::target::Target;

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VardiffPolicy {
    /// Shares per minute and channel.
    pub shares_per_minute: f64,
    /// The same while a channel's hashrate is searched; more of them find it sooner.
    pub search_shares_per_minute: f64,
    /// No target is easier than this difficulty.
    pub min_difficulty: f64,
}

/// Expected hashes for a share of difficulty 1, as hashrates are reckoned everywhere. An operator's
/// power of two is one as a difficulty, exactly.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;
/// The most that one step changes.
const STEP_MAX: f64 = 4_096.0;
/// What has changed by more than this is searched anew; with less a device may work by fits and
/// starts.
const SEARCH_AGAIN: f64 = 3.0;
/// A change by less than this is none.
const STEP_MIN: f64 = 0.01;
/// The client's own word on its hashrate is news if it differs by more than this factor.
const NEWS: f64 = 1.25;

/// Watches one channel.
#[derive(Debug, Clone)]
pub struct Vardiff {
    policy: VardiffPolicy,
    /// The target in force, or wanted next.
    target: Target,
    /// Expected hashes for a share at it.
    work: f64,
    /// What the client said last of its hashes per second; 0 for nothing.
    nominal: f64,
    phase: Phase,
}

#[derive(Debug, Clone)]
enum Phase {
    Search(Search),
    Hold(Windows),
}

impl Vardiff {
    /// Starts from what the client says of itself, in hashes per second; 0 or nonsense starts at
    /// the minimum difficulty.
    pub fn new(policy: VardiffPolicy, nominal_hashrate: f64, now: Instant) -> Self {
        let usable = nominal_hashrate.is_finite() && nominal_hashrate > 0.0;
        let nominal = if usable { nominal_hashrate } else { 0.0 };
        let mut vardiff = Self {
            policy,
            target: Target::MAX,
            work: 0.0,
            nominal,
            phase: Phase::Search(Search::new(policy.search_shares_per_minute, now)),
        };
        vardiff.want(nominal * 60.0 / policy.search_shares_per_minute);
        vardiff
    }

    /// The target that is wanted now.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Tells which target is in force, where the caller had to choose another than was wanted (the
    /// client's own limit, say). Counting starts over if it is another one.
    pub fn set_target(&mut self, target: Target, now: Instant) {
        if target != self.target {
            self.account(now);
            self.target = target;
            self.work = work_of(target);
            self.turn(now);
        }
    }

    /// The client's new word on its hashrate. Only the change counts, for what the shares have
    /// proved weighs more than what was said first: a proxy that doubles its miners gets twice the
    /// difficulty, whatever it took them for.
    pub fn set_nominal_hashrate(&mut self, nominal_hashrate: f64, now: Instant) {
        if self.nominal == 0.0 {
            if nominal_hashrate > 0.0 {
                *self = Self::new(self.policy, nominal_hashrate, now);
            }
            return;
        }
        let ratio = nominal_hashrate / self.nominal;
        let is_news = !(NEWS.recip()..=NEWS).contains(&ratio);
        if is_news && ratio > 0.0 && ratio.is_finite() {
            self.account(now);
            self.nominal = nominal_hashrate;
            self.want(self.work * ratio);
            self.turn(now);
        }
    }

    /// Counts an accepted share whose hash meets the target in force (shares of earlier, easier
    /// jobs would look like speed); gives a new target if it proves the present one wrong.
    pub fn count_share(&mut self, now: Instant) -> Option<Target> {
        match &mut self.phase {
            Phase::Search(search) => search.count(self.work, now),
            Phase::Hold(windows) => windows.count(now),
        }
        self.judge(now)
    }

    /// To be called every few seconds: gives a new target if silence asks for it, or if the time of
    /// a search is over.
    pub fn check(&mut self, now: Instant) -> Option<Target> {
        self.account(now);
        self.judge(now)
    }

    fn judge(&mut self, now: Instant) -> Option<Target> {
        match &mut self.phase {
            Phase::Search(search) => match search.judge(now)? {
                Found::Ratio(ratio) => self.step(ratio, now),
                Found::Hashrate(hashrate) => {
                    self.phase = Phase::Hold(Windows::new(self.policy.shares_per_minute, now));
                    self.change(hashrate * 60.0 / self.policy.shares_per_minute)
                }
            },
            Phase::Hold(windows) => {
                let Estimate { ratio, near } = windows.judge(now)?;
                if !(SEARCH_AGAIN.recip()..=SEARCH_AGAIN).contains(&ratio) {
                    let rate = self.policy.search_shares_per_minute;
                    self.phase = Phase::Search(Search::new(rate, now));
                    return self.step(ratio * self.policy.shares_per_minute / rate, now);
                }
                self.step(near, now)
            }
        }
    }

    fn step(&mut self, ratio: f64, now: Instant) -> Option<Target> {
        let changed = self.change(self.work * ratio.clamp(STEP_MAX.recip(), STEP_MAX));
        self.turn(now);
        changed
    }

    fn change(&mut self, work: f64) -> Option<Target> {
        let work = work.max(self.work_min());
        if (work / self.work - 1.0).abs() < STEP_MIN {
            return None;
        }
        self.want(work);
        Some(self.target)
    }

    fn want(&mut self, work: f64) {
        self.work = work.max(self.work_min());
        self.target = Target::from_difficulty(self.work / HASHES_PER_DIFFICULTY);
    }

    fn work_min(&self) -> f64 {
        self.policy.min_difficulty * HASHES_PER_DIFFICULTY
    }

    /// Adds the time that has passed at the present target to the evidence.
    fn account(&mut self, now: Instant) {
        if let Phase::Search(search) = &mut self.phase {
            search.account(self.work, now);
        }
    }

    /// The target is another one from here on.
    fn turn(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Search(search) => search.turn(now),
            Phase::Hold(windows) => windows.restart(now),
        }
    }
}

fn work_of(target: Target) -> f64 {
    target.difficulty() * HASHES_PER_DIFFICULTY
}

#[cfg(test)]
mod tests;
