//! One open channel: jobs come, work goes to the threads, shares go to the pool.
//!
//! Which target counts when is spec 5.3.21: a job that came for at once keeps the target of its
//! time, a future job takes the one of its activation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mining::target::Target;
use mining::version::BIP323_MASK;
use tracing::{debug, warn};
use wire::session::PeerError;
use wire::sv2::codec::Bytes32;
use wire::sv2::link::Link;
use wire::sv2::mining::{
    Mining, NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SubmitSharesExtended,
    SubmitSharesStandard,
};

use crate::pool::{Event, WorkNames};
use crate::work::{CoinbaseParts, MerkleSource, Share, Work, WorkId};

/// Future jobs that are kept; the oldest makes room. Firmware keeps eight.
const FUTURE_JOBS_MAX: usize = 16;

/// What the pool granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelTerms {
    pub(super) channel_id: u32,
    pub(super) group_channel_id: u32,
    /// Little-endian.
    pub(super) target: [u8; 32],
    pub(super) extranonce_prefix: Bytes32,
    /// Rolled bytes; 0 on a standard channel.
    pub(super) extranonce_bytes: usize,
    /// The pool takes no other version than the job's.
    pub(super) fixed_version: bool,
}

/// A job as it came, whichever kind.
#[derive(Debug, Clone)]
struct Job {
    job_id: u32,
    version: u32,
    rolling_mask: u32,
    merkle: MerkleSource,
}

/// The tip of the chain as the pool told it.
#[derive(Debug, Clone, Copy)]
struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
}

/// An open channel.
pub(super) struct Channel {
    terms: ChannelTerms,
    target: Target,
    tip: Option<Tip>,
    future: VecDeque<Job>,
    names: WorkNames<u32>,
    /// The running work and the hardest target it met, if it came as a future job: `SetTarget`
    /// still counts for it.
    activated: Option<(WorkId, Target)>,
    last_sequence_number: u32,
}

impl Channel {
    pub(super) fn new(terms: ChannelTerms, connection: u32) -> Self {
        Self {
            terms,
            target: Target::from_le_bytes(terms.target),
            tip: None,
            future: VecDeque::new(),
            names: WorkNames::new(connection),
            activated: None,
            last_sequence_number: 0,
        }
    }

    /// Takes a message of the pool.
    pub(super) fn take(
        &mut self,
        now: Instant,
        message: Mining,
        events: &mut VecDeque<Event>,
    ) -> Result<(), PeerError> {
        match message {
            Mining::NewMiningJob(job) if self.is_own(job.channel_id) => {
                self.take_job(now, job.min_ntime, self.standard_job(&job), events)
            }
            Mining::NewExtendedMiningJob(job) if self.is_meant(job.channel_id) => {
                self.take_job(now, job.min_ntime, self.extended_job(job), events)
            }
            Mining::SetNewPrevHash(tip) if self.is_meant(tip.channel_id) => {
                self.switch_tip(now, &tip, events)
            }
            Mining::SetTarget(set) if self.is_meant(set.channel_id) => {
                self.set_target(Target::from_le_bytes(set.maximum_target));
                Ok(())
            }
            Mining::SetExtranoncePrefix(set) if self.is_own(set.channel_id) => {
                self.terms.extranonce_prefix = set.extranonce_prefix;
                Ok(())
            }
            Mining::SubmitSharesSuccess(success) if self.is_own(success.channel_id) => {
                let shares = u64::from(success.new_submits_accepted_count);
                events.push_back(Event::Accepted { shares });
                Ok(())
            }
            Mining::SubmitSharesError(error) if self.is_own(error.channel_id) => {
                let reason = error.error_code.display().into_owned();
                events.push_back(Event::Rejected { reason });
                Ok(())
            }
            Mining::CloseChannel(close) if self.is_meant(close.channel_id) => {
                warn!(reason = %close.reason_code.display(), "channel closed by the pool");
                Err(PeerError::Closed("the pool closed the channel"))
            }
            other => {
                debug!(message = other.name(), "message not meant for this channel ignored");
                Ok(())
            }
        }
    }

