//! What difficulty one miner should have, and how fast it seems to be.

use std::time::{Duration, Instant};

use mining::target::Target;
use mining::vardiff::{Vardiff, VardiffPolicy};

use super::MinerSettings;
use crate::bridge::difficulty::{advertised, least_advertised};
use crate::bridge::notify::Job;
use crate::miners::Hashrate;

/// Expected hashes for a share of difficulty 1.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;
/// Older work counts for less: by 1/e after so long.
const METER_MEMORY: Duration = Duration::from_secs(300);
/// Before so much time and so many shares a miner's hashrate is a guess.
const METER_TIME_MIN: Duration = Duration::from_secs(60);
const METER_SHARES_MIN: u32 = 5;

/// One miner's difficulty.
#[derive(Debug)]
pub(super) struct MinerDifficulty {
    policy: VardiffPolicy,
    vardiff: Vardiff,
    /// What is wanted, before it is rounded and held to the upstream's target.
    wanted: f64,
    /// The least that the operator and the miner itself allow, as a difficulty that is told.
    floor: f64,
    /// What the miner was told last.
    told: Option<f64>,
    wishes: Wishes,
    meter: HashrateMeter,
    /// True if what the meter begins with is the miner's own word.
    is_nominal_claimed: bool,
}

/// What a miner has asked for: only another wish is a wish.
#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    /// By `mining.suggest_difficulty` and its kin, the last one.
    suggested: Option<f64>,
    in_password: Option<f64>,
    /// True once the miner said how fast it is.
    has_claimed: bool,
}

/// What outlives a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried {
    /// The difficulty that the miner should have.
    wanted: f64,
    wishes: Wishes,
    /// None of a miner that was silent.
    meter: Option<HashrateMeter>,
    is_nominal_claimed: bool,
}

impl MinerDifficulty {
    pub(super) fn new(settings: &MinerSettings, now: Instant) -> Self {
        let vardiff = Vardiff::new(settings.vardiff, settings.initial_hashrate, now);
        Self {
            wanted: vardiff.target().difficulty(),
            vardiff,
            policy: settings.vardiff,
            floor: least_advertised(settings.vardiff.min_difficulty),
            told: None,
            wishes: Wishes::default(),
            meter: HashrateMeter::new(settings.initial_hashrate, now),
            is_nominal_claimed: false,
        }
    }

    /// The difficulty for a job.
    pub(super) fn for_job(&self, job: &Job) -> f64 {
        advertised(self.wanted.max(self.floor), job.difficulty_max())
    }

    /// What the miner was told last.
    pub(super) fn told(&self) -> Option<f64> {
        self.told
    }

    /// Notes that the miner is being told `difficulty`.
    pub(super) fn tell(&mut self, difficulty: f64, now: Instant) {
        self.told = Some(difficulty);
        self.vardiff.set_target(Target::from_difficulty(difficulty), now);
    }

    /// The miner has forgotten what it was told.
    pub(super) fn forget_told(&mut self) {
        self.told = None;
    }

    /// Takes a suggestion; a repeated one is none (rule 27).
    pub(super) fn suggest(&mut self, difficulty: f64) {
        if self.wishes.suggested.replace(difficulty) != Some(difficulty) {
            self.wanted = difficulty;
        }
    }

    /// Takes the difficulty that a password names. It is repeated with each login.
    pub(super) fn suggest_by_password(&mut self, difficulty: f64) {
        if self.wishes.in_password.replace(difficulty) != Some(difficulty) {
            self.wanted = difficulty;
        }
    }

    /// Takes the least difficulty that the miner can do (BIP310 minimum-difficulty).
    pub(super) fn raise_floor(&mut self, difficulty: f64) {
        self.floor = self.floor.max(least_advertised(difficulty));
    }

