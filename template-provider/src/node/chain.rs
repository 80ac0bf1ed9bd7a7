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
use rpc::{ErrorKind, RpcError};

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
    /// The fourth alone.
    Testnet4,
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
            Self::Testnet4 => &["testnet4"],
            Self::Signet => &["signet"],
            Self::Regtest => &["regtest"],
        }
    }
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

/// Whether `node` is on the network `expected`, once it answers; if not, a sentence that says so.
/// One that cannot say is let be.
pub async fn check(node: &Node, expected: Network) -> Result<(), String> {
    match name(node).await {
        Some(said) if !expected.names().contains(&said.as_str()) => {
            let (address, names) = (node.address(), expected.names().join(" or "));
            let remedy = match node.is_preferred() {
                true => "node.rpc_url (RPC_PORT)",
                false => "backup_node.rpc_url",
            };
            Err(format!(
                "node.network: the node at {address} is on {said}, not on {names}; correct \
                 node.network (NETWORK) or {remedy}"
            ))
        }
        _ => Ok(()),
    }
}

/// What `node` calls the chain that it is on, once it answers; `None` if it cannot say.
pub async fn name(node: &Node) -> Option<String> {
    let (mut rpc, mut backoff) = (node.connection(), Backoff::for_neighbours());
    loop {
        match rpc.ask("getblockchaininfo", json!([]), ANSWER_MAX).await {
            Ok(ChainInfo { chain }) => return Some(chain),
            Err(error) if cannot_say(&error) => {
                let node = node.address();
                warn!(%node, %error, "the node cannot say which chain it is on");
                return None;
            }
            Err(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}

/// True if asking again is of no use: the node does not know the call, or does not let us.
fn cannot_say(error: &RpcError) -> bool {
    error.kind() == ErrorKind::Persistent && !matches!(error, RpcError::Unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stub::{Reply, StubNode, error, result};

    async fn said(expected: Network, replies: Vec<Reply>) -> Result<(), String> {
        check(&StubNode::start(replies).await.node(""), expected).await
    }

    fn on(chain: &str) -> Reply {
        result(&json!({ "chain": chain, "blocks": 1 }))
    }

    #[tokio::test]
    async fn a_node_on_another_network_is_found_once_it_answers() {
        let replies = vec![error(-28, "Loading block index..."), Reply::Drop, on("main")];
        let sentence = said(Network::Regtest, replies).await.unwrap_err();
        assert!(sentence.contains("is on main, not on regtest"), "{sentence}");
    }

    #[tokio::test]
    async fn a_node_on_the_right_network_is_let_be() {
        for (network, chain) in [
            (Network::Mainnet, "main"),
            (Network::Testnet, "test"),
            (Network::Testnet, "testnet4"),
            (Network::Testnet4, "testnet4"),
            (Network::Signet, "signet"),
            (Network::Regtest, "regtest"),
        ] {
            assert_eq!(said(network, vec![on(chain)]).await, Ok(()), "{chain}");
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_say_is_let_be() {
        for reply in [error(-32601, "Method not found"), Reply::Http(403, String::new())] {
            assert_eq!(said(Network::Mainnet, vec![reply]).await, Ok(()));
        }
    }
}
