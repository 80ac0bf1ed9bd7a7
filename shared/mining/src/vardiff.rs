//! Vardiff: the target at which a channel finds the wanted number of shares per minute.
//!
//! It weighs evidence: shares counted at one target over a time are Poisson distributed, so a
//! change is made only when the count is too far from the expected one to be luck. Silence is
//! evidence too, and is looked at on a timer. It sends nothing and knows no protocol.

use std::time::{Duration, Instant};

use crate::target::Target;

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VardiffPolicy {
    /// Shares per minute and channel.
    pub shares_per_minute: f64,
    /// No target is easier than this difficulty.
    pub min_difficulty: f64,
}

/// Expected hashes for a share of difficulty 1, as hashrates are reckoned everywhere.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;
/// How often silence is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many standard deviations a count must be off before it is acted on within a window.
const SIGMAS: f64 = 2.6;
/// The same in the first window, where the target is a guess.
const SIGMAS_FIRST: f64 = 1.8;
/// A window ends when so many shares were expected.
const WINDOW_SHARES: f64 = 60.0;
/// At the end of a window, what is off by less than this factor is left alone.
const TOLERANCE: f64 = 1.25;
/// Fewer shares than these prove no speed.
const SHARES_MIN: f64 = 5.0;
/// The most that one step changes.
const STEP_MAX: f64 = 64.0;

/// Watches one channel.
#[derive(Debug, Clone)]
pub struct Vardiff {
    policy: VardiffPolicy,
    /// The target in force, or wanted next.
    target: Target,
    /// Expected hashes for a share at it.
    work: f64,
    /// Since when shares are counted.
    since: Instant,
    shares: f64,
    is_first_window: bool,
    next_check: Instant,
}

impl Vardiff {
    /// Starts from what the client says of itself, in hashes per second; 0 or nonsense starts at
    /// the minimum difficulty.
    pub fn new(policy: VardiffPolicy, nominal_hashrate: f64, now: Instant) -> Self {
        let mut vardiff = Self {
            policy,
            target: Target::MAX,
            work: 0.0,
            since: now,
            shares: 0.0,
            is_first_window: true,
            next_check: now + CHECK_INTERVAL,
        };
        let usable = nominal_hashrate.is_finite() && nominal_hashrate > 0.0;
        let hashrate = if usable { nominal_hashrate } else { 0.0 };
        vardiff.want(vardiff.clamp(hashrate * 60.0 / policy.shares_per_minute));
        vardiff
    }

    /// The target that is wanted now.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Tells which target is in force, where the caller had to choose another than was wanted (the
    /// client's own limit, say). Counting starts over if it is another one.
    pub fn set_target(&mut self, target: Target, now: Instant) {
        if target == self.target {
            return;
        }
        self.target = target;
        self.work = target.difficulty() * HASHES_PER_DIFFICULTY;
        self.start_window(now);
    }

    /// Hashes per second that the count so far suggests.
    pub fn hashrate(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64().max(1.0);
        self.shares * self.work / seconds
    }

    /// Counts an accepted share; gives a new target if it proves the present one too easy.
    pub fn count_share(&mut self, now: Instant) -> Option<Target> {
        self.shares += 1.0;
        self.judge(now)
    }

    /// To be called every few seconds: gives a new target if silence or a whole window asks for it.
    pub fn check(&mut self, now: Instant) -> Option<Target> {
        if now < self.next_check {
            return None;
        }
        self.next_check = now + CHECK_INTERVAL;
        self.judge(now)
    }

    fn judge(&mut self, now: Instant) -> Option<Target> {
        let minutes = now.saturating_duration_since(self.since).as_secs_f64() / 60.0;
        let expected = minutes * self.policy.shares_per_minute;
        let sigmas = if self.is_first_window { SIGMAS_FIRST } else { SIGMAS };
        let margin = sigmas * expected.sqrt();
        let ratio = (self.shares + 1.0) / (expected + 1.0);
        let too_fast = self.shares >= SHARES_MIN && self.shares > expected * TOLERANCE + margin;
        let too_slow = self.shares * TOLERANCE + margin < expected;
        if expected < WINDOW_SHARES {
            return if too_fast || too_slow { self.step(ratio, now) } else { None };
        }
        if ratio > TOLERANCE || ratio < TOLERANCE.recip() {
            return self.step(ratio, now);
        }
        self.is_first_window = false;
        self.start_window(now);
        None
    }

