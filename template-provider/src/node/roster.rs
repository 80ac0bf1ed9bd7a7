//! All nodes: each has its sentry, one of them is active, and that one is watched for templates.
//!
//! Who is active is decided in `choice`; here the decision is carried out, told and counted.

use std::sync::Arc;
use std::time::Duration;

use service::health::Health;
use service::metrics::{Counter, Gauge, Labelled, Metrics};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Node;
use super::choice::{Candidate, Choice, OnNetwork, Verdict};
use super::presence::Presence;
use super::sentry::{self, Post};
use super::tip::Sight;
use super::watch::{Offered, Source, watch_active};

/// How often the nodes are looked at when nothing changes: time alone may decide.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is counted of the nodes.
#[derive(Debug)]
struct Counted {
    switches: Counter,
    present: Labelled<Gauge>,
    active: Labelled<Gauge>,
}

/// Watches `nodes` for ever, and gives the templates of the active one to `offered`. Ends when
/// nobody takes templates any more; and with a sentence, if the first node is on another network
/// than the settings say, before anything was made of its or another's templates. Later, and of
/// the other nodes, that is said, and such a node is not chosen: the program has work to do.
pub async fn watch(
    nodes: &[Node],
    health: &Health,
    metrics: &Metrics,
    offered: mpsc::Sender<Offered>,
) -> Option<String> {
    let counted = Counted {
        switches: metrics.counter("node_switches", "Changes from one active node to another"),
        present: metrics.gauges(
            "node_present",
            "Whether a node answers and gives templates",
            "node",
        ),
        active: metrics.gauges("node_active", "Whether a node gives the templates", "node"),
    };
    let firsts = metrics.counters("tip_signals_first", "Who told first of a new tip", "signal");
    let board = Arc::new(watch::Sender::new(nodes.iter().map(sentry::unheard).collect()));
    let post = |(index, node): (usize, &Node)| {
        let gauge = counted.present.with(node.name);
        let presence = match index {
            0 => Presence::active(node, health.clone(), gauge),
            _ => Presence::standing_by(node, health.clone(), gauge),
        };
        let (node, sight) = (node.clone(), Sight::new(firsts.clone()));
        Arc::new(Post { node, presence, sight, board: Arc::clone(&board), index })
    };
    let posts: Vec<Arc<Post>> = nodes.iter().enumerate().map(post).collect();
    let mut sentries = JoinSet::new();
    for post in posts.iter().map(Arc::clone) {
        sentries.spawn(async move { sentry::stand(&post).await });
    }
    let active = watch::Sender::new(0);
    let source = Source::new(offered);
    tokio::select! {
        wrong = choose(&posts, &board, &active, &counted) => wrong,
        () = serve(&posts, active.subscribe(), &source) => None,
    }
}

async fn choose(
    posts: &[Arc<Post>],
    board: &watch::Sender<Vec<Candidate>>,
    active: &watch::Sender<usize>,
    counted: &Counted,
) -> Option<String> {
    let mut choice = Choice::first();
    let mut board = board.subscribe();
    let (mut is_told, mut has_begun) = (false, false);
    loop {
        let verdict = {
            let candidates = board.borrow_and_update();
            match candidates.first().map(|first| first.network) {
                Some(OnNetwork::No) if !has_begun => {
                    return posts.first()?.presence.wrong_network();
                }
                Some(OnNetwork::Yes) => has_begun = true,
                _ => {}
            }
            choice.look(Instant::now(), &candidates)
        };
        for post in posts {
            counted.active.with(post.node.name).set(i64::from(post.index == choice.active()));
        }
        match verdict {
            Verdict::Stays => is_told = false,
            Verdict::NobodyElse if posts.len() > 1 => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!("no node can take over: clients keep the work that they have");
                    posts.iter().for_each(|post| post.presence.nobody_takes_over());
                }
            }
            Verdict::NobodyElse => {}
            Verdict::Switched(reason) => {
                (is_told, has_begun) = (false, true);
                switch(posts, choice.active(), reason);
                counted.switches.inc();
                active.send_replace(choice.active());
            }
        }
        tokio::select! {
            changed = board.changed() => if changed.is_err() { return None },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn switch(posts: &[Arc<Post>], active: usize, reason: &str) {
    for post in posts {
        if post.index == active {
            info!(node = post.node.name, address = post.node.address(), reason, "node chosen");
            post.presence.activate();
        } else {
            post.presence.stand_by();
        }
    }
}

/// Watches the active node; ends when nobody takes templates any more.
async fn serve(posts: &[Arc<Post>], mut active: watch::Receiver<usize>, source: &Source) {
    loop {
        let index = *active.borrow_and_update();
        let Some(post) = posts.get(index) else { return };
        tokio::select! {
            () = watch_on_network(post, source) => return,
            changed = active.changed() => if changed.is_err() { return },
        }
    }
}

/// Takes nothing of a node that is on another network, or has not said yet.
async fn watch_on_network(post: &Post, source: &Source) {
    loop {
        post.is_on_network(OnNetwork::Yes).await;
        tokio::select! {
            () = watch_active(post, source) => return,
            () = post.is_on_network(OnNetwork::No) => {}
        }
    }
}

#[cfg(test)]
mod tests;
