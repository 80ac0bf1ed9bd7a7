//! What clients can rely on, whatever the node offers in which order.

mod proposals;

use std::sync::Mutex;
use std::time::Duration;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use serde_json::json;
use service::health::Health;
use service::metrics::Metrics;
use tokio::time::{Instant as TokioInstant, timeout};

use super::*;
use crate::block_template::Output;
use crate::extension::{AcceptedBlock, Addition, Delivery, Extension, Facts, Hook, Parcel};
use crate::node;
use crate::node::stub::{Reply, Request, StubNode, result};
use crate::templates::assemble::{NotABlock, Solution, assemble};
use crate::templates::build::Contents;
use crate::templates::samples;
use crate::templates::trim::Room;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(10);
const EASY: u32 = 0x207f_ffff;
const HARD: u32 = 0x1d00_ffff;

type Offers = watch::Receiver<Option<Arc<Offer>>>;

/// A publisher with its queue.
fn publishing() -> (mpsc::Sender<Offered>, Offers, Arc<Store>) {
    let (queue, offered) = mpsc::channel(1);
    let offers = watch::Sender::new(None);
    let (seen, store) = (offers.subscribe(), Arc::new(Store::new(1, 0)));
    tokio::spawn(publisher(Arc::clone(&store), offers, Extensions::from([])).run(offered));
    (queue, seen, store)
}

fn publisher(
    store: Arc<Store>,
    offers: watch::Sender<Option<Arc<Offer>>>,
    extensions: Extensions,
) -> Publisher {
    let (nodes, alarm) = (Arc::from([]), Alarm::new(Health::new(&[]), &Metrics::new("test")));
    let (guard, news) = (Guard::off(), Arc::default());
    let rooms = Rooms::beside(&extensions);
    Publisher { store, offers, fee_delta_sats: 1000, guard, extensions, news, nodes, rooms, alarm }
}

/// The node gives it now.
async fn offer(queue: &mpsc::Sender<Offered>, template: BlockTemplate) {
    let now = TokioInstant::now();
    let offered = Offered { template, asked_at: now, answered_at: now, tip_heard_at: None };
    queue.send(offered).await.unwrap();
}

/// Publishes it; the offer that everybody gets.
async fn published(
    queue: &mpsc::Sender<Offered>,
    offers: &mut Offers,
    template: BlockTemplate,
) -> Arc<Offer> {
    offer(queue, template).await;
    offers.changed().await.unwrap();
    offers.borrow_and_update().clone().unwrap()
}

fn with(nbits: u32, curtime: u32, value: u64) -> BlockTemplate {
    BlockTemplate { nbits, curtime, coinbase_value: value, ..samples::offer(&[]) }
}

/// The first solution of a coinbase that fits `nbits`, whatever the template says.
fn mined(contents: &Contents, nbits: u32, template: &BlockTemplate) -> Solution {
    let coinbase = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            script_sig: bitcoin::ScriptBuf::from_bytes(contents.coinbase_prefix.to_vec()),
            ..bitcoin::TxIn::default()
        }],
        output: vec![deserialize(&contents.coinbase_outputs).unwrap()],
    };
    let txid = coinbase.compute_txid().to_byte_array();
    let header = |nonce| mining::header::Header {
        version: contents.version,
        prev_hash: contents.prev_hash,
        merkle_root: mining::merkle::root_from_path(txid, &contents.merkle_path),
        ntime: template.header_timestamp(),
        nbits,
        nonce,
    };
    let target = mining::target::Target::from_nbits(nbits).unwrap();
    let nonce = (0..).find(|nonce| target.is_met_by(&header(*nonce).hash())).unwrap();
    Solution {
        version: contents.version,
        header_timestamp: template.header_timestamp(),
        header_nonce: nonce,
        coinbase_tx: serialize(&coinbase).into(),
    }
}

