//! What is asked of a database behind the log: sums of work, blocks and payouts, ready to be shown.
//!
//! A store is fed from the log and holds nothing that is not in it: it may be deleted at any time.
//! Work is an integer count of hashes throughout; rates are floats, for people. Whoever pays reads
//! the log, not this.

pub mod chunk;
pub mod rates;
pub mod sqlite;

use super::log::cursor::Place;
use crate::shares::{BlockFound, Reason};
pub use chunk::{Added, Chunk, ChunkEvent};
use rates::Rates;

/// Seconds of one slice of work.
pub const SLICE_SECONDS: u64 = 600;
/// Seconds of a day, which begins at midnight UTC.
pub const DAY_SECONDS: u64 = 86_400;
/// Spans of one answer: two weeks of slices, five years of days. More would keep others waiting.
pub const HISTORY_MAX: u64 = 2_016;

/// Why a store does not work: a sentence for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Whose numbers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope<'a> {
    /// Everybody's.
    Pool,
    /// One account's, all of its workers together.
    Account(&'a str),
    /// One worker's.
    Worker(&'a str, &'a str),
}

/// How long the spans of a history are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// `SLICE_SECONDS`; old ones are forgotten.
    Slice,
    /// `DAY_SECONDS`; all are kept.
    Day,
}

impl Span {
    /// Its length.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Slice => SLICE_SECONDS,
            Self::Day => DAY_SECONDS,
        }
    }
}

/// What was accepted within a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// When it begins, seconds since 1970.
    pub start_s: u64,
    /// How many shares.
    pub shares: u64,
    /// Their work in expected hashes.
    pub work: u128,
}

/// All that was ever accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// How many shares.
    pub shares: u64,
    /// Their work in expected hashes.
    pub work: u128,
    /// When the first share came, milliseconds since 1970; 0 without any.
    pub first_ms: u64,
    /// When the last one came.
    pub last_ms: u64,
    /// The upper half of the best header hash: the smaller, the better.
    pub best_ever: Option<u128>,
    /// The same since the pool's last block.
    pub best_of_round: Option<u128>,
}

/// One of many accounts, or one of many workers of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The account's or the worker's name.
    pub name: String,
    /// What it did.
    pub total: Total,
    /// What it does.
    pub rates: Rates,
}

/// Who sent a share lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// How many accounts.
    pub accounts: u64,
    /// How many workers.
    pub workers: u64,
}

/// A block and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The block.
    pub found: BlockFound,
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// Whose account found it.
    pub account: String,
    /// Which worker of the account.
    pub worker: String,
    /// Its last state; none before the first.
    pub state: Option<u8>,
}

/// A database behind the log, for the one who feeds it.
pub trait Store {
    /// The first record of `node` that it does not have.
    fn next_place(&self, node: u32) -> Result<Place, StoreError>;
    /// Takes `chunk` and remembers that the next record of `node` is the one at `next`: both or
    /// neither.
    fn apply(&mut self, node: u32, chunk: &Chunk, next: Place) -> Result<(), StoreError>;
    /// Forgets slices that began before `start_s`; days stay.
    fn forget_slices_before(&mut self, start_s: u64) -> Result<(), StoreError>;
}

/// The same for those who ask. No question waits for the one who feeds it, nor the other way round.
pub trait Reader {
    /// The first record of `node` that it does not have.
    fn next_place(&self, node: u32) -> Result<Place, StoreError>;
    /// Sums over everything; zeros for who is not known.
    fn total(&self, scope: Scope<'_>) -> Result<Total, StoreError>;
    /// Decaying rates at `now_ms`, in hashes per second.
    fn rates(&self, scope: Scope<'_>, now_ms: u64) -> Result<Rates, StoreError>;
    /// How many have sent a share since `since_ms`.
    fn active(&self, since_ms: u64) -> Result<Active, StoreError>;
    /// Rejected shares by reason.
    fn rejects(&self, scope: Scope<'_>) -> Result<Vec<(Reason, u64)>, StoreError>;
    /// Spans with work that begin from `from_s` on and before `to_s`, in order; of more than
    /// `HISTORY_MAX` the last ones.
    fn history(
        &self,
        scope: Scope<'_>,
        span: Span,
        from_s: u64,
        to_s: u64,
    ) -> Result<Vec<Slice>, StoreError>;
    /// Accounts by name, behind `after`; rates at `now_ms`.
    fn accounts(&self, after: &str, count: u32, now_ms: u64) -> Result<Vec<Line>, StoreError>;
    /// Workers of an account by name, behind `after` if there is one; rates at `now_ms`.
    fn workers(
        &self,
        account: &str,
        after: Option<&str>,
        count: u32,
        now_ms: u64,
    ) -> Result<Vec<Line>, StoreError>;
    /// Blocks that were found before `before_ms`, newest first.
    fn blocks(&self, before_ms: u64, count: u32) -> Result<Vec<Block>, StoreError>;
}
