//! A drivechain's enforcer (BIP300/301), which gives templates in place of the node behind it.
//!
//! It speaks JSON-RPC 2.0, wants no credentials, knows getblocktemplate and submitblock alone, and
//! works on one request at a time: what waits in it makes everything else wait. So there is one
//! line to it for the whole program, a block goes before everything else, and there is no long poll
//! on it: that would hold the line, does not wake for new bids for sidechain blocks, and a new tip
//! is told by the node faster. It is asked often instead.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Address;
use bitcoin::hex::FromHex;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use service::advice;
use service::backoff::Backoff;
use service::config::ConfigError;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::answer::Answer;
use rpc::http::Endpoint;
use rpc::{ErrorKind, Rpc, RpcError};

/// How long the enforcer may take to make a template: it checks a whole mempool first.
const TEMPLATE_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long the enforcer may take to check a block.
const SUBMIT_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long it is tried to give a block to an enforcer that does not answer. The nodes have it
/// meanwhile, and an enforcer follows its node.
const SUBMIT_TRIED_MAX: Duration = Duration::from_secs(120);

/// `[enforcer]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforcerConfig {
    /// `http://HOST:PORT`, where its JSON-RPC answers.
    pub rpc_url: String,
    /// The address, or the script in hex, that it pays: its own `--coinbase-recipient`.
    pub coinbase_recipient: Option<String>,
    /// How often it is asked for a template, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
}

fn default_poll_ms() -> u64 {
    2000
}

/// An enforcer. Cheap to clone; all clones share one line to it.
#[derive(Debug, Clone)]
pub struct Enforcer {
    address: Arc<str>,
    recipient: Option<Bytes>,
    poll: Duration,
    line: Arc<Line>,
}

/// The one line. Invariant: who holds `rpc` has the only request that is under way.
#[derive(Debug)]
struct Line {
    rpc: Mutex<Rpc>,
    /// Blocks that wait for the line or are on it; while there are any, nobody asks for templates.
    blocks: watch::Sender<usize>,
}

impl Enforcer {
    /// Checks the settings; reaches for nothing yet.
    pub fn from_config(config: &EnforcerConfig) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::parse(&config.rpc_url)
            .map_err(|remedy| ConfigError::unusable("enforcer.rpc_url", remedy))?;
        if config.poll_ms == 0 {
            let remedy = "0 would never wait; write 1 or more";
            return Err(ConfigError::unusable("enforcer.poll_ms", remedy));
        }
        let recipient = config.coinbase_recipient.as_deref().map(script).transpose()?;
        Ok(Self {
            address: endpoint.authority().into(),
            recipient,
            poll: Duration::from_millis(config.poll_ms),
            line: Arc::new(Line {
                rpc: Mutex::new(Rpc::version_2(endpoint)),
                blocks: watch::Sender::new(0),
            }),
        })
    }

    /// Asks for a template, between blocks: one that comes meanwhile breaks the question off, which
    /// is asked anew after it.
    pub(super) async fn template(&self, request: &Value) -> Result<Answer, RpcError> {
        let mut blocks = self.line.blocks.subscribe();
        loop {
            until(&mut blocks, |count| count == 0).await;
            let mut rpc = self.line.rpc.lock().await;
            tokio::select! {
                answer = rpc.ask("getblocktemplate", request.clone(), TEMPLATE_ANSWER_MAX) => {
                    return answer;
                }
                () = until(&mut blocks, |count| count > 0) => {}
            }
        }
    }

    /// Gives the block `hash` (display order) to the enforcer; what it answers is logged. The
    /// verdict on a block is the node's.
    pub(super) async fn take_block(self, hash: String, block_hex: Arc<str>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let begun = Instant::now();
        loop {
            match self.submit(&block_hex).await {
                Ok(None) => return info!(%hash, "block given to the enforcer"),
                Ok(Some(reason)) if reason.starts_with("duplicate") || reason == "inconclusive" => {
                    return info!(%hash, %reason, "block known to the enforcer");
                }
                // It takes such a block out of its node's chain again.
                Ok(Some(reason)) => {
                    return error!(code = advice::BLOCK_REFUSED,
                        %hash, %reason, "block refused by the enforcer");
                }
                Err(error) => {
                    let is_over = begun.elapsed() >= SUBMIT_TRIED_MAX;
                    if is_over || error.kind() == ErrorKind::Persistent {
                        return warn!(%hash, %error, "block not given to the enforcer");
                    }
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    async fn submit(&self, block_hex: &str) -> Result<Option<String>, RpcError> {
        let _first = First::of(&self.line.blocks);
        let mut rpc = self.line.rpc.lock().await;
        rpc.call("submitblock", json!([block_hex]), SUBMIT_ANSWER_MAX).await
    }

    /// Where it is, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Time between two questions for a template.
    pub(super) fn poll(&self) -> Duration {
        self.poll
    }

    /// The scriptPubKey that it pays, if that is known.
    pub(super) fn recipient(&self) -> Option<&Bytes> {
        self.recipient.as_ref()
    }
}

/// Counts a block as waiting for as long as it lives.
struct First<'a>(&'a watch::Sender<usize>);

impl<'a> First<'a> {
    fn of(blocks: &'a watch::Sender<usize>) -> Self {
        blocks.send_modify(|count| *count += 1);
        Self(blocks)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Waits until the number of waiting blocks is as wanted.
async fn until(blocks: &mut watch::Receiver<usize>, is_wanted: impl Fn(usize) -> bool) {
    // The sender lives in the line, as does who waits.
    drop(blocks.wait_for(|count| is_wanted(*count)).await);
}

/// The script of `coinbase_recipient`.
fn script(recipient: &str) -> Result<Bytes, ConfigError> {
    let field = "enforcer.coinbase_recipient";
    let script = Vec::from_hex(recipient).ok().or_else(|| {
        let address: Address<_> = recipient.parse().ok()?;
        Some(address.assume_checked().script_pubkey().into_bytes())
    });
    match script {
        Some(script) if !script.is_empty() => Ok(script.into()),
        _ => Err(ConfigError::unusable(field, "write a Bitcoin address, or a script in hex")),
    }
}

#[cfg(test)]
mod tests;
