//! What one miner's connection holds: its link, its channels, and what waits.
//!
//! The parts beside it act on this: `session` takes what happens, `open`, `jobs` and `submit` do
//! what the miner asks for. Nothing here decides anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::channel::Channel;
use mining::extranonce::ExtranonceAllocator;
use mining::memo::Memo;
use mining::room::Room;
use mining::share::Solution;
use mining::target::Hashes;
use mining::vardiff::{Vardiff, VardiffPolicy};
use wire::session::Timers;
use wire::sv2::link::Link;

use super::close::ReconnectTo;
use super::conduct::Conduct;
use super::extensions::{Credited, NAMES_MAX};
pub use super::limits::{LIMITS, LimitCounts, Limits};
use super::pace::Pace;
use super::rejects::Rejects;
use super::request::OpenRequest;
use super::retarget::Bounds;
use crate::payout::identity::{Identities, Payee};
use crate::roster::{ChannelNow, Tally};
use crate::shares::{BlockFound, Earner, Entry, ShareRecord};
use crate::tip_reach::TipReach;
use crate::work::Work;

/// What all connections have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How difficulty follows hashrate.
    pub vardiff: VardiffPolicy,
    /// The least difficulty of some users, by the part of their name before the first dot or slash.
    pub user_min_difficulty: BTreeMap<String, f64>,
    /// What one peer may hold.
    pub limits: Limits,
    /// How often they were met.
    pub counts: LimitCounts,
    /// How soon they hear of a new tip.
    pub tip_reach: TipReach,
    /// Hands out extranonce prefixes, unique over all connections.
    pub extranonces: ExtranonceAllocator,
    /// Reads the names that miners come with.
    pub identities: Identities,
    /// Which port it is, by its place in the settings.
    pub listener: u16,
    /// Where miners are sent when the pool shuts down; otherwise their channels are closed.
    pub reconnect_to: Option<ReconnectTo>,
}

impl Settings {
    /// How the difficulty of `user` follows its hashrate. Rented hashrate has a minimum of its own.
    pub(super) fn policy_of(&self, user: &str) -> VardiffPolicy {
        let account = user.split(['.', '/']).next().unwrap_or(user);
        let minimum = self.user_min_difficulty.get(account).copied();
        let min_difficulty = minimum.unwrap_or(self.vardiff.min_difficulty);
        VardiffPolicy { min_difficulty, ..self.vardiff }
    }
}

/// What the pool tells the session.
pub enum Command {
    /// There is other work.
    Work(Arc<Work>),
    /// So many more of the shares that left as events, the oldest first, are durable.
    Committed(usize),
    /// The pool shuts down: say good-bye and end.
    Leave,
    /// The operator sends the miner away: close its channels and end.
    Dismiss,
}

/// What the session tells the pool.
#[derive(Debug, Clone)]
pub enum Event {
    /// A block: to be sent to the network before anything else.
    Block(Solution),
    /// The same block, for the ledger: what is paid by it is written only when it is on its way.
    Found {
        /// By whom.
        finder: Arc<Earner>,
        /// The block.
        block: Box<BlockFound>,
        /// What its payout leaves in the ledger.
        memo: Memo,
    },
    /// An accepted share: to be made durable.
    Share(ShareRecord),
    /// Something else that is to be kept.
    Entry(Entry),
    /// How its channels are: every few seconds, all of them.
    Channels(Vec<ChannelNow>),
    /// It has a channel: the miner is in.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Handshake,
    AwaitSetup,
    Open {
        standard_jobs_only: bool,
    },
    /// The last word is said.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Setup,
    FirstChannel,
    Vardiff,
    Linger,
}

/// Channels that have the same jobs, for their blocks pay the same (spec 5.2.3).
#[derive(Debug)]
pub(super) struct Group {
    /// One of the connection's channel ids.
    pub(super) id: u32,
    pub(super) payee: Payee,
}

/// A channel and what the connection knows of it besides.
pub(super) struct OpenChannel {
    pub(super) channel: Channel,
    /// Its group's id.
    pub(super) group: u32,
    pub(super) credited: Credited,
    pub(super) vardiff: Vardiff,
    pub(super) conduct: Conduct,
    pub(super) rejects: Rejects,
    pub(super) tally: Tally,
    pub(super) bounds: Bounds,
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
    pub(super) pace: Pace,
    pub(super) settings: Arc<Settings>,
    pub(super) work: Option<Arc<Work>>,
    pub(super) channels: BTreeMap<u32, OpenChannel>,
    /// In the order of their ids. Most connections have one.
    pub(super) groups: Vec<Group>,
    /// For accepted shares of all channels, and for names of their workers.
    pub(super) shares_room: Room,
    pub(super) names_room: Room,
    pub(super) next_channel_id: u32,
    pub(super) next_job_id: u32,
    /// True if shares name their worker (extension 0x0002).
    pub(super) names_workers: bool,
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
        let setup = Duration::from_secs(settings.limits.setup_seconds);
        timers.set(Timer::Setup, now + setup);
        let shares_room = Room::new(settings.limits.remembered_shares_max);
        let names_room = Room::new(NAMES_MAX);
        Self {
            link,
            state: State::Handshake,
            timers,
            pace: Pace::new(now),
            settings,
            work: None,
            channels: BTreeMap::new(),
            groups: Vec::new(),
            shares_room,
            names_room,
            next_channel_id: 1,
            next_job_id: 1,
            names_workers: false,
            waiting: Vec::new(),
            unacknowledged: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// How many channels are open.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Whom the blocks of a group's channels pay.
    pub(super) fn payee_of(&self, group: u32) -> Option<&Payee> {
        self.groups.iter().find(|known| known.id == group).map(|known| &known.payee)
    }

    /// True if extended jobs cannot be sent here (REQUIRES_STANDARD_JOBS).
    pub(super) fn standard_jobs_only(&self) -> bool {
        matches!(self.state, State::Open { standard_jobs_only: true })
    }
}
