//! Keeps a light eye on one node, active or not: is it there, what is its tip, and how much work
//! is in its chain?
//!
//! Never asks for a template but to learn whether a node that refused one still does.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::FromHex;
use mining::hash::display;
use serde::Deserialize;
use serde_json::json;
use service::backoff::Backoff;
use service::clock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::Node;
use super::answer::{self, UnusableTemplate};
use super::chain;
use super::choice::{Answers, Candidate, ChainWork, OnNetwork};
use super::presence::Presence;
use super::template_source::{NoTemplate, TemplateSource};
use super::tip::{Sight, Signal};
use super::zmq;
use rpc::{Rpc, RpcError};

/// How long the node may think about its tip.
const TIP_ANSWER_MAX: Duration = Duration::from_secs(10);
/// A node that is gone is looked for at least so often: miners wait for it.
const RETURN_LOOKED_FOR_EVERY_MAX: Duration = Duration::from_secs(1);
/// How often a node that refused a template and is not active is asked for one again.
const REFUSING_ASKED_EVERY: Duration = Duration::from_secs(10);
/// A node that forbids something (HTTP 403) is left alone for so long: only a person can change
/// that, and some answer to too many attempts with more of it (BIP22 asks not to hammer).
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(30);

/// Why the node's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    NoTemplate(#[from] NoTemplate),
    #[error("the node's template cannot be mined: {0}")]
    Unusable(#[from] UnusableTemplate),
}

impl AskError {
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::Rpc(RpcError::Forbidden)
                | Self::NoTemplate(NoTemplate::Node(RpcError::Forbidden))
        )
    }

    /// How long to wait before asking again.
    pub(super) fn pause(&self, backoff: &mut Backoff) -> Duration {
        match self.is_forbidden() {
            true => FORBIDDEN_PAUSE,
            false => backoff.next_delay(),
        }
    }
}

/// What is known of a node that was never asked anything.
pub(super) fn unheard(node: &Node) -> Candidate {
    let network = match node.network {
        Some(_) => OnNetwork::Unknown,
        None => OnNetwork::Yes,
    };
    Candidate { network, ..Candidate::default() }
}

/// What all who deal with one node know of it.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) node: Node,
    pub(super) presence: Presence,
    pub(super) sight: Sight,
    /// Of all nodes, by priority.
    pub(super) board: Arc<watch::Sender<Vec<Candidate>>>,
    /// Which of them this one is.
    pub(super) index: usize,
}

impl Post {
    /// The node was asked for a template.
    pub(super) fn template_asked(&self, outcome: Result<(), String>) {
        let refuses = outcome.is_err();
        self.note(|candidate| candidate.refuses = refuses);
        self.presence.template_asked(outcome);
    }

    /// Clients get a template that the node, or its tip, gave for `tip`: who takes over must not
    /// lead them back behind it. The poll of the tip may be slower than that.
    pub(super) fn led_to(&self, tip: [u8; 32]) {
        // Not where the node's template lags behind its own tip.
        if self.sight.newest().is_some_and(|(newest, _)| newest == tip) {
            self.note(|candidate| candidate.tip = Some(tip));
        }
    }

    fn tip_asked(&self, outcome: Result<[u8; 32], String>, asked_at: Instant) {
        let overtaken_by = self.sight.newest().filter(|(_, at)| at.is_some_and(|at| at > asked_at));
        self.note(|candidate| match outcome {
            Ok(tip) => {
                candidate.answers = candidate.answers.again(Instant::now());
                candidate.tip = Some(overtaken_by.map_or(tip, |(newest, _)| newest));
            }
            Err(_) => {
                candidate.answers = Answers::No;
                // Another program may answer when somebody does.
                candidate.network = unheard(&self.node).network;
            }
        });
        self.presence.tip_asked(outcome.map(drop));
    }

    fn network_asked(&self, outcome: Result<(), String>) {
        let network = match &outcome {
            Ok(()) => OnNetwork::Yes,
            Err(_) => OnNetwork::No,
        };
        // First, for who sees the one looks for the other.
        self.presence.network_asked(outcome);
        self.note(|candidate| candidate.network = network);
    }

    /// Waits until this is so.
    pub(super) async fn is_on_network(&self, network: OnNetwork) {
        let is_so = |all: &Vec<Candidate>| {
            all.get(self.index).is_some_and(|candidate| candidate.network == network)
        };
        if self.board.subscribe().wait_for(is_so).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, change: impl FnOnce(&mut Candidate)) {
        self.board.send_if_modified(|all| {
            let Some(candidate) = all.get_mut(self.index) else { return false };
            let before = *candidate;
            change(candidate);
            *candidate != before
        });
    }

