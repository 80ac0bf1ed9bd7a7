//! What one miner's connection holds: its link, its channels, and what waits.
//!
//! The parts beside it act on this: `session` takes what happens, `open`, `jobs` and `submit` do
//! what the miner asks for. Nothing here decides anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::channel::Channel;
use mining::extranonce::ExtranonceAllocator;
use mining::share::Solution;
use mining::target::{Hashes, Target};
use mining::vardiff::{Vardiff, VardiffPolicy};
use serde::Deserialize;
use service::config::ConfigError;
use wire::session::Timers;
use wire::sv2::link::{Link, LinkLimits};

use super::request::OpenRequest;
use crate::shares::ShareRecord;
use crate::work::Work;

/// What the link may hold. A custom job is the largest message that a miner can send; what all
/// channels of a connection are sent at once fits into four megabytes, and a miner that lets more
/// pile up does not read.
pub const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 4 << 20 };
/// Handshake and setup must be done within this; a miner does both in two round trips.
const SETUP_MAX: Duration = Duration::from_secs(10);

/// The most that a limit can be set to.
const LIMIT_MAX: usize = 10_000_000;

/// `[limits]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time; further ones wait.
    pub connections_max: usize,
    /// Channels on all connections; further ones are refused.
    pub channels_max: usize,
    /// Channels on one connection; further ones are refused.
    pub channels_per_connection_max: usize,
    /// How long miners keep their work when no template provider is there, in seconds; then they
    /// are disconnected, for only that sends them to their next pool.
    pub work_without_provider_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            channels_max: 200_000,
            channels_per_connection_max: 4_096,
            work_without_provider_seconds: 180,
        }
    }
}

impl Limits {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("limits.connections_max", self.connections_max),
            ("limits.channels_max", self.channels_max),
            ("limits.channels_per_connection_max", self.channels_per_connection_max),
        ];
        match limits.into_iter().find(|(_, limit)| !(1..=LIMIT_MAX).contains(limit)) {
            Some((field, _)) => {
                Err(ConfigError::unusable(field, format!("must be from 1 to {LIMIT_MAX}")))
            }
            None => Ok(()),
        }
    }
}

/// What all connections have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How difficulty follows hashrate.
    pub vardiff: VardiffPolicy,
    /// What one peer may hold.
    pub limits: Limits,
    /// Hands out extranonce prefixes, unique over all connections.
    pub extranonces: ExtranonceAllocator,
}

/// What the pool tells the session.
pub enum Command {
    /// There is other work.
    Work(Arc<Work>),
    /// So many more of the shares that left as events, the oldest first, are durable.
    Committed(usize),
}

/// What the session tells the pool.
#[derive(Debug, Clone)]
pub enum Event {
    /// A block: to be sent to the network before anything else.
    Block(Solution),
    /// An accepted share: to be made durable.
    Share(ShareRecord),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Handshake,
    AwaitSetup,
    Open { standard_jobs_only: bool },
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Setup,
    FirstChannel,
    Vardiff,
}

/// The group that all channels of a connection belong to (spec 5.2.3). Channel ids start after it.
pub(super) const GROUP_CHANNEL_ID: u32 = 1;

/// A channel and what the connection knows of it besides.
pub(super) struct OpenChannel {
    pub(super) channel: Channel,
    pub(super) user: Arc<str>,
    pub(super) vardiff: Vardiff,
    /// What the miner said last of its hashes per second.
    pub(super) nominal_hashrate: f64,
    /// The easiest target that the miner takes.
    pub(super) max_target: Target,
}

/// An accepted share that is not durable yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unacknowledged {
    pub(super) channel_id: u32,
    pub(super) sequence_number: u32,
    pub(super) work: Hashes,
}

/// One miner's connection.
pub struct Downstream {
    pub(super) link: Link,
    pub(super) state: State,
    pub(super) timers: Timers<Timer>,
    pub(super) settings: Arc<Settings>,
    pub(super) work: Option<Arc<Work>>,
    pub(super) channels: BTreeMap<u32, OpenChannel>,
    pub(super) next_channel_id: u32,
    pub(super) next_job_id: u32,
    /// Asked for before there was work.
    pub(super) waiting: Vec<OpenRequest>,
    /// Left as events and not durable yet, oldest first.
    pub(super) unacknowledged: VecDeque<Unacknowledged>,
    pub(super) events: VecDeque<Event>,
}

impl Downstream {
    /// Starts over `link`, a server's.
    pub fn new(link: Link, settings: Arc<Settings>, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Setup, now + SETUP_MAX);
        Self {
            link,
            state: State::Handshake,
            timers,
            settings,
            work: None,
            channels: BTreeMap::new(),
            next_channel_id: GROUP_CHANNEL_ID + 1,
            next_job_id: 1,
            waiting: Vec::new(),
            unacknowledged: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// True if extended jobs cannot be sent here (REQUIRES_STANDARD_JOBS).
    pub(super) fn standard_jobs_only(&self) -> bool {
        matches!(self.state, State::Open { standard_jobs_only: true })
    }
}
