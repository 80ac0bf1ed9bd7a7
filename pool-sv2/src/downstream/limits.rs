//! `[limits]`: what peers may hold and do, and the counts of those who went over.
//!
//! Every default is one that an honest farm does not meet: thousands of devices behind one address,
//! all of them back at once after a power cut, or a proxy with four thousand channels on one
//! connection. Who is only fast is slowed down, by being read later; closed is who could not go on
//! anyway. Nothing here knows a message.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;
use service::config::ConfigError;
use service::driver::{self, Ended};
use service::gate::{GateLimits, Network};
use service::handshake::{self, Handshakes};
use service::metrics::{Counter, Labelled, Metrics};
use wire::session::PeerError;
use wire::sv2::codec::DecodeError;
use wire::sv2::link::{self, LinkLimits};

/// What the link may hold. A custom job is the largest message that a miner can send; what all
/// channels of a connection are sent at once fits into four megabytes, and a miner that lets more
/// pile up does not read.
pub const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 4 << 20 };

/// The most that a limit can be set to.
const LIMIT_MAX: usize = 10_000_000;
/// The smallest bounds of bytes under which every honest connection still works: a custom job of
/// usual size, and what a few channels are sent at once.
const FRAME_BYTES_MIN: usize = 1 << 10;
const OUTPUT_BYTES_MIN: usize = 1 << 16;
/// The largest payload that a frame can announce, in bytes (spec 3.2).
const FRAME_BYTES_LIMIT: usize = (1 << 24) - 1;

/// `[limits]` of the config. Times are in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections_max: usize,
    /// The same for one address.
    pub connections_per_address_max: usize,
    /// The same for one network: /24 of IPv4, /64 of IPv6.
    pub connections_per_network_max: usize,
    /// Networks for which only `connections_max` holds.
    pub trusted_networks: Vec<Network>,
    /// Connections that have no channel yet; further ones wait in the kernel's queue.
    pub connections_unsettled_max: usize,
    /// Handshakes that are reckoned at a time; absent is half of the processors.
    pub handshakes_at_once: Option<NonZeroUsize>,
    /// Time to the first message of the handshake.
    pub handshake_seconds: u64,
    /// Time from the handshake to SetupConnection.
    pub setup_seconds: u64,
    /// Time without a channel.
    pub first_channel_seconds: u64,
    /// Time without a message.
    pub idle_seconds: u64,
    /// Faults of one address in a minute; with one more it is banned.
    pub faults_per_minute_max: u32,
    /// How long a ban lasts.
    pub ban_seconds: u64,
    /// Channels on all connections; further ones are refused.
    pub channels_max: usize,
    /// Channels on one connection; further ones are refused.
    pub channels_per_connection_max: usize,
    /// Messages a second for each channel; who sends more is read later.
    pub shares_per_second_max: u32,
    /// Accepted shares of one connection that are remembered, so that none is paid twice: those of
    /// three tips. With more, shares are refused until a tip is forgotten.
    pub remembered_shares_max: usize,
    /// Channels opened, updated or closed a second on one connection; who asks more is read later.
    pub requests_per_second_max: u32,
    /// Of a thousand submits on one channel; with more the channel is closed.
    pub invalid_shares_percent_max: u32,
    /// Longest message that is read, in bytes of payload.
    pub frame_bytes_max: usize,
    /// Most bytes that may wait for a peer that does not read.
    pub output_bytes_max: usize,
    /// How long miners keep their work when no template provider is there; then they are
    /// disconnected, for only that sends them to their next pool.
    pub work_without_provider_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            // A farm has thousands of devices behind one address: half of the pool may be one.
            connections_per_address_max: 10_000,
            connections_per_network_max: 15_000,
            // What comes through a proxy on the same machine has many owners.
            trusted_networks: ["127.0.0.0/8", "::1/128"].iter().flat_map(|it| it.parse()).collect(),
            // More than one network may hold, so that none of them keeps the others out.
            connections_unsettled_max: 16_000,
            handshakes_at_once: None,
            handshake_seconds: 10,
            setup_seconds: 10,
            first_channel_seconds: 60,
            // A proxy without miners is silent for hours, and loses nothing when it is closed.
            idle_seconds: 7_200,
            faults_per_minute_max: 100,
            ban_seconds: 60,
            channels_max: 200_000,
            channels_per_connection_max: 4_096,
            // Vardiff wants a few a minute. A device that is a thousand times too fast for its
            // first difficulty is slowed down until the next one reaches it.
            shares_per_second_max: 1_000,
            // What a proxy with all its channels finds in three hours without a block.
            remembered_shares_max: 1 << 22,
            requests_per_second_max: 200,
            invalid_shares_percent_max: 95,
            frame_bytes_max: LIMITS.frame_bytes_max,
            output_bytes_max: LIMITS.output_bytes_max,
            work_without_provider_seconds: 180,
        }
    }
}