#[tokio::test]
async fn a_template_keeps_the_difficulty_that_was_announced_with_it() {
    let (queue, mut offers, store) = publishing();
    let hard = published(&queue, &mut offers, with(HARD, 1000, 5000)).await;
    let easy = published(&queue, &mut offers, with(EASY, 2000, 9000)).await;
    assert!(easy.tip > hard.tip, "clients learn nBits with a tip alone");
    let now = clock::now();
    let old = store.template(now, &hard, Room::default(), 0).unwrap();
    let new = store.template(now, &easy, Room::default(), old.id).unwrap();
    let solution = mined(&new.contents, EASY, &easy.block);
    let kept = |id| store.find(now, id).unwrap().contents;
    let block = assemble(&kept(new.id), &solution).unwrap();
    let header: bitcoin::block::Header = deserialize(&block.bytes[..80]).unwrap();
    assert_eq!(header.bits.to_consensus(), EASY);
    // The older one stands for what was announced with it, not for what came later.
    let late = assemble(&kept(old.id), &solution).unwrap_err();
    assert!(matches!(late, NotABlock::AboveTarget(_)), "{late:?}");
}

#[tokio::test]
async fn a_long_poll_from_before_a_change_of_difficulty_still_brings_the_next_tip() {
    let (queue, mut offers, _store) = publishing();
    let hard = published(&queue, &mut offers, with(HARD, 1000, 5000)).await;
    let asked_at = TokioInstant::now();
    let easy = published(&queue, &mut offers, with(EASY, 2201, 5000)).await;
    let template = BlockTemplate { prev_hash: [9; 32], ..with(HARD, 2300, 5000) };
    let answered_at = TokioInstant::now();
    queue.send(Offered { template, asked_at, answered_at, tip_heard_at: None }).await.unwrap();
    timeout(SOON, offers.changed()).await.unwrap().unwrap();
    let next = offers.borrow_and_update().clone().unwrap();
    assert_eq!(next.block.prev_hash, [9; 32]);
    assert!(hard.tip < easy.tip && easy.tip < next.tip);
}

/// The script of a sidechain, which the extension below puts into coinbases.
type Said = Arc<Mutex<Option<Vec<u8>>>>;

/// Adds what was said last; says that it is mandatory.
#[derive(Debug)]
struct Saying {
    said: Said,
    is_mandatory: bool,
}

impl Extension for Saying {
    fn name(&self) -> &'static str {
        "saying"
    }

    fn is_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn output_bytes_max(&self) -> u32 {
        2000
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        let said = self.said.lock().unwrap().clone().ok_or("nothing was said")?;
        let outputs = vec![Output::valueless(said)];
        Ok(Addition { outputs, ..Addition::nothing(&facts) })
    }

    fn on_accepted<'a>(&'a self, _: &'a AcceptedBlock, _: &'a Parcel) -> Hook<'a, Delivery> {
        Box::pin(async { Delivery::Done })
    }
}

fn saying(said: &Said, is_mandatory: bool) -> Extensions {
    let saying: Arc<dyn Extension> = Arc::new(Saying { said: Arc::clone(said), is_mandatory });
    Extensions::from([saying])
}

/// A publisher whose coinbases hold what is said, and how it is told of that.
fn publishing_what_is_said(
    is_mandatory: bool,
) -> (mpsc::Sender<Offered>, Offers, Said, Arc<Notify>) {
    let (queue, offered) = mpsc::channel(1);
    let offers = watch::Sender::new(None);
    let (seen, said) = (offers.subscribe(), Said::default());
    let saying = saying(&said, is_mandatory);
    let publisher = publisher(Arc::new(Store::new(1, 0)), offers, saying);
    let news = Arc::clone(&publisher.news);
    tokio::spawn(publisher.run(offered));
    (queue, seen, said, news)
}

async fn next(offers: &mut Offers) -> Arc<Offer> {
    timeout(SOON, offers.changed()).await.unwrap().unwrap();
    offers.borrow_and_update().clone().unwrap()
}

#[tokio::test]
async fn what_an_extension_learns_later_is_published_under_the_same_tip() {
    let (queue, mut offers, said, news) = publishing_what_is_said(false);
    let before = published(&queue, &mut offers, with(EASY, 1000, 5000)).await;
    assert_eq!(before.whole.coinbase_outputs_count, 1);
    for byte in [1, 2] {
        *said.lock().unwrap() = Some(vec![0x6a, byte]);
        news.notify_one();
        let after = next(&mut offers).await;
        assert_eq!((after.tip, &after.block), (before.tip, &before.block));
        assert_eq!(after.whole.coinbase_outputs_count, 2);
        assert_eq!(after.whole.coinbase_outputs[10], byte);
    }
}

