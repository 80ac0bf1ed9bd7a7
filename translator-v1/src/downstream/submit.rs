//! `mining.submit`: is it a share, whose verdict does it need, and what is answered.
//!
//! A share that the upstream would count gets the upstream's verdict. One that only meets the
//! miner's own, easier target is answered here.

use std::sync::Arc;
use std::time::Instant;

use wire::sv1::request::{Id, Params};
use wire::sv1::submit::Submit;

use super::Event;
use super::jobs::{NoJob, SentJob};
use super::session::{MinerSession, other};
use crate::bridge::submit::{ShareError, UpstreamShare, Verdict, code, rolled_version};

/// nTime may run ahead of what was sent: as far as a node would take a block.
const NTIME_AHEAD_SECONDS_MAX: u32 = 2 * 60 * 60;

/// A share that is worth something.
struct GoodShare {
    share: UpstreamShare,
    hash: [u8; 32],
    difficulty: f64,
    /// True if the upstream would count it.
    counts_upstream: bool,
    /// True if it meets the miner's own target.
    counts_here: bool,
    /// True if it makes a block. On test networks that may be easier than either.
    is_block: bool,
}

impl MinerSession {
    /// Takes a share. It is answered now or when its verdict comes.
    pub(super) fn submit(&mut self, now: Instant, id: Id, params: &Params<'_>) {
        if self.replies.is_full() {
            self.reply(&id, &as_result(Verdict::TooManyWaiting.answer()));
            return;
        }
        let (worker, good) = match self.read_share(params) {
            Ok((worker, submit)) => (worker, self.judge(&submit)),
            Err(error) => (Arc::default(), Err(error)),
        };
        let difficulty = good.as_ref().map_or(0.0, |good| good.difficulty);
        let ticket = self.replies.push(id, Arc::clone(&worker), difficulty);
        match good {
            Ok(good) => self.take_good(now, ticket, worker, &good),
            Err(error) => self.decide(ticket, Err(error)),
        }
    }

    fn take_good(&mut self, now: Instant, ticket: u64, worker: Arc<str>, good: &GoodShare) {
        if good.is_block {
            self.events.push_back(Event::BlockFound { worker, hash: good.hash });
        }
        let share = good.share;
        if good.counts_upstream {
            self.events.push_back(Event::Submit { ticket, share });
        } else {
            // The upstream wants the block, but would call the share that it is too easy.
            let block = good.is_block.then_some(Event::SubmitBlock { share });
            self.events.extend(block);
            self.decide(ticket, if good.counts_here { Ok(()) } else { Err(low_difficulty()) });
        }
        if good.counts_here {
            self.difficulty.count_share(now, &good.hash, good.difficulty);
            self.follow_difficulty(now);
        }
    }

    /// Takes the upstream's verdict.
    pub(super) fn take_verdict(&mut self, ticket: u64, verdict: &Verdict) {
        self.decide(ticket, verdict.answer());
    }

    fn read_share<'a>(&self, params: &Params<'a>) -> Result<(Arc<str>, Submit<'a>), ShareError> {
        if self.split.is_none() {
            return Err(ShareError::new(code::NOT_SUBSCRIBED, "Not subscribed"));
        }
        let submit = Submit::read(params)?;
        match self.worker(&submit.worker) {
            Some(worker) => Ok((worker, submit)),
            None => Err(ShareError::new(code::UNAUTHORIZED, "Unauthorized worker")),
        }
    }

    /// The order is: job, form, hash, targets, duplicate. Only real work is remembered.
    fn judge(&mut self, submit: &Submit<'_>) -> Result<GoodShare, ShareError> {
        let refused = |text| ShareError::new(code::JOB_NOT_FOUND, text);
        let sent = self.jobs.find(&submit.job_id).map_err(|error| match error {
            NoJob::Stale => refused("Stale job"),
            NoJob::Unknown => refused("Job not found"),
        })?;
        let work = self.work.as_ref().filter(|work| work.is_live);
        let work = work.ok_or_else(ShareError::upstream_lost)?;
        // The next job may still be a second away.
        if sent.job.terms.epoch != work.job.terms.epoch {
            return Err(refused("Stale job"));
        }
        let good = hash_share(sent, self.identity.seat, submit)?;
        match self.jobs.remember(&good.hash) {
            true => Ok(good),
            false => Err(ShareError::new(code::DUPLICATE, "Duplicate share")),
        }
    }

    fn decide(&mut self, ticket: u64, answer: Result<(), ShareError>) {
        self.replies.decide(ticket, answer);
        while let Some((reply, answer)) = self.replies.pop() {
            self.reply(&reply.id, &as_result(answer.clone()));
            let (worker, difficulty) = (reply.worker, reply.difficulty);
            self.events.push_back(Event::Answered { worker, difficulty, answer });
        }
    }
}

/// Success of a submit is the boolean `true` (rule 4).
fn as_result(answer: Result<(), ShareError>) -> Result<String, ShareError> {
    answer.map(|()| "true".to_owned())
}

fn hash_share(sent: &SentJob, seat: u16, submit: &Submit<'_>) -> Result<GoodShare, ShareError> {
    let job = &sent.job;
    let split = &job.terms.split;
    let rolled = split
        .rolled(seat, &submit.extranonce_2)
        .ok_or_else(|| other("extranonce2 has the wrong length"))?;
    let version = rolled_version(job.version, submit.version_bits)
        .ok_or_else(|| other("version bits outside the mask"))?;
    let latest = sent.ntime.saturating_add(NTIME_AHEAD_SECONDS_MAX);
    if !(job.min_ntime..=latest).contains(&submit.ntime) {
        return Err(other("ntime out of range"));
    }
    let extranonce = (&*split.extranonce_1(seat), &*submit.extranonce_2);
    let hash = job.header(extranonce, (version, submit.ntime, submit.nonce)).hash();
    let is_block = job.tip.block_target.is_met_by(&hash);
    let counts_here = sent.target.is_met_by(&hash);
    let counts_upstream = job.terms.target.is_met_by(&hash);
    if !is_block && !counts_here && !counts_upstream {
        return Err(low_difficulty());
    }
    let share = UpstreamShare::new(job, rolled, version, submit.ntime, submit.nonce);
    let difficulty = sent.difficulty;
    Ok(GoodShare { share, hash, difficulty, counts_upstream, counts_here, is_block })
}

fn low_difficulty() -> ShareError {
    ShareError::new(code::LOW_DIFFICULTY, "Low difficulty share")
}
