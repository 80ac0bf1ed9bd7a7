//! Which target a channel may have, and how it is given another (spec 5.3.21).
//!
//! What would be the right one is vardiff's to say.

use std::time::Instant;

use mining::target::Target;
use tracing::debug;
use wire::session::PeerError;
use wire::sv2::mining::SetTarget;

use super::connection::Downstream;

/// Between what a channel's target stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The easiest target that the operator gives, to this user or on this port.
    pub(super) operators: Target,
    /// The easiest target that the miner takes.
    pub(super) miners: Target,
}

impl Bounds {
    /// The same with the miner's new word.
    pub(super) fn with_miners(self, miners: Target) -> Self {
        Self { miners, ..self }
    }

    /// False if the miner takes nothing but targets that are harder than a block.
    pub(super) fn can_be_met(self, network: Option<Target>) -> bool {
        self.miners >= self.hardest(network)
    }

    /// The target that is set where `wanted` is wanted: no harder than a block (or blocks would be
    /// missed), no easier than the operator's minimum, and never easier than the miner takes.
    pub(super) fn allow(self, wanted: Target, network: Option<Target>) -> Target {
        wanted.max(self.hardest(network)).min(self.operators).min(self.miners)
    }

    /// A share must not be harder than a block, unless blocks are easier than the operator wants
    /// shares to be: on such a chain (regtest), or on a port for rented hashrate, not every block
    /// need be found.
    pub(super) fn hardest(self, network: Option<Target>) -> Target {
        network.filter(|target| *target < self.operators).unwrap_or(Target::MIN)
    }
}

impl Downstream {
    /// The target of a block, if there is work.
    pub(super) fn network_target(&self) -> Option<Target> {
        self.work.as_ref().map(|work| work.job.tip.target)
    }

    /// Gives a channel another target and, at once, a job that it applies to (miner-clients rule
    /// 40).
    pub(super) fn retarget(
        &mut self,
        now: Instant,
        channel_id: u32,
        wanted: Target,
    ) -> Result<(), PeerError> {
        if self.set_target(now, channel_id, wanted)? {
            return self.send_active_job(now, channel_id);
        }
        Ok(())
    }

    /// Blocks became easier: no channel keeps a target that is harder than one. The target holds
    /// for the job that is to follow.
    pub(super) fn ease_to_network(&mut self, now: Instant) -> Result<(), PeerError> {
        let network = self.network_target();
        let hardest = self.channels.iter().map(|(id, open)| (*id, open.bounds.hardest(network)));
        let too_hard = hardest.zip(self.channels.values());
        let too_hard: Vec<_> = too_hard
            .filter(|((_, hardest), open)| open.channel.target() < *hardest)
            .map(|(channel, _)| channel)
            .collect();
        too_hard.into_iter().try_for_each(|(id, target)| self.set_target(now, id, target).map(drop))
    }

    /// True if the channel has been given another target.
    fn set_target(
        &mut self,
        now: Instant,
        channel_id: u32,
        wanted: Target,
    ) -> Result<bool, PeerError> {
        let network = self.network_target();
        let Some(open) = self.channels.get_mut(&channel_id) else {
            return Ok(false);
        };
        let target = open.bounds.allow(wanted, network);
        open.vardiff.set_target(target, now);
        if open.channel.target() == target {
            return Ok(false);
        }
        open.channel.set_target(target);
        let difficulty = target.difficulty();
        debug!(channel = channel_id, user = %open.credited.earner(), difficulty, "target set");
        self.link.send(&SetTarget { channel_id, maximum_target: target.to_le_bytes() })?;
        Ok(true)
    }
}
