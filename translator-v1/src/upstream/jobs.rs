//! Jobs and what they depend on: tip, target, extranonce prefix.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::target::Target;
use wire::session::PeerError;
use wire::sv2::mining::{NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash};

use super::Event;
use super::session::{Phase, Timer, UpstreamSession};
use crate::bridge::notify::Job;

/// So long the first miners wait for the upstream's answer to how many they are. LuxOS leaves when
/// it has no job within a second.
const RELEASE_MAX: Duration = Duration::from_millis(500);

impl<T> UpstreamSession<T> {
    pub(super) fn take_job(
        &mut self,
        now: Instant,
        job: NewExtendedMiningJob,
    ) -> Result<(), PeerError> {
        self.check_promise(&job)?;
        self.take_team_job(now, &job);
        let Some(channel) = self.channel_for(job.channel_id) else {
            return Ok(());
        };
        if let Some(job) = channel.take_job(now, job)? {
            self.start_job(job);
        }
        Ok(())
    }

    /// An upstream whose coinbase does not pay what it should is left before anybody mines it.
    fn check_promise(&mut self, job: &NewExtendedMiningJob) -> Result<(), PeerError> {
        let Some(promise) = &self.settings.promise else { return Ok(()) };
        let own = match &self.phase {
            Phase::Open(channel) if channel.answers_to(job.channel_id) => Some(channel.terms.split),
            _ => None,
        };
        let splits = own.into_iter().chain(self.teams.splits_of(job.channel_id));
        // None of a channel that nobody has here; one for each that a group's job is for.
        let lengths: BTreeSet<_> = splits.map(|split| split.whole_bytes()).collect();
        let breach = lengths.into_iter().find_map(|bytes| promise.breach(job, bytes));
        let Some(breach) = breach else { return Ok(()) };
        self.events.push_back(Event::PromiseBroken { breach: breach.clone() });
        Err(PeerError::Incompatible(breach))
    }

    pub(super) fn take_prev_hash(
        &mut self,
        now: Instant,
        message: &SetNewPrevHash,
    ) -> Result<(), PeerError> {
        self.take_team_prev_hash(now, message);
        let Some(channel) = self.channel_for(message.channel_id) else {
            return Ok(());
        };
        let job = channel.take_prev_hash(now, message)?;
        self.start_job(job);
        Ok(())
    }

    fn start_job(&mut self, job: Arc<Job>) {
        let Phase::Open(channel) = &mut self.phase else { return };
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
        let mut taken = Ok(());
        self.teams.change(message.channel_id, |channel| taken = channel.take_prefix(message));
        taken?;
        match &mut self.phase {
            Phase::Open(channel) if channel.id == message.channel_id => {
                channel.take_prefix(message)
            }
            _ => Ok(()),
        }
    }
}