impl Limits {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("connections_max", self.connections_max),
            ("connections_per_address_max", self.connections_per_address_max),
            ("connections_per_network_max", self.connections_per_network_max),
            ("connections_unsettled_max", self.connections_unsettled_max),
            ("channels_max", self.channels_max),
            ("channels_per_connection_max", self.channels_per_connection_max),
            ("remembered_shares_max", self.remembered_shares_max),
        ];
        let times = [
            ("handshake_seconds", self.handshake_seconds),
            ("setup_seconds", self.setup_seconds),
            ("first_channel_seconds", self.first_channel_seconds),
            ("idle_seconds", self.idle_seconds),
            ("ban_seconds", self.ban_seconds),
        ];
        let rates = [
            ("shares_per_second_max", self.shares_per_second_max),
            ("requests_per_second_max", self.requests_per_second_max),
        ];
        let rates = rates.map(|(name, value)| (name, usize::try_from(value).unwrap_or(usize::MAX)));
        let times = times.map(|(name, value)| (name, usize::try_from(value).unwrap_or(usize::MAX)));
        for (name, value) in counts.into_iter().chain(times).chain(rates) {
            within(name, value, 1, LIMIT_MAX)?;
        }
        let percent = usize::try_from(self.invalid_shares_percent_max).unwrap_or(usize::MAX);
        within("invalid_shares_percent_max", percent, 1, 100)?;
        within("frame_bytes_max", self.frame_bytes_max, FRAME_BYTES_MIN, FRAME_BYTES_LIMIT)?;
        within("output_bytes_max", self.output_bytes_max, OUTPUT_BYTES_MIN, 1 << 30)
    }

    /// What the link may hold.
    pub fn link(&self) -> LinkLimits {
        LinkLimits {
            frame_bytes_max: self.frame_bytes_max,
            output_bytes_max: self.output_bytes_max,
        }
    }

    /// Who may connect.
    pub fn gate(&self) -> GateLimits {
        GateLimits {
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            connections_per_network_max: self.connections_per_network_max,
            unsettled_max: self.connections_unsettled_max,
            faults_per_minute_max: self.faults_per_minute_max,
            ban: Duration::from_secs(self.ban_seconds),
            trusted_networks: self.trusted_networks.clone(),
        }
    }

    /// What answers the handshakes.
    pub fn handshakes(&self, metrics: &Metrics) -> Handshakes {
        let at_once = self.handshakes_at_once.unwrap_or_else(Handshakes::usual_at_once);
        Handshakes::new(at_once, Duration::from_secs(self.handshake_seconds), metrics)
    }
}

/// A limit that a peer has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `handshake_seconds`.
    Handshake,
    /// `setup_seconds`.
    Setup,
    /// `first_channel_seconds`.
    FirstChannel,
    /// `idle_seconds`.
    Idle,
    /// A message that did not come to its end.
    Message,
    /// `frame_bytes_max`.
    FrameBytes,
    /// `output_bytes_max`.
    OutputBytes,
    /// Output that waits for too long.
    Output,
    /// `shares_per_second_max`.
    Shares,
    /// `remembered_shares_max`.
    RememberedShares,
    /// `requests_per_second_max`.
    Requests,
    /// `invalid_shares_percent_max`.
    InvalidShares,
    /// `channels_per_connection_max`, or `channels_max`.
    Channels,
}

impl Limit {
    /// Those that end a connection, by the sentence that it ends with.
    const ENDINGS: [(Self, &str); 7] = [
        (Self::Handshake, handshake::TOO_LATE),
        (Self::Setup, "no SetupConnection in time"),
        (Self::FirstChannel, "no channel was opened in time"),
        (Self::Idle, "no message for too long"),
        (Self::Message, "a message did not come to its end"),
        (Self::OutputBytes, link::OUTPUT_FULL),
        (Self::Output, driver::DOES_NOT_READ),
    ];

    /// As in metrics and logs: the setting, where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake_seconds",
            Self::Setup => "setup_seconds",
            Self::FirstChannel => "first_channel_seconds",
            Self::Idle => "idle_seconds",
            Self::Message => "message_seconds",
            Self::FrameBytes => "frame_bytes_max",
            Self::OutputBytes => "output_bytes_max",
            Self::Output => "output_seconds",
            Self::Shares => "shares_per_second_max",
            Self::RememberedShares => "remembered_shares_max",
            Self::Requests => "requests_per_second_max",
            Self::InvalidShares => "invalid_shares_percent_max",
            Self::Channels => "channels_max",
        }
    }

    /// What ends a session whose peer was too late.
    pub(super) fn error(self) -> PeerError {
        let sentence = Self::ENDINGS.iter().find(|(limit, _)| *limit == self);
        PeerError::TimedOut(sentence.map_or("a limit of time", |(_, sentence)| sentence))
    }

    /// The limit that a connection ended at, if it was one.
    pub fn of_ending(ended: &Ended) -> Option<Self> {
        let Ended::Session(error) = ended else { return None };
        match error {
            PeerError::InvalidMessage(DecodeError::FrameTooLong { .. }) => Some(Self::FrameBytes),
            PeerError::TimedOut(said) | PeerError::OverLimit(said) => {
                Self::ENDINGS.iter().find(|(_, sentence)| sentence == said).map(|(limit, _)| *limit)
            }
            _ => None,
        }
    }
}

/// How often limits were met.
#[derive(Debug, Clone)]
pub struct LimitCounts(Labelled<Counter>);

impl LimitCounts {
    /// Counts under `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self(metrics.counters("limits_met", "How often a peer went to a limit", "limit"))
    }

    /// A peer has met `limit`.
    pub fn met(&self, limit: Limit) {
        self.0.with(limit.name()).inc();
    }
}

fn within(name: &str, value: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let remedy = format!("must be from {least} to {most}");
    Err(ConfigError::unusable(format!("limits.{name}"), remedy))
}
