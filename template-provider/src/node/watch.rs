//! Watches one node: who first sees that the tip or the mempool changed makes a new template.
//!
//! Three loops, each with a connection of its own, so that none delays another: a poll of the tip
//! (cheap and fast, and the node's heartbeat), a long poll (wakes by itself), and a fetcher, which
//! asks when the poll saw a new tip and otherwise from time to time. All of them give what they got
//! to one queue with the moments at which they asked and were answered; who reads it can tell what
//! is outdated. Never gives up: a node that is gone is tried for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use service::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::Node;
use super::answer::{self, Reader, UnusableTemplate};
use super::presence::Presence;
use super::rpc::{Rpc, RpcError};
use super::template_source::{NoTemplate, TemplateSource};
use crate::block_template::BlockTemplate;

/// How long the node may think about its tip.
const TIP_ANSWER_MAX: Duration = Duration::from_secs(10);
/// A node that is gone is looked for at least so often: miners wait for it.
const RETURN_LOOKED_FOR_EVERY_MAX: Duration = Duration::from_secs(1);
/// A long poll that has not woken so long after the tip poll saw a new tip is dead.
const LONG_POLL_BEHIND_MAX: Duration = Duration::from_secs(10);
/// A long poll that is answered faster than this, with the same name of the state, did not wait.
const LONG_POLL_AT_ONCE: Duration = Duration::from_secs(1);
/// The least time from one long poll to the next, whatever the node does.
const LONG_POLL_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The tip may be known a moment before a template for it: the first wait before asking again.
const BEHIND_WAIT_MIN: Duration = Duration::from_millis(10);
/// And the last, with twice the time each: about a second in all.
const BEHIND_WAIT_MAX: Duration = Duration::from_millis(640);

/// A template, and when it was asked for.
#[derive(Debug)]
pub struct Offered {
    /// The template.
    pub template: BlockTemplate,
    /// It shows the node's state at this moment or later.
    pub asked_at: Instant,
    /// When the answer was there: what is asked for from now on is newer.
    pub answered_at: Instant,
}

