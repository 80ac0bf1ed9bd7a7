//! Shows templates to the nodes while clients mine on them already, one at a time.
//!
//! It delays nothing, and decides nothing: an answer that is no verdict stays one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::node::Node;
use crate::node::proposal::{ProposalVerdict, propose};
use crate::templates::draft::Draft;
use crate::templates::fallback::Question;
use crate::templates::proposal::proposal;
use crate::templates::trim::Room;
use rpc::RpcError;

/// How long a node may think about a block before the next one is asked as well: most are done
/// within a second, and a block is megabytes of work to each.
const HEAD_START: Duration = Duration::from_secs(2);

/// What was heard of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// The node would accept its block.
    Accepted,
    /// The node would refuse its block, for this reason.
    Refused(String),
    /// No node said anything about it.
    Nothing,
}

/// A question that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// What was asked.
    pub(super) question: Question,
    /// What it was about.
    pub(super) draft: Arc<Draft>,
    /// The answer.
    pub(super) heard: Heard,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// By priority.
    nodes: Arc<[Node]>,
    /// Names of those that know no proposals.
    unable: HashSet<&'static str>,
    in_flight: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    question: Question,
    draft: Arc<Draft>,
    answer: AbortOnDropHandle<Reply>,
}

/// What the nodes said, and which of them know no proposals.
#[derive(Debug)]
struct Reply {
    heard: Heard,
    unable: Vec<&'static str>,
}

impl Inquiry {
    pub(super) fn new(nodes: Arc<[Node]>) -> Self {
        Self { nodes, unable: HashSet::new(), in_flight: None }
    }

    /// False if no node can be asked.
    pub(super) fn is_possible(&self) -> bool {
        self.nodes.iter().any(|node| !self.unable.contains(node.name))
    }

    /// Asks about a template with coinbases as large as `room` allows. A question that has no
    /// answer yet is forgotten.
    pub(super) fn ask(&mut self, question: Question, draft: Arc<Draft>, room: Room) {
        if !self.is_possible() {
            return;
        }
        let nodes = self.nodes.iter().filter(|node| !self.unable.contains(node.name));
        let answer = tokio::spawn(show(nodes.cloned().collect(), Arc::clone(&draft), room));
        let answer = AbortOnDropHandle::new(answer);
        self.in_flight = Some(InFlight { question, draft, answer });
    }

    /// Forgets the question: it is about a tip that was left.
    pub(super) fn forget(&mut self) {
        self.in_flight = None;
    }

    /// Waits for the answer; for ever if nothing was asked. Nothing is lost if it is not awaited to
    /// the end.
    pub(super) async fn answered(&mut self) -> Answered {
        let Some(in_flight) = &mut self.in_flight else { return std::future::pending().await };
        let reply = (&mut in_flight.answer).await;
        let Some(InFlight { question, draft, .. }) = self.in_flight.take() else {
            return std::future::pending().await;
        };
        let heard = match reply {
            Ok(Reply { heard, unable }) => {
                for node in unable {
                    info!(node, "node knows no proposals: templates are not checked there");
                    self.unable.insert(node);
                }
                heard
            }
            Err(_) => Heard::Nothing,
        };
        Answered { question, draft, heard }
    }
}

/// Asks the nodes by priority until one has a verdict: the next one when those before have none, or
/// take long to say so. A verdict that comes late counts like any other.
async fn show(nodes: Vec<Node>, draft: Arc<Draft>, room: Room) -> Reply {
    let mut unable = Vec::new();
    // Up to 4 MB to be written out: not in between the program's other work.
    let Ok(Some(block_hex)) = spawn_blocking(move || block_hex(&draft, room)).await else {
        return Reply { heard: Heard::Nothing, unable };
    };
    let block_hex: Arc<str> = block_hex.into();
    let mut nodes = nodes.into_iter().peekable();
    let mut asked = JoinSet::new();
    loop {
        if let Some(node) = nodes.next() {
            let block_hex = Arc::clone(&block_hex);
            asked.spawn(async move { (node.name, propose(&node, &block_hex).await) });
        }
        let answer = match nodes.peek() {
            Some(_) => timeout(HEAD_START, asked.join_next()).await,
            None => Ok(asked.join_next().await),
        };
        match answer {
            Ok(Some(Ok((node, answer)))) => match read(node, answer) {
                Said::Verdict(heard) => return Reply { heard, unable },
                Said::Nothing => {}
                Said::IsUnable => unable.push(node),
            },
            // A task that broke says as little.
            Ok(Some(Err(_))) => {}
            Ok(None) => return Reply { heard: Heard::Nothing, unable },
            Err(_) => debug!("the node takes long to judge the template: the next is asked too"),
        }
    }
}

/// What a node's answer is worth.
enum Said {
    Verdict(Heard),
    Nothing,
    IsUnable,
}

