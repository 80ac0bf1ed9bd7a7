//! Who sees a change first, against a stub of which each test decides what it hides.

use std::sync::Arc;

use serde_json::json;
use service::health::Health;
use service::metrics::Metrics;
use tokio::task::JoinHandle;

use super::*;
use crate::node::stub::{Reply, Request, StubNode, error, result};
use crate::node::{Node, roster};

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(10);

/// A node that can be changed while it runs.
#[derive(Default)]
struct Chain {
    /// First byte of the tip's hash, as the node prints it.
    tip: u8,
    /// The same, of the tip that templates build on.
    template_tip: u8,
    /// How often the tip was asked for.
    polls: u32,
    /// Each question for a template: the long poll's id, if it is one.
    questions: Vec<Option<String>>,
    longpoll: LongPoll,
    is_away: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum LongPoll {
    #[default]
    Hangs,
    AnswersAtOnce,
    Missing,
}

type Shared = Arc<Mutex<Chain>>;

fn answer(chain: &mut Chain, request: &Request) -> Reply {
    if chain.is_away {
        return Reply::Drop;
    }
    let hash = |first: u8| format!("{first:02x}{}", "00".repeat(31));
    if request.method == "getbestblockhash" {
        chain.polls += 1;
        return result(&json!(hash(chain.tip)));
    }
    let id = request.params[0]["longpollid"].as_str().map(str::to_owned);
    chain.questions.push(id.clone());
    if id.is_some() && chain.longpoll == LongPoll::Hangs {
        return Reply::Hang;
    }
    let id = (chain.longpoll != LongPoll::Missing).then(|| hash(chain.template_tip));
    result(&json!({
        "version": 1, "previousblockhash": hash(chain.template_tip), "bits": "207fffff",
        "height": 1, "curtime": 1, "coinbasevalue": 1, "longpollid": id,
    }))
}

/// A watched node. `tip_poll_ms` is 5; templates are refreshed once an hour.
async fn watched(chain: Chain) -> (Shared, mpsc::Receiver<Offered>, JoinHandle<()>) {
    let chain = Arc::new(Mutex::new(chain));
    let shared = Arc::clone(&chain);
    let stub = StubNode::scripted(move |request| answer(&mut shared.lock().unwrap(), request));
    let node = stub.await.node("tip_poll_ms = 5\ntemplate_refresh_seconds = 3600");
    let (offered, templates) = mpsc::channel(64);
    (chain, templates, tokio::spawn(watch(node, offered)))
}

/// Watches `node`, the only one.
async fn watch(node: Node, offered: mpsc::Sender<Offered>) {
    let (health, metrics) = (Health::new(&["node"]), Metrics::new("x"));
    roster::watch(&[node], &health, &metrics, offered).await;
}

/// The tip of the next template: the first byte of its hash as nodes print it.
async fn next(templates: &mut mpsc::Receiver<Offered>) -> u8 {
    timeout(SOON, templates.recv()).await.unwrap().unwrap().template.prev_hash[31]
}

async fn next_on(templates: &mut mpsc::Receiver<Offered>, tip: u8) {
    while next(templates).await != tip {}
}

/// Waits until the tip was asked for `polls` more times: the watch has had its time.
async fn polled(chain: &Shared, polls: u32) {
    let until = chain.lock().unwrap().polls + polls;
    let enough = async {
        while chain.lock().unwrap().polls < until {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, enough).await.unwrap();
}

fn long_polls(chain: &Shared) -> usize {
    chain.lock().unwrap().questions.iter().flatten().count()
}

#[tokio::test]
async fn the_tip_poll_finds_a_tip_that_the_long_poll_sleeps_through() {
    let (chain, mut templates, _watch) = watched(Chain::default()).await;
    assert_eq!(next(&mut templates).await, 0);
    {
        let mut chain = chain.lock().unwrap();
        (chain.tip, chain.template_tip) = (1, 1);
    }
    next_on(&mut templates, 1).await;
}

#[tokio::test]
async fn a_template_that_lags_behind_the_tip_is_asked_for_again() {
    let (chain, mut templates, _watch) = watched(Chain::default()).await;
    assert_eq!(next(&mut templates).await, 0);
    chain.lock().unwrap().tip = 1;
    let before = chain.lock().unwrap().questions.len();
    // The node knows the tip, and still makes templates for the one before.
    let lagging = async {
        while chain.lock().unwrap().questions.len() < before + 3 {
            assert_eq!(next(&mut templates).await, 0);
        }
    };
    timeout(SOON, lagging).await.unwrap();
    chain.lock().unwrap().template_tip = 1;
    next_on(&mut templates, 1).await;
}

#[tokio::test]
async fn a_long_poll_that_never_waits_is_not_asked_in_a_busy_loop() {
    let chain = Chain { longpoll: LongPoll::AnswersAtOnce, ..Chain::default() };
    let (chain, mut templates, _watch) = watched(chain).await;
    next(&mut templates).await;
    polled(&chain, 60).await;
    let asked = long_polls(&chain);
    assert!((1..=3).contains(&asked), "{asked} long polls in 60 polls of the tip");
}

#[tokio::test]
async fn a_node_without_long_poll_is_only_polled() {
    let chain = Chain { longpoll: LongPoll::Missing, ..Chain::default() };
    let (chain, mut templates, _watch) = watched(chain).await;
    next(&mut templates).await;
    polled(&chain, 20).await;
    assert_eq!(long_polls(&chain), 0);
    {
        let mut chain = chain.lock().unwrap();
        (chain.tip, chain.template_tip) = (1, 1);
    }
    next_on(&mut templates, 1).await;
}

#[tokio::test]
async fn a_node_that_comes_back_is_asked_at_once() {
    let (chain, mut templates, _watch) = watched(Chain::default()).await;
    next(&mut templates).await;
    chain.lock().unwrap().is_away = true;
    // What was on its way may still come; then nothing does.
    while timeout(Duration::from_millis(100), templates.recv()).await.is_ok() {}
    chain.lock().unwrap().is_away = false;
    assert_eq!(next(&mut templates).await, 0, "the tip is the same, the mempool may not be");
}

#[tokio::test]
async fn a_node_that_refuses_templates_is_missing_until_it_gives_one() {
    let refuses = Arc::new(Mutex::new(true));
    let shared = Arc::clone(&refuses);
    let mut chain = Chain::default();
    let stub = StubNode::scripted(move |request| match request.method.as_str() {
        "getblocktemplate" if *shared.lock().unwrap() => error(-10, "still downloading"),
        _ => answer(&mut chain, request),
    });
    let node = stub.await.node("tip_poll_ms = 5");
    let (offered, mut templates) = mpsc::channel(64);
    let _watch = tokio::spawn(watch(node, offered));
    let nothing = timeout(Duration::from_millis(100), templates.recv()).await;
    assert!(nothing.is_err());
    *refuses.lock().unwrap() = false;
    assert_eq!(next(&mut templates).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_told_of_once_and_waited_for() {
    for (seconds, told) in [(9, 0), (11, 1), (59, 1)] {
        let mut times = 0;
        let question = async {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        };
        assert_eq!(telling_when_late(question, || times += 1).await, seconds);
        assert_eq!(times, told, "after {seconds} s");
    }
}

#[tokio::test]
async fn the_watch_ends_with_those_who_read_it() {
    let chain = Chain { longpoll: LongPoll::AnswersAtOnce, ..Chain::default() };
    let (_chain, templates, watch) = watched(chain).await;
    drop(templates);
    timeout(SOON, watch).await.unwrap().unwrap();
}
