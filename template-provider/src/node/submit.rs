//! Brings a found block to the node, and asks until the node has said what it is worth.
//!
//! A block is money: nothing but a clear answer ends the asking. It knows no disk and no template.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use service::backoff::Backoff;
use tokio::time::sleep;
use tracing::{error, warn};

use super::Node;
use super::rpc::{DESERIALIZATION, ErrorKind, NOT_FOUND, Rpc, RpcError};

/// How long the node may take to check a block.
const SUBMIT_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long the node may take to look a block up.
const LOOKUP_ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest wait between two attempts: until the node has it, others may find a block first.
const ATTEMPTS_EVERY_MAX: Duration = Duration::from_secs(2);
/// How often an unclear answer is asked again before it is taken for a refusal.
const UNCLEAR_ANSWERS_MAX: u32 = 10;

/// What a block is worth to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the node's chain.
    Accepted,
    /// It is not, and will not be; the reason in the node's words.
    Refused(String),
}

/// One answer to submitblock, or to a question for the block.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Done(Verdict),
    /// The node has it, but does not say whether it is in the chain.
    Unclear(String),
}

#[derive(Deserialize)]
struct BlockHeader {
    /// -1: not in the chain.
    confirmations: i64,
}

/// Submits the block `hash` (display order), given as hex, until there is a verdict.
pub async fn submit(node: &Node, hash: &str, block_hex: &str) -> Verdict {
    let backoff = Backoff::new(Duration::from_millis(100), ATTEMPTS_EVERY_MAX);
    submit_patiently(node, hash, block_hex, backoff).await
}

async fn submit_patiently(
    node: &Node,
    hash: &str,
    block_hex: &str,
    mut backoff: Backoff,
) -> Verdict {
    let mut rpc = node.connection();
    let mut unclear = 0;
    loop {
        match attempt(&mut rpc, hash, block_hex).await {
            Ok(Step::Done(verdict)) => return verdict,
            Ok(Step::Unclear(reason)) => {
                unclear += 1;
                if unclear >= UNCLEAR_ANSWERS_MAX {
                    return Verdict::Refused(reason);
                }
            }
            Err(error) if error.kind() == ErrorKind::Persistent => {
                error!(%hash, %error, "block not delivered yet");
            }
            Err(error) => warn!(%hash, %error, "block not delivered yet"),
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn attempt(rpc: &mut Rpc, hash: &str, block_hex: &str) -> Result<Step, RpcError> {
    let answer = rpc.call::<String>("submitblock", json!([block_hex]), SUBMIT_ANSWER_MAX).await;
    match answer {
        Ok(None) => Ok(Step::Done(Verdict::Accepted)),
        Ok(Some(reason)) => match reason.as_str() {
            // It came before, from us or over the network, and is valid.
            "duplicate" => Ok(Step::Done(Verdict::Accepted)),
            "inconclusive" | "duplicate-inconclusive" => look_up(rpc, hash, reason).await,
            _ => Ok(Step::Done(Verdict::Refused(reason))),
        },
        Err(RpcError::Node { code: DESERIALIZATION, message }) => {
            Ok(Step::Done(Verdict::Refused(message)))
        }
        Err(error) => Err(error),
    }
}

/// The block may have lost against another of its height, or wait for its parent.
async fn look_up(rpc: &mut Rpc, hash: &str, reason: String) -> Result<Step, RpcError> {
    let answer = rpc.ask::<BlockHeader>("getblockheader", json!([hash]), LOOKUP_ANSWER_MAX).await;
    match answer {
        Ok(BlockHeader { confirmations: 1.. }) => Ok(Step::Done(Verdict::Accepted)),
        Ok(_) => Ok(Step::Unclear(format!("{reason}: another block of its height was first"))),
        Err(RpcError::Node { code: NOT_FOUND, .. }) => Ok(Step::Unclear(reason)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
