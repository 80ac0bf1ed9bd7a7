//! The watch over a target that is held: counts of a short and of a long window.
//!
//! A count is luck until its likelihood ratio says otherwise: the logarithm of how much likelier it
//! is at its own rate than at the wanted one. It sets no target.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Expected shares at whose end the windows start over. The short one sees a device that has
/// changed soon; the long one sees a lasting error of a fifth.
const WINDOW_SHARES: [f64; 2] = [120.0, 960.0];
/// No window is shorter, however many shares are wanted, for they may come in deliveries.
const WINDOW_MIN: Duration = Duration::from_secs(10);
/// Shares within so short a time prove nothing: they may have waited somewhere.
const EVIDENCE_TIME_MIN: Duration = Duration::from_secs(1);
/// What is this near to the wanted rate is left alone.
const FINE: RangeInclusive<f64> = 0.87..=1.15;
/// From this logarithm on a count is no luck: one count in ten million is so far off.
const EVIDENCE: f64 = 16.0;
/// Shares that are taken for granted on both sides: steps on little evidence are smaller.
const GRANTED: f64 = 2.0;
/// Within these factors half of what stands out is taken for luck; beyond them, one standard
/// deviation.
const SMALL: RangeInclusive<f64> = 0.6..=1.6;
/// The most that silence eases a target at once: a device that is off is no slow one, and when it
/// comes back its shares should be no flood.
const SILENCE_STEP: f64 = 0.5;

/// The windows of one channel.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    per_minute: f64,
    windows: [Window; 2],
    /// Of the last share, or since when there was none.
    last_share: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    shares: f64,
}

impl Windows {
    pub(super) fn new(per_minute: f64, now: Instant) -> Self {
        Self { per_minute, windows: [Window { since: now, shares: 0.0 }; 2], last_share: now }
    }

    pub(super) fn restart(&mut self, now: Instant) {
        *self = Self::new(self.per_minute, now);
    }

    pub(super) fn count(&mut self, now: Instant) {
        self.last_share = now;
        for window in &mut self.windows {
            window.shares += 1.0;
        }
    }

    /// By which factor the shares come too fast, if that is no luck. Whether too few of them mean a
    /// slow device or a silent one is known with the next share, or when it stays away.
    pub(super) fn judge(&mut self, now: Instant) -> Option<Estimate> {
        let quiet = self.expected(self.last_share, now);
        let mut found = None;
        for (at, length) in WINDOW_SHARES.into_iter().enumerate() {
            let Some(Window { since, shares }) = self.windows.get(at).copied() else { break };
            let expected = self.expected(since, now);
            let elapsed = now.saturating_duration_since(since);
            let estimate = Estimate::new(shares + GRANTED, expected + GRANTED);
            let is_off = elapsed >= EVIDENCE_TIME_MIN && !FINE.contains(&estimate.ratio);
            if is_off && is_no_luck(shares, expected) {
                let verdict = if shares > expected || quiet == 0.0 {
                    Some(estimate)
                } else if quiet >= EVIDENCE {
                    Some(estimate.at_least(SILENCE_STEP))
                } else {
                    None
                };
                found = found.or(verdict);
            } else if expected >= length
                && elapsed >= WINDOW_MIN
                && let Some(window) = self.windows.get_mut(at)
            {
                *window = Window { since: now, shares: 0.0 };
            }
        }
        found
    }

    fn expected(&self, since: Instant, now: Instant) -> f64 {
        now.saturating_duration_since(since).as_secs_f64() * self.per_minute / 60.0
    }
}

/// By which factor shares come too fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// As the count says.
    pub(super) ratio: f64,
    /// What of it is to be acted on: luck had its part in a count that stands out, and what is left
    /// of a true error is seen next time.
    pub(super) near: f64,
}

impl Estimate {
    fn new(shares: f64, expected: f64) -> Self {
        let ratio = shares / expected;
        let bar = shares.sqrt().recip().exp();
        let near = if SMALL.contains(&ratio) {
            ratio.sqrt()
        } else if ratio > 1.0 {
            ratio / bar
        } else {
            (ratio * bar).min(1.0)
        };
        Self { ratio, near }
    }

    fn at_least(self, ratio: f64) -> Self {
        Self { ratio: self.ratio.max(ratio), near: self.near.max(ratio) }
    }
}

fn is_no_luck(shares: f64, expected: f64) -> bool {
    // A handful that arrives at once is one delivery, not a rate.
    let expected = if shares > expected { expected + 1.0 } else { expected };
    let likelier = if shares > 0.0 { shares * (shares / expected).ln() } else { 0.0 };
    likelier - shares + expected >= EVIDENCE
}