/// What the tip poll saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SeenTip {
    /// In internal byte order; `None` until the node answered.
    hash: Option<[u8; 32]>,
    /// How often the node came back.
    returns: u64,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    NoTemplate(#[from] NoTemplate),
    #[error("the node's template cannot be mined: {0}")]
    Unusable(#[from] UnusableTemplate),
}

/// Watches `node` for ever; ends when nobody takes templates any more.
pub async fn watch(node: Node, presence: Arc<Presence>, offered: mpsc::Sender<Offered>) {
    let seen = watch::Sender::new(SeenTip::default());
    let source = Source { reader: Arc::default(), offered };
    tokio::select! {
        () = poll_tip(&node, &presence, &seen) => {}
        () = fetch(&node, &presence, seen.subscribe(), &source) => {}
        () = long_poll(&node, seen.subscribe(), &source) => {}
    }
}

async fn poll_tip(node: &Node, presence: &Presence, seen: &watch::Sender<SeenTip>) {
    let mut rpc = node.connection();
    let mut backoff = Backoff::new(node.tip_poll, RETURN_LOOKED_FOR_EVERY_MAX);
    let mut is_back = false;
    loop {
        match best_block_hash(&mut rpc).await {
            Ok(hash) => {
                presence.tip_asked(Ok(()));
                backoff.reset();
                seen.send_if_modified(|seen| {
                    let before = seen.clone();
                    seen.hash = Some(hash);
                    seen.returns += u64::from(std::mem::take(&mut is_back));
                    *seen != before
                });
                sleep(node.tip_poll).await;
            }
            Err(error) => {
                presence.tip_asked(Err(error.to_string()));
                is_back = true;
                sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn best_block_hash(rpc: &mut Rpc) -> Result<[u8; 32], FetchError> {
    let hex: String = rpc.ask("getbestblockhash", json!([]), TIP_ANSWER_MAX).await?;
    Ok(answer::hash(&hex, "getbestblockhash")?)
}

async fn fetch(
    node: &Node,
    presence: &Presence,
    mut seen: watch::Receiver<SeenTip>,
    source: &Source,
) {
    let mut templates = TemplateSource::of(node);
    let mut backoff = Backoff::for_neighbours();
    let mut behind_wait = BEHIND_WAIT_MIN;
    loop {
        let tip = seen.borrow_and_update().hash;
        let wait = match source.ask(&mut templates, None).await {
            Ok(fetched) => {
                presence.template_asked(Ok(()));
                backoff.reset();
                let is_behind = tip.is_some_and(|tip| tip != fetched.prev_hash);
                if fetched.give().await.is_err() {
                    return;
                }
                if is_behind && behind_wait <= BEHIND_WAIT_MAX {
                    behind_wait *= 2;
                    behind_wait / 2
                } else {
                    behind_wait = BEHIND_WAIT_MIN;
                    node.template_refresh
                }
            }
            Err(error) => {
                debug!(%error, "no template");
                presence.template_asked(Err(error.to_string()));
                backoff.next_delay()
            }
        };
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = sleep(wait) => {}
        }
    }
}

async fn long_poll(node: &Node, mut seen: watch::Receiver<SeenTip>, source: &Source) {
    if !node.may_long_poll() {
        return std::future::pending().await;
    }
    let mut templates = TemplateSource::of(node);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    // The name of the last known state, and its tip.
    let mut state: Option<(String, [u8; 32])> = None;
    loop {
        let asked_at = Instant::now();
        let before = state.as_ref().map(|(id, _)| id.clone());
        let behind = state.as_ref().map(|(_, tip)| *tip);
        let fetched = tokio::select! {
            fetched = source.ask(&mut templates, before.as_deref()) => fetched,
            () = falls_behind(&mut seen, behind) => {
                debug!("long poll did not wake for a new tip; asking anew");
                state = None;
                // Its connection waits for an answer that nobody wants any more.
                templates = TemplateSource::of(node);
                continue;
            }
        };
        match fetched {
            Ok(fetched) => {
                let Some(id) = fetched.longpollid.clone() else {
                    info!("the node has no long poll; its tip is polled instead");
                    return std::future::pending().await;
                };
                let did_not_wait =
                    before.as_ref() == Some(&id) && asked_at.elapsed() < LONG_POLL_AT_ONCE;
                state = Some((id, fetched.prev_hash));
                if fetched.give().await.is_err() {
                    return;
                }
                if did_not_wait {
                    warn_of_busy_loop(backoff.next_delay()).await;
                } else {
                    backoff.reset();
                    sleep_until(asked_at + LONG_POLL_INTERVAL_MIN).await;
                }
            }
            Err(error) => {
                debug!(%error, "long poll failed");
                state = None;
                // A node that is back, or has a new tip, is worth another try at once.
                tokio::select! {
                    changed = seen.changed() => if changed.is_err() { return },
                    () = sleep(backoff.next_delay()) => {}
                }
            }
        }
    }
}

async fn warn_of_busy_loop(wait: Duration) {
    warn!(?wait, "long poll answered at once: not asked again for a while");
    sleep(wait).await;
}

/// Waits until the tip poll has been ahead of `tip` for so long that the long poll must be dead.
async fn falls_behind(seen: &mut watch::Receiver<SeenTip>, tip: Option<[u8; 32]>) {
    let Some(tip) = tip else { return std::future::pending().await };
    loop {
        let is_ahead = |seen: &SeenTip| seen.hash.is_some_and(|hash| hash != tip);
        if seen.wait_for(is_ahead).await.is_err() {
            return std::future::pending().await;
        }
        sleep(LONG_POLL_BEHIND_MAX).await;
        if is_ahead(&seen.borrow()) {
            return;
        }
    }
}

/// Makes templates of answers, for all loops.
struct Source {
    reader: Arc<Mutex<Reader>>,
    offered: mpsc::Sender<Offered>,
}

/// A template that has not been given on yet.
struct Fetched<'a> {
    offered: Offered,
    prev_hash: [u8; 32],
    longpollid: Option<String>,
    queue: &'a mpsc::Sender<Offered>,
}

impl Source {
    async fn ask(
        &self,
        templates: &mut TemplateSource,
        longpollid: Option<&str>,
    ) -> Result<Fetched<'_>, FetchError> {
        let asked_at = Instant::now();
        let mut answer = templates.ask(longpollid).await?;
        let answered_at = Instant::now();
        let longpollid = answer.longpollid.take();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let template = reader.read(answer)?;
        let prev_hash = template.prev_hash;
        Ok(Fetched {
            offered: Offered { template, asked_at, answered_at },
            prev_hash,
            longpollid,
            queue: &self.offered,
        })
    }
}

impl Fetched<'_> {
    /// Puts it in the queue; an error if nobody reads it any more.
    async fn give(self) -> Result<(), mpsc::error::SendError<Offered>> {
        self.queue.send(self.offered).await
    }
}

#[cfg(test)]
mod tests;
