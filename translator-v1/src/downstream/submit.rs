//! `mining.submit`: is it a share, whose verdict does it need, and what is answered.
//!
//! A share that the upstream would count gets the upstream's verdict. One that only meets the
//! miner's own, easier target is answered here. Before anything refuses a share it is hashed: if it
//! makes a block, it goes up whatever its answer is.

use std::sync::Arc;
use std::time::Instant;

use wire::sv1::request::{Id, Params};
use wire::sv1::submit::Submit;

use super::jobs::{NoJob, SentJob};
use super::login::printable;
use super::replies::Reply;
use super::session::{MinerSession, other};
use super::{Answers, Event, SHARES_WAITING_MAX};
use crate::bridge::submit::{
    ShareError, UpstreamShare, Verdict, code, hashed_version, rolls_within_mask,
};

/// nTime may run ahead of what was sent: as far as a node would take a block.
const NTIME_AHEAD_SECONDS_MAX: u32 = 2 * 60 * 60;
/// So much of the name of a worker that has not authorized is logged, in characters.
const STRANGER_CHARS_MAX: usize = 100;

/// What is known of a share once it was hashed.
struct Hashed {
    share: UpstreamShare,
    hash: [u8; 32],
    difficulty: f64,
    /// True if the upstream would count it.
    counts_upstream: bool,
    /// True if it meets the miner's own target.
    counts_here: bool,
    /// Whether nTime and version are what the job allows.
    form: Result<(), ShareError>,
}

/// A share before it is remembered.
struct Judged {
    worker: Arc<str>,
    /// None if it could not be hashed.
    hashed: Option<Hashed>,
    answer: Result<(), ShareError>,
}

impl MinerSession {
    /// Takes a share. It is answered now or when its verdict comes.
    pub(super) fn submit(&mut self, now: Instant, id: Id, params: &Params<'_>) {
        let Judged { worker, hashed, answer } = self.judge(params);
        let answer = match self.too_many_wait() {
            true => Verdict::TooManyWaiting.answer(),
            false => answer,
        };
        let answer = match &hashed {
            Some(hashed) => self.pass_block_on(&worker, hashed, answer),
            None => answer,
        };
        let difficulty = hashed.as_ref().map_or(0.0, |hashed| hashed.difficulty);
        let ticket = self.replies.push(id, Arc::clone(&worker), difficulty);
        match (hashed, answer) {
            (Some(hashed), Ok(())) => self.take_good(now, ticket, worker, &hashed),
            (_, answer) => self.decide(ticket, answer),
        }
    }

    /// Remembers real work, and sends a block up if the share itself will not carry it there. Gives
    /// the answer: a share that was good may be known already.
    fn pass_block_on(
        &mut self,
        worker: &Arc<str>,
        hashed: &Hashed,
        answer: Result<(), ShareError>,
    ) -> Result<(), ShareError> {
        // Also to an upstream that is not mined on any more: it may still be there.
        let goes_up = hashed.share.is_block;
        if !goes_up && answer.is_err() {
            return answer;
        }
        if !self.jobs.remember(&hashed.hash) {
            return answer.and_then(|()| Err(ShareError::new(code::DUPLICATE, "Duplicate share")));
        }
        if goes_up {
            let (worker, hash) = (Arc::clone(worker), hashed.hash);
            self.events.push_back(Event::BlockFound { worker, hash });
        }
        if goes_up && !(answer.is_ok() && hashed.counts_upstream) {
            let (share, worker) = (hashed.share, Arc::clone(worker));
            self.events.push_back(Event::SubmitBlock { share, worker });
        }
        answer
    }

    fn take_good(&mut self, now: Instant, ticket: u64, worker: Arc<str>, good: &Hashed) {
        if good.counts_upstream {
            match self.answers {
                Answers::Upstream => self.replies.last_goes_up(),
                Answers::Early => self.without_verdict += 1,
            }
            self.events.push_back(Event::Submit { ticket, share: good.share, worker });
        }
        if !good.counts_upstream || self.answers == Answers::Early {
            self.decide(ticket, Ok(()));
        }
        if good.counts_here {
            self.difficulty.count_share(now, &good.hash, good.difficulty);
            if self.difficulty.is_just_measured() {
                self.say_hashrate(now);
            }
            self.follow_difficulty(now);
        }
    }

    /// Takes the upstream's verdict.
    pub(super) fn take_verdict(&mut self, ticket: u64, verdict: &Verdict) {
        match self.answers {
            Answers::Upstream => self.decide(ticket, verdict.answer()),
            // The miner was told that it counts.
            Answers::Early => {
                self.without_verdict = self.without_verdict.saturating_sub(1);
                self.events.push_back(Event::LateVerdict { outcome: verdict.answer() });
            }
        }
    }