    fn step(&mut self, ratio: f64, now: Instant) -> Option<Target> {
        // While the target is still a guess, fast steps stay the rule: a large one proves it was.
        self.is_first_window &= !(0.5..2.0).contains(&ratio);
        let work = self.clamp(self.work * ratio.clamp(STEP_MAX.recip(), STEP_MAX));
        self.start_window(now);
        if (work / self.work - 1.0).abs() < 0.01 {
            return None;
        }
        self.want(work);
        Some(self.target)
    }

    fn want(&mut self, work: f64) {
        self.work = work;
        self.target = Target::from_difficulty(work / HASHES_PER_DIFFICULTY);
    }

    fn start_window(&mut self, now: Instant) {
        self.since = now;
        self.shares = 0.0;
        self.next_check = now + CHECK_INTERVAL;
    }

    fn clamp(&self, work: f64) -> f64 {
        work.max(self.policy.min_difficulty * HASHES_PER_DIFFICULTY)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    const POLICY: VardiffPolicy =
        VardiffPolicy { shares_per_minute: 6.0, min_difficulty: 0.000_001 };

    /// Mines for `minutes` at `hashrate`; gives the wanted shares per minute over the second half,
    /// and the number of changes in it.
    fn simulate(nominal: f64, hashrate: f64, minutes: u64, seed: u64) -> (f64, u32) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let start = Instant::now();
        let mut vardiff = Vardiff::new(POLICY, nominal, start);
        let (mut expected, mut steps, mut changes) = (0.0, 0.0, 0);
        for tick in 1..=minutes * 600 {
            let now = start + Duration::from_millis(tick * 100);
            let second_half = tick > minutes * 300;
            let per_tick = hashrate * 0.1 / vardiff.work;
            let found = u32::from(rng.gen_bool(per_tick.min(1.0)));
            let mut changed = (0..found).filter_map(|_| vardiff.count_share(now)).count();
            changed += vardiff.check(now).iter().count();
            if second_half {
                expected += per_tick * 600.0;
                steps += 1.0;
                changes += u32::try_from(changed).unwrap();
            }
        }
        (expected / steps, changes)
    }

    #[test]
    fn any_device_settles_near_the_wanted_rate_whatever_it_said_of_itself() {
        for (seed, hashrate) in [1e4, 1e6, 1e9, 1e12, 1e15, 1e18].into_iter().enumerate() {
            for nominal in [0.0, 1e12, hashrate] {
                let (rate, _) = simulate(nominal, hashrate, 60, u64::try_from(seed).unwrap());
                let near = (4.0..9.0).contains(&rate);
                assert!(near, "{hashrate} H/s, said {nominal}: {rate} shares per minute");
            }
        }
    }

    #[test]
    fn a_steady_device_is_left_alone() {
        let changes: u32 = (0..20).map(|seed| simulate(1e12, 1e12, 120, seed).1).sum();
        assert!(changes <= 40, "{changes} changes in 20 hours");
    }

    #[test]
    fn a_silent_device_gets_an_easier_target() {
        let start = Instant::now();
        let mut vardiff = Vardiff::new(POLICY, 1e12, start);
        let first = vardiff.target();
        let eased = (1..=18).find_map(|tick| vardiff.check(start + CHECK_INTERVAL * tick));
        assert!(eased.is_some_and(|target| target > first));
    }

    #[test]
    fn no_target_is_easier_than_the_minimum() {
        let policy = VardiffPolicy { shares_per_minute: 6.0, min_difficulty: 512.0 };
        let start = Instant::now();
        let mut vardiff = Vardiff::new(policy, f64::NAN, start);
        for tick in 1..100 {
            assert_eq!(vardiff.check(start + CHECK_INTERVAL * tick), None);
        }
        assert!((vardiff.target().difficulty() / 512.0 - 1.0).abs() < 1e-6);
    }
}
