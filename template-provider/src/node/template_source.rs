//! The question for a template: to whom it goes, what it says, how long it may wait.
//!
//! Everybody who wants a template of a node asks here, and does not see whether the node itself
//! answers. It must not judge the answer.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::debug;

use super::Node;
use super::answer::Answer;
use super::coinbasetxn::Schedule;
use super::enforcer::Enforcer;
use super::reserve::Reserved;
use super::timing::CallTimes;
use rpc::{ErrorKind, Rpc, RpcError};

/// How long the node may take to make a template.
const TEMPLATE_ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a long poll may hang. A node keeps a thread of its RPC for each and does not notice
/// that nobody waits any more, so that asking anew on a quiet chain would use them up: better wait
/// long, and take a dead connection for dead when the tip poll is ahead of it.
const LONG_POLL_ANSWER_MAX: Duration = Duration::from_secs(3600);

/// How long the node may take to say what it is, and which chain it follows.
const ABOUT_ANSWER_MAX: Duration = Duration::from_secs(2);

/// How Bitcoin Knots names itself.
const KNOTS: &str = "/Knots:";

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
    /// What the coinbase needs, if somebody keeps the book on that.
    reserved: Option<Reserved>,
    /// Whether the node is one that can be told with each question; `None` until it is known, and
    /// again after each loss of the connection: another program may answer then.
    takes_reserve: Option<bool>,
    times: CallTimes,
}

#[derive(Deserialize)]
struct NetworkInfo {
    subversion: String,
}

impl TemplateSource {
    /// Connects at the first question.
    pub fn of(node: &Node) -> Self {
        Self {
            rpc: node.connection(),
            enforcer: node.enforcer.clone(),
            schedule: None,
            reserved: node.reserved.clone(),
            takes_reserve: None,
            times: node.times.clone(),
        }
    }

    /// Asks for a template; with `longpollid`, once it is another than the one of that name.
    pub async fn ask(&mut self, longpollid: Option<&str>) -> Result<Answer, NoTemplate> {
        let asked = Instant::now();
        let mut answer = match &self.enforcer {
            Some(enforcer) => {
                enforcer.template(&request(None, Vec::new())).await.map_err(|error| {
                    NoTemplate::Enforcer { address: enforcer.address().to_owned(), error }
                })?
            }
            None => self.ask_node(longpollid).await.map_err(NoTemplate::Node)?,
        };
        if longpollid.is_none() {
            self.times.template_came(asked.elapsed());
        }
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
        let reserve = self.reserve().await;
        let request = request(longpollid, reserve);
        let answer = self.rpc.ask("getblocktemplate", request, deadline).await;
        if let Err(RpcError::Unreachable(_)) = &answer {
            self.takes_reserve = None;
        }
        answer
    }

    /// What the node is told of the coinbase's needs. Only Bitcoin Knots is: others would have to
    /// ignore keys that they do not know.
    async fn reserve(&mut self) -> Vec<(&'static str, Value)> {
        let Some(reserved) = &self.reserved else { return Vec::new() };
        if self.takes_reserve.is_none() {
            let info: Result<NetworkInfo, _> =
                self.rpc.ask("getnetworkinfo", json!([]), ABOUT_ANSWER_MAX).await;
            self.takes_reserve = match info {
                Ok(info) => Some(info.subversion.contains(KNOTS)),
                // It will never say.
                Err(error) if error.kind() == ErrorKind::Persistent => Some(false),
                Err(_) => None,
            };
        }
        match self.takes_reserve {
            Some(true) => return reserved.keys(),
            Some(false) => reserved.tell_operator(),
            None => {}
        }
        Vec::new()
    }

