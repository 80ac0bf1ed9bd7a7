//! Opening and updating channels (spec 5.3.2 to 5.3.8).
//!
//! A miner's `max_target` is honoured or refused, never made easier.

use std::collections::BTreeSet;
use std::time::Instant;

use mining::channel::Channel;
use mining::extranonce::{DEVICE_ROLLABLE_BYTES, PROXY_ROLLABLE_BYTES};
use mining::target::Target;
use mining::vardiff::Vardiff;
use tracing::{debug, info};
use wire::session::PeerError;
use wire::sv2::codec::{Bytes32, Str255};
use wire::sv2::mining::{
    ERROR_CHANNEL_CAPACITY_EXHAUSTED, ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED,
    ERROR_INVALID_CHANNEL_ID, ERROR_INVALID_NOMINAL_HASHRATE, ERROR_INVALID_USER_IDENTITY,
    ERROR_MAX_TARGET_OUT_OF_RANGE, ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelSuccess,
    UpdateChannel, UpdateChannelError,
};

use super::conduct::Conduct;
use super::connection::{Downstream, Group, OpenChannel};
use super::extensions::Credited;
use super::limits::Limit;
use super::pace::WAITING_MAX;
use super::rejects::Rejects;
use super::request::{Kind, OpenRequest};
use super::retarget::Bounds;
use crate::payout::identity::{Identity, Payee};
use crate::roster::Tally;
use crate::shares::{Earner, PAYS_ALL, PAYS_FINDER, PAYS_POOL, PAYS_SHARES};

/// Proxy-sized extranonces on one connection: a proxy needs one, and there are few of them.
const PROXY_CHANNELS_MAX: usize = 64;
/// Requests that may wait for the first work, with those that came at once with the last one.
const WAITING_HARD_MAX: usize = WAITING_MAX + 1_024;

impl Downstream {
    /// Opens a channel, says why not, or keeps the request until there is work. Nothing is sent
    /// before the answer: firmware takes any other frame for a refusal (miner-clients rule 33).
    pub(super) fn request_channel(
        &mut self,
        now: Instant,
        request: OpenRequest,
    ) -> Result<(), PeerError> {
        if self.work.is_none() {
            // No more is read by then: so many came together with the last that was.
            if self.waiting.len() >= WAITING_HARD_MAX {
                return Err(PeerError::OverLimit("requests that wait for the first work"));
            }
            self.waiting.push(request);
            return Ok(());
        }
        let request_id = request.request_id;
        match self.open(now, &request) {
            Ok(channel_id) => self.send_first_job(now, channel_id),
            Err(Refusal::Answer(code)) => {
                if code == ERROR_CHANNEL_CAPACITY_EXHAUSTED {
                    self.settings.counts.met(Limit::Channels);
                    info!(limit = Limit::Channels.name(), "channel refused");
                }
                debug!(code, "channel refused");
                self.link.send(&OpenMiningChannelError { request_id, error_code: code.into() })
            }
            Err(Refusal::Peer(error)) => Err(error),
        }
    }

    fn open(&mut self, now: Instant, request: &OpenRequest) -> Result<u32, Refusal> {
        if self.channels.len() >= self.settings.limits.channels_per_connection_max {
            return Err(Refusal::Answer(ERROR_CHANNEL_CAPACITY_EXHAUSTED));
        }
        let identity = self.read_identity(&request.user_identity)?;
        let earner = self.earner_of(&identity);
        let hashrate = read_hashrate(request.nominal_hash_rate)?;
        let policy = self.settings.policy_of(request.user_identity.as_str().unwrap_or_default());
        let operators = Target::from_difficulty(policy.min_difficulty);
        let bounds = Bounds { operators, miners: request.max_target };
        if !bounds.can_be_met(self.network_target()) {
            return Err(Refusal::Answer(ERROR_MAX_TARGET_OUT_OF_RANGE));
        }
        let prefix = self.allocate(request.kind)?;
        let vardiff = Vardiff::new(policy, hashrate, now);
        let target = bounds.allow(vardiff.target(), self.network_target());
        let channel = Channel::new(prefix, target, self.shares_room.clone());
        let group = self.group_of(identity.payee)?;
        let channel_id = self.take_channel_id()?;
        info!(channel = channel_id, kind = request.kind.name(), user = %earner,
            difficulty = target.difficulty(), "channel opened");
        self.answer_open(request.request_id, channel_id, group, &channel)?;
        let credited = Credited::new(earner, self.names_room.clone());
        let mut open = OpenChannel {
            channel,
            group,
            credited,
            vardiff,
            conduct: Conduct::default(),
            rejects: Rejects::default(),
            tally: Tally::new(now),
            bounds,
        };
        open.vardiff.set_target(target, now);
        self.channels.insert(channel_id, open);
        self.channel_opened(now);
        Ok(channel_id)
    }

    /// A name is credited in the ledger, so it must be text without control characters; and where
    /// it is paid, it must say how.
    fn read_identity(&self, name: &Str255) -> Result<Identity, Refusal> {
        let text = name.as_str().filter(|name| !name.chars().any(char::is_control));
        let identity = text.map(|name| self.settings.identities.read(name));
        match identity {
            Some(Ok(identity)) => return Ok(identity),
            Some(Err(reason)) => info!(name = text, %reason, "channel refused for its name"),
            None => debug!("channel refused for a name that is no text"),
        }
        Err(Refusal::Answer(ERROR_INVALID_USER_IDENTITY))
    }

