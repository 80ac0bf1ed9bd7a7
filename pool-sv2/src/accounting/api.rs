//! What other programs may ask: `/api/v1/…`, and the endpoints of public-pool, ckpool and
//! miningcore that devices and front ends have built in.
//!
//! It reads only, on connections of its own, and knows nothing of HTTP. `api/openapi.json`
//! describes all of it. No answer says where on this machine anything is.

mod ckpool;
pub mod config;
mod dates;
mod miningcore;
mod money;
mod own;
mod proofs;
mod public_pool;
mod routes;
pub mod template;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use service::clock;
use service::health::Health;
use service::questions::{Question, Reply};
use tracing::warn;

use self::proofs::Trees;
use self::routes::{Answer, Handler, Route};
use self::template::TemplateNow;
use super::bookkeeper::{Shelf, Sources};
use super::store::sqlite::{FileIdentity, SqliteReader};
use super::store::{After, Reader, Scope, StoreError, Total};
use crate::coin::Coin;
use crate::payout::identity::Mode;
use crate::roster::Roster;
use crate::shares::{BlockStage, BlockState};

/// Where questions may begin.
pub const ROOTS: [&str; 3] = ["api", "pool", "users"];

const OPENAPI: &str = include_str!("api/openapi.json");
/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;
/// Lines of one answer.
const LINES_MAX: u32 = 1_000;
const LINES_DEFAULT: u32 = 100;
/// Who sent no share for longer is not counted as mining, in milliseconds.
const ACTIVE_MS: u64 = 3_600_000;
/// Hashes of a share of difficulty 1.
const HASHES_OF_DIFFICULTY_1: f64 = 4_294_967_296.0;
const SECONDS_OF_A_BLOCK: f64 = 600.0;

/// Where the present template comes from; none while there is no work.
pub type MinedNow = dyn Fn() -> Option<TemplateNow> + Send + Sync;

/// A port for miners.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The address that it listens on, `0.0.0.0` for all of the machine's.
    pub host: String,
    /// Its number.
    pub port: u16,
    /// The least difficulty there.
    pub min_difficulty: f64,
    /// Whom its blocks pay.
    pub mode: Mode,
}

/// What an answer needs besides the store.
pub struct Facts {
    /// The store's file.
    pub store: PathBuf,
    /// The log behind it, and the network of all addresses.
    pub sources: Sources,
    /// Whom the blocks of the first port pay.
    pub mode: Mode,
    /// As it is set, in hundredths of a percent.
    pub fee_basis_points: u16,
    /// What chain and coin are called.
    pub coin: Coin,
    /// Where miners connect.
    pub ports: Vec<Port>,
    /// By which miners know the pool.
    pub authority_key: String,
    /// What is mined now.
    pub mined: Box<MinedNow>,
    /// Who is owed what; none where miners are owed nothing.
    pub shelf: Option<Shelf>,
    /// How the neighbours are.
    pub health: Health,
    /// Who is connected.
    pub roster: Roster,
}

/// Answers questions.
pub struct Api {
    facts: Facts,
    started_ms: u64,
    idle: Mutex<Vec<Idle>>,
    trees: Trees,
}

