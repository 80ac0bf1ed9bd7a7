//! Holds the chain that the node is on against the one that the operator named.
//!
//! A port typed wrongly would otherwise mine another chain than the one that is paid for. It asks
//! until the node has answered once; what follows from the answer is not decided here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use service::backoff::Backoff;
use tracing::warn;

use super::Node;
use super::rpc::METHOD_NOT_FOUND;

/// How long the node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A network, as `node.network` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The main network of the node's chain.
    Mainnet,
    /// A public test network: the third or the fourth.
    Testnet,
    /// A network whose blocks are signed.
    Signet,
    /// A network of one's own.
    Regtest,
}

impl Network {
    /// What nodes call it.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Mainnet => &["main"],
            Self::Testnet => &["test", "testnet4"],
            Self::Signet => &["signet"],
            Self::Regtest => &["regtest"],
        }
    }
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

/// Ends when `node` says that it is on another network than `expected`, with a sentence that says
/// so; never, if it says the right one or cannot say.
pub async fn contradiction(node: &Node, expected: Network) -> String {
    match name(node).await {
        Some(said) if !expected.names().contains(&said.as_str()) => {
            let (address, names) = (node.address(), expected.names().join(" or "));
            format!(
                "node.network: the node at {address} is on {said}, not on {names}; correct \
                 node.network (NETWORK) or node.rpc_url (RPC_PORT)"
            )
        }
        _ => std::future::pending().await,
    }
}

/// What `node` calls the chain that it is on, once it answers; `None` if it cannot say.
pub async fn name(node: &Node) -> Option<String> {
    let (mut rpc, mut backoff) = (node.connection(), Backoff::for_neighbours());
    loop {
        match rpc.ask("getblockchaininfo", json!([]), ANSWER_MAX).await {
            Ok(ChainInfo { chain }) => return Some(chain),
            Err(error) if error.code() == Some(METHOD_NOT_FOUND) => {
                warn!(node = node.address(), "the node cannot say which chain it is on");
                return None;
            }
            Err(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stub::{Reply, StubNode, error, result};

    /// The sentence, or nothing if none came while the node was asked `questions` times.
    async fn said(expected: Network, replies: Vec<Reply>) -> Option<String> {
        let questions = replies.len();
        let stub = StubNode::start(replies).await;
        let node = stub.node("");
        tokio::select! {
            sentence = contradiction(&node, expected) => Some(sentence),
            () = async {
                while stub.requests().len() < questions {
                    tokio::task::yield_now().await;
                }
                // The last answer is read by now, or within this time.
                tokio::time::sleep(Duration::from_millis(200)).await;
            } => None,
        }
    }

    fn on(chain: &str) -> Reply {
        result(&json!({ "chain": chain, "blocks": 1 }))
    }

    #[tokio::test]
    async fn a_node_on_another_network_is_found_once_it_answers() {
        let replies = vec![error(-28, "Loading block index..."), Reply::Drop, on("main")];
        let sentence = said(Network::Regtest, replies).await.unwrap();
        assert!(sentence.contains("is on main, not on regtest"), "{sentence}");
    }

    #[tokio::test]
    async fn a_node_on_the_right_network_is_asked_no_more() {
        for (network, chain) in [
            (Network::Mainnet, "main"),
            (Network::Testnet, "test"),
            (Network::Testnet, "testnet4"),
            (Network::Signet, "signet"),
            (Network::Regtest, "regtest"),
        ] {
            assert_eq!(said(network, vec![on(chain)]).await, None, "{chain}");
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_say_is_let_be() {
        assert_eq!(said(Network::Mainnet, vec![error(-32601, "Method not found")]).await, None);
    }
}
