//! Two nodes, of which each test decides what they say.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

use super::*;
use crate::node::stub::{Reply, Request, StubNode, error, result};

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

const QUICK: &str = "tip_poll_ms = 5\ntemplate_refresh_seconds = 3600";
const QUICK_ON_REGTEST: &str =
    "network = \"regtest\"\ntip_poll_ms = 5\ntemplate_refresh_seconds = 3600";

/// A node that can be changed while it runs.
#[derive(Default, Clone, Copy)]
struct Chain {
    /// First byte of the tip's hash as nodes print it, and the work of its chain.
    tip: u8,
    is_away: bool,
    refuses: bool,
    /// It answers no question for a template.
    hangs: bool,
    /// What it calls its network; it cannot say if this is empty.
    network: &'static str,
    /// How often it was asked for a template.
    asked: u32,
    network_asked: u32,
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
        "getblockchaininfo" => {
            chain.network_asked += 1;
            match chain.network {
                "" => error(-32601, "Method not found"),
                name => result(&json!({ "chain": name })),
            }
        }
        _ if chain.hangs => Reply::Hang,
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
        Self::start_with([QUICK; 2], chains).await
    }

    /// Nodes with these settings.
    async fn start_with(settings: [&str; 2], chains: [Chain; 2]) -> Self {
        let chains = chains.map(|chain| Arc::new(Mutex::new(chain)));
        let mut nodes = Vec::new();
        for ((chain, name), settings) in chains.iter().zip(["node", "node 2"]).zip(settings) {
            let shared = Arc::clone(chain);
            let stub =
                StubNode::scripted(move |request| answer(&mut shared.lock().unwrap(), request));
            let node = stub.await.node(settings);
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

    /// Over some looks at the nodes. What the first one gave before it was lost may still come.
    async fn backup_gives_nothing(&mut self, why: &str) {
        let until = Instant::now() + LOOK_EVERY * 2;
        while timeout_at(until, self.templates.recv()).await.is_ok() {}
        assert_eq!(self.asked(1), 0, "{why}");
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
    watched.backup_gives_nothing("it would lead miners back").await;
    watched.change(1, |chain| chain.tip = 5);
    watched.next_on(5).await;
}

#[tokio::test]
async fn clients_are_not_led_back_from_a_tip_that_only_a_template_told_of() {
    let pace = "tip_poll_ms = 3600000\ntemplate_refresh_seconds = 1";
    let mut watched = Watched::start_with([pace, QUICK], [on(1), on(1)]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_present{node=\"node 2\"} 1").await;
    watched.change(0, |chain| chain.tip = 2);
    watched.next_on(2).await;
    watched.change(0, |chain| chain.refuses = true);
    watched.wait_for("x_node_present{node=\"node\"} 0").await;
    watched.backup_gives_nothing("it has not heard of that tip yet").await;
    watched.change(1, |chain| chain.tip = 2);
    watched.next_on(2).await;
}

#[tokio::test]
async fn a_node_that_answers_but_refuses_templates_is_passed_over() {
    let refusing = Chain { refuses: true, ..on(1) };
    let mut watched = Watched::start([refusing, on(1)]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_active{node=\"node 2\"} 1").await;
    assert_eq!(watched.asked(0), 0);
}

#[tokio::test]
async fn a_node_that_tells_its_tip_and_hangs_over_a_template_is_passed_over_until_it_gives_one() {
    let hanging = Chain { hangs: true, ..on(1) };
    let mut watched = Watched::start([hanging, on(1)]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_active{node=\"node 2\"} 1").await;
    watched.wait_for("x_node_present{node=\"node\"} 0").await;
}

#[tokio::test]
async fn a_backup_of_another_network_is_shown_as_missing_and_not_chosen() {
    let (right, foreign) =
        (Chain { network: "regtest", ..on(1) }, Chain { network: "main", ..on(9) });
    let mut watched = Watched::start_with([QUICK_ON_REGTEST; 2], [right, foreign]).await;
    watched.next_on(1).await;
    watched.wait_for("x_node_present{node=\"node 2\"} 0").await;
    watched.change(0, |chain| chain.is_away = true);
    watched.wait_for("x_node_present{node=\"node\"} 0").await;
    watched.backup_gives_nothing("it is of another chain").await;
    // The first one is asked again when it is back: another program may answer.
    watched.change(0, |chain| *chain = Chain { network: "regtest", ..on(2) });
    watched.next_on(2).await;
    assert_eq!(watched.chains[0].lock().unwrap().network_asked, 1);
}

#[tokio::test]
async fn the_first_node_on_another_network_ends_the_watch_at_the_start_alone() {
    let foreign = Chain { network: "main", ..on(9) };
    let mut chain = foreign;
    let stub = StubNode::scripted(move |request| answer(&mut chain, request)).await;
    let (offered, mut templates) = mpsc::channel(64);
    let nodes = [stub.node(QUICK_ON_REGTEST)];
    let (health, metrics) = (Health::new(&["node"]), Metrics::new("x"));
    let wrong = timeout(SOON, watch(&nodes, &health, &metrics, offered)).await.unwrap().unwrap();
    assert!(wrong.contains("is on main, not on regtest"), "{wrong}");
    assert!(templates.recv().await.is_none(), "it gave no template");

    let chains = [Chain { is_away: true, ..on(1) }, Chain { network: "regtest", ..on(1) }];
    let mut watched = Watched::start_with([QUICK_ON_REGTEST; 2], chains).await;
    watched.next_on(1).await;
    watched.change(0, |chain| *chain = foreign);
    let asked = |chain: &Chain| chain.network_asked > 0;
    let heard = async {
        while !asked(&watched.chains[0].lock().unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, heard).await.unwrap();
    watched.change(1, |chain| chain.tip = 2);
    watched.next_on(2).await;
    watched.wait_for("x_node_active{node=\"node 2\"} 1").await;
}
