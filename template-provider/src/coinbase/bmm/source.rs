//! Where h*, the hash of the next side block, comes from: one question at a time, whoever answers.
//!
//! Here nothing is kept, judged or repeated, and no deadline is set: `slot` does that. An answer is
//! given as the source shows it.

mod command;
mod file;
mod page;
mod rpc;
mod thunder;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::FromHex;
use serde_json::json;

use super::config::{Ask, Login, SourceSettings};
use crate::extension::Delivery;
use ::rpc::http::{Endpoint, HttpConnection, HttpError};
use rpc::Rpc;

/// Most bytes of an answer that is text: 64 characters, twice, leave much room for a comment.
const TEXT_BYTES_MAX: usize = 4096;

/// What a source said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// h*, in the order of the hex that it was shown in.
    pub h_star: [u8; 32],
    /// The main block that it was made for (internal byte order), if the source says so.
    pub prev_hash: Option<[u8; 32]>,
    /// The side block as JSON, where it must be given back once its main block is accepted.
    pub block: Option<Arc<str>>,
}

/// Why there is no answer. None holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A file or program that cannot be read or run.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A program that failed.
    #[error("the command failed: {0}")]
    Command(std::process::ExitStatus),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// A server that cannot be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A server that does not answer what it was asked; 401 is a login that it does not know.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A server's own error.
    #[error("the sidechain says: {message} ({code})")]
    Server {
        /// JSON-RPC's or its own.
        code: i64,
        /// In words.
        message: String,
    },
    /// An answer that is not what was asked for.
    #[error("{0}")]
    Malformed(String),
}

/// A source, with the connection that it keeps between two questions.
#[derive(Debug)]
pub(super) struct Source {
    slot: u8,
    deadline: Duration,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    BestBlockHash(Rpc),
    Thunder(Rpc),
    File(std::path::PathBuf),
    Command(String, Vec<String>),
    Page(HttpConnection, Option<Login>),
}

impl Source {
    /// Reaches for nothing yet.
    pub(super) fn new(slot: u8, settings: &SourceSettings) -> Self {
        let deadline = settings.deadline;
        let kind = match settings.ask.clone() {
            Ask::SidechainRpc(endpoint, login) => {
                Kind::BestBlockHash(Rpc::new(endpoint, login, deadline))
            }
            Ask::Thunder(endpoint, login) => Kind::Thunder(Rpc::new(endpoint, login, deadline)),
            Ask::File(path) => Kind::File(path),
            Ask::Command(program, arguments) => Kind::Command(program, arguments),
            Ask::Http(endpoint, login) => Kind::Page(HttpConnection::new(endpoint), login),
        };
        Self { slot, deadline, kind }
    }

    /// Asks for an h* for a block on `prev_hash`. Safe to drop at any time.
    pub(super) async fn ask(&mut self, prev_hash: [u8; 32]) -> Result<Answer, AskError> {
        match &mut self.kind {
            Kind::BestBlockHash(rpc) => {
                let hash: String = rpc.call("getbestblockhash", json!([])).await?;
                read_text(hash.as_bytes())
            }
            Kind::Thunder(rpc) => thunder::ask(rpc).await,
            Kind::File(path) => file::ask(path).await,
            Kind::Command(program, arguments) => {
                command::ask(program, arguments, self.slot, prev_hash).await
            }
            Kind::Page(http, login) => page::ask(http, login.as_ref(), self.deadline).await,
        }
    }
}

/// Where side blocks go back to.
#[derive(Debug, Clone)]
pub(super) struct Return {
    endpoint: Endpoint,
    login: Option<Login>,
    deadline: Duration,
}

impl Return {
    /// `None` for a source that wants nothing back.
    pub(super) fn of(settings: &SourceSettings) -> Option<Self> {
        let deadline = settings.deadline;
        match settings.ask.clone() {
            Ask::Thunder(endpoint, login) => Some(Self { endpoint, login, deadline }),
            _ => None,
        }
    }

    /// Gives back the side block `block` (JSON) with the hash `h_star` (hex), which the main block
    /// `main_hash` (display order) accepts. Safe to repeat.
    pub(super) async fn connect(&self, block: &str, h_star: &str, main_hash: &str) -> Delivery {
        let mut rpc = Rpc::new(self.endpoint.clone(), self.login.clone(), self.deadline);
        let delivery = thunder::connect(&mut rpc, block, h_star, main_hash).await;
        delivery.unwrap_or_else(|error| Delivery::Failed(error.to_string()))
    }
}

/// Reads `H` or `H P`: h* in hex and, if the source knows it, the main block that it was made for,
/// as Bitcoin prints it.
fn read_text(text: &[u8]) -> Result<Answer, AskError> {
    let form = "64 hex characters of h*, and perhaps 64 of the previous main block";
    let malformed = || AskError::Malformed(format!("the answer is not {form}"));
    if text.len() > TEXT_BYTES_MAX {
        return Err(malformed());
    }
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let mut words = text.split_ascii_whitespace();
    let mut hash = || words.next().map(<[u8; 32]>::from_hex).transpose();
    let h_star = hash().map_err(|_| malformed())?.ok_or_else(malformed)?;
    let prev_hash = hash().map_err(|_| malformed())?.map(reversed);
    match words.next() {
        Some(_) => Err(malformed()),
        None => Ok(Answer { h_star, prev_hash, block: None }),
    }
}

/// The other way round.
pub(super) fn reversed(mut hash: [u8; 32]) -> [u8; 32] {
    hash.reverse();
    hash
}

#[cfg(test)]
mod tests;
