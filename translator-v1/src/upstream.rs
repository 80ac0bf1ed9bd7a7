//! The SV2 client: one Noise connection to a pool, one extended channel on it for all miners.
//!
//! `session` is the state machine, `open` gets it a `channel`, `jobs` takes work, `submit` sends
//! shares; `teams` keeps further channels, `promise` looks at what a coinbase pays, `future_jobs`
//! keeps jobs that wait for their tip, `waiting` the shares that wait for a
//! verdict. `choice` says which of several upstreams is mined on, by the `tips` that they show;
//! `dial` and `supervise` alone know tokio. It knows nothing of V1: whoever submits a share
//! attaches a ticket of its own kind and gets it back with the verdict.

mod channel;
pub mod choice;
pub mod dial;
mod future_jobs;
mod jobs;
mod open;
pub mod promise;
pub mod session;
mod submit;
pub mod supervise;
mod teams;
mod tips;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use wire::sv2::keys::AuthorityKey;

use self::promise::Promise;
use crate::bridge::notify::{ChannelEpoch, ChannelTerms, Job};
use crate::bridge::submit::{UpstreamShare, Verdict};
pub use crate::miners::MinersTotal;
use crate::teams::{Channels, TeamId, TeamName};

/// What one connection to the upstream needs to know.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Host that was dialled, for SetupConnection.
    pub host: String,
    /// Port that was dialled, for SetupConnection.
    pub port: u16,
    /// The key that must have signed the server's certificate; none takes any server.
    pub authority: Option<AuthorityKey>,
    /// Whom the pool pays.
    pub user_identity: String,
    /// Hashes per second to claim where a pool refuses the honest 0 of a proxy without miners.
    pub initial_hashrate: f64,
    /// How long a share may wait for its verdict.
    pub share_answer_max: Duration,
    /// Which miners share a channel.
    pub channels: Channels,
    /// What the coinbase of each job has to pay; none takes any.
    pub promise: Option<Promise>,
    /// True to ask it for extension 0x0002, and then to name the worker in each share.
    pub names_workers: bool,
    /// The first of the channel epochs that this connection may use.
    pub first_epoch: ChannelEpoch,
}

/// What the program tells the session.
#[derive(Debug)]
pub enum Command<T> {
    /// Send a share; `ticket` comes back with its verdict.
    Submit {
        /// The share.
        share: UpstreamShare,
        /// Who found it.
        worker: Arc<str>,
        /// Whose it is.
        ticket: T,
    },
    /// The miners changed.
    Miners(MinersTotal),
    /// A team of miners with a channel of its own changed.
    Team {
        /// Which.
        team: TeamId,
        /// Its name and its miners; none once they have left.
        wanted: Option<(TeamName, MinersTotal)>,
    },
    /// No team mines here.
    NoTeams,
}

/// What the session tells the program.
#[derive(Debug)]
pub enum Event<T> {
    /// A channel is open.
    ChannelOpened {
        /// The channel id.
        channel: u32,
        /// Epoch, extranonce and first target.
        terms: ChannelTerms,
    },
    /// Mine this from now on.
    Job {
        /// What.
        job: Arc<Job>,
        /// True while the upstream believes that nobody mines: see `Work`.
        is_held: bool,
    },
    /// A team is to mine this from now on.
    TeamJob {
        /// Which.
        team: TeamId,
        /// What.
        job: Arc<Job>,
    },
    /// A team's channel is gone; another one is being opened.
    TeamLost {
        /// Whose.
        team: TeamId,
    },
    /// A job does not pay what it should: the connection ends.
    PromiseBroken {
        /// In words.
        breach: String,
    },
    /// A team gets no channel here.
    TeamRefused {
        /// Which.
        team: TeamId,
        /// The upstream's reason.
        reason: String,
    },
    /// The channel is gone; another one is being opened.
    ChannelClosed {
        /// The upstream's reason.
        reason: String,
    },
    /// What became of a share. Each ticket gets exactly one.
    Verdict {
        /// The ticket that came with the share.
        ticket: T,
        /// The verdict.
        verdict: Verdict,
    },
}
