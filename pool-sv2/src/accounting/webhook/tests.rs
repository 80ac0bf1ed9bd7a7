//! Messages to a server that fails before it takes them.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bitcoin::hashes::Hash;
use mining::target::Hashes;
use serde_json::Value;
use testkit::answering::answering;
use testkit::http::Request;

use super::config::{EventKind, WebhookConfig};
use super::*;
use crate::accounting::log::writer::{LogSettings, LogWriter};
use crate::payout::settlement::{PAYOUT_VERSION, PayoutEntry, WalletLine, WalletPayout};
use crate::shares::{BlockFound, BlockStage, BlockState, Earner, Entry, PayoutRecord, ShareRecord};

const SECRET: &str = "0123456789abcdef";
const NOW_MS: u64 = 1_700_000_000_000;

/// Answers with one status after the other, and 200 behind them; 0 is no answer at all.
fn server(statuses: &'static [u16]) -> (String, mpsc::Receiver<Request>) {
    let mut statuses = statuses.iter().copied();
    let next = move || match statuses.next().unwrap_or(200) {
        0 => None,
        status => Some((status, "")),
    };
    let (address, requests) = answering(next).unwrap();
    (format!("http://{address}/hook"), requests)
}

/// A pool's log, and the thread that tells of it.
struct Bench {
    config: LedgerConfig,
    writer: LogWriter<Folder>,
    durable: watch::Sender<DurableEnd>,
    thread: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn start(folder: &tempfile::TempDir, url: &str, events: &[EventKind]) -> Self {
        let directory = folder.path().to_owned();
        let config = LedgerConfig { directory, ..LedgerConfig::default() };
        std::fs::create_dir_all(config.log_directory()).unwrap();
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let disk = Folder(config.log_directory());
        let (writer, _) = LogWriter::open(disk, settings, NOW_MS, 3).unwrap();
        let durable = watch::Sender::new(writer.durable_end());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let target = WebhookConfig {
            url: url.to_owned(),
            secret: Some(SECRET.into()),
            secret_file: None,
            events: events.to_vec(),
            per_minute_max: 6_000,
        };
        let (target, end) = (target.target().unwrap(), writer.durable_end());
        let mut webhook = Webhook::new(target, &config, end, &Metrics::new("x"));
        webhook.backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        let (end, handle) = (durable.subscribe(), runtime.handle().clone());
        let thread = std::thread::spawn(move || webhook.run(&end, &handle, &drop));
        Self { config, writer, durable, thread: Some(thread), runtime }
    }

    fn write(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.writer.push_entry(NOW_MS, entry);
        }
        self.writer.commit().unwrap();
        self.durable.send_replace(self.writer.durable_end());
    }

    fn end(mut self) {
        drop(self.durable);
        self.thread.take().unwrap().join().unwrap();
        self.runtime.shutdown_background();
    }
}

fn found(id: u8) -> Entry {
    let block = BlockFound {
        hash: [id; 32],
        height: Some(7),
        prev_hash: [0; 32],
        nbits: 0,
        coinbase_value: 5,
    };
    Entry::BlockFound { finder: Arc::new(Earner::named("ann", "rig")), block: Box::new(block) }
}

fn accepted(id: u8) -> Entry {
    Entry::BlockState(BlockState::new([id; 32], BlockStage::Accepted))
}

fn payout() -> Entry {
    let line =
        |account: &str, amount| WalletLine { account: account.to_owned(), amount, earned: 0 };
    let payout = PayoutEntry::Wallet(WalletPayout {
        transaction: bitcoin::Txid::from_byte_array([2; 32]),
        raw: "00".to_owned(),
        fee: 3,
        lines: vec![line("ann", 10), line("bob", 20)],
    });
    let record = PayoutRecord::new(PAYOUT_VERSION, serde_json::to_vec(&payout).unwrap());
    Entry::Payout(record.unwrap())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_message_is_signed_and_told_again_until_it_is_taken_and_the_next_one_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[500, 0, 404, 200]);
    let mut bench = Bench::start(&folder, &url, &EventKind::ALL);
    bench.write(vec![found(1), accepted(1)]);
    let told: Vec<_> = (0..5).map(|_| requests.recv_timeout(PATIENCE).unwrap()).collect();
    for request in &told[..4] {
        let timestamp = request.field("adit-timestamp").unwrap();
        let expected = sign::signature(SECRET.as_bytes(), timestamp, &request.body);
        assert_eq!(request.field("adit-signature"), Some(&*expected));
        assert_eq!(request.field("adit-event"), Some("block_found"));
        assert_eq!(request.field("adit-delivery"), told[0].field("adit-delivery"));
        assert!(request.head.starts_with("POST /hook "), "{}", request.head);
        let body = body(request);
        assert_eq!((&body["data"]["account"], &body["data"]["height"]), (&"ann".into(), &7.into()));
        assert_eq!(body["id"], request.field("adit-delivery").unwrap());
    }
    assert_eq!(body(&told[4])["event"], "block_state");
    assert_eq!(body(&told[4])["data"]["state"], "accepted");
    bench.end();
}

