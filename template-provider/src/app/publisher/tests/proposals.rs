//! What is published after the node said what it would do with a block of it.

use bitcoin::hex::FromHex;
use bitcoin::{Block, ScriptBuf};

use super::*;
use crate::node::Node as Watched;
use crate::node::NodeConfig;
use crate::node::answer::Reader;
use crate::node::template_source::TemplateSource;

/// A publisher that asks a node, and its neighbours in the test.
struct Bench {
    queue: mpsc::Sender<Offered>,
    offers: Offers,
    said: Said,
    news: Arc<Notify>,
    health: Health,
    metrics: Metrics,
}

fn bench(node: Watched) -> Bench {
    bench_with(node, false)
}

/// What is said is in all coinbases, or there are none.
fn bench_with(node: Watched, is_mandatory: bool) -> Bench {
    let (queue, offered) = mpsc::channel(1);
    let offers = watch::Sender::new(None);
    let (seen, said) = (offers.subscribe(), Said::default());
    let (health, metrics) = (Health::new(&[]), Metrics::new("test"));
    let publisher = Publisher {
        nodes: Arc::from([node]),
        alarm: Alarm::new(health.clone(), &metrics),
        ..publisher(Arc::new(Store::new(1, 0)), offers, saying(&said, is_mandatory))
    };
    let news = Arc::clone(&publisher.news);
    tokio::spawn(publisher.run(offered));
    Bench { queue, offers: seen, said, news, health, metrics }
}

impl Bench {
    fn say(&self, script: &[u8]) {
        *self.said.lock().unwrap() = Some(script.to_vec());
    }

    async fn published(&mut self, template: BlockTemplate) -> Arc<Offer> {
        published(&self.queue, &mut self.offers, template).await
    }

    /// The next offer: how many transactions, and if what was said stands in it.
    async fn next(&mut self) -> (usize, bool) {
        let offer = next(&mut self.offers).await;
        shape(&offer)
    }

    fn counted(&self, verdict: &str) -> bool {
        self.metrics.text().contains(&format!("test_proposals_total{{verdict=\"{verdict}"))
    }
}

fn shape(offer: &Offer) -> (usize, bool) {
    (offer.whole.transactions.len(), offer.whole.coinbase_outputs_count == 2)
}

/// A node that refuses blocks as `judge` says.
async fn judging(judge: impl Fn(&Block) -> Option<&'static str> + Send + 'static) -> StubNode {
    StubNode::scripted(move |request| {
        assert_eq!(request.params[0]["mode"], "proposal");
        let hex = request.params[0]["data"].as_str().unwrap();
        let block: Block = deserialize(&Vec::from_hex(hex).unwrap()).unwrap();
        result(&json!(judge(&block)))
    })
    .await
}

fn with_a_payment(tip: u8, fee: u64) -> BlockTemplate {
    let payment = samples::transaction(u32::from(tip), &[], fee, 400, 0);
    BlockTemplate { prev_hash: [tip; 32], ..samples::offer(&[payment]) }
}

const SUBSIDY: u64 = 2_500_000_000;

