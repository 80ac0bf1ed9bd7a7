//! The V1 server: one session per miner.
//!
//! `session` is the state machine and says which request is answered where; `login` takes
//! configure, subscribe and authorize; `suggest` takes wishes; `assign` gives difficulty and jobs;
//! `submit` judges shares. `jobs`, `difficulty`, `replies`, `pace`, `resume` and `device_kind` keep
//! what these need; `shown` says what people see. `serve` and `tls` alone know tokio. It knows
//! nothing of SV2: shares that deserve it go out as events, and verdicts come back as commands.

mod assign;
pub mod counts;
pub mod device_kind;
mod difficulty;
mod jobs;
mod login;
mod pace;
mod replies;
pub mod resume;
pub mod serve;
pub mod session;
mod shown;
mod submit;
mod suggest;
pub mod tls;

use std::sync::Arc;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;

use self::device_kind::DeviceKind;
use self::resume::Departed;
use crate::bridge::extranonce::Seat;
use crate::bridge::notify::Work;
use crate::bridge::submit::{ShareError, UpstreamShare, Verdict};
use crate::miners::Hashrate;
pub use crate::shares::SHARES_WAITING_MAX;
use crate::teams::Channels;

/// Who answers a share that the upstream would count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// The upstream: the miner waits for its verdict.
    #[default]
    Upstream,
    /// The translator, at once: what the upstream refuses later is counted and not told.
    Early,
}

/// What all miners' sessions have in common.
#[derive(Debug, Clone)]
pub struct MinerSettings {
    /// How often a miner should find a share, and the least difficulty.
    pub vardiff: VardiffPolicy,
    /// Hashes per second that a new miner is taken to have.
    pub initial_hashrate: f64,
    /// Who answers shares that the upstream would count.
    pub answers: Answers,
    /// Which miners share a channel.
    pub channels: Channels,
    /// Lines a second that are read of one miner.
    pub lines_per_second_max: u32,
    /// Sessions that are over, for miners that come back.
    pub departed: Departed,
}

/// What tells one miner's session from all others.
#[derive(Debug)]
pub struct MinerIdentity {
    /// Its place in the channel's search space.
    pub seat: Seat,
    /// The token of the session, for the subscribe reply: whoever knows it can have the session
    /// back. At least 16 random bytes, in hexadecimal.
    pub session: String,
}

/// What the program tells a session.
#[derive(Debug)]
pub enum Command {
    /// Work on this; none if there has been no valid work for too long.
    Work(Option<Work>),
    /// What became of a share.
    Verdict {
        /// As in `Event::Submit`.
        ticket: u64,
        /// The verdict.
        verdict: Verdict,
    },
    /// The translator shuts down.
    Leave {
        /// Host and port that miners are sent to; none sends them to their own next pool.
        elsewhere: Option<(String, u16)>,
    },
}

/// What a session tells the program.
#[derive(Debug)]
pub enum Event {
    /// A worker of this miner may submit shares from now on.
    Authorized {
        /// Its name.
        worker: Arc<str>,
        /// The miner's software.
        agent: Arc<str>,
    },
    /// A miner that had given no name says what it is.
    Named {
        /// The miner's software.
        agent: Arc<str>,
    },
    /// The miner has the session back that it had before.
    Resumed,
    /// The miner sends more than is read of it; said once.
    SlowedDown,
    /// The miner's kind is known to be unable to hold the coinbase of a job that it is sent.
    CoinbaseTooLong {
        /// What is known of it.
        kind: &'static DeviceKind,
        /// Bytes of the coinbase.
        bytes: usize,
    },
    /// A share for the upstream. The verdict is to come back as a command, whatever happens.
    Submit {
        /// Names the share within the session.
        ticket: u64,
        /// The share.
        share: UpstreamShare,
        /// Who found it.
        worker: Arc<str>,
    },
    /// A block for the upstream whose share is answered here: nobody waits for the verdict.
    SubmitBlock {
        /// The share.
        share: UpstreamShare,
        /// Who found it.
        worker: Arc<str>,
    },
    /// A share that meets the target of a block is sent to the upstream of its job.
    BlockFound {
        /// Who found it.
        worker: Arc<str>,
        /// The block hash, internal byte order.
        hash: [u8; 32],
    },
    /// The upstream's verdict on a share that was answered early.
    LateVerdict {
        /// Whether it counted.
        outcome: Result<(), ShareError>,
    },
    /// A share was answered.
    Answered {
        /// Who sent it.
        worker: Arc<str>,
        /// Difficulty of its job; 0 if there was none.
        difficulty: f64,
        /// True if the upstream judged it, false if it was answered here.
        is_upstreams: bool,
        /// The answer.
        answer: Result<(), ShareError>,
    },
    /// What the miner's hashrate is taken to be.
    Hashrate(Hashrate),
    /// The miner was told another difficulty.
    Difficulty(f64),
}
