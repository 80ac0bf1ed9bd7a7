//! Two nodes, of which each test decides what they say.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::node::stub::{Reply, Request, StubNode, error, result};

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// A node that can be changed while it runs.
#[derive(Default, Clone, Copy)]
struct Chain {
    /// First byte of the tip's hash as nodes print it, and the work of its chain.
    tip: u8,
    is_away: bool,
    refuses: bool,
    /// How often it was asked for a template.
    asked: u32,
}

type Shared = Arc<Mutex<Chain>>;

fn answer(chain: &mut Chain, request: &Request) -> Reply {
    if chain.is_away {
        return Reply::Drop;
    }
    let hash = format!("{:02x}{}", chain.tip, "00".repeat(31));
    match request.method.as_str() {
        "getbestblockhash" => result(&json!(hash)),
        "getblockheader" => {
            result(&json!({ "chainwork": format!("{}{:02x}", "00".repeat(31), chain.tip) }))
        }
        _ if chain.refuses => error(-10, "still downloading"),
        _ if request.params[0]["longpollid"].is_string() => Reply::Hang,
        _ => {
            chain.asked += 1;
            result(&json!({
                "version": 1, "previousblockhash": hash, "bits": "207fffff", "height": 1,
                "curtime": 1, "coinbasevalue": 1, "longpollid": Value::Null,
            }))
        }
    }
}

struct Watched {
    chains: [Shared; 2],
    templates: mpsc::Receiver<Offered>,
    metrics: Metrics,
    _watch: JoinHandle<()>,
}

impl Watched {
    async fn start(chains: [Chain; 2]) -> Self {
        let chains = chains.map(|chain| Arc::new(Mutex::new(chain)));
        let mut nodes = Vec::new();
        for (chain, name) in chains.iter().zip(["node", "node 2"]) {
            let shared = Arc::clone(chain);
            let stub =
                StubNode::scripted(move |request| answer(&mut shared.lock().unwrap(), request));
            let node = stub.await.node("tip_poll_ms = 5\ntemplate_refresh_seconds = 3600");
            nodes.push(Node { name, ..node });
        }
        let (offered, templates) = mpsc::channel(64);
        let metrics = Metrics::new("x");
        let counted = metrics.clone();
        let watch = async move {
            watch(&nodes, &Health::new(&["node"]), &counted, offered).await;
        };
        Self { chains, templates, metrics, _watch: tokio::spawn(watch) }
    }

    fn change(&self, node: usize, change: impl FnOnce(&mut Chain)) {
        change(&mut self.chains[node].lock().unwrap());
    }

    async fn next_on(&mut self, tip: u8) {
        let next =
            async { while self.templates.recv().await.unwrap().template.prev_hash[31] != tip {} };
        timeout(SOON, next).await.unwrap();
    }

    /// Waits until /metrics has this line.
    async fn wait_for(&self, line: &str) {
        let shown = async {
            while !self.metrics.text().lines().any(|shown| shown == line) {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(SOON, shown).await;
        assert!(waited.is_ok(), "{line} is not in\n{}", self.metrics.text());
    }

    fn asked(&self, node: usize) -> u32 {
        self.chains[node].lock().unwrap().asked
    }
}

fn on(tip: u8) -> Chain {
    Chain { tip, ..Chain::default() }
}

#[tokio::test]
async fn templates_come_from_the_backup_while_the_first_node_is_away_and_then_from_the_first() {
    let mut watched = Watched::start([on(1), on(1)]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_present{node=\"node 2\"} 1").await;
    assert_eq!(watched.asked(1), 0, "a backup makes no templates in vain");
    watched.change(0, |chain| chain.is_away = true);
    watched.wait_for("x_node_active{node=\"node 2\"} 1").await;
    watched.change(1, |chain| chain.tip = 2);
    watched.next_on(2).await;
    watched.change(0, |chain| *chain = on(2));
    watched.wait_for("x_node_active{node=\"node\"} 1").await;
    watched.wait_for("x_node_switches_total 2").await;
    watched.change(0, |chain| chain.tip = 3);
    watched.next_on(3).await;
}

#[tokio::test]
async fn a_backup_that_is_behind_gives_no_template_until_it_has_caught_up() {
    let mut watched = Watched::start([on(5), on(4)]).await;
    watched.next_on(5).await;
    watched.wait_for("x_node_present{node=\"node 2\"} 1").await;
    watched.change(0, |chain| chain.is_away = true);
    watched.wait_for("x_node_present{node=\"node\"} 0").await;
    let nothing = timeout(LOOK_EVERY * 2, watched.templates.recv()).await;
    assert!(nothing.is_err(), "it would lead miners back");
    assert_eq!(watched.asked(1), 0);
    watched.change(1, |chain| chain.tip = 5);
    watched.next_on(5).await;
}

#[tokio::test]
async fn a_node_that_answers_but_refuses_templates_is_passed_over() {
    let refusing = Chain { refuses: true, ..on(1) };
    let mut watched = Watched::start([refusing, on(1)]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_active{node=\"node 2\"} 1").await;
    assert_eq!(watched.asked(0), 0);
}