    fn refuses(&self) -> bool {
        self.board.borrow().get(self.index).is_some_and(|candidate| candidate.refuses)
    }
}

/// Stands guard for ever.
pub(super) async fn stand(post: &Post) {
    let zmq = async {
        match &post.node.zmq_hashblock {
            Some(address) => zmq::listen(address, &post.sight).await,
            None => std::future::pending().await,
        }
    };
    let network = check_network(post);
    tokio::join!(poll_tip(post), network, follow_work(post), ask_the_refusing(post), zmq);
}

/// Asks at the start, and each time that the node is back.
async fn check_network(post: &Post) {
    let Some(network) = post.node.network else { return };
    let mut seen = post.sight.subscribe();
    loop {
        let returns = seen.borrow().returns;
        post.network_asked(chain::check(&post.node, network).await);
        if seen.wait_for(|seen| seen.returns != returns).await.is_err() {
            return;
        }
    }
}

async fn poll_tip(post: &Post) {
    let Post { node, sight, .. } = post;
    let mut rpc = node.connection();
    let mut backoff = Backoff::new(node.tip_poll, RETURN_LOOKED_FOR_EVERY_MAX);
    let mut is_back = false;
    loop {
        let asked_at = Instant::now();
        match best_block_hash(&mut rpc).await {
            Ok(hash) => {
                sight.saw(hash, Signal::TipPoll, asked_at);
                post.tip_asked(Ok(hash), asked_at);
                backoff.reset();
                if std::mem::take(&mut is_back) {
                    sight.returned();
                }
                sleep(node.tip_poll).await;
            }
            Err(error) => {
                post.tip_asked(Err(error.to_string()), asked_at);
                is_back = true;
                sleep(error.pause(&mut backoff)).await;
            }
        }
    }
}

async fn best_block_hash(rpc: &mut Rpc) -> Result<[u8; 32], AskError> {
    let hex: String = rpc.ask("getbestblockhash", json!([]), TIP_ANSWER_MAX).await?;
    Ok(answer::hash(&hex, "getbestblockhash")?)
}

/// Asks for the work of each new tip, on a connection of its own: nobody waits for it.
async fn follow_work(post: &Post) {
    let mut rpc = post.node.connection();
    let mut backoff = Backoff::for_neighbours();
    let mut seen = post.sight.subscribe();
    loop {
        let tip = seen.borrow_and_update().hash;
        let retry_at = match tip {
            None => None,
            Some(tip) => match chain_work(&mut rpc, tip).await {
                Ok(work) => {
                    backoff.reset();
                    post.note(|candidate| candidate.work = Some((tip, work)));
                    None
                }
                Err(error) => {
                    debug!(node = post.node.name, %error, "work of the chain not known");
                    Some(Instant::now() + error.pause(&mut backoff))
                }
            },
        };
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = clock::until(retry_at) => {}
        }
    }
}

#[derive(Deserialize)]
struct Header {
    chainwork: String,
}

async fn chain_work(rpc: &mut Rpc, tip: [u8; 32]) -> Result<ChainWork, AskError> {
    let header: Header = rpc.ask("getblockheader", json!([display(&tip)]), TIP_ANSWER_MAX).await?;
    let work = ChainWork::from_hex(&header.chainwork);
    Ok(work.map_err(|_| UnusableTemplate::Unreadable("chainwork"))?)
}

/// An active node is asked for templates anyway; one that is not would never be asked again.
async fn ask_the_refusing(post: &Post) {
    let mut templates = TemplateSource::of(&post.node);
    let mut seen = post.sight.subscribe();
    let mut returns = 0;
    loop {
        tokio::select! {
            () = sleep(REFUSING_ASKED_EVERY) => {}
            // It refused, perhaps, because it was on its way out.
            back = seen.wait_for(|seen| seen.returns != returns) => if back.is_err() { return },
        }
        // Before it is asked: it may be on its way out now, and back when this is done.
        returns = seen.borrow().returns;
        if !post.refuses() || post.presence.is_active() {
            continue;
        }
        let outcome = templates.ask(None).await.map_err(AskError::from);
        let outcome = outcome.and_then(|answer| Ok(answer::Reader::default().read(answer)?));
        if outcome.as_ref().is_err_and(AskError::is_forbidden) {
            sleep(FORBIDDEN_PAUSE).await;
        }
        post.template_asked(outcome.map(drop).map_err(|error| error.to_string()));
    }
}
