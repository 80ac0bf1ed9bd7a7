//! The question for a template: to whom it goes, what it says, how long it may wait.
//!
//! Everybody who wants a template of a node asks here, and does not see whether the node itself
//! answers. It must not judge the answer.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::debug;

use super::Node;
use super::answer::Answer;
use super::coinbasetxn::Schedule;
use super::enforcer::Enforcer;
use super::rpc::{Rpc, RpcError};

/// How long the node may take to make a template.
const TEMPLATE_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a long poll may hang. A node keeps a thread of its RPC for each and does not notice
/// that nobody waits any more, so that asking anew on a quiet chain would use them up: better wait
/// long, and take a dead connection for dead when the tip poll is ahead of it.
const LONG_POLL_ANSWER_MAX: Duration = Duration::from_secs(3600);

/// How long the node may take to say which chain it follows.
const CHAIN_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why there is no answer to the question for a template.
#[derive(Debug, thiserror::Error)]
pub enum NoTemplate {
    /// The node has none.
    #[error(transparent)]
    Node(RpcError),
    /// Its enforcer has none.
    #[error("the enforcer at {address}: {error}")]
    Enforcer {
        /// Where that is.
        address: String,
        /// Why.
        error: RpcError,
    },
}

/// Who gives the templates of a node: the node, over a connection of its own, or an enforcer.
#[derive(Debug)]
pub struct TemplateSource {
    rpc: Rpc,
    enforcer: Option<Enforcer>,
    /// How the chain's subsidy falls: `None` until it was needed, `Some(None)` if that is unknown.
    schedule: Option<Option<Schedule>>,
}

impl TemplateSource {
    /// Connects at the first question.
    pub fn of(node: &Node) -> Self {
        Self { rpc: node.connection(), enforcer: node.enforcer.clone(), schedule: None }
    }

    /// Asks for a template; with `longpollid`, once it is another than the one of that name.
    pub async fn ask(&mut self, longpollid: Option<&str>) -> Result<Answer, NoTemplate> {
        let mut answer = match &self.enforcer {
            Some(enforcer) => enforcer.template(&request(None)).await.map_err(|error| {
                NoTemplate::Enforcer { address: enforcer.address().to_owned(), error }
            })?,
            None => self.ask_node(longpollid).await.map_err(NoTemplate::Node)?,
        };
        if answer.needs_subsidy() {
            answer.expected.schedule = self.schedule().await;
        }
        answer.expected.recipient =
            self.enforcer.as_ref().and_then(|enforcer| enforcer.recipient().cloned());
        Ok(answer)
    }

    async fn ask_node(&mut self, longpollid: Option<&str>) -> Result<Answer, RpcError> {
        let deadline = match longpollid {
            Some(_) => LONG_POLL_ANSWER_MAX,
            None => TEMPLATE_ANSWER_MAX,
        };
        self.rpc.ask("getblocktemplate", request(longpollid), deadline).await
    }

    /// How the subsidy of the node's chain falls; `None` while that cannot be known.
    async fn schedule(&mut self) -> Option<Schedule> {
        if self.schedule.is_none() {
            let genesis =
                self.rpc.ask::<String>("getblockhash", json!([0]), CHAIN_ANSWER_MAX).await;
            match genesis {
                Ok(genesis) => self.schedule = Some(Schedule::of_chain(&genesis)),
                Err(error) => debug!(%error, "the node does not say which chain it follows"),
            }
        }
        self.schedule.flatten()
    }
}

/// The rules that are named are those that we understand (BIP9), whether the chain has them or not:
/// a signet refuses clients that do not name its own.
fn request(longpollid: Option<&str>) -> Value {
    let mut request = json!({
        "rules": ["segwit", "signet"],
        "capabilities": ["coinbasevalue", "coinbasetxn", "longpoll", "proposal"],
    });
    if let (Some(id), Some(keys)) = (longpollid, request.as_object_mut()) {
        keys.insert("longpollid".to_owned(), id.into());
    }
    json!([request])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signet_is_asked_with_its_own_rule() {
        let request = request(Some("abc"));
        assert_eq!(request[0]["rules"], json!(["segwit", "signet"]));
        assert_eq!(request[0]["longpollid"], "abc");
        assert_eq!(super::request(None)[0].get("longpollid"), None);
    }
}
