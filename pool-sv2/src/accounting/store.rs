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
pub use chunk::{Added, Chunk, ChunkEvent, Round};
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

    /// The same, to divide by.
    pub fn float_seconds(self) -> f64 {
        u32::try_from(self.seconds()).map_or(f64::INFINITY, f64::from)
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

/// A worker whose last share came a while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentWorker {
    /// Whose it is.
    pub account: String,
    /// Its name.
    pub worker: String,
    /// When that share came, milliseconds since 1970.
    pub last_ms: u64,
    /// How many came in the hour that it ended, by slices: in up to ten minutes more.
    pub shares_in_hour: u64,
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

/// Where a list that is sorted by time goes on: behind this line, towards older ones. By time alone
/// it would lose lines, for several may have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Internal byte order.
    pub hash: [u8; 32],
}

impl After {
    /// Before the newest line.
    pub const START: Self = Self { time_ms: u64::MAX, hash: [u8::MAX; 32] };
}

/// What paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledBy {
    /// The coinbase of a shared block.
    Block,
    /// A transaction of the pool's wallet.
    Wallet,
}

/// A shared block, or a transaction that paid balances. Amounts are satoshis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which of them.
    pub by: SettledBy,
    /// The block's hash or the transaction's id, internal byte order.
    pub hash: [u8; 32],
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// What was shared, or sent.
    pub value: u64,
    /// The pool's part of a block, or the network's fee.
    pub fee: u64,
    /// The pool's output of a block.
    pub pool_output: u64,
    /// The work that a block was shared by, in hashes.
    pub window: String,
    /// The published root: its hash, and the work below it.
    pub root: Option<(String, String)>,
    /// True for a transaction that is in the chain for good.
    pub is_confirmed: bool,
    /// The last state of the block; none before the first.
    pub state: Option<u8>,
    /// What accounts were sent by it.
    pub paid: u64,
}

/// One account's part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// Of what.
    pub settled: Settled,
    /// Its work in the window, in hashes.
    pub work: String,
    /// Its part by its work.
    pub entitled: u64,
    /// What it was sent.
    pub paid: u64,
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
    /// All accounts that have sent a share since `since_ms`, the fastest first by the rate over one
    /// of the windows, which is named by its place; rates at `now_ms`.
    fn fastest(&self, since_ms: u64, window: usize, now_ms: u64) -> Result<Vec<Line>, StoreError>;
    /// What was done since the last block.
    fn round(&self) -> Result<Round, StoreError>;
    /// Workers of an account by name, behind `after` if there is one; rates at `now_ms`.
    fn workers(
        &self,
        account: &str,
        after: Option<&str>,
        count: u32,
        now_ms: u64,
    ) -> Result<Vec<Line>, StoreError>;
    /// Workers whose last share came from `from_ms` on and before `to_ms`, the latest `count` of
    /// them.
    fn silent_workers(
        &self,
        from_ms: u64,
        to_ms: u64,
        count: u32,
    ) -> Result<Vec<SilentWorker>, StoreError>;
    /// Blocks behind `after`, newest first.
    fn blocks(&self, after: After, count: u32) -> Result<Vec<Block>, StoreError>;
    /// How many blocks were found.
    fn block_count(&self) -> Result<u64, StoreError>;
    /// Shared blocks and payouts from the wallet behind `after`, newest first.
    fn settlements(&self, after: After, count: u32) -> Result<Vec<Settled>, StoreError>;
    /// What an account got of them.
    fn credits(&self, account: &str, after: After, count: u32) -> Result<Vec<Credit>, StoreError>;
    /// Those of them that have sent something, orphaned blocks left out.
    fn payments(&self, after: After, count: u32) -> Result<Vec<Settled>, StoreError>;
    /// What an account was sent by them.
    fn payments_of(
        &self,
        account: &str,
        after: After,
        count: u32,
    ) -> Result<Vec<Credit>, StoreError>;
    /// What all accounts together were ever sent.
    fn paid_to_all(&self) -> Result<u64, StoreError>;
    /// All that an account was ever sent, in satoshis, orphaned blocks left out.
    fn paid(&self, account: &str) -> Result<u64, StoreError>;
}
