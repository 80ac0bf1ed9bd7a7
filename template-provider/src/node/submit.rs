//! Brings a found block to all nodes at the same moment, and asks until they have said what it is
//! worth.
//!
//! A block is money: nothing but a clear answer ends the asking. What a node that is behind says of
//! a block is not clear: it may say otherwise once it has caught up. One node that has the block in
//! its chain is enough; one that refuses it is not, while others have not answered. It knows no
//! disk and no template.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use service::advice;
use service::backoff::Backoff;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::Node;
use super::timing::CallTimes;
use rpc::{DESERIALIZATION, ErrorKind, METHOD_NOT_FOUND, NOT_FOUND, Rpc, RpcError};

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
/// Blocks found here that are remembered: on a real chain those of many weeks.
const ACCEPTED_MAX: usize = 64;
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
    /// It is whole and good, and another block of its height came first; in words.
    Lost(String),
}

#[derive(Deserialize)]
struct BlockHeader {
    /// -1: not in the chain.
    confirmations: i64,
}

/// Who brings blocks to nodes, and which of them the nodes took. Cheap to clone; all clones are
/// one.
#[derive(Debug, Clone, Default)]
pub struct Dispatch {
    /// Tells when all have ended the call that they had begun.
    pub couriers: TaskTracker,
    /// Hashes of blocks that are in the chain (display order), the newest last.
    accepted: Arc<Mutex<VecDeque<String>>>,
}

impl Dispatch {
    fn note_accepted(&self, hash: &str) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.push_back(hash.to_owned());
        if accepted.len() > ACCEPTED_MAX {
            accepted.pop_front();
        }
    }

    fn has_accepted(&self, hash: &str) -> bool {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.iter().any(|known| known == hash)
    }
}

/// Submits the block `hash` (display order), given as hex, to all nodes in parallel, each over a
/// connection of its own, until there is a verdict. A node that had another block of its height
/// first is asked to build on this one, unless that one was found here as well. A verdict does not
/// wait for the nodes that are slower.
pub async fn submit(nodes: &[Node], hash: &str, block_hex: &str, dispatch: &Dispatch) -> Verdict {
    let pace = Pace {
        unreached: Backoff::new(Duration::from_millis(100), ATTEMPTS_EVERY_MAX),
        unsettled: Backoff::new(Duration::from_millis(100), UNSETTLED_EVERY_MAX),
        unsettled_max: UNSETTLED_MAX,
    };
    // All stand behind the same enforcer, if there is one.
    if let Some(node) = nodes.first() {
        node.tell_enforcer(hash, block_hex, &dispatch.couriers);
    }
    submit_at(&pace, nodes, hash, block_hex, dispatch).await
}

/// What all nodes together say: accepted as soon as one has it in its chain; refused when all have
/// refused it. Once one has, those that cannot be reached are waited for as long as for an answer
/// that is not final: they may be gone for good, and the block is kept on disk in any case.
async fn submit_at(
    pace: &Pace,
    nodes: &[Node],
    hash: &str,
    block_hex: &str,
    dispatch: &Dispatch,
) -> Verdict {
    let (verdicts, mut given) = mpsc::channel(nodes.len().max(1));
    let accepted = CancellationToken::new();
    let block: Arc<Block> = Arc::new(Block { hash: hash.to_owned(), hex: block_hex.to_owned() });
    for node in nodes {
        let courier = Courier {
            node: node.name,
            is_preferred: false,
            rpc: node.connection(),
            times: node.times.clone(),
            block: Arc::clone(&block),
            dispatch: dispatch.clone(),
            accepted: accepted.clone(),
        };
        // A task of its own: after a verdict it ends the call that it has begun, so that this node
        // has the block as well.
        dispatch.couriers.spawn(courier.carry(pace.clone(), verdicts.clone()));
    }
    drop(verdicts);
    let mut refused = None;
    let mut give_up_at = None;
    loop {
        let verdict = match give_up_at {
            None => given.recv().await,
            Some(at) => timeout_at(at, given.recv()).await.unwrap_or(None),
        };
        match verdict {
            Some(Verdict::Accepted) => {
                accepted.cancel();
                dispatch.note_accepted(hash);
                return Verdict::Accepted;
            }
            Some(Verdict::Refused(reason)) => {
                refused.get_or_insert(reason);
                give_up_at.get_or_insert_with(|| Instant::now() + pace.unsettled_max);
            }
            None => {
                return Verdict::Refused(refused.unwrap_or_else(|| "no node took it".to_owned()));
            }
        }
    }
}

struct Block {
    /// Display order.
    hash: String,
    hex: String,
}