    /// Takes the miner's word on its hashes per second, in place of the operator's guess. It is
    /// taken once: with each further worker it would undo vardiff.
    pub(super) fn claim(&mut self, hashrate: f64) {
        if std::mem::replace(&mut self.wishes.has_claimed, true) {
            return;
        }
        let now = self.meter.start;
        self.vardiff = Vardiff::new(self.policy, hashrate, now);
        self.wanted = self.vardiff.target().difficulty();
        self.meter.nominal = hashrate;
        self.is_nominal_claimed = true;
    }

    /// What a later session of the miner goes on with.
    pub(super) fn carried(&mut self, now: Instant) -> Carried {
        let meter = (self.hashrate(now).hashes > 0.0).then_some(self.meter);
        let Self { wanted, wishes, is_nominal_claimed, .. } = *self;
        Carried { wanted, wishes, meter, is_nominal_claimed }
    }

    /// Goes on where an earlier session of the miner ended. One that was silent then has work now.
    /// What it had asked for, it asks for again with each login: that changes nothing.
    pub(super) fn go_on_from(&mut self, carried: Carried) {
        self.wanted = carried.wanted;
        self.wishes = carried.wishes;
        if let Some(meter) = carried.meter {
            (self.meter, self.is_nominal_claimed) = (meter, carried.is_nominal_claimed);
        }
    }

    /// Starts the clock of the hashrate meter: the miner has work. One that goes on goes on: what
    /// the miner held back between two sessions would look like speed.
    pub(super) fn start(&mut self, now: Instant) {
        if self.meter.shares == 0 {
            self.meter = HashrateMeter::new(self.meter.nominal, now);
        }
    }

    /// Counts a share of a job of `difficulty`.
    pub(super) fn count_share(&mut self, now: Instant, hash: &[u8; 32], difficulty: f64) {
        self.meter.count(now, difficulty * HASHES_PER_DIFFICULTY);
        // Shares of earlier, easier jobs would look like speed.
        let present = Target::from_difficulty(self.told.unwrap_or_default());
        if present.is_met_by(hash) {
            let target = self.vardiff.count_share(now);
            self.take_wanted(target, now);
        }
    }

    /// Looks at silence.
    pub(super) fn check(&mut self, now: Instant) {
        let target = self.vardiff.check(now);
        self.take_wanted(target, now);
    }

    /// How fast the miner is.
    pub(super) fn hashrate(&mut self, now: Instant) -> Hashrate {
        let is_claimed = self.is_nominal_claimed && self.meter.is_guess(now);
        Hashrate { hashes: self.meter.estimate(now), is_claimed }
    }

    /// True right after the share with which the hashrate is a guess no more.
    pub(super) fn is_just_measured(&self) -> bool {
        self.meter.shares == METER_SHARES_MIN
    }

    fn take_wanted(&mut self, target: Option<Target>, now: Instant) {
        let Some(target) = target else { return };
        self.wanted = target.difficulty();
        // Until the miner is told otherwise, shares are found at the old difficulty.
        if let Some(told) = self.told {
            self.vardiff.set_target(Target::from_difficulty(told), now);
        }
    }
}

/// Work over time, both fading.
#[derive(Debug, Clone, Copy)]
struct HashrateMeter {
    nominal: f64,
    hashes: f64,
    seconds: f64,
    shares: u32,
    start: Instant,
    last: Instant,
}

impl HashrateMeter {
    fn new(nominal: f64, now: Instant) -> Self {
        Self { nominal, hashes: 0.0, seconds: 0.0, shares: 0, start: now, last: now }
    }

    fn count(&mut self, now: Instant, hashes: f64) {
        self.fade(now);
        self.hashes += hashes;
        self.shares = self.shares.saturating_add(1);
    }

    /// True while it knows nothing but what it began with.
    fn is_guess(&self, now: Instant) -> bool {
        let is_young = now.saturating_duration_since(self.start) < METER_TIME_MIN;
        is_young && self.shares < METER_SHARES_MIN
    }