/// A connection, and which file it was opened on: one that was deleted is answered from no more.
struct Idle {
    file: FileIdentity,
    reader: SqliteReader,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.facts.store.display())
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Refusal {
    NotFound(&'static str),
    Wrong(String),
    Later(String),
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
    /// Answers by these facts.
    pub fn new(facts: Facts) -> Self {
        let started_ms = clock::unix_now_milliseconds();
        Self { facts, started_ms, idle: Mutex::default(), trees: Trees::default() }
    }

    /// Answers one question.
    pub fn answer(&self, question: &Question) -> Reply {
        let found = routes::find(&question.path);
        let none = "no such endpoint: /api/v1/openapi.json names them all";
        let answered = match found {
            None => Err(Refusal::NotFound(none)),
            Some((Route { handler: Handler::Api(answer), .. }, at)) => answer(self, at),
            Some((Route { handler: Handler::Store(answer), .. }, at)) => {
                self.ask_store(question, |asked| answer(asked, at))
            }
        };
        match answered {
            Ok(Answer::Json(value)) => Reply::of(&value),
            Ok(Answer::Document(text)) => Reply::Found(text.to_owned()),
            Ok(Answer::Text(text)) => Reply::Text(text),
            Err(Refusal::NotFound(what)) => Reply::NotFound(what.to_owned()),
            Err(Refusal::Wrong(what)) => Reply::Wrong(what),
            Err(Refusal::Later(what)) => Reply::Unavailable(what),
            Err(Refusal::Store(error)) => {
                warn!(%error, path = question.path, "question not answered");
                Reply::Unavailable(error.to_string())
            }
        }
    }

    fn ask_store(
        &self,
        question: &Question,
        answer: impl FnOnce(&Asked<'_>) -> Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        let idle = self.reader()?;
        let (reader, now_ms) = (&idle.reader, clock::unix_now_milliseconds());
        let asked = Asked { api: self, reader, question, now_ms };
        let answered = reader.at_one_moment(|_| answer(&asked))?;
        self.keep(idle);
        answered
    }

    fn reader(&self) -> Result<Idle, StoreError> {
        let file = FileIdentity::of(&self.facts.store)
            .map_err(|error| StoreError(format!("the store is not there yet: {}", error.kind())))?;
        let known = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|it| it.file == file);
            idle.pop()
        };
        // To open a file may take long: nobody waits for it who has one.
        match known {
            Some(known) => Ok(known),
            None => Ok(Idle { file, reader: SqliteReader::open(&self.facts.store)? }),
        }
    }

    fn keep(&self, reader: Idle) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(reader);
        }
    }

    fn mined(&self) -> Result<TemplateNow, Refusal> {
        (self.facts.mined)().ok_or(Refusal::NotFound("there is no work at the moment"))
    }
}

impl Asked<'_> {
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

    /// Where a list by time goes on.
    fn after(&self) -> Result<After, Refusal> {
        let Some(text) = self.question.parameter("after") else {
            return Ok(After::START);
        };
        let wrong = || Refusal::Wrong("after must be the next of the page before".to_owned());
        let (time, hash) = text.split_once('-').ok_or_else(wrong)?;
        let mut hash: [u8; 32] = bitcoin::hex::FromHex::from_hex(hash).map_err(|_| wrong())?;
        hash.reverse();
        Ok(After { time_ms: time.parse().map_err(|_| wrong())?, hash })
    }

    /// What somebody did; fails for who did nothing.
    fn known_total(&self, account: &str) -> Result<Total, Refusal> {
        let total = self.reader.total(Scope::Account(account))?;
        let nobody = Refusal::NotFound("nobody of that name has sent a share");
        Some(total).filter(|total| total.shares > 0).ok_or(nobody)
    }

    /// The height of the last block of the chain.
    fn tip_height(&self) -> Option<u32> {
        self.api.mined().ok()?.height?.checked_sub(1)
    }

    /// Hashes a second by which the network finds a block in ten minutes.
    fn network_hashrate(&self) -> f64 {
        let difficulty = self.api.mined().map_or(0.0, |it| it.difficulty);
        difficulty * HASHES_OF_DIFFICULTY_1 / SECONDS_OF_A_BLOCK
    }
}

/// What a page by time ends with, so that the next one goes on behind it.
fn cursor(time_ms: u64, hash: &[u8; 32]) -> String {
    format!("{time_ms}-{}", mining::hash::display(hash))
}

/// A block's stage in words.
fn block_state(code: Option<u8>) -> &'static str {
    let stage = code.map_or(BlockStage::Found, |code| BlockState { hash: [0; 32], code }.stage());
    stage.name()
}

/// What a share's hash is worth, of which `hash_high` is the upper half.
fn difficulty_of(hash_high: u128) -> f64 {
    // Difficulty 1 is 0xffff times 2 to the power of 208, and 128 of them are the lower half's.
    65_535.0 * 80_f64.exp2() / float(hash_high.max(1))
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for people")]
fn float(value: u128) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
