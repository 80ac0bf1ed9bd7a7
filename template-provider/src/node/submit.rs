//! Brings a found block to the node, and asks until the node has said what it is worth.
//!
//! A block is money: nothing but a clear answer ends the asking. What a node that is behind says of
//! a block is not clear: it may say otherwise once it has caught up. It knows no disk and no
//! template.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use service::backoff::Backoff;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::Node;
use super::rpc::{DESERIALIZATION, ErrorKind, NOT_FOUND, Rpc, RpcError};

/// How long the node may take to check a block.
const SUBMIT_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long the node may take to look a block up.
const LOOKUP_ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest wait between two attempts: until the node has it, others may find a block first.
const ATTEMPTS_EVERY_MAX: Duration = Duration::from_secs(2);
/// The longest wait between two attempts while the node's answers are not final.
const UNSETTLED_EVERY_MAX: Duration = Duration::from_secs(10);
/// How long a node is asked on whose answers are not final, until the last one is taken for a
/// refusal: a node syncs its last blocks again, or somebody sets its clock, in less. A restart of
/// the program gives it as long again.
const UNSETTLED_MAX: Duration = Duration::from_secs(6 * 3600);
/// How often it is said that the node's answers are still not final.
const UNSETTLED_TOLD_EVERY: Duration = Duration::from_secs(600);
/// The node does not know the block's parent: it lost its last blocks, or is behind.
const PARENT_UNKNOWN: &str = "prev-blk-not-found";
/// The block's time is two hours ahead of the node's clock, or more: the clock is behind.
const TIME_TOO_NEW: &str = "time-too-new";

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
    /// Why it is not in the chain, which may change.
    Unsettled(String),
}

#[derive(Deserialize)]
struct BlockHeader {
    /// -1: not in the chain.
    confirmations: i64,
}

/// Submits the block `hash` (display order), given as hex, until there is a verdict.
pub async fn submit(node: &Node, hash: &str, block_hex: &str) -> Verdict {
    let pace = Pace {
        unreached: Backoff::new(Duration::from_millis(100), ATTEMPTS_EVERY_MAX),
        unsettled: Backoff::new(Duration::from_millis(100), UNSETTLED_EVERY_MAX),
        unsettled_max: UNSETTLED_MAX,
    };
    node.tell_enforcer(hash, block_hex);
    submit_at(pace, node, hash, block_hex).await
}

/// How often a block is brought to the node.
struct Pace {
    /// While there is no answer.
    unreached: Backoff,
    /// While the answers are not final.
    unsettled: Backoff,
    /// For how long they may not be.
    unsettled_max: Duration,
}

/// Since when the node's answers are not final, and when that was said last.
struct Unsettled {
    since: Instant,
    told_at: Option<Instant>,
}

impl Unsettled {
    fn now() -> Self {
        Self { since: Instant::now(), told_at: None }
    }

    fn tell(&mut self, hash: &str, reason: &str) {
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= UNSETTLED_TOLD_EVERY) {
            warn!(%hash, %reason, "block not delivered yet");
            self.told_at = Some(Instant::now());
        }
    }
}

async fn submit_at(mut pace: Pace, node: &Node, hash: &str, block_hex: &str) -> Verdict {
    let mut rpc = node.connection();
    let mut unsettled = None;
    loop {
        match attempt(&mut rpc, hash, block_hex).await {
            Ok(Step::Done(verdict)) => return verdict,
            Ok(Step::Unsettled(reason)) => {
                let unsettled = unsettled.get_or_insert_with(Unsettled::now);
                if unsettled.since.elapsed() >= pace.unsettled_max {
                    return Verdict::Refused(reason);
                }
                unsettled.tell(hash, &reason);
                sleep(pace.unsettled.next_delay()).await;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Persistent => {
                error!(%hash, %error, "block not delivered yet");
            }
            Err(error) => warn!(%hash, %error, "block not delivered yet"),
        }
        sleep(pace.unreached.next_delay()).await;
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
            PARENT_UNKNOWN | TIME_TOO_NEW => Ok(Step::Unsettled(reason)),
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
        Ok(_) => Ok(Step::Unsettled(format!("{reason}: another block of its height was first"))),
        Err(RpcError::Node { code: NOT_FOUND, .. }) => Ok(Step::Unsettled(reason)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
