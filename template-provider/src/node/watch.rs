//! Watches the active node: who first sees that the tip or the mempool changed makes a new
//! template.
//!
//! Two loops, each with a connection of its own, so that none delays the other: a long poll (wakes
//! by itself), and a fetcher, which asks when the node's sentry saw a new tip and otherwise from
//! time to time. Both give what they got to one queue with the moments at which they asked and were
//! answered; who reads it can tell what is outdated. Never gives up: a node that is gone is tried
//! for as long as it is the active one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use service::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::answer::Reader;
use super::empty_first::offer_stopgaps;
use super::sentry::{AskError, Post};
use super::stopgap::Basis;
use super::template_source::TemplateSource;
use super::tip::Signal::{LongPoll, Refresh};
use super::tip::{SeenTip, Signal};
use crate::block_template::BlockTemplate;

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

/// A node that has not answered a question for a template after so long is passed over, if there
/// is another. It takes a second, or a few where the disk is slow.
const TEMPLATE_LATE: Duration = Duration::from_secs(10);

/// A template, and when it was asked for.
#[derive(Debug)]
pub struct Offered {
    /// The template.
    pub template: BlockTemplate,
    /// It shows the node's state at this moment or later.
    pub asked_at: Instant,
    /// When the answer was there: what is asked for from now on is newer.
    pub answered_at: Instant,
    /// When its tip was first heard of, by any signal; `None` for the first tip of a node.
    pub tip_heard_at: Option<Instant>,
}

/// Watches the active node for ever; ends when nobody takes templates any more.
pub(super) async fn watch_active(post: &Post, source: &Source) {
    tokio::select! {
        () = fetch(post, source) => {}
        () = long_poll(post, source) => {}
        () = offer_stopgaps(post, source) => {}
    }
}

async fn fetch(post: &Post, source: &Source) {
    let node = &post.node;
    let mut seen = post.sight.subscribe();
    let mut templates = TemplateSource::of(node);
    let mut backoff = Backoff::for_neighbours();
    let mut behind_wait = BEHIND_WAIT_MIN;
    loop {
        let tip = seen.borrow_and_update().hash;
        let question = source.ask(post, &mut templates, Refresh, None);
        let late = || {
            post.template_asked(Err(format!("no template within {TEMPLATE_LATE:?}")));
        };
        let wait = match telling_when_late(question, late).await {
            Ok(fetched) => {
                post.template_asked(Ok(()));
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
                post.template_asked(Err(error.to_string()));
                let pause = error.pause(&mut backoff);
                if error.is_forbidden() {
                    sleep(pause).await;
                    continue;
                }
                pause
            }
        };
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = sleep(wait) => {}
        }
    }
}

/// The answer to `question`, however late; `late` is called meanwhile. Given up, the question would
/// have to be asked anew, which is no help to a node that is busy with it.
async fn telling_when_late<T>(question: impl Future<Output = T>, late: impl FnOnce()) -> T {
    tokio::pin!(question);
    match timeout(TEMPLATE_LATE, &mut question).await {
        Ok(answer) => answer,
        Err(_) => {
            late();
            question.await
        }
    }
}

async fn long_poll(post: &Post, source: &Source) {
    let node = &post.node;
    if !node.may_long_poll() {
        return std::future::pending().await;
    }
    let mut seen = post.sight.subscribe();
    let mut templates = TemplateSource::of(node);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    // The name of the last known state, and its tip.
    let mut state: Option<(String, [u8; 32])> = None;
    loop {
        let asked_at = Instant::now();
        let before = state.as_ref().map(|(id, _)| id.clone());
        let behind = state.as_ref().map(|(_, tip)| *tip);
        let fetched = tokio::select! {
            fetched = source.ask(post, &mut templates, LongPoll, before.as_deref()) => fetched,
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
                let pause = error.pause(&mut backoff);
                if error.is_forbidden() {
                    sleep(pause).await;
                    continue;
                }
                // A node that is back, or has a new tip, is worth another try at once.
                tokio::select! {
                    changed = seen.changed() => if changed.is_err() { return },
                    () = sleep(pause) => {}
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

/// Makes templates of answers, for all loops and all nodes.
pub(super) struct Source {
    reader: Mutex<Reader>,
    offered: mpsc::Sender<Offered>,
    /// What the last template of a node said.
    basis: Mutex<Option<Basis>>,
}

/// A template that has not been given on yet.
struct Fetched<'a> {
    offered: Offered,
    prev_hash: [u8; 32],
    longpollid: Option<String>,
    queue: &'a mpsc::Sender<Offered>,
}

impl Source {
    /// Gives all templates to `offered`.
    pub(super) fn new(offered: mpsc::Sender<Offered>) -> Self {
        Self { reader: Mutex::default(), offered, basis: Mutex::default() }
    }

    /// What the last template of a node said of the chain.
    pub(super) fn basis(&self) -> Option<Basis> {
        *self.basis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if a node's last template builds on the block `tip`.
    pub(super) fn has_template_on(&self, tip: [u8; 32]) -> bool {
        self.basis().is_some_and(|basis| basis.prev_hash() == tip)
    }

    /// Puts a template that no node made in the queue; an error if nobody reads it any more.
    pub(super) async fn give(
        &self,
        template: BlockTemplate,
        asked_at: Instant,
        tip_heard_at: Option<Instant>,
    ) -> Result<(), mpsc::error::SendError<Offered>> {
        let answered_at = Instant::now();
        self.offered.send(Offered { template, asked_at, answered_at, tip_heard_at }).await
    }

    async fn ask(
        &self,
        post: &Post,
        templates: &mut TemplateSource,
        signal: Signal,
        longpollid: Option<&str>,
    ) -> Result<Fetched<'_>, AskError> {
        let asked_at = Instant::now();
        let mut answer = templates.ask(longpollid).await?;
        let answered_at = Instant::now();
        let longpollid = answer.longpollid.take();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let template = reader.read(answer)?;
        let basis = Basis::of(&template, answered_at);
        *self.basis.lock().unwrap_or_else(PoisonError::into_inner) = Some(basis);
        let prev_hash = template.prev_hash;
        let tip_heard_at = post.sight.first_heard(prev_hash, signal);
        post.led_to(prev_hash);
        Ok(Fetched {
            offered: Offered { template, asked_at, answered_at, tip_heard_at },
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
