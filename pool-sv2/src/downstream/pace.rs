//! How fast a miner may speak, and how long it may be silent.
//!
//! Who sends too much is read later: his bytes wait in his own socket, none of his shares is lost,
//! no block among them is, and nobody else waits for him. So an honest device that is far too fast
//! for its first difficulty loses nothing while vardiff catches up, and a flood costs no more than
//! its limit. Nothing here looks into a message.

use std::time::{Duration, Instant};

use tracing::{debug, info};
use wire::pace::Allowance;
use wire::session::PeerError;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, UpdateChannel,
};

use super::connection::Downstream;
use super::limits::Limit;

/// Messages may come at once for so long a time of their limit.
const BURST_SECONDS: u32 = 2;
/// Channels that add to what a connection may send; further ones share it. A proxy of thousands of
/// devices sends a few hundred shares a second, and this is a hundred times that.
const CHANNELS_MAX: usize = 32;
/// So many channels may be opened and closed at once, however few there may be at a time.
const AT_ONCE_MIN: u32 = 64;
/// A message that has begun must have come whole after this. The longest one is 128 KiB.
const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// Requests that may wait for the first work before no more are read.
pub(super) const WAITING_MAX: usize = 64;
/// Who has to wait for something that has no time is looked at again after this.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// What came at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Shares, and whatever else there is.
    others: u32,
    requests: u32,
}

impl Taken {
    pub(super) fn count(&mut self, kind: u8) {
        const REQUESTS: [u8; 4] = [
            OpenStandardMiningChannel::MESSAGE_TYPE,
            OpenExtendedMiningChannel::MESSAGE_TYPE,
            UpdateChannel::MESSAGE_TYPE,
            CloseChannel::MESSAGE_TYPE,
        ];
        match REQUESTS.contains(&kind) {
            true => self.requests = self.requests.saturating_add(1),
            false => self.others = self.others.saturating_add(1),
        }
    }
}

/// What one connection has sent, against its limits.
#[derive(Debug)]
pub(super) struct Pace {
    others: Allowance,
    requests: Allowance,
    paused_until: Option<Instant>,
    was_slowed: bool,
    heard_at: Instant,
    /// Since when a message has not come to its end.
    unfinished_since: Option<Instant>,
    for_ever: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            others: Allowance::new(now),
            requests: Allowance::new(now),
            paused_until: None,
            was_slowed: false,
            heard_at: now,
            unfinished_since: None,
            for_ever: now + FOR_EVER,
        }
    }
}

impl Downstream {
    /// Counts what came at `now`, and decides when the next may.
    pub(super) fn pace(&mut self, now: Instant, taken: &Taken) {
        if taken.others > 0 || taken.requests > 0 {
            self.pace.heard_at = now;
            self.pace.unfinished_since = None;
        }
        if self.link.is_within_frame() {
            self.pace.unfinished_since.get_or_insert(now);
        }
        let limits = &self.settings.limits;
        let second = Duration::from_secs(1);
        let channels = u32::try_from(self.channels.len().clamp(1, CHANNELS_MAX)).unwrap_or(1);
        let cost = second / limits.shares_per_second_max.saturating_mul(channels).max(1);
        let others = self.pace.others.take(now, taken.others, cost, second * BURST_SECONDS);
        let cost = second / limits.requests_per_second_max.max(1);
        // All channels may be opened at once, and closed again.
        let at_once = u32::try_from(limits.channels_per_connection_max).unwrap_or(u32::MAX);
        let burst = cost.saturating_mul(at_once.max(AT_ONCE_MIN)).saturating_mul(2);
        let requests = self.pace.requests.take(now, taken.requests, cost, burst);
        self.pace.paused_until = others.max(requests);
        match (requests, others) {
            (Some(_), _) => self.note_slowed(Limit::Requests),
            (None, Some(_)) => self.note_slowed(Limit::Shares),
            (None, None) => {}
        }
    }

    fn note_slowed(&mut self, limit: Limit) {
        self.settings.counts.met(limit);
        let limit = limit.name();
        if std::mem::replace(&mut self.pace.was_slowed, true) {
            debug!(limit, "miner slowed down again");
        } else {
            info!(limit, "miner slowed down");
        }
    }

    /// Until when the miner is not to be read.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        if self.waiting.len() >= WAITING_MAX {
            return Some(self.pace.for_ever);
        }
        self.pace.paused_until
    }

    /// Ends the connection of a miner that has been silent for too long, or within a message.
    pub(super) fn check_silence(&self, now: Instant) -> Result<(), PeerError> {
        let idle_max = Duration::from_secs(self.settings.limits.idle_seconds);
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.pace.unfinished_since.is_some_and(|at| since(at) >= MESSAGE_MAX) {
            return Err(Limit::Message.error());
        }
        if since(self.pace.heard_at) >= idle_max {
            return Err(Limit::Idle.error());
        }
        Ok(())
    }
}