fn read(node: &str, answer: Result<ProposalVerdict, RpcError>) -> Said {
    match answer {
        Ok(ProposalVerdict::Fine) => Said::Verdict(Heard::Accepted),
        Ok(ProposalVerdict::Refused(reason)) => Said::Verdict(Heard::Refused(reason)),
        Ok(ProposalVerdict::Outdated) => {
            debug!(node, "the node has another tip than the template");
            Said::Nothing
        }
        Ok(ProposalVerdict::Unsupported) => Said::IsUnable,
        Err(error) => {
            debug!(node, %error, "the node did not judge the template");
            Said::Nothing
        }
    }
}

fn block_hex(draft: &Draft, room: Room) -> Option<String> {
    // A client may reserve more than a block has: it gets no template, and all others get theirs.
    let (contents, room) = match draft.with_room(room) {
        Ok(contents) => (contents, room),
        Err(error) => {
            debug!(%error, "template shown without room for clients");
            let made = draft.with_room(Room::default());
            let told = |error: &_| warn!(%error, "template not shown to the node");
            (made.inspect_err(told).ok()?, Room::default())
        }
    };
    let block = proposal(&contents, draft.block.header_timestamp(), room);
    Some(block.to_lower_hex_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::node::stub::{Reply, StubNode, error, result};
    use crate::templates::fallback::Fullness;
    use crate::templates::samples::{none, offer};

    const QUESTION: Question = Question { fullness: Fullness::WHOLE, is_published: true };

    async fn heard(inquiry: &mut Inquiry) -> Heard {
        let draft = Arc::new(Draft::new(Arc::new(offer(&[])), none()).unwrap());
        inquiry.ask(QUESTION, draft, Room::default());
        inquiry.answered().await.heard
    }

    fn of(stubs: &[&StubNode]) -> Inquiry {
        let names = ["node", "node 2"].into_iter();
        let node = |(name, stub): (_, &&StubNode)| {
            let mut node = stub.node("");
            node.name = name;
            node
        };
        Inquiry::new(names.zip(stubs).map(node).collect())
    }

    #[tokio::test]
    async fn a_node_that_knows_no_proposals_is_asked_once() {
        let stub = StubNode::start([result(&json!({ "version": 1 }))]).await;
        let mut inquiry = of(&[&stub]);
        assert_eq!(heard(&mut inquiry).await, Heard::Nothing);
        assert!(!inquiry.is_possible());
        let draft = Arc::new(Draft::new(Arc::new(offer(&[])), none()).unwrap());
        inquiry.ask(QUESTION, draft, Room::default());
        assert!(inquiry.in_flight.is_none());
        assert_eq!(stub.requests().len(), 1);
    }

    #[tokio::test]
    async fn the_next_node_is_asked_where_one_has_no_verdict() {
        let last = StubNode::start([result(&json!("bad-cb-amount"))]).await;
        let replies = [
            error(-28, "Loading block index..."),
            result(&json!("inconclusive-not-best-prevblk")),
            Reply::Drop,
            result(&json!({ "version": 1 })),
        ];
        for reply in replies {
            let first = StubNode::start([reply]).await;
            let heard = heard(&mut of(&[&first, &last])).await;
            assert_eq!(heard, Heard::Refused("bad-cb-amount".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_node_that_hangs_does_not_keep_the_next_from_being_asked() {
        let hanging = StubNode::start([Reply::Hang]).await;
        let last = StubNode::start([result(&json!("bad-cb-amount"))]).await;
        let mut inquiry = of(&[&hanging, &last]);
        let heard = timeout(HEAD_START * 5, heard(&mut inquiry)).await.unwrap();
        assert_eq!(heard, Heard::Refused("bad-cb-amount".to_owned()));
    }

    #[tokio::test]
    async fn a_verdict_that_comes_after_the_head_start_counts() {
        let is_next_asked = Arc::new(AtomicBool::new(false));
        let (asked, answers) = (Arc::clone(&is_next_asked), is_next_asked);
        let hanging = StubNode::scripted(move |_| {
            asked.store(true, Ordering::Relaxed);
            Reply::Hang
        });
        let slow = StubNode::scripted(move |_| match answers.load(Ordering::Relaxed) {
            true => result(&json!(null)),
            false => Reply::Wait,
        });
        let mut inquiry = of(&[&slow.await, &hanging.await]);
        let heard = timeout(HEAD_START * 5, heard(&mut inquiry)).await.unwrap();
        assert_eq!(heard, Heard::Accepted);
    }

    #[tokio::test]
    async fn a_client_that_reserves_more_than_a_block_has_keeps_no_template_from_being_shown() {
        let stub = StubNode::start([result(&json!(null))]).await;
        let mut inquiry = of(&[&stub]);
        let draft = Arc::new(Draft::new(Arc::new(offer(&[])), none()).unwrap());
        inquiry.ask(QUESTION, draft, Room { output_bytes: u32::MAX, output_sigops: u16::MAX });
        assert_eq!(inquiry.answered().await.heard, Heard::Accepted);
        assert!(stub.requests()[0].params[0]["data"].as_str().unwrap().len() < 1000);
    }
}