    fn earner_of(&self, identity: &Identity) -> Earner {
        Earner {
            account: (*identity.account).into(),
            worker: (*identity.worker).into(),
            listener: self.settings.listener,
            payout_mode: match identity.payee {
                Payee::Pool => PAYS_POOL,
                Payee::Finder { .. } => PAYS_FINDER,
                Payee::Shared(_) => PAYS_ALL,
                Payee::Fixed => PAYS_SHARES,
            },
        }
    }

    /// The group of channels whose blocks pay `payee`; a new one if there is none.
    fn group_of(&mut self, payee: Payee) -> Result<u32, PeerError> {
        if let Some(group) = self.groups.iter().find(|group| group.payee == payee) {
            return Ok(group.id);
        }
        // Whoever opens and closes channels of many payees leaves no groups behind.
        if self.groups.len() > self.settings.limits.channels_per_connection_max {
            self.forget_empty_groups();
        }
        let id = self.take_channel_id()?;
        self.groups.push(Group { id, payee });
        Ok(id)
    }

    /// No group without a channel is spoken to.
    pub(super) fn forget_empty_groups(&mut self) {
        let used: BTreeSet<u32> = self.channels.values().map(|open| open.group).collect();
        self.groups.retain(|group| used.contains(&group.id));
    }

    fn take_channel_id(&mut self) -> Result<u32, PeerError> {
        let id = self.next_channel_id;
        let next = id.checked_add(1).ok_or(PeerError::OverLimit("channel ids of one connection"));
        self.next_channel_id = next?;
        Ok(id)
    }

    fn allocate(&self, kind: Kind) -> Result<mining::extranonce::ExtranoncePrefix, Refusal> {
        let extranonces = &self.settings.extranonces;
        let epoch = self.work.as_ref().map_or(0, |work| work.tip_epoch);
        let prefix = match kind {
            Kind::Standard => extranonces.standard(epoch),
            Kind::Extended { .. } if self.standard_jobs_only() => {
                return Err(Refusal::Answer(ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED));
            }
            Kind::Extended { min_extranonce_bytes } => {
                if min_extranonce_bytes > PROXY_ROLLABLE_BYTES {
                    return Err(Refusal::Answer(ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE));
                }
                if min_extranonce_bytes > DEVICE_ROLLABLE_BYTES && self.has_all_proxy_channels() {
                    return Err(Refusal::Answer(ERROR_CHANNEL_CAPACITY_EXHAUSTED));
                }
                extranonces.extended(min_extranonce_bytes, epoch)
            }
        };
        prefix.ok_or(Refusal::Answer(ERROR_CHANNEL_CAPACITY_EXHAUSTED))
    }

    fn has_all_proxy_channels(&self) -> bool {
        let is_proxys = |open: &&OpenChannel| open.channel.rollable_bytes() == PROXY_ROLLABLE_BYTES;
        self.channels.values().filter(is_proxys).count() >= PROXY_CHANNELS_MAX
    }

    fn answer_open(
        &mut self,
        request_id: u32,
        channel_id: u32,
        group_channel_id: u32,
        channel: &Channel,
    ) -> Result<(), PeerError> {
        let extranonce_prefix = Bytes32::new(channel.extranonce_prefix()).unwrap_or_default();
        let target = channel.target().to_le_bytes();
        if channel.is_standard() {
            return self.link.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            });
        }
        self.link.send(&OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size: u16::try_from(channel.rollable_bytes()).unwrap_or(0),
            extranonce_prefix,
            group_channel_id,
        })
    }

    /// What the miner asks to change (spec 5.3.7): no answer if it is fine.
    pub(super) fn update_channel(
        &mut self,
        now: Instant,
        update: &UpdateChannel,
    ) -> Result<(), PeerError> {
        let channel_id = update.channel_id;
        let max_target = Target::from_le_bytes(update.maximum_target);
        let network = self.network_target();
        let checked = match self.channels.get_mut(&channel_id) {
            None => Err(ERROR_INVALID_CHANNEL_ID),
            Some(open) if !open.bounds.with_miners(max_target).can_be_met(network) => {
                Err(ERROR_MAX_TARGET_OUT_OF_RANGE)
            }
            Some(open) => match read_hashrate(update.nominal_hash_rate) {
                Ok(hashrate) => Ok((open, hashrate)),
                Err(_) => Err(ERROR_INVALID_NOMINAL_HASHRATE),
            },
        };
        let (open, hashrate) = match checked {
            Ok(checked) => checked,
            Err(code) => {
                let error_code = Str255::from(code);
                return self.link.send(&UpdateChannelError { channel_id, error_code });
            }
        };
        open.bounds = open.bounds.with_miners(max_target);
        open.vardiff.set_nominal_hashrate(hashrate, now);
        let wanted = open.vardiff.target();
        self.retarget(now, channel_id, wanted)
    }
}

/// Why there is no channel.
enum Refusal {
    /// The miner is told so.
    Answer(&'static str),
    /// The connection is over.
    Peer(PeerError),
}

impl From<PeerError> for Refusal {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

fn read_hashrate(hashes_per_second: f32) -> Result<f64, Refusal> {
    if hashes_per_second.is_finite() && hashes_per_second >= 0.0 {
        Ok(hashes_per_second.into())
    } else {
        Err(Refusal::Answer(ERROR_INVALID_NOMINAL_HASHRATE))
    }
}