#[tokio::test]
async fn news_that_change_nothing_make_no_new_job() {
    let (queue, mut offers, said, news) = publishing_what_is_said(false);
    *said.lock().unwrap() = Some(vec![0x6a, 1]);
    let before = published(&queue, &mut offers, with(EASY, 1000, 5000)).await;
    news.notify_one();
    // In one thread the publisher runs before the next template is there, and takes this first.
    tokio::task::yield_now().await;
    let after = published(&queue, &mut offers, with(EASY, 1000, 9000)).await;
    assert_eq!((after.number, after.block.coinbase_value), (before.number + 1, 9000));
}

#[tokio::test]
async fn a_template_waits_for_a_mandatory_extension_and_goes_out_with_it() {
    let (queue, mut offers, said, news) = publishing_what_is_said(true);
    offer(&queue, with(EASY, 1000, 5000)).await;
    // Room in the queue again: it was taken.
    queue.reserve().await.unwrap();
    assert!(offers.borrow().is_none());
    *said.lock().unwrap() = Some(vec![0x6a, 1]);
    news.notify_one();
    let first = next(&mut offers).await;
    assert_eq!((first.tip, first.whole.coinbase_outputs_count), (1, 2));
}

#[tokio::test]
async fn a_stopgap_is_followed_by_the_nodes_own_template_and_never_follows_it() {
    let (queue, mut offers, _store) = publishing();
    let stopgap = || BlockTemplate { is_stopgap: true, ..with(EASY, 1000, 5000) };
    let first = published(&queue, &mut offers, stopgap()).await;
    let full = published(&queue, &mut offers, with(EASY, 1000, 5000)).await;
    assert_eq!((full.tip, full.block.is_stopgap), (first.tip, false));
    offer(&queue, stopgap()).await;
    let paying = published(&queue, &mut offers, with(EASY, 1000, 9000)).await;
    assert_eq!((paying.number, paying.tip), (full.number + 1, full.tip));
}

/// A node of which only the long poll tells the tip.
#[derive(Default)]
struct Chain {
    /// First byte of the tip's hash, as the node prints it.
    tip: u8,
    /// How often the tip was polled since a long poll began to wait for it to move.
    polls: Option<u32>,
}

fn answer(chain: &mut Chain, request: &Request) -> Reply {
    let hash = |first: u8| format!("{first:02x}{}", "00".repeat(31));
    if request.method == "getbestblockhash" {
        chain.polls = chain.polls.map(|polls| polls + 1);
        return result(&json!(hash(0)));
    }
    let tip = hash(chain.tip);
    if request.params[0]["longpollid"] == tip {
        chain.polls.get_or_insert(0);
        return Reply::Wait;
    }
    result(&json!({
        "version": 1, "previousblockhash": tip, "bits": "207fffff", "height": 1, "curtime": 1,
        "coinbasevalue": 1, "longpollid": tip,
    }))
}

#[tokio::test]
async fn every_tip_that_only_the_long_poll_brings_is_published() {
    let chain = Arc::new(Mutex::new(Chain::default()));
    let shared = Arc::clone(&chain);
    let stub = StubNode::scripted(move |request| answer(&mut shared.lock().unwrap(), request));
    let nodes = [stub.await.node("tip_poll_ms = 5\ntemplate_refresh_seconds = 3600")];
    let (health, metrics) = (Health::new(&["node"]), Metrics::new("x"));
    let (offered, to_judge) = mpsc::channel(4);
    let offers = watch::Sender::new(None);
    let mut seen = offers.subscribe();
    let publisher = publisher(Arc::new(Store::new(1, 0)), offers, Extensions::from([]));
    // In one task, as the program runs them.
    tokio::spawn(async move {
        tokio::select! {
            _ = node::roster::watch(&nodes, &health, &metrics, offered) => {}
            () = publisher.run(to_judge) => {}
        }
    });
    for tip in 0..4 {
        *chain.lock().unwrap() = Chain { tip, polls: None };
        let is_published = |offer: &Option<Arc<Offer>>| {
            offer.as_ref().is_some_and(|offer| offer.block.prev_hash[31] == tip)
        };
        timeout(SOON, seen.wait_for(is_published)).await.unwrap().unwrap();
        // Blocks come seldom: the long poll asks on at once after the answer, not after a pause.
        let waited = async {
            while chain.lock().unwrap().polls.is_none_or(|polls| polls < 30) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, waited).await.unwrap();
    }
}
