//! Whether a block that was accepted is in the chain still.
//!
//! All nodes are asked at once, and the one with the highest chain is believed. Nothing is decided
//! here, and no answer is waited for that does not come.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Node, answer};
use crate::extension::{AcceptedBlock, Standing};
use rpc::{METHOD_NOT_FOUND, NOT_FOUND, Rpc, RpcError};

/// How long a node may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Header {
    /// -1: not in the chain.
    confirmations: i64,
    height: Option<u32>,
}

/// What one node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Of the block, in a chain whose tip has this height.
    Said { tip: u64, is_in_chain: bool },
    /// It knows no such question.
    Mute,
}

/// Where `block` stands now.
pub async fn standing(nodes: &[Node], block: &AcceptedBlock) -> Standing {
    if answer::hash(&block.hash, "block").is_err() {
        return Standing::Untold;
    }
    let mut asked = JoinSet::new();
    for node in nodes {
        let (rpc, block) = (node.connection(), block.clone());
        asked.spawn(ask(rpc, block));
    }
    let answers = asked.join_all().await;
    let words: Vec<Word> = answers.into_iter().filter_map(Result::ok).flatten().collect();
    believed(&words, block.height)
}

/// The word of the highest chain; of two of one height, the worse.
fn believed(words: &[Word], height: u32) -> Standing {
    let said = words.iter().filter_map(|word| match *word {
        Word::Said { tip, is_in_chain } => Some((tip, !is_in_chain)),
        Word::Mute => None,
    });
    match said.max() {
        Some((_, false)) => Standing::InChain,
        Some((tip, true)) => {
            let above = tip.saturating_sub(height.into());
            Standing::OffChain { above: u32::try_from(above).unwrap_or(u32::MAX) }
        }
        None if words.contains(&Word::Mute) => Standing::Untold,
        None => Standing::Unknown,
    }
}

/// `None` if the node does not know: it may not be so far yet.
async fn ask(mut rpc: Rpc, block: AcceptedBlock) -> Result<Option<Word>, RpcError> {
    let header = rpc.ask::<Header>("getblockheader", json!([block.hash]), ANSWER_MAX).await;
    match header {
        Ok(Header { confirmations: confirmations @ 1.., height }) => {
            let above = u64::try_from(confirmations).unwrap_or_default().saturating_sub(1);
            let height = u64::from(height.unwrap_or(block.height));
            Ok(Some(Word::Said { tip: height.saturating_add(above), is_in_chain: true }))
        }
        Ok(_) => {
            let tip = rpc.ask("getblockcount", json!([]), ANSWER_MAX).await?;
            Ok(Some(Word::Said { tip, is_in_chain: false }))
        }
        Err(RpcError::Node { code: NOT_FOUND, .. }) => {
            let tip: u64 = rpc.ask("getblockcount", json!([]), ANSWER_MAX).await?;
            // Its chain has another block of that height. The height may not be known.
            let is_past = block.height > 0 && tip >= block.height.into();
            Ok(is_past.then_some(Word::Said { tip, is_in_chain: false }))
        }
        Err(RpcError::Node { code: METHOD_NOT_FOUND, .. }) => Ok(Some(Word::Mute)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::stub::{Reply, StubNode, error, result};

    fn block(height: u32) -> AcceptedBlock {
        AcceptedBlock { hash: "0a".repeat(32), height }
    }

    async fn of(nodes: &[&[Reply]], height: u32) -> Standing {
        let mut stubs = Vec::new();
        for replies in nodes {
            stubs.push(StubNode::start(replies.to_vec()).await);
        }
        let nodes: Vec<_> = stubs.iter().map(|stub| stub.node("")).collect();
        standing(&nodes, &block(height)).await
    }

    fn header(confirmations: i32) -> Reply {
        result(&json!({ "confirmations": confirmations, "height": 100 }))
    }

    fn tip(height: u32) -> Reply {
        result(&json!(height))
    }

    #[tokio::test]
    async fn a_node_says_whether_a_block_is_in_its_chain() {
        let not_found = || error(-5, "Block not found");
        let off_chain = |above| Standing::OffChain { above };
        assert_eq!(of(&[&[header(1)]], 100).await, Standing::InChain);
        assert_eq!(of(&[&[header(-1), tip(101)]], 100).await, off_chain(1));
        assert_eq!(of(&[&[not_found(), tip(130)]], 100).await, off_chain(30));
        assert_eq!(of(&[&[not_found(), tip(99)]], 100).await, Standing::Unknown, "it is behind");
        assert_eq!(of(&[&[not_found(), tip(99)]], 0).await, Standing::Unknown, "no height");
        assert_eq!(of(&[&[error(-28, "Loading")]], 100).await, Standing::Unknown);
        assert_eq!(of(&[&[Reply::Drop]], 100).await, Standing::Unknown);
        assert_eq!(of(&[&[error(-32601, "Method not found")]], 100).await, Standing::Untold);
    }

    #[tokio::test]
    async fn the_highest_chain_of_several_nodes_is_believed() {
        let off = [header(-1), tip(101)];
        let off_chain = Standing::OffChain { above: 1 };
        assert_eq!(of(&[&[header(1)], &off], 100).await, off_chain);
        assert_eq!(of(&[&off, &[header(2)]], 100).await, off_chain, "of one height");
        assert_eq!(of(&[&off, &[header(3)]], 100).await, Standing::InChain);
        assert_eq!(of(&[&[Reply::Drop], &[header(1)]], 100).await, Standing::InChain);
    }

    #[tokio::test]
    async fn a_block_without_a_hash_cannot_be_asked_for() {
        let stub = StubNode::start([header(1)]).await;
        let block = AcceptedBlock { hash: "unknown".to_owned(), height: 0 };
        assert_eq!(standing(&[stub.node("")], &block).await, Standing::Untold);
        assert!(stub.requests().is_empty());
    }
}