    fn estimate(&mut self, now: Instant) -> f64 {
        self.fade(now);
        if self.is_guess(now) {
            return self.nominal;
        }
        self.hashes / self.seconds.max(1.0)
    }

    fn fade(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        let memory = METER_MEMORY.as_secs_f64();
        let kept = (-passed / memory).exp();
        self.hashes *= kept;
        self.seconds = self.seconds * kept + memory * (1.0 - kept);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::notify::sample_job;
    use crate::downstream::Answers;
    use crate::downstream::resume::Departed;
    use crate::teams::Channels;

    fn settings() -> MinerSettings {
        let vardiff = VardiffPolicy {
            shares_per_minute: 6.0,
            search_shares_per_minute: 6.0,
            min_difficulty: 1e-6,
        };
        MinerSettings {
            vardiff,
            initial_hashrate: 1e6,
            channels: Channels::One,
            answers: Answers::Upstream,
            lines_per_second_max: 100,
            departed: Departed::default(),
        }
    }

    #[test]
    fn the_hashrate_is_the_measured_one_once_there_are_shares() {
        let start = Instant::now();
        let mut meter = HashrateMeter::new(1e12, start);
        assert_eq!(meter.estimate(start), 1e12);
        for tick in 1..=60 {
            meter.count(start + Duration::from_secs(tick * 10), 5e9);
        }
        let measured = meter.estimate(start + Duration::from_secs(600));
        assert!((measured / 5e8 - 1.0).abs() < 0.05, "{measured}");
    }

    #[test]
    fn a_silent_miner_fades() {
        let start = Instant::now();
        let mut meter = HashrateMeter::new(1e12, start);
        assert_eq!(meter.estimate(start + Duration::from_secs(61)), 0.0);
    }

    #[test]
    fn a_hashrate_is_claimed_once() {
        let start = Instant::now();
        let mut difficulty = MinerDifficulty::new(&settings(), start);
        difficulty.claim(1e12);
        difficulty.claim(1e15);
        assert_eq!(difficulty.hashrate(start), Hashrate { hashes: 1e12, is_claimed: true });
    }

    #[test]
    fn a_claim_is_one_until_five_shares_or_a_minute_have_shown_more() {
        let start = Instant::now();
        let claimed = || {
            let mut difficulty = MinerDifficulty::new(&settings(), start);
            difficulty.claim(1e12);
            difficulty
        };
        let mut busy = claimed();
        for share in 1..=5 {
            busy.count_share(start, &[0; 32], 1.0);
            assert_eq!(busy.hashrate(start).is_claimed, share < 5);
        }
        let mut again = MinerDifficulty::new(&settings(), start);
        again.go_on_from(busy.carried(start));
        again.start(start);
        assert!(!again.hashrate(start).is_claimed, "what was shown is known in the next session");
        let (soon, late) = (start + Duration::from_secs(59), start + Duration::from_secs(60));
        let mut silent = claimed();
        assert!(silent.hashrate(soon).is_claimed && !silent.hashrate(late).is_claimed);
    }

    #[test]
    fn rule_27_a_repeated_suggestion_does_not_undo_vardiff() {
        let start = Instant::now();
        let mut difficulty = MinerDifficulty::new(&settings(), start);
        let job = sample_job(0).at_target(Target::from_difficulty(1e6));
        difficulty.suggest(0.5);
        difficulty.tell(difficulty.for_job(&job), start);
        assert_eq!(difficulty.told(), Some(0.5));
        for tick in 1..=20 {
            let now = start + Duration::from_millis(tick * 100);
            difficulty.count_share(now, &[0; 32], 0.5);
        }
        let raised = difficulty.for_job(&job);
        assert!(raised > 0.5);
        difficulty.suggest(0.5);
        assert_eq!(difficulty.for_job(&job), raised);
        difficulty.suggest(0.25);
        assert_eq!(difficulty.for_job(&job), 0.25);
    }
}