#[test]
fn a_payout_is_told_with_the_balances_that_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let mut bench = Bench::start(&folder, &url, &EventKind::ALL);
    bench.write(vec![payout()]);
    let sent = body(&requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!((&sent["event"], &sent["data"]["amount_sat"]), (&"payout_sent".into(), &30.into()));
    let changed = body(&requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!(changed["event"], "balance_changed");
    assert_eq!(changed["data"]["cause"]["transaction"], sent["data"]["transaction"]);
    assert_eq!(changed["data"]["changes"][1]["change_sat"], -20);
    bench.end();
}

#[test]
fn only_what_is_wanted_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let mut bench = Bench::start(&folder, &url, &[EventKind::BlockState]);
    let share =
        ShareRecord { earner: Arc::new(Earner::named("ann", "")), work: Hashes(1), hash: [0; 32] };
    bench.writer.push_share(NOW_MS, &share);
    bench.write(vec![found(1), payout(), accepted(1)]);
    assert_eq!(body(&requests.recv_timeout(PATIENCE).unwrap())["event"], "block_state");
    bench.end();
    assert!(requests.try_recv().is_err());
}

#[test]
fn the_next_start_goes_on_where_the_last_one_was_left_and_a_first_one_tells_no_history() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let mut bench = Bench::start(&folder, &url, &[EventKind::BlockFound]);
    bench.write(vec![found(1)]);
    assert!(requests.recv_timeout(PATIENCE).is_ok());
    bench.end();
    // Nobody listens there.
    let mut bench = Bench::start(&folder, "http://127.0.0.1:9/hook", &[EventKind::BlockFound]);
    bench.write(vec![found(2), found(3)]);
    bench.end();
    let bench = Bench::start(&folder, &url, &[EventKind::BlockFound]);
    for id in [2, 3] {
        let told = body(&requests.recv_timeout(PATIENCE).unwrap());
        assert_eq!(told["data"]["block"], mining::hash::display(&[id; 32]));
    }
    let file = bench.config.directory.join("webhook.cursor");
    bench.end();
    assert!(requests.try_recv().is_err(), "each is told once");
    // Without the file it begins with what comes next.
    std::fs::remove_file(file).unwrap();
    let mut bench = Bench::start(&folder, &url, &[EventKind::BlockFound]);
    bench.write(vec![found(4)]);
    let told = body(&requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!(told["data"]["block"], mining::hash::display(&[4; 32]));
    bench.end();
}

/// Nobody listens when the first block is found, and the pool is started again before anybody does.
#[test]
fn the_first_messages_are_told_by_the_next_start_if_nobody_took_them_in_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let nobody = "http://127.0.0.1:9/hook";
    let start = |url| Bench::start(&folder, url, &[EventKind::BlockFound]);
    // A pool that ended before it wrote any record is no obstacle.
    start(nobody).end();
    let mut bench = start(nobody);
    bench.write(vec![found(1)]);
    bench.end();
    let bench = start(&url);
    let told = body(&requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!(told["data"]["block"], mining::hash::display(&[1; 32]));
    let file = bench.config.directory.join("webhook.cursor");
    bench.end();
    // The same behind a log of earlier blocks, which are not told again.
    std::fs::remove_file(file).unwrap();
    start(nobody).end();
    let mut bench = start(nobody);
    bench.write(vec![found(2)]);
    bench.end();
    let bench = start(&url);
    let told = body(&requests.recv_timeout(PATIENCE).unwrap());
    assert_eq!(told["data"]["block"], mining::hash::display(&[2; 32]));
    bench.end();
    assert!(requests.try_recv().is_err(), "each is told once");
}