/// How often a block is brought to a node.
#[derive(Clone)]
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

    fn tell(&mut self, node: &str, hash: &str, reason: &str) {
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= UNSETTLED_TOLD_EVERY) {
            warn!(%node, %hash, %reason, "block not delivered yet");
            self.told_at = Some(Instant::now());
        }
    }
}

/// Carries one block to one node.
struct Courier {
    /// What it is called.
    node: &'static str,
    /// True once the node was asked to build on the block, or found to build on another of ours.
    is_preferred: bool,
    rpc: Rpc,
    times: CallTimes,
    block: Arc<Block>,
    dispatch: Dispatch,
    /// Some node has the block in its chain.
    accepted: CancellationToken,
}

impl Courier {
    async fn carry(mut self, pace: Pace, verdicts: mpsc::Sender<Verdict>) {
        match self.ask(pace, &verdicts).await {
            // Nobody listens any more once there is a verdict.
            Some(verdict) => drop(verdicts.try_send(verdict)),
            None if self.accepted.is_cancelled() && !self.is_preferred => self.prefer().await,
            None => {}
        }
    }

    /// Asks until this node has judged the block, or nobody wants to know any more.
    async fn ask(&mut self, mut pace: Pace, verdicts: &mpsc::Sender<Verdict>) -> Option<Verdict> {
        let mut unsettled = None;
        let (node, hash) = (self.node, self.block.hash.clone());
        while !verdicts.is_closed() {
            let wait = match self.attempt().await {
                Ok(Step::Done(verdict)) => return Some(verdict),
                Ok(Step::Lost(_)) if !self.is_preferred => {
                    self.prefer().await;
                    continue;
                }
                Ok(Step::Unsettled(reason) | Step::Lost(reason)) => {
                    let unsettled = unsettled.get_or_insert_with(Unsettled::now);
                    if unsettled.since.elapsed() >= pace.unsettled_max {
                        return Some(Verdict::Refused(reason));
                    }
                    unsettled.tell(node, &hash, &reason);
                    pace.unsettled.next_delay()
                }
                Err(error) => {
                    match error.kind() {
                        ErrorKind::Persistent => {
                            error!(code = advice::BLOCK_WAITS,
                                %node, %hash, %error, "block not delivered yet");
                        }
                        ErrorKind::Transient => {
                            warn!(%node, %hash, %error, "block not delivered yet");
                        }
                    }
                    pace.unreached.next_delay()
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = verdicts.closed() => {}
            }
        }
        None
    }

    /// True if the node builds on another block that was found here: nothing is won by a change,
    /// and the work that stands on that one would be lost.
    async fn is_behind_own(&mut self) -> bool {
        let tip = self.rpc.ask::<String>("getbestblockhash", json!([]), LOOKUP_ANSWER_MAX).await;
        tip.is_ok_and(|tip| self.dispatch.has_accepted(&tip))
    }

    async fn attempt(&mut self) -> Result<Step, RpcError> {
        let asked = Instant::now();
        let params = json!([self.block.hex]);
        let answer = self.rpc.call::<String>("submitblock", params, SUBMIT_ANSWER_MAX).await;
        if answer.is_ok() {
            self.times.block_answered(asked.elapsed());
        }
        judged(&mut self.rpc, &self.block.hash, answer).await
    }

    /// Asks the node to build on the block, should another one of its height have come first. It
    /// may not know the call, or not have the block yet.
    async fn prefer(&mut self) {
        self.is_preferred = true;
        if self.is_behind_own().await {
            return;
        }
        let params = json!([self.block.hash]);
        let answer = self.rpc.call::<IgnoredAny>("preciousblock", params, LOOKUP_ANSWER_MAX).await;
        if let Err(error) = answer {
            info!(node = %self.node, hash = %self.block.hash, %error, "block not preferred");
        }
    }
}

/// What the answer to submitblock means; asks on where it says little.
async fn judged(
    rpc: &mut Rpc,
    hash: &str,
    answer: Result<Option<String>, RpcError>,
) -> Result<Step, RpcError> {
    match answer {
        Ok(None) => Ok(Step::Done(Verdict::Accepted)),
        Ok(Some(reason)) => match reason.as_str() {
            // It came before, from us or over the network. That is no word of its being in the
            // chain: nodes say so too of a block that lost against another one.
            "duplicate" => match look_up(rpc, hash, reason).await {
                // A node that cannot look it up has taken it, which is all that it will say.
                Err(RpcError::Node { code: METHOD_NOT_FOUND, .. }) => {
                    Ok(Step::Done(Verdict::Accepted))
                }
                other => other,
            },
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
        Ok(_) => Ok(Step::Lost(format!("{reason}: another block of its height was first"))),
        Err(RpcError::Node { code: NOT_FOUND, .. }) => Ok(Step::Unsettled(reason)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