#[tokio::test]
async fn a_template_whose_transactions_are_refused_is_followed_at_once_by_one_without_them() {
    let stub = judging(|block| (block.txdata.len() > 1).then_some("bad-txns")).await;
    let mut bench = bench(stub.node(""));
    bench.say(&[0x6a, 1]);
    let whole = bench.published(with_a_payment(1, 7000)).await;
    assert_eq!((shape(&whole), whole.whole.value_remaining), ((1, true), SUBSIDY + 7000));
    let less = next(&mut bench.offers).await;
    assert_eq!((shape(&less), less.whole.value_remaining), ((0, true), SUBSIDY));
    assert_eq!(less.tip, whole.tip);
    assert!(bench.counted("refused\"} 1"));
    // One that pays more is shown first, and refused.
    offer(&bench.queue, with_a_payment(1, 9000)).await;
    timeout(SOON, async {
        while !bench.counted("refused\"} 2") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // A new tip starts afresh.
    let next_tip = bench.published(with_a_payment(2, 7000)).await;
    assert_eq!((next_tip.number, shape(&next_tip)), (less.number + 1, (1, true)));
}

#[tokio::test]
async fn only_the_output_that_is_refused_stays_away_and_comes_back_when_it_is_right() {
    let says = |block: &Block, script: &[u8]| {
        let mut outputs = block.txdata[0].output.iter();
        outputs.any(|output| output.script_pubkey.as_bytes() == script)
    };
    let stub = judging(move |block| says(block, &[0x6a, 7]).then_some("bad-message")).await;
    let mut bench = bench(stub.node(""));
    bench.say(&[0x6a, 7]);
    let whole = bench.published(with_a_payment(1, 7000)).await;
    assert_eq!(shape(&whole), (1, true));
    assert_eq!(bench.next().await, (0, true));
    assert_eq!(bench.next().await, (0, false));
    assert_eq!(bench.next().await, (1, false), "the transactions were not at fault");
    bench.say(&[0x6a, 8]);
    bench.news.notify_one();
    assert_eq!(bench.next().await, (1, true));
}

#[tokio::test]
async fn a_node_that_does_not_answer_delays_nothing() {
    let stub = StubNode::start([Reply::Hang]).await;
    let mut bench = bench(stub.node(""));
    for tip in 1..5 {
        let offer = timeout(SOON, bench.published(with_a_payment(tip, 7000))).await.unwrap();
        assert_eq!(offer.tip, u64::from(tip));
    }
}

#[tokio::test]
async fn a_refusal_of_a_left_tip_is_not_taken_for_one_that_waits_for_an_extension() {
    let is_judged = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&is_judged);
    let stub = StubNode::scripted(move |_| match *shared.lock().unwrap() {
        true => result(&json!("bad-txns")),
        false => Reply::Wait,
    });
    let mut bench = bench_with(stub.await.node(""), true);
    bench.say(&[0x6a, 1]);
    let old = bench.published(with_a_payment(1, 7000)).await;
    *bench.said.lock().unwrap() = None;
    offer(&bench.queue, with_a_payment(2, 7000)).await;
    // Room in the queue again: it was taken, and nothing could be made of it.
    drop(bench.queue.reserve().await.unwrap());
    bench.say(&[0x6a, 2]);
    *is_judged.lock().unwrap() = true;
    let nothing = timeout(Duration::from_millis(200), bench.offers.changed()).await;
    assert!(nothing.is_err(), "published under the old tip: {:?}", bench.offers.borrow());
    bench.news.notify_one();
    let new = next(&mut bench.offers).await;
    assert_eq!((new.tip, new.block.prev_hash), (old.tip + 1, [2; 32]));
}

#[tokio::test]
async fn a_tip_is_shown_once_and_a_stopgap_never() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&shown);
    let stub = judging(move |block| {
        noted.lock().unwrap().push(block.txdata.len());
        None
    });
    let mut bench = bench(stub.await.node(""));
    let stopgap = BlockTemplate { is_stopgap: true, prev_hash: [1; 32], ..samples::offer(&[]) };
    bench.published(stopgap).await;
    bench.published(with_a_payment(1, 7000)).await;
    let accepted = async |count: usize| {
        let count = format!("accepted\"}} {count}");
        let wait = async {
            while !bench.counted(&count) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, wait).await.unwrap();
    };
    accepted(1).await;
    let (queue, mut offers) = (bench.queue.clone(), bench.offers.clone());
    published(&queue, &mut offers, with_a_payment(1, 9000)).await;
    published(&queue, &mut offers, with_a_payment(2, 7000)).await;
    accepted(2).await;
    assert_eq!(*shown.lock().unwrap(), [2, 2]);
}

/// The real node's template.
async fn template_of(node: &Watched) -> BlockTemplate {
    let answer = TemplateSource::of(node).ask(None).await.unwrap();
    Reader::default().read(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_node_refuses_an_output_and_accepts_the_template_without_it() {
    let real = testkit::node::Node::start_funded().unwrap();
    real.pay_itself(20).unwrap();
    let (url, cookie) = (real.rpc_url(), real.cookie_file());
    let config = format!("rpc_url = \"{url}\"\ncookie_file = \"{}\"", cookie.display());
    let config: NodeConfig = toml::from_str(&config).unwrap();
    let node = Watched::from_config(&config).unwrap();
    let mut bench = bench(node.clone());
    // More signature operations than a block may have, and nobody here knows: the node is made to
    // say that it allows more than it does.
    let unspendable = [vec![0x6a], vec![0xae; 1001]].concat();
    assert_eq!(ScriptBuf::from(unspendable.clone()).count_sigops_legacy() * 4, 80_080);
    bench.say(&unspendable);
    let mut template = template_of(&node).await;
    template.limits.sigops = 200_000;
    let whole = bench.published(template.clone()).await;
    assert_eq!(shape(&whole), (1, true));
    assert_eq!(bench.next().await, (0, true));
    assert_eq!(bench.next().await, (0, false));
    assert_eq!(bench.next().await, (1, false));
    assert!(bench.counted("refused\"} 2") && bench.counted("accepted\"} 2"));
    let health = format!("{:?}", bench.health);
    assert!(health.contains("bad-blk-sigops"), "{health}");
    // What is right is published whole again.
    bench.say(&[0x6a, 1]);
    bench.news.notify_one();
    assert_eq!(bench.next().await, (1, true));
}
