//! JSON-RPC: a call becomes an answer, or an error that says whether to ask again.
//!
//! Every call made here is safe to repeat (submitblock of a known block answers `duplicate`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::http::{Endpoint, HttpAnswer, HttpConnection, HttpError};
use crate::login::{Authorization, Credentials, Login, Unreadable};

/// The node is starting (Bitcoin's RPC_IN_WARMUP).
pub const IN_WARMUP: i64 = -28;
/// The node is still downloading its chain (RPC_CLIENT_IN_INITIAL_DOWNLOAD).
pub const IN_INITIAL_DOWNLOAD: i64 = -10;
/// The node has no peers (RPC_CLIENT_NOT_CONNECTED).
pub const NOT_CONNECTED: i64 = -9;
/// A parameter that the node does not accept, a missing rule for instance.
pub const INVALID_PARAMETER: i64 = -8;
/// What is asked for is not there (RPC_INVALID_ADDRESS_OR_KEY).
pub const NOT_FOUND: i64 = -5;
/// The block cannot be decoded (RPC_DESERIALIZATION_ERROR).
pub const DESERIALIZATION: i64 = -22;
/// The node has no such method (JSON-RPC 2.0, 5.1).
pub const METHOD_NOT_FOUND: i64 = -32601;

/// How much of a body that is no JSON is worth showing.
const SHOWN_CHARACTERS: usize = 120;

/// What the caller needs to know of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Asking again later may help.
    Transient,
    /// A person must act.
    Persistent,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The node cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] HttpError),
    /// The node's answer to our credentials; they were read again before this is said.
    #[error("the node refuses our credentials; check cookie_file, or user and password")]
    Unauthorized,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] Unreadable),
    /// The node does not let us.
    #[error("the node forbids it (HTTP 403); check its rpcallowip and rpcwhitelist")]
    Forbidden,
    /// The node answers with an error of its own.
    #[error("the node says: {message} ({code})")]
    Node {
        /// Bitcoin's RPC error code.
        code: i64,
        /// In words.
        message: String,
    },
    /// An HTTP status without an answer: a work queue that is full, a proxy.
    #[error("HTTP {status}: {body}")]
    Http {
        /// The status code.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// An answer that is not what was asked for.
    #[error("the answer to {method} makes no sense: {error}")]
    Malformed {
        /// What was called.
        method: &'static str,
        /// Where it fails.
        error: String,
    },
}

impl RpcError {
    /// Whether to ask again.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable(_) | Self::Http { .. } | Self::Credentials(_) => ErrorKind::Transient,
            Self::Node { code: IN_WARMUP | IN_INITIAL_DOWNLOAD | NOT_CONNECTED, .. } => {
                ErrorKind::Transient
            }
            Self::Unauthorized | Self::Forbidden | Self::Node { .. } | Self::Malformed { .. } => {
                ErrorKind::Persistent
            }
        }
    }

    /// The node's own error code, if it is the node that speaks.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Node { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// One connection to the node's RPC.
#[derive(Debug)]
pub struct Rpc {
    http: HttpConnection,
    /// Shared by all connections to the node.
    login: Arc<Login>,
    /// Of JSON-RPC, as every request states it.
    version: &'static str,
}

/// The envelope of every answer. `result` is null for a call that returns nothing.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default = "Option::default")]
    result: Option<T>,
    #[serde(default)]
    error: Option<NodeError>,
}

#[derive(Deserialize)]
struct NodeError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Rpc {
    /// A connection of its own, made when it is first used.
    pub fn new(endpoint: Endpoint, login: Arc<Login>) -> Self {
        Self { http: HttpConnection::new(endpoint), login, version: "1.0" }
    }

    /// To a server that takes JSON-RPC 2.0 alone, and no credentials.
    pub fn version_2(endpoint: Endpoint) -> Self {
        Self { version: "2.0", ..Self::new(endpoint, Login::with(Credentials::None)) }
    }

    /// Calls `method`; `None` is the answer null.
    pub async fn call<T: DeserializeOwned>(
        &mut self,
        method: &'static str,
        params: Value,
        deadline: Duration,
    ) -> Result<Option<T>, RpcError> {
        let version = self.version;
        let body = json!({ "jsonrpc": version, "id": 1, "method": method, "params": params });
        let body = Bytes::from(body.to_string());
        // Whatever must be read or said twice for it.
        let answer = timeout(deadline, self.authorized(body, deadline)).await;
        let answer = answer.unwrap_or(Err(HttpError::TimedOut(deadline).into()))?;
        read_answer(method, &answer)
    }

    /// Calls `method`, for which null is no answer.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &'static str,
        params: Value,
        deadline: Duration,
    ) -> Result<T, RpcError> {
        let answer = self.call(method, params, deadline).await?;
        answer.ok_or_else(|| RpcError::Malformed { method, error: "it is null".to_owned() })
    }

    async fn authorized(
        &mut self,
        body: Bytes,
        deadline: Duration,
    ) -> Result<HttpAnswer, RpcError> {
        if let Some(known) = self.login.known() {
            let answer = self.post(known.as_ref(), body.clone(), deadline).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // The node was restarted and wrote a new cookie.
        }
        let read = self.login.read().await?;
        self.post(read.as_ref(), body, deadline).await
    }

    async fn post(
        &mut self,
        authorization: Option<&Authorization>,
        body: Bytes,
        deadline: Duration,
    ) -> Result<HttpAnswer, RpcError> {
        let header = authorization.map(Authorization::header);
        let answer = self.http.post(header, body, deadline).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.login.refused(authorization);
        }
        Ok(answer)
    }
}

/// bitcoind answers errors with HTTP 500 or 404 and a JSON body: the body counts before the status.
fn read_answer<T: DeserializeOwned>(
    method: &'static str,
    answer: &HttpAnswer,
) -> Result<Option<T>, RpcError> {
    match answer.status {
        StatusCode::UNAUTHORIZED => return Err(RpcError::Unauthorized),
        StatusCode::FORBIDDEN => return Err(RpcError::Forbidden),
        StatusCode::OK => {}
        status => {
            let envelope = serde_json::from_slice::<Envelope<IgnoredAny>>(&answer.body);
            return Err(match envelope.ok().and_then(|envelope| envelope.error) {
                Some(NodeError { code, message }) => RpcError::Node { code, message },
                None => RpcError::Http { status: status.as_u16(), body: shown(&answer.body) },
            });
        }
    }
    let envelope = serde_json::from_slice::<Envelope<T>>(&answer.body);
    match envelope {
        Ok(Envelope { error: Some(NodeError { code, message }), .. }) => {
            Err(RpcError::Node { code, message })
        }
        Ok(Envelope { result, .. }) => Ok(result),
        Err(error) => Err(RpcError::Malformed { method, error: error.to_string() }),
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(SHOWN_CHARACTERS).collect()
}

#[cfg(test)]
mod tests;
