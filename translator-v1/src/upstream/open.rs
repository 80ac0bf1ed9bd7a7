//! Opening the channel: how much room is asked for, and what is done when a pool says no.

use std::time::{Duration, Instant};

use mining::target::Target;
use wire::session::PeerError;
use wire::sv2::codec::Str255;
use wire::sv2::mining::{
    ERROR_INVALID_NOMINAL_HASHRATE, ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
};

use super::Event;
use super::channel::Channel;
use super::session::{Phase, Timer, UpstreamSession, single};
use crate::bridge::extranonce::{ExtranonceSplit, ROLLABLE_BYTES_OF_MANY, ROLLABLE_BYTES_WANTED};
use crate::bridge::notify::{ChannelEpoch, ChannelTerms};
use crate::teams::Channels;

/// The answer to an open request may take so long.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// An upstream that opens channels and gives no work is no upstream.
const FIRST_JOB_MAX: Duration = Duration::from_secs(30);
/// What other pools say where ours says `min-extranonce-size-too-large`.
const ERROR_UNSUPPORTED_MIN_EXTRANONCE_SIZE: &str = "unsupported-min-extranonce-size";

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenRequest {
    id: u32,
    /// Which of the sizes that are wanted it asks for.
    rollable_index: usize,
    /// True if a pool refused the honest 0.
    claims_initial_hashrate: bool,
}

impl<T> UpstreamSession<T> {
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        rollable_index: usize,
        claims_initial_hashrate: bool,
    ) -> Result<(), PeerError> {
        // Miners are told one size, whichever channel they will have.
        let wanted: &[u16] = match self.settings.channels {
            Channels::One => &ROLLABLE_BYTES_WANTED,
            Channels::PerUser | Channels::PerMiner => &ROLLABLE_BYTES_OF_MANY,
        };
        let Some(rollable) = wanted.get(rollable_index) else {
            return Err(PeerError::Incompatible("it has no extranonce for a translator".into()));
        };
        let request =
            OpenRequest { id: self.next_request_id, rollable_index, claims_initial_hashrate };
        self.next_request_id = request.id.wrapping_add(1);
        let hashrate = match claims_initial_hashrate {
            true => self.settings.initial_hashrate,
            false => self.miners.hashrate,
        };
        self.link.send(&OpenExtendedMiningChannel {
            request_id: request.id,
            user_identity: Str255::truncated(&self.settings.user_identity),
            nominal_hash_rate: single(hashrate),
            max_target: Target::MAX.to_le_bytes(),
            min_extranonce_size: *rollable,
        })?;
        self.told = Some((self.miners, now));
        self.timers.set(Timer::Open, now + OPEN_MAX);
        self.phase = Phase::Opening(request);
        Ok(())
    }

    pub(super) fn take_open(
        &mut self,
        now: Instant,
        success: &OpenExtendedMiningChannelSuccess,
    ) -> Result<(), PeerError> {
        if self.take_team_open(now, success)? {
            return Ok(());
        }
        let request = match self.phase {
            Phase::Opening(request) if request.id == success.request_id => request,
            _ => return self.close_stray(success.channel_id),
        };
        let split = ExtranonceSplit::new(success.extranonce_prefix, success.extranonce_size)
            .map_err(|error| PeerError::Incompatible(error.to_string()))?;
        let terms = ChannelTerms {
            epoch: self.next_epoch,
            split,
            target: Target::from_le_bytes(success.target),
        };
        self.next_epoch = ChannelEpoch(self.next_epoch.0 + 1);
        let told_of_miners = self.told.is_some_and(|(told, _)| told.miners > 0);
        self.phase = Phase::Open(Box::new(Channel::new(
            (success.channel_id, success.group_channel_id),
            terms,
            told_of_miners || request.claims_initial_hashrate,
        )));
        self.timers.stop(Timer::Open);
        self.timers.set(Timer::FirstJob, now + FIRST_JOB_MAX);
        self.events.push_back(Event::ChannelOpened { channel: success.channel_id, terms });
        self.tell_miners(now)?;
        self.open_next_teams(now)
    }

    pub(super) fn take_open_error(
        &mut self,
        now: Instant,
        error: &OpenMiningChannelError,
    ) -> Result<(), PeerError> {
        if self.take_team_open_error(now, error)? {
            return Ok(());
        }
        let Phase::Opening(request) = self.phase else {
            return Ok(());
        };
        let OpenRequest { id, rollable_index, claims_initial_hashrate } = request;
        if id != error.request_id {
            return Ok(());
        }
        match error.error_code.as_str() {
            Some(ERROR_UNSUPPORTED_MIN_EXTRANONCE_SIZE | ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE) => {
                self.open_channel(now, rollable_index + 1, claims_initial_hashrate)
            }
            Some(ERROR_INVALID_NOMINAL_HASHRATE) if !claims_initial_hashrate => {
                self.open_channel(now, rollable_index, true)
            }
            _ => Err(PeerError::Incompatible(error.error_code.display().into_owned())),
        }
    }
}
