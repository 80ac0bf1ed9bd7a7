//! An open channel: its names, its terms, and the jobs that it is given.

use std::sync::Arc;
use std::time::Instant;

use wire::session::PeerError;
use wire::sv2::mining::{NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash};

use super::future_jobs::FutureJobs;
use crate::bridge::notify::{ChannelTerms, Job, Tip};

/// Where a transaction in the witness form has two bytes that no other has (BIP144): behind its
/// version.
const MARKER_AND_FLAG: std::ops::Range<usize> = 4..6;

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) group_id: u32,
    pub(super) terms: ChannelTerms,
    tip: Option<Tip>,
    future_jobs: FutureJobs,
    /// The job that it gave last.
    pub(super) job: Option<Arc<Job>>,
    /// True if it was told of miners when it was opened, or since.
    pub(super) knows_of_miners: bool,
}

impl Channel {
    pub(super) fn new(
        (id, group_id): (u32, u32),
        terms: ChannelTerms,
        knows_of_miners: bool,
    ) -> Self {
        let future_jobs = FutureJobs::default();
        Self { id, group_id, terms, tip: None, future_jobs, job: None, knows_of_miners }
    }

    /// True if a message for `channel_id` is for this channel, by its own name or its group's.
    pub(super) fn answers_to(&self, channel_id: u32) -> bool {
        channel_id == self.id || channel_id == self.group_id
    }

    /// Takes a job; gives it back if it is to be mined now.
    pub(super) fn take_job(
        &mut self,
        now: Instant,
        job: NewExtendedMiningJob,
    ) -> Result<Option<Arc<Job>>, PeerError> {
        if !job.version_rolling_allowed {
            return Err(PeerError::Incompatible("it sent a job without version rolling".into()));
        }
        // A miner hashes what it is sent: with marker and flag in it that is no txid, and the
        // upstream would refuse each share and each block (rule 18).
        if job.coinbase_tx_prefix.as_slice().get(MARKER_AND_FLAG) == Some(&[0, 1]) {
            return Err(PeerError::Incompatible("its coinbase has a witness".into()));
        }
        match (job.min_ntime, self.tip) {
            (None, _) => {
                self.future_jobs.keep(job, self.terms.split);
                Ok(None)
            }
            (Some(_), Some(tip)) => Ok(Some(self.start(Job::new(job, tip, self.terms, now)))),
            (Some(_), None) => Err(PeerError::Misbehaved("a job to mine before any prev hash")),
        }
    }

    /// Takes a tip; gives the job that is to be mined on it.
    pub(super) fn take_prev_hash(
        &mut self,
        now: Instant,
        message: &SetNewPrevHash,
    ) -> Result<Arc<Job>, PeerError> {
        let Some((job, split)) = self.future_jobs.activate(message.job_id) else {
            return Err(PeerError::Misbehaved("a prev hash for a job that was not sent ahead"));
        };
        let Some(tip) = Tip::new(message, now) else {
            return Err(PeerError::Misbehaved("nBits that no hash can meet"));
        };
        self.tip = Some(tip);
        // The target in force now holds for jobs that were sent ahead (spec 5.3.21).
        let terms = ChannelTerms { split, ..self.terms };
        Ok(self.start(Job::new(job, tip, terms, now)))
    }

    pub(super) fn take_prefix(&mut self, message: &SetExtranoncePrefix) -> Result<(), PeerError> {
        let (old, new) = (self.terms.split, message.extranonce_prefix);
        if old.prefix().len() != new.as_slice().len() {
            return Err(PeerError::Misbehaved("an extranonce prefix of another length"));
        }
        self.terms.split = old.with_prefix(new);
        Ok(())
    }

    fn start(&mut self, job: Job) -> Arc<Job> {
        let job = Arc::new(job);
        self.job = Some(Arc::clone(&job));
        job
    }
}
