//! The V1 server: one session per miner.
//!
//! `session` is the state machine and says which request is answered where; `login` takes
//! configure, subscribe and authorize; `assign` gives difficulty and jobs; `submit` judges shares.
//! `jobs`, `difficulty` and `replies` keep what these need. `serve` alone knows tokio. It knows
//! nothing of SV2: shares that deserve it go out as events, and verdicts come back as commands.

mod assign;
mod difficulty;
mod jobs;
mod login;
mod replies;
pub mod serve;
pub mod session;
mod submit;

use std::sync::Arc;

use mining::vardiff::VardiffPolicy;

use crate::bridge::notify::Work;
use crate::bridge::submit::{ShareError, UpstreamShare, Verdict};
pub use crate::shares::SHARES_WAITING_MAX;

/// What all miners' sessions have in common.
#[derive(Debug, Clone)]
pub struct MinerSettings {
    /// How often a miner should find a share, and the least difficulty.
    pub vardiff: VardiffPolicy,
    /// Hashes per second that a new miner is taken to have.
    pub initial_hashrate: f64,
}

/// What tells one miner's session from all others.
#[derive(Debug, Clone)]
pub struct MinerIdentity {
    /// Its place in the channel's search space.
    pub seat: u16,
    /// The name of the session, for the subscribe reply.
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
    /// A share for the upstream. The verdict is to come back as a command, whatever happens.
    Submit {
        /// Names the share within the session.
        ticket: u64,
        /// The share.
        share: UpstreamShare,
    },
    /// A block for the upstream whose share is answered here: nobody waits for the verdict.
    SubmitBlock {
        /// The share.
        share: UpstreamShare,
    },
    /// A share that meets the target of a block was sent to the upstream.
    BlockFound {
        /// Who found it.
        worker: Arc<str>,
        /// The block hash, internal byte order.
        hash: [u8; 32],
    },
    /// A share was answered.
    Answered {
        /// Who sent it.
        worker: Arc<str>,
        /// Difficulty of its job; 0 if there was none.
        difficulty: f64,
        /// The answer.
        answer: Result<(), ShareError>,
    },
    /// What the miner's hashrate is taken to be, in hashes per second.
    Hashrate(f64),
}
