//! What other programs may ask of the store: `/api/v1/…`, and the endpoints of public-pool that
//! devices have built in.
//!
//! It reads only, on connections of its own, and knows nothing of HTTP. `api/openapi.json`
//! describes all of it.

mod compatible;
pub mod config;
mod own;

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use service::clock;
use service::questions::{Question, Reply};

use super::store::StoreError;
use super::store::sqlite::SqliteReader;

const OPENAPI: &str = include_str!("api/openapi.json");
/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;
/// Lines of one answer.
const LINES_MAX: u32 = 1_000;
const LINES_DEFAULT: u32 = 100;
/// Who sent no share for longer is not counted as mining, in milliseconds.
const ACTIVE_MS: u64 = 3_600_000;

/// What is known of the chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// The height of the block that is mined, if the template tells it.
    pub height: Option<u32>,
    /// How difficult it is.
    pub difficulty: f64,
}

/// Where the present state of the chain comes from; none while there is no work.
pub type ChainNow = dyn Fn() -> Option<Chain> + Send + Sync;

/// Answers questions.
pub struct Api {
    file: PathBuf,
    chain: Box<ChainNow>,
    fee_basis_points: u16,
    started_ms: u64,
    idle: Mutex<Vec<Idle>>,
}

/// A connection, and which file it was opened on: one that was deleted is answered from no more.
struct Idle {
    inode: u64,
    reader: SqliteReader,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.file.display())
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Refusal {
    NotFound(&'static str),
    Wrong(String),
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A question with all that an answer needs.
struct Asked<'a> {
    api: &'a Api,
    reader: &'a SqliteReader,
    question: &'a Question,
    now_ms: u64,
}

impl Api {
    /// Answers from the store in `file`; the fee is said as it is set, in hundredths of a percent.
    pub fn new(file: &Path, fee_basis_points: u16, chain: Box<ChainNow>) -> Self {
        let (file, idle) = (file.to_owned(), Mutex::default());
        Self { file, chain, fee_basis_points, started_ms: clock::unix_now_milliseconds(), idle }
    }

    /// Answers one question.
    pub fn answer(&self, question: &Question) -> Reply {
        if question.path == "v1/openapi.json" {
            return Reply::Found(OPENAPI.to_owned());
        }
        let answered = self.reader().and_then(|idle| {
            let (reader, now_ms) = (&idle.reader, clock::unix_now_milliseconds());
            let asked = Asked { api: self, reader, question, now_ms };
            let answered = reader.at_one_moment(|_| asked.answer())?;
            self.keep(idle);
            Ok(answered)
        });
        match answered {
            Ok(Ok(value)) => Reply::of(&value),
            Ok(Err(Refusal::NotFound(what))) => Reply::NotFound(what.to_owned()),
            Ok(Err(Refusal::Wrong(what))) => Reply::Wrong(what),
            Ok(Err(Refusal::Store(error))) | Err(error) => Reply::Unavailable(error.to_string()),
        }
    }

    fn reader(&self) -> Result<Idle, StoreError> {
        let inode = std::fs::metadata(&self.file)
            .map(|it| it.ino())
            .map_err(|error| StoreError(format!("the store is not there yet: {error}")))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|it| it.inode == inode);
        match idle.pop() {
            Some(known) => Ok(known),
            None => Ok(Idle { inode, reader: SqliteReader::open(&self.file)? }),
        }
    }

    fn keep(&self, reader: Idle) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(reader);
        }
    }
}

impl Asked<'_> {
    fn answer(&self) -> Result<serde_json::Value, Refusal> {
        let path: Vec<&str> = self.question.path.split('/').collect();
        match path.as_slice() {
            ["v1", "pool"] => self.pool(),
            ["v1", "history"] => self.history(),
            ["v1", "miners"] => self.miners(),
            ["v1", "miners", account] => self.miner(account),
            ["v1", "miners", account, "workers"] => self.workers(account),
            ["v1", "blocks"] => self.blocks(),
            ["client", address] => self.client(address),
            ["info"] => self.info(),
            ["pool"] => self.pool_status(),
            ["network"] => self.network(),
            _ => Err(Refusal::NotFound("no such endpoint: /api/v1/openapi.json names them all")),
        }
    }

    /// A parameter that is a number.
    fn number(&self, name: &str, default: u64) -> Result<u64, Refusal> {
        let read = |text: &str| {
            text.parse().map_err(|_| Refusal::Wrong(format!("{name} must be a whole number")))
        };
        self.question.parameter(name).map_or(Ok(default), read)
    }

    fn limit(&self) -> Result<u32, Refusal> {
        let limit = self.number("limit", LINES_DEFAULT.into())?;
        let limit = u32::try_from(limit).ok().filter(|limit| (1..=LINES_MAX).contains(limit));
        limit.ok_or_else(|| Refusal::Wrong(format!("limit must be from 1 to {LINES_MAX}")))
    }
}

/// What a share's hash is worth, of which `hash_high` is the upper half.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for people")]
fn difficulty_of(hash_high: u128) -> f64 {
    // Difficulty 1 is 0xffff times 2 to the power of 208, and 128 of them are the lower half's.
    65_535.0 * 80_f64.exp2() / (hash_high.max(1) as f64)
}

#[cfg(test)]
mod tests;
