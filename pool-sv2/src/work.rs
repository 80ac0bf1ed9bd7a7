//! `Work`: the one value that carries the chain tip and its newest job to every connection, with
//! the frames that all of them get serialised once.
//!
//! Tip and job travel together, so that no connection ever sees one without the other.

use std::sync::Arc;
use std::time::Instant;

use mining::job::Job;
use wire::sv2::codec::{Blob, List};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{NewExtendedMiningJob, SetNewPrevHash};

use crate::payees::Payees;
use crate::payout::Payout;
use crate::payout::identity::Payee;
use crate::payout::promises::Sharing;

/// What is to be mined now.
pub struct Work {
    /// The newest job; its tip is the chain tip.
    pub job: Arc<Job>,
    /// Counts tips: a channel that is opened with this work gets no extranonce that was used on it.
    pub tip_epoch: u64,
    /// Where nTime of this job starts, seconds since 1970.
    pub ntime: u32,
    /// When `ntime` was right: nTime of a job that is sent later starts later.
    pub made_at: Instant,
    /// NewExtendedMiningJob without `min_ntime`: for a tip that the miner does not know yet.
    pub future_job: EncodedFrame,
    /// NewExtendedMiningJob with `min_ntime`: for the tip that the miner is on.
    pub active_job: EncodedFrame,
    /// SetNewPrevHash for `future_job`.
    pub new_prev_hash: EncodedFrame,
    /// The same for those whom blocks pay.
    payees: Payees,
}

/// Why a job cannot be put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the template does not fit into a NewExtendedMiningJob")]
pub struct DoesNotFit;

impl Work {
    /// Serialises the frames of `job`. Channel and job ids are 0 in them and are set as they are
    /// sent.
    pub fn new(
        job: Arc<Job>,
        tip_epoch: u64,
        unix_now: u32,
        now: Instant,
    ) -> Result<Self, DoesNotFit> {
        let ntime = job.tip.header_timestamp.max(unix_now);
        let future = extended_job(&job, None).ok_or(DoesNotFit)?;
        let active = NewExtendedMiningJob { min_ntime: Some(ntime), ..future.clone() };
        let new_prev_hash = SetNewPrevHash {
            channel_id: 0,
            job_id: 0,
            prev_hash: job.tip.hash,
            min_ntime: job.tip.header_timestamp,
            nbits: job.tip.nbits,
        };
        Ok(Self {
            tip_epoch,
            ntime,
            made_at: now,
            future_job: EncodedFrame::new(&future),
            active_job: EncodedFrame::new(&active),
            new_prev_hash: EncodedFrame::new(&new_prev_hash),
            job,
            payees: Payees::default(),
        })
    }

    /// Lets it make jobs whose blocks pay miners, as `payout` and `sharing` say. What was made
    /// before for the same job, in `earlier` work, is used again if it is still right.
    #[must_use]
    pub fn for_miners(
        self,
        payout: Arc<Payout>,
        sharing: Option<Sharing>,
        earlier: Option<&Self>,
    ) -> Self {
        let same = earlier.filter(|earlier| Arc::ptr_eq(&earlier.job, &self.job));
        let payees = Payees::new(payout, sharing, same.map(|same| &same.payees));
        Self { payees, ..self }
    }

    /// The work of those whose blocks pay `payee`; `None` where there is none for them.
    pub fn of(self: &Arc<Self>, payee: &Payee) -> Option<Arc<Self>> {
        match payee {
            Payee::Pool | Payee::Fixed => Some(Arc::clone(self)),
            Payee::Finder { .. } | Payee::Shared(_) => self.payees.work(self, payee),
        }
    }

    /// Where nTime starts for a job that is sent at `now`.
    pub fn ntime_at(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.made_at).as_secs();
        self.ntime.saturating_add(u32::try_from(elapsed).unwrap_or(0))
    }

    /// The job as a message to one channel, with `min_ntime` (or a future job without).
    pub fn extended_job(&self, min_ntime: Option<u32>) -> Option<NewExtendedMiningJob> {
        extended_job(&self.job, min_ntime)
    }
}

fn extended_job(job: &Job, min_ntime: Option<u32>) -> Option<NewExtendedMiningJob> {
    Some(NewExtendedMiningJob {
        channel_id: 0,
        job_id: 0,
        min_ntime,
        version: job.template.version,
        version_rolling_allowed: true,
        merkle_path: List::new(job.template.merkle_path.clone())?,
        coinbase_tx_prefix: Blob::new(job.coinbase.prefix.clone())?,
        coinbase_tx_suffix: Blob::new(job.coinbase.suffix.clone())?,
    })
}
