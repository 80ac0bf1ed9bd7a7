//! Asks the node what it would say of a block, before anybody has mined it (BIP23 proposals).
//!
//! The node checks everything but the proof of work. It must not decide what follows from the
//! verdict, and not guess: an answer that says nothing about the block is no approval.

use std::time::Duration;

use serde_json::{Value, json};

use super::Node;
use rpc::{DESERIALIZATION, INVALID_PARAMETER, METHOD_NOT_FOUND, RpcError};

/// How long the node may take to check a block. Nobody waits for it.
const PROPOSAL_ANSWER_MAX: Duration = Duration::from_secs(60);

/// What the node says of a proposed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalVerdict {
    /// With a proof of work it would be accepted.
    Fine,
    /// It builds on another block than the node would, or is one that the node has: says nothing
    /// about whether it is valid.
    Outdated,
    /// It would be refused; the reason in the node's words.
    Refused(String),
    /// The node knows no proposals: it gave a template instead of a verdict, or refused the
    /// question. Asking this node again is of no use.
    Unsupported,
}

/// Proposes a whole block, given as hex, to `node`, over a connection of its own. An error says
/// nothing about the block.
pub async fn propose(node: &Node, block_hex: &str) -> Result<ProposalVerdict, RpcError> {
    let rules = json!(["segwit", "signet"]);
    let request = json!([{ "mode": "proposal", "data": block_hex, "rules": rules }]);
    let mut rpc = node.connection();
    match rpc.call::<Value>("getblocktemplate", request, PROPOSAL_ANSWER_MAX).await {
        Ok(answer) => verdict(answer),
        Err(RpcError::Node { code: DESERIALIZATION, message }) => {
            Ok(ProposalVerdict::Refused(message))
        }
        Err(RpcError::Node { code: INVALID_PARAMETER | METHOD_NOT_FOUND, .. }) => {
            Ok(ProposalVerdict::Unsupported)
        }
        Err(error) => Err(error),
    }
}

fn verdict(answer: Option<Value>) -> Result<ProposalVerdict, RpcError> {
    match answer {
        None => Ok(ProposalVerdict::Fine),
        Some(Value::String(reason)) if is_outdated(&reason) => Ok(ProposalVerdict::Outdated),
        Some(Value::String(reason)) => Ok(ProposalVerdict::Refused(reason)),
        // It ignored the mode.
        Some(Value::Object(_)) => Ok(ProposalVerdict::Unsupported),
        Some(_) => Err(RpcError::Malformed {
            method: "getblocktemplate",
            error: "a proposal is answered with null, a reason or a template".to_owned(),
        }),
    }
}

fn is_outdated(reason: &str) -> bool {
    reason.starts_with("duplicate") || reason == "inconclusive-not-best-prevblk"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stub::{Reply, StubNode, error, result};

    async fn proposed(reply: Reply) -> Result<ProposalVerdict, RpcError> {
        let stub = StubNode::start([reply]).await;
        let verdict = propose(&stub.node(""), "0123").await;
        let asked = stub.requests().remove(0);
        assert_eq!(asked.method, "getblocktemplate");
        assert_eq!(
            (&asked.params[0]["mode"], &asked.params[0]["data"]),
            (&json!("proposal"), &json!("0123"))
        );
        assert_eq!(asked.params[0]["rules"], json!(["segwit", "signet"]));
        verdict
    }

    #[tokio::test]
    async fn null_means_that_the_block_is_fine() {
        assert_eq!(proposed(result(&Value::Null)).await.unwrap(), ProposalVerdict::Fine);
    }

    #[tokio::test]
    async fn a_reason_is_a_refusal_in_the_nodes_words() {
        let refused = |reason: &str| ProposalVerdict::Refused(reason.to_owned());
        let reply = result(&json!("bad-cb-amount"));
        assert_eq!(proposed(reply).await.unwrap(), refused("bad-cb-amount"));
        let reply = result(&json!("inconclusive"));
        assert_eq!(proposed(reply).await.unwrap(), refused("inconclusive"));
        let reply = error(-22, "Block decode failed");
        assert_eq!(proposed(reply).await.unwrap(), refused("Block decode failed"));
    }

    #[tokio::test]
    async fn another_tip_or_a_known_block_says_nothing() {
        for reason in [
            "inconclusive-not-best-prevblk",
            "duplicate",
            "duplicate-invalid",
            "duplicate-inconclusive",
        ] {
            let verdict = proposed(result(&json!(reason))).await.unwrap();
            assert_eq!(verdict, ProposalVerdict::Outdated, "{reason}");
        }
    }

    #[tokio::test]
    async fn a_template_in_answer_is_no_approval() {
        let reply = result(&json!({ "version": 1, "height": 1 }));
        assert_eq!(proposed(reply).await.unwrap(), ProposalVerdict::Unsupported);
        for code in [INVALID_PARAMETER, METHOD_NOT_FOUND] {
            let verdict = proposed(error(code, "Invalid mode")).await.unwrap();
            assert_eq!(verdict, ProposalVerdict::Unsupported, "{code}");
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_judge_now_gives_no_verdict() {
        for reply in [error(-28, "Loading block index..."), Reply::Drop, result(&json!(true))] {
            proposed(reply).await.unwrap_err();
        }
    }
}
