//! What a miner submits, and what can come of it.
//!
//! An `AcceptedShare` exists only where a share was accepted: what is credited cannot be made by
//! any other path.

use std::sync::Arc;

use bytes::Bytes;

use crate::memo::Memo;
use crate::target::Hashes;
use crate::template::ChainTip;

/// A share as it was submitted, parsed but not checked.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The job that it claims to solve.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header nTime.
    pub ntime: u32,
    /// Whole header version.
    pub version: u32,
    /// The rolled part of the extranonce; empty on a standard channel.
    pub extranonce: &'a [u8],
}

/// A share that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedShare {
    /// The header hash, internal byte order.
    pub hash: [u8; 32],
    /// What it is worth: the work of the target that its job was issued with.
    pub work: Hashes,
}

/// Why a share does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such job on this channel.
    #[error("the channel has no such job")]
    UnknownJob,
    /// The job builds on an earlier tip.
    #[error("the job belongs to an earlier tip")]
    Stale,
    /// The extranonce has another length than the channel's.
    #[error("the extranonce has the wrong length")]
    ExtranonceSize,
    /// Before the job's minimum or too far ahead of the time that has passed.
    #[error("nTime is outside what the job allows")]
    Ntime,
    /// A version bit outside BIP323 was changed.
    #[error("a version bit outside the rolling mask was changed")]
    VersionBits,
    /// The hash is above the target of the job.
    #[error("the hash is above the job's target")]
    DifficultyTooLow,
    /// The same header was accepted before.
    #[error("the same header was submitted before")]
    Duplicate,
    /// The channel holds as many shares for this tip as it can remember.
    #[error("too many shares for one tip")]
    TooManyShares,
}

/// A header that makes a block, with all that is needed to put it on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The template that was mined.
    pub template_id: u64,
    /// Header version.
    pub version: u32,
    /// Header nTime.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// The whole coinbase transaction, with its witness.
    pub coinbase: Bytes,
    /// The block hash, internal byte order.
    pub hash: [u8; 32],
    /// The height, where the template states it.
    pub height: Option<u32>,
    /// What the block builds on.
    pub tip: Arc<ChainTip>,
    /// The memo of its job.
    pub memo: Memo,
}

/// The verdict on a submission, and the block in it, if there is one: the two are independent, for
/// a block is worth sending even if it earns its miner nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Does it count?
    pub verdict: Result<AcceptedShare, Rejection>,
    /// Does it make a block?
    pub solution: Option<Solution>,
}

impl Outcome {
    /// A share that could not even be hashed.
    pub(crate) fn unreadable(rejection: Rejection) -> Self {
        Self { verdict: Err(rejection), solution: None }
    }
}
