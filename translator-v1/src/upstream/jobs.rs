//! Jobs and what they depend on: tip, target, extranonce prefix.

use std::sync::Arc;
use std::time::Instant;

use wire::session::PeerError;
use wire::sv2::mining::{NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash};

use super::Event;
use super::session::{Phase, Timer, UpstreamSession};
use crate::bridge::notify::{ChannelTerms, Job, Tip};

impl<T> UpstreamSession<T> {
    pub(super) fn take_job(&mut self, job: NewExtendedMiningJob) -> Result<(), PeerError> {
        let Some(channel) = self.channel_for(job.channel_id) else {
            return Ok(());
        };
        if !job.version_rolling_allowed {
            return Err(PeerError::Incompatible("it sent a job without version rolling".into()));
        }
        match (job.min_ntime, channel.tip) {
            (None, _) => {
                channel.future_jobs.keep(job, channel.terms.split);
                Ok(())
            }
            (Some(_), Some(tip)) => {
                let terms = channel.terms;
                self.start_job(Job::new(job, tip, terms));
                Ok(())
            }
            (Some(_), None) => Err(PeerError::Misbehaved("a job to mine before any prev hash")),
        }
    }

    pub(super) fn take_prev_hash(
        &mut self,
        now: Instant,
        message: &SetNewPrevHash,
    ) -> Result<(), PeerError> {
        let Some(channel) = self.channel_for(message.channel_id) else {
            return Ok(());
        };
        let Some((job, split)) = channel.future_jobs.activate(message.job_id) else {
            return Err(PeerError::Misbehaved("a prev hash for a job that was not sent ahead"));
        };
        let Some(tip) = Tip::new(message, now) else {
            return Err(PeerError::Misbehaved("nBits that no hash can meet"));
        };
        channel.tip = Some(tip);
        // The target in force now holds for jobs that were sent ahead (spec 5.3.21).
        let terms = ChannelTerms { split, ..channel.terms };
        self.start_job(Job::new(job, tip, terms));
        Ok(())
    }

    fn start_job(&mut self, job: Job) {
        if let Phase::Open(channel) = &mut self.phase {
            channel.has_work = true;
        }
        self.timers.stop(Timer::FirstJob);
        self.events.push_back(Event::Job(Arc::new(job)));
    }

    pub(super) fn take_prefix(&mut self, message: &SetExtranoncePrefix) -> Result<(), PeerError> {
        let Phase::Open(channel) = &mut self.phase else {
            return Ok(());
        };
        if channel.id != message.channel_id {
            return Ok(());
        }
        let (old, new) = (channel.terms.split, message.extranonce_prefix);
        if old.prefix().len() != new.as_slice().len() {
            return Err(PeerError::Misbehaved("an extranonce prefix of another length"));
        }
        channel.terms.split = old.with_prefix(new);
        Ok(())
    }
}
