//! Channels that end (spec 5.3.9), and the last words of a pool that shuts down (spec 3.6.5).
//!
//! It closes no socket: a session that has said its last word is closed by its driver.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use service::config::{ConfigError, host_and_port};
use tracing::info;
use wire::session::PeerError;
use wire::sv2::codec::Str255;
use wire::sv2::mining::CloseChannel;
use wire::sv2::setup::Reconnect;

use super::connection::{Downstream, Event, State, Timer};

/// `CloseChannel.reason_code` of a pool that ends.
const REASON_SHUTDOWN: &str = "pool-shuts-down";
/// And of one whose operator has sent the miner away.
pub(super) const REASON_DISMISSED: &str = "closed-by-operator";
/// So long a miner that was sent elsewhere is still served: shares on their way to the pool are
/// taken and acknowledged. One that does as it is told is gone before.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Where miners are sent when the pool shuts down.
#[derive(Debug, Clone)]
pub struct ReconnectTo {
    host: Str255,
    port: u16,
}

impl ReconnectTo {
    /// Reads `HOST:PORT`; `field` names the setting.
    pub fn from_address(field: &str, address: &str) -> Result<Self, ConfigError> {
        let (host, port) = host_and_port(field, address)?;
        let fits = !host.is_empty() && host.len() <= 255 && host.is_ascii() && port != 0;
        if !fits {
            let remedy = "write HOST:PORT of another server with the same authority key";
            return Err(ConfigError::unusable(field, remedy));
        }
        Ok(Self { host: Str255::truncated(&host), port })
    }
}

impl Downstream {
    /// Closes a channel, or all of a group if it is named (spec 5.3.9). A group keeps its id.
    pub(super) fn close_channel(&mut self, now: Instant, close: &CloseChannel) {
        let (id, reason) = (close.channel_id, &close.reason_code);
        if let Some(mut closed) = self.channels.remove(&id) {
            self.events.extend(closed.rejects.take(closed.credited.earner()).map(Event::Entry));
            let user = closed.credited.earner();
            info!(channel = id, %user, ?reason, "channel closed");
        } else if self.payee_of(id).is_some() {
            self.report_rejects();
            let before = self.channels.len();
            self.channels.retain(|_, open| open.group != id);
            info!(channels = before - self.channels.len(), ?reason, "channels closed");
        }
        self.await_first_channel(now);
    }

    /// Says good-bye: whoever has been set up is told where to go, or that its channels are closed.
    /// Others are not spoken to, for they have not seen all of our certificate and answer yet.
    pub(super) fn leave(&mut self, now: Instant) -> Result<(), PeerError> {
        match &self.settings.reconnect_to {
            Some(ReconnectTo { host, port }) if matches!(self.state, State::Open { .. }) => {
                self.timers.set(Timer::Linger, now + LINGER);
                self.link.send(&Reconnect { new_host: host.clone(), new_port: *port })
            }
            _ => self.close_all(REASON_SHUTDOWN),
        }
    }

    /// Closes all channels for a reason, and ends.
    pub(super) fn close_all(&mut self, reason: &'static str) -> Result<(), PeerError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let State::Open { standard_jobs_only } = state else {
            return Ok(());
        };
        let ids: BTreeSet<u32> = match standard_jobs_only {
            true => self.channels.keys().copied().collect(),
            false => self.channels.values().map(|open| open.group).collect(),
        };
        let reason_code = Str255::from(reason);
        ids.into_iter().try_for_each(|channel_id| {
            self.link.send(&CloseChannel { channel_id, reason_code: reason_code.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_go_has_a_host_and_a_port() {
        let read = |address| ReconnectTo::from_address("drain.reconnect_to", address);
        let to = read("pool.example:34254").unwrap();
        assert_eq!((to.host, to.port), ("pool.example".into(), 34_254));
        for address in ["pool.example", ":34254", "pool.example:0", "stratum2+tcp://a:1/key"] {
            let error = read(address).unwrap_err().to_string();
            assert!(error.starts_with("drain.reconnect_to: write "), "{error}");
        }
    }
}