    /// How the subsidy of the node's chain falls; `None` while that cannot be known.
    async fn schedule(&mut self) -> Option<Schedule> {
        if self.schedule.is_none() {
            let genesis =
                self.rpc.ask::<String>("getblockhash", json!([0]), ABOUT_ANSWER_MAX).await;
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
fn request(longpollid: Option<&str>, more: Vec<(&'static str, Value)>) -> Value {
    let mut request = json!({
        "rules": ["segwit", "signet"],
        "capabilities": ["coinbasevalue", "coinbasetxn", "longpoll", "proposal"],
    });
    if let Some(keys) = request.as_object_mut() {
        keys.extend(longpollid.map(|id| ("longpollid".to_owned(), id.into())));
        keys.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    json!([request])
}

#[cfg(test)]
mod tests {
    use service::metrics::Metrics;
    use tokio::sync::watch;

    use super::*;
    use crate::node::reserve::Reserve;
    use crate::node::stub::{Reply, StubNode, error, result};

    #[test]
    fn a_signet_is_asked_with_its_own_rule() {
        let request = request(Some("abc"), Vec::new());
        assert_eq!(request[0]["rules"], json!(["segwit", "signet"]));
        assert_eq!(request[0]["longpollid"], "abc");
        assert_eq!(super::request(None, Vec::new())[0].get("longpollid"), None);
    }

    fn reserved() -> Reserved {
        let reserve = Reserve { output_bytes: 10_000, output_sigops: 100 };
        Reserved::following(watch::Sender::new(Some(reserve)).subscribe())
    }

    /// What a node of this name is asked, with the keys of the question.
    async fn asked(replies: Vec<Reply>, questions: usize) -> Vec<(String, Value)> {
        let stub = StubNode::start(replies).await;
        let mut source = TemplateSource::of(&stub.node("").reserving(reserved()));
        for _ in 0..questions {
            drop(source.ask(None).await);
        }
        let asked = stub.requests().into_iter();
        asked.map(|asked| (asked.method, asked.params[0]["blockreservedweight"].clone())).collect()
    }

    fn named(subversion: &str) -> Reply {
        result(&json!({ "version": 1, "subversion": subversion }))
    }

    fn template() -> Reply {
        result(&json!({
            "version": 1, "previousblockhash": "00".repeat(32), "bits": "207fffff", "height": 1,
            "curtime": 1, "coinbasevalue": 1,
        }))
    }

    fn question(method: &str, weight: Value) -> (String, Value) {
        (method.to_owned(), weight)
    }

    #[tokio::test]
    async fn knots_is_told_what_the_coinbase_needs() {
        let replies = vec![named("/Satoshi:29.5.0/Knots:20260508/"), template()];
        let expected = [
            question("getnetworkinfo", Value::Null),
            question("getblocktemplate", json!(41_168)),
            question("getblocktemplate", json!(41_168)),
        ];
        assert_eq!(asked(replies, 2).await, expected);
    }

    #[tokio::test]
    async fn other_nodes_get_no_keys_that_they_do_not_know() {
        let names = [named("/Satoshi:29.0.0/"), error(-32601, "Method not found")];
        for name in names {
            let expected = [
                question("getnetworkinfo", Value::Null),
                question("getblocktemplate", Value::Null),
                question("getblocktemplate", Value::Null),
            ];
            assert_eq!(asked(vec![name, template()], 2).await, expected);
        }
    }

    #[tokio::test]
    async fn what_a_node_is_is_asked_again_after_its_connection_broke() {
        let drops = vec![named("/Satoshi:29.0.0/"), Reply::Drop, Reply::Drop];
        let then = vec![named("/Satoshi:29.5.0/Knots:20260508/"), template()];
        let expected = [
            question("getnetworkinfo", Value::Null),
            question("getblocktemplate", Value::Null),
            question("getblocktemplate", Value::Null),
            question("getnetworkinfo", Value::Null),
            question("getblocktemplate", json!(41_168)),
        ];
        assert_eq!(asked([drops, then].concat(), 2).await, expected);
    }

    #[tokio::test]
    async fn only_templates_that_come_at_once_are_timed() {
        let stub = StubNode::start([template()]).await;
        let metrics = Metrics::new("x");
        let node = stub.node("").timed_by(&CallTimes::new(&metrics));
        let mut source = TemplateSource::of(&node);
        for longpollid in [None, Some("a"), Some("b")] {
            assert!(source.ask(longpollid).await.is_ok());
        }
        assert!(metrics.text().contains("x_get_block_template_seconds_count 1\n"));
    }
}
