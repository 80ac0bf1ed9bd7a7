//! The jobs that one miner was given, and the shares that it found for the present tip.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use mining::target::Target;
use wire::sv1::submit::hex_u32;

use crate::bridge::difficulty::share_target;
use crate::bridge::notify::Job;

/// Jobs on one tip whose shares are taken. When one more is sent, the oldest becomes stale.
const JOBS_MAX: usize = 32;
/// Stale jobs that are kept: their shares are refused, but one of them may be a block.
const STALE_JOBS_MAX: usize = 4;
/// Shares on one tip that are remembered while a miner is connected. When one more is found the
/// oldest is forgotten; the upstream looks for duplicates too.
const SHARES_MAX: usize = 4096;

/// Shares that are remembered of a miner that is not: it sends what it found last again.
const SHARES_PARKED_MAX: usize = 256;
/// No more is kept of one that is not connected, in bytes; the jobs themselves are all miners'.
const PARKED_BYTES_MAX: usize = 4 * 1024;
const _: () = assert!(
    (JOBS_MAX + STALE_JOBS_MAX) * size_of::<SentJob>() + SHARES_PARKED_MAX * size_of::<u64>()
        <= PARKED_BYTES_MAX,
);

/// A job as one miner got it.
#[derive(Debug, Clone)]
pub(super) struct SentJob {
    /// The miner's name for it, never used twice in a session (rule 14).
    id: u32,
    /// What is mined.
    pub(super) job: Arc<Job>,
    /// nTime that was sent.
    pub(super) ntime: u32,
    /// Difficulty that its shares have to meet.
    pub(super) difficulty: f64,
}

impl SentJob {
    /// The target of its shares.
    pub(super) fn target(&self) -> Target {
        share_target(self.difficulty)
    }

    /// True if `job` would be hashed as this one was, at the same nTime.
    pub(super) fn is_same_work(&self, job: &Job) -> bool {
        self.job.terms.split == job.terms.split && self.job.rendered == job.rendered
    }
}

/// Why there is no job whose shares are taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum NoJob<'a> {
    /// It was sent once, on an earlier tip or long ago; here it is if it was kept.
    Stale(Option<&'a SentJob>),
    /// It was never sent.
    Unknown,
}

/// All jobs of one miner.
#[derive(Debug, Default)]
pub(super) struct SentJobs {
    jobs: VecDeque<SentJob>,
    stale: VecDeque<SentJob>,
    last_id: u32,
    seen: HashSet<u64>,
    seen_in_order: VecDeque<u64>,
}

impl SentJobs {
    /// The id of the job that is sent next.
    pub(super) fn next_id(&self) -> String {
        format!("{:x}", self.last_id.wrapping_add(1))
    }

    /// Notes a job that was sent with the next id. A `clean` one makes all others stale.
    pub(super) fn push(&mut self, job: Arc<Job>, ntime: u32, difficulty: f64, clean: bool) {
        if clean {
            self.stale.extend(self.jobs.drain(..));
            self.seen.clear();
            self.seen_in_order.clear();
        } else if self.jobs.len() == JOBS_MAX {
            self.stale.extend(self.jobs.pop_front());
        }
        let surplus = self.stale.len().saturating_sub(STALE_JOBS_MAX);
        self.stale.drain(..surplus);
        self.last_id = self.last_id.wrapping_add(1);
        self.jobs.push_back(SentJob { id: self.last_id, job, ntime, difficulty });
    }

    /// The job that was sent last.
    pub(super) fn last(&self) -> Option<&SentJob> {
        self.jobs.back()
    }

    /// The job that the miner calls `id`.
    pub(super) fn find(&self, id: &str) -> Result<&SentJob, NoJob<'_>> {
        let number = hex_u32(id).ok_or(NoJob::Unknown)?;
        let found = self.jobs.iter().rev().find(|sent| sent.id == number);
        found.ok_or_else(|| match (1..=self.last_id).contains(&number) {
            true => NoJob::Stale(self.stale.iter().find(|sent| sent.id == number)),
            false => NoJob::Unknown,
        })
    }

    /// A decrease holds for running jobs too: some miners apply it at once (rule 12).
    pub(super) fn ease(&mut self, difficulty: f64) {
        for sent in &mut self.jobs {
            sent.difficulty = sent.difficulty.min(difficulty);
        }
    }

    /// Forgets what a miner that is gone will not need: at most `PARKED_BYTES_MAX` are left.
    pub(super) fn condense(&mut self) {
        let surplus = self.seen_in_order.len().saturating_sub(SHARES_PARKED_MAX);
        self.seen_in_order.drain(..surplus);
        self.seen = HashSet::new();
        self.seen_in_order.shrink_to_fit();
        self.jobs.shrink_to_fit();
        self.stale.shrink_to_fit();
    }

    /// Makes `condense` undone, but for what was forgotten.
    pub(super) fn unfold(&mut self) {
        self.seen = self.seen_in_order.iter().copied().collect();
    }

    /// Remembers a share by its hash; false if it is known already.
    pub(super) fn remember(&mut self, hash: &[u8; 32]) -> bool {
        // The first bytes are the low ones: proof of work leaves them random.
        let print = hash.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
        if !self.seen.insert(print) {
            return false;
        }
        self.seen_in_order.push_back(print);
        if self.seen_in_order.len() > SHARES_MAX
            && let Some(oldest) = self.seen_in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes on the heap, the jobs themselves left out.
    fn bytes(jobs: &SentJobs) -> usize {
        let sent = (jobs.jobs.capacity() + jobs.stale.capacity()) * size_of::<SentJob>();
        let shares = jobs.seen_in_order.capacity() * size_of::<u64>();
        // A table has at most two and a half places for each entry.
        sent + shares + jobs.seen.capacity() * 5 / 2 * size_of::<u64>()
    }

    #[test]
    fn what_is_kept_of_a_miner_that_is_gone_has_a_bound_and_holds_its_last_shares() {
        let mut jobs = SentJobs::default();
        let job = Arc::new(crate::bridge::notify::sample_job(0));
        for number in 0..100 {
            jobs.push(Arc::clone(&job), number, 1.0, false);
        }
        let hash = |number: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            hash
        };
        let all = 10 * u64::try_from(SHARES_MAX).unwrap();
        for number in 0..all {
            assert!(jobs.remember(&hash(number)));
        }
        assert!(bytes(&jobs) > PARKED_BYTES_MAX);
        jobs.condense();
        assert!(bytes(&jobs) <= PARKED_BYTES_MAX, "{}", bytes(&jobs));
        jobs.unfold();
        let kept = u64::try_from(SHARES_PARKED_MAX).unwrap();
        assert!((all - kept..all).all(|number| !jobs.remember(&hash(number))));
        assert!(jobs.remember(&hash(all - kept - 1)));
        assert_eq!(jobs.last().map(|sent| sent.ntime), Some(99));
    }
}
