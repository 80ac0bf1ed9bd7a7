//! Jobs and what they depend on: tip, target, extranonce prefix.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::target::Target;
use wire::session::PeerError;
use wire::sv2::mining::{NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash};

use super::Event;
use super::session::{Phase, Timer, UpstreamSession};
use crate::bridge::notify::{ChannelTerms, Job, Tip};

/// So long the first miners wait for the upstream's answer to how many they are. LuxOS leaves when
/// it has no job within a second.
const RELEASE_MAX: Duration = Duration::from_millis(500);

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
        let Phase::Open(channel) = &mut self.phase else { return };
        let job = Arc::new(job);
        channel.job = Some(Arc::clone(&job));
        self.timers.stop(Timer::FirstJob);
        // Its target is none for miners as long as it is none for anybody.
        let is_held = !channel.knows_of_miners || self.timers.is_set(Timer::Release);
        self.events.push_back(Event::Job { job, is_held });
    }

    /// The upstream is being told of the first miners: its target for them is worth a moment.
    pub(super) fn expect_target(&mut self, now: Instant) {
        let is_expected = self.miners.miners > 0;
        if let Phase::Open(channel) = &mut self.phase
            && std::mem::replace(&mut channel.knows_of_miners, is_expected) != is_expected
            && is_expected
        {
            self.timers.set(Timer::Release, now + RELEASE_MAX);
        }
    }

    /// Gives out the work that was held, at the target that holds now. Nobody has mined it yet.
    pub(super) fn release(&mut self) {
        self.timers.stop(Timer::Release);
        let Phase::Open(channel) = &mut self.phase else { return };
        let Some(job) = &channel.job else { return };
        let job = Arc::new(job.at_target(channel.terms.target));
        channel.job = Some(Arc::clone(&job));
        self.events.push_back(Event::Job { job, is_held: false });
    }

    /// A target holds for later jobs, and for one that nobody has mined.
    pub(super) fn take_target(&mut self, channel_id: u32, target: Target) {
        let Some(channel) = self.channel_for(channel_id) else { return };
        channel.terms.target = target;
        if self.timers.is_set(Timer::Release) {
            self.release();
        }
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