    /// Sends a share, unless its tip is gone or a harder target came meanwhile.
    pub(super) fn submit(
        &mut self,
        share: &Share,
        link: &mut Link,
        events: &mut VecDeque<Event>,
    ) -> Result<(), PeerError> {
        let Some(job_id) = self.names.job(share.work).copied() else {
            events.push_back(Event::Withheld);
            return Ok(());
        };
        if self.is_too_easy(share) {
            events.push_back(Event::Withheld);
            return Ok(());
        }
        self.last_sequence_number = self.last_sequence_number.wrapping_add(1);
        let (channel_id, sequence_number) = (self.terms.channel_id, self.last_sequence_number);
        let Share { nonce, ntime, version, .. } = *share;
        if self.terms.extranonce_bytes == 0 {
            return link.send(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            });
        }
        let extranonce = Bytes32::new(&share.extranonce)
            .ok_or(PeerError::OverLimit("extranonce bytes of a share"))?;
        link.send(&SubmitSharesExtended {
            channel_id,
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        })
    }

    fn is_own(&self, channel_id: u32) -> bool {
        channel_id == self.terms.channel_id
    }

    /// True for messages to this channel or to its group.
    fn is_meant(&self, channel_id: u32) -> bool {
        self.is_own(channel_id) || channel_id == self.terms.group_channel_id
    }

    fn standard_job(&self, job: &NewMiningJob) -> Job {
        Job {
            job_id: job.job_id,
            version: job.version,
            rolling_mask: if self.terms.fixed_version { 0 } else { BIP323_MASK },
            merkle: MerkleSource::Fixed(job.merkle_root),
        }
    }

    fn extended_job(&self, job: NewExtendedMiningJob) -> Job {
        let mut prefix = job.coinbase_tx_prefix.as_slice().to_vec();
        prefix.extend_from_slice(self.terms.extranonce_prefix.as_slice());
        let may_roll = job.version_rolling_allowed && !self.terms.fixed_version;
        Job {
            job_id: job.job_id,
            version: job.version,
            rolling_mask: if may_roll { BIP323_MASK } else { 0 },
            merkle: MerkleSource::Rolled(CoinbaseParts {
                prefix,
                extranonce_bytes: self.terms.extranonce_bytes,
                suffix: job.coinbase_tx_suffix.as_slice().to_vec(),
                path: job.merkle_path.into_vec(),
            }),
        }
    }

    /// A job with a time is for now, one without is for a coming tip.
    fn take_job(
        &mut self,
        now: Instant,
        min_ntime: Option<u32>,
        job: Job,
        events: &mut VecDeque<Event>,
    ) -> Result<(), PeerError> {
        let Some(min_ntime) = min_ntime else {
            if self.future.len() >= FUTURE_JOBS_MAX {
                self.future.pop_front();
            }
            self.future.push_back(job);
            return Ok(());
        };
        let tip = self.tip.ok_or(PeerError::Misbehaved("a job for now before the first tip"))?;
        let work = self.work(now, job, tip, min_ntime);
        self.activated = None;
        events.push_back(Event::Work(work));
        Ok(())
    }

    fn switch_tip(
        &mut self,
        now: Instant,
        message: &SetNewPrevHash,
        events: &mut VecDeque<Event>,
    ) -> Result<(), PeerError> {
        let mut future = std::mem::take(&mut self.future).into_iter();
        let job = future
            .find(|job| job.job_id == message.job_id)
            .ok_or(PeerError::Misbehaved("a new tip for a job that was not sent"))?;
        let tip = Tip { prev_hash: message.prev_hash, nbits: message.nbits };
        self.tip = Some(tip);
        self.names.clear();
        let work = self.work(now, job, tip, message.min_ntime);
        self.activated = Some((work.id, work.target));
        events.push_back(Event::Work(work));
        Ok(())
    }

    /// A running job gets harder at most: what is sent is then good by the old target and the new.
    fn set_target(&mut self, target: Target) {
        self.target = target;
        if let Some((_, hardest)) = &mut self.activated {
            *hardest = target.min(*hardest);
        }
    }

    fn is_too_easy(&self, share: &Share) -> bool {
        self.activated
            .is_some_and(|(id, hardest)| id == share.work && !hardest.is_met_by(&share.hash))
    }

    fn work(&mut self, now: Instant, job: Job, tip: Tip, min_ntime: u32) -> Arc<Work> {
        let id: WorkId = self.names.name(job.job_id);
        Arc::new(Work {
            id,
            version: job.version,
            rolling_mask: job.rolling_mask,
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            min_ntime,
            received: now,
            target: self.target,
            merkle: job.merkle,
        })
    }
}
