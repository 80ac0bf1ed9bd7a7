//! What a miner is told to do: difficulty and jobs.
//!
//! A new difficulty is told right before a job, because every client applies it with the next job
//! (rule 12). Every job differs from all before it in what is hashed, not only in its id (rule 13):
//! a job sent again has a later nTime, and nTime runs no faster than the clock, so that at most one
//! job a second is made of the same work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::sv1::notify::{set_difficulty_line, set_extranonce_line};

use super::Event;
use super::session::{MinerSession, Timer};

/// Miners take a connection for dead that is silent for longer, 90 s the strictest (rule 16).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(45);
/// How often silence is looked at.
const VARDIFF_INTERVAL: Duration = Duration::from_secs(10);
/// A miner that is to be hung up on is listened to for so long: a block that is on its way counts
/// where its job came from.
const GRACE: Duration = Duration::from_millis(500);
/// A change of a miner's hashrate below this part of it is not worth an event.
const HASHRATE_THRESHOLD: f64 = 0.05;

impl MinerSession {
    /// After a subscribe or authorize reply: the first job, if all is there for it.
    pub(super) fn go_on_after_login(&mut self, now: Instant) {
        // A further worker changes nothing for those that mine.
        if !self.is_logged_in() || self.difficulty.told().is_some() {
            return;
        }
        if self.timers.is_set(Timer::Login) {
            self.timers.stop(Timer::Login);
            self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
            self.difficulty.start(now);
            // Whatever it is: only now is the miner counted.
            self.say_hashrate(now);
            self.send_job(now);
            self.ask_for_agent();
            return;
        }
        self.send_job(now);
    }

    /// The program has other work.
    pub(super) fn follow_work(&mut self, now: Instant) {
        if self.is_logged_in() {
            self.send_job(now);
        } else {
            self.follow_extranonce(now);
        }
    }

    /// Something may have changed the wanted difficulty.
    pub(super) fn follow_difficulty(&mut self, now: Instant) {
        let Some(work) = &self.work else { return };
        let wanted = self.difficulty.for_job(&work.job);
        if self.is_logged_in() && self.difficulty.told() != Some(wanted) {
            self.send_job(now);
        }
    }

    pub(super) fn check_difficulty(&mut self, now: Instant) {
        self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
        self.difficulty.check(now);
        self.follow_difficulty(now);
        self.tell_hashrate(now);
    }

    /// Sends the present job, and before it a new difficulty or extranonce if there is one.
    pub(super) fn send_job(&mut self, now: Instant) {
        let Some(work) = self.work.as_ref().filter(|work| !work.is_held) else { return };
        if self.is_leaving {
            return;
        }
        let job = Arc::clone(&work.job);
        let ntime = job.ntime_at(now);
        let last = self.jobs.last();
        let clean = last.is_none_or(|last| {
            !last.job.tip.is_same(&job.tip) || last.job.terms.epoch != job.terms.epoch
        });
        let is_repetition = last.is_some_and(|last| ntime <= last.ntime && last.is_same_work(&job));
        if is_repetition {
            if !self.timers.is_set(Timer::NextSecond) {
                self.timers.set(Timer::NextSecond, now + Duration::from_secs(1));
            }
            return;
        }
        let had_shape = self.shape;
        if !self.follow_extranonce(now) {
            return;
        }
        let clean = clean || had_shape != self.shape;
        // What was told is forgotten with each subscribe, but not the jobs of a resumed session.
        let is_first = self.difficulty.told().is_none();
        let difficulty = self.difficulty.for_job(&job);
        if self.difficulty.told() != Some(difficulty) {
            self.output.extend_from_slice(set_difficulty_line(difficulty).as_bytes());
            self.difficulty.tell(difficulty, now);
            self.jobs.ease(difficulty);
            self.events.push_back(Event::Difficulty(difficulty));
        }
        self.look_at_coinbase(job.coinbase_bytes);
        let id = self.jobs.next_id();
        job.rendered.put_line(&id, ntime, clean || is_first, &mut self.output);
        self.jobs.push(job, ntime, difficulty, clean);
        self.timers.set(Timer::Keepalive, now + KEEPALIVE_INTERVAL);
        self.timers.stop(Timer::NextSecond);
    }

    /// Gives a subscribed miner the extranonce of the present work if it has another shape, or ends
    /// the session where it would not understand (rule 29): false then.
    fn follow_extranonce(&mut self, now: Instant) -> bool {
        let (Some(work), Some(shape)) = (&self.work, &mut self.shape) else {
            return true;
        };
        let new = work.job.terms.split.shape();
        if *shape == new {
            return true;
        }
        // Before authorize no unsolicited line but difficulty and jobs is understood (rule 10).
        if self.workers.is_empty() {
            self.is_finished = true;
            return false;
        }
        if !self.takes_extranonce {
            self.is_leaving = true;
            self.timers.set(Timer::Goodbye, now + GRACE);
            return false;
        }
        *shape = new;
        let extranonce_1 = new.extranonce_1(self.identity.seat.number());
        let line = set_extranonce_line(&extranonce_1, new.extranonce_2_bytes);
        self.output.extend_from_slice(line.as_bytes());
        true
    }

    /// Says once that a coinbase is longer than the device can hold, and again of a longer one.
    fn look_at_coinbase(&mut self, bytes: usize) {
        let Some(kind) = self.kind else { return };
        if bytes > kind.coinbase_bytes_max && bytes > self.too_long_told {
            self.too_long_told = bytes;
            self.events.push_back(Event::CoinbaseTooLong { kind, bytes });
        }
    }

    fn tell_hashrate(&mut self, now: Instant) {
        let (hashrate, told) = (self.difficulty.hashrate(now), self.hashrate_told);
        let change = (hashrate.hashes - told.hashes).abs();
        if change > told.hashes * HASHRATE_THRESHOLD || hashrate.is_claimed != told.is_claimed {
            self.say_hashrate(now);
        }
    }

    pub(super) fn say_hashrate(&mut self, now: Instant) {
        self.hashrate_told = self.difficulty.hashrate(now);
        self.events.push_back(Event::Hashrate(self.hashrate_told));
    }
}