    /// True if no further share may wait for the upstream: the way back has room for so many
    /// verdicts, and one miner must not fill what all of them share on the way up.
    fn too_many_wait(&self) -> bool {
        self.replies.is_full() || self.without_verdict >= SHARES_WAITING_MAX
    }

    fn judge(&self, params: &Params<'_>) -> Judged {
        let unreadable = |error| Judged { worker: "".into(), hashed: None, answer: Err(error) };
        if self.shape.is_none() {
            return unreadable(ShareError::new(code::NOT_SUBSCRIBED, "Not subscribed"));
        }
        let submit = match Submit::read(params) {
            Ok(submit) => submit,
            Err(error) => return unreadable(error.into()),
        };
        let (hashed, answer) = self.judge_work(&submit);
        match self.worker(&submit.worker) {
            Some(worker) => Judged { worker, hashed, answer },
            None => {
                let claimed = printable(&submit.worker, STRANGER_CHARS_MAX);
                let error = ShareError::new(code::UNAUTHORIZED, "Unauthorized worker");
                Judged { worker: claimed.into(), hashed, answer: Err(error) }
            }
        }
    }

    /// Hashes what can be hashed; then the order is: job, form, targets.
    fn judge_work(&self, submit: &Submit<'_>) -> (Option<Hashed>, Result<(), ShareError>) {
        let refused = |text| Err(ShareError::new(code::JOB_NOT_FOUND, text));
        let found = self.jobs.find(&submit.job_id);
        let sent = match found {
            Ok(sent) | Err(NoJob::Stale(Some(sent))) => sent,
            Err(NoJob::Stale(None)) => return (None, refused("Stale job")),
            Err(NoJob::Unknown) => return (None, refused("Job not found")),
        };
        let work = self.work.as_ref();
        // The next job may still be a second away.
        let is_of_channel = work.is_some_and(|work| work.job.terms.epoch == sent.job.terms.epoch);
        let is_upstream_there = work.is_some_and(|work| work.is_live);
        let hashed = hash_share(sent, self.identity.seat.number(), submit);
        let answer = match &hashed {
            _ if found.is_err() => refused("Stale job"),
            _ if !is_upstream_there => Err(ShareError::upstream_lost()),
            _ if !is_of_channel => refused("Stale job"),
            None => Err(other("extranonce2 has the wrong length")),
            Some(hashed) if !hashed.counts_here && !hashed.counts_upstream => {
                hashed.form.clone().and_then(|()| Err(low_difficulty()))
            }
            Some(hashed) => hashed.form.clone(),
        };
        (hashed, answer)
    }

    fn decide(&mut self, ticket: u64, answer: Result<(), ShareError>) {
        self.replies.decide(ticket, answer);
        while let Some((reply, answer)) = self.replies.pop() {
            self.has_earned |= answer.is_ok();
            // Success of a submit is the boolean `true` (rule 4).
            self.reply(&reply.id, answer.as_ref().map(|()| "true"));
            let Reply { worker, difficulty, is_upstreams, .. } = reply;
            self.events.push_back(Event::Answered { worker, difficulty, is_upstreams, answer });
        }
    }
}

/// Hashes a share of `sent`; `None` if its extranonce does not fit.
fn hash_share(sent: &SentJob, seat: u16, submit: &Submit<'_>) -> Option<Hashed> {
    let job = &sent.job;
    let split = &job.terms.split;
    let rolled = split.rolled(seat, &submit.extranonce_2)?;
    let version = hashed_version(job.version, submit.version_bits);
    let latest = sent.ntime.saturating_add(NTIME_AHEAD_SECONDS_MAX);
    let form = match () {
        () if !rolls_within_mask(submit.version_bits) => {
            Err(other("version bits outside the mask"))
        }
        () if !(job.min_ntime..=latest).contains(&submit.ntime) => Err(other("ntime out of range")),
        () => Ok(()),
    };
    let extranonce = (&*split.shape().extranonce_1(seat), &*submit.extranonce_2);
    let hash = job.header(extranonce, (version, submit.ntime, submit.nonce)).hash();
    let share = UpstreamShare {
        epoch: job.terms.epoch,
        job_id: job.id,
        nonce: submit.nonce,
        ntime: submit.ntime,
        version,
        extranonce: rolled,
        is_block: job.tip.block_target.is_met_by(&hash),
    };
    Some(Hashed {
        share,
        hash,
        difficulty: sent.difficulty,
        counts_upstream: job.terms.target.is_met_by(&hash),
        counts_here: sent.target().is_met_by(&hash),
        form,
    })
}

fn low_difficulty() -> ShareError {
    ShareError::new(code::LOW_DIFFICULTY, "Low difficulty share")
}
