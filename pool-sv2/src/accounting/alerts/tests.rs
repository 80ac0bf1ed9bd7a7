//! A pool's log, somebody who is told of it, and a service that fails before it takes anything.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use serde_json::Value;
use testkit::answering::answering;
use testkit::http::Request;

use super::config::AlertsConfig;
use super::*;
use crate::accounting::log::writer::{LogSettings, LogWriter};
use crate::coin::Coin;
use crate::shares::{BlockFound, BlockStage, BlockState, Earner, Entry};

const NOW_MS: u64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with one status after the other, and 200 behind them.
fn server(statuses: &'static [u16]) -> (String, mpsc::Receiver<Request>) {
    let mut statuses = statuses.iter().copied();
    let next = move || Some((statuses.next().unwrap_or(200), "{}"));
    let (address, requests) = answering(next).unwrap();
    (format!("http://{address}/topic"), requests)
}

/// Of the next message.
fn title(requests: &mpsc::Receiver<Request>) -> String {
    let body = requests.recv_timeout(PATIENCE).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["title"].as_str().unwrap().to_owned()
}

struct Bench {
    writer: LogWriter<Folder>,
    durable: watch::Sender<DurableEnd>,
    thread: JoinHandle<()>,
    reports: mpsc::Receiver<Result<(), String>>,
    metrics: Metrics,
}

impl Bench {
    fn start(folder: &tempfile::TempDir, url: &str, more: &str) -> Self {
        let directory = folder.path().to_owned();
        let ledger = LedgerConfig { directory, ..LedgerConfig::default() };
        std::fs::create_dir_all(ledger.log_directory()).unwrap();
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let disk = Folder(ledger.log_directory());
        let (writer, _) = LogWriter::open(disk, settings, NOW_MS, 3).unwrap();
        let durable = watch::Sender::new(writer.durable_end());
        let receiver =
            format!("[[receiver]]\nname = \"phone\"\nby = \"ntfy\"\nurl = \"{url}\"\n{more}");
        let config: AlertsConfig = toml::from_str(&receiver).unwrap();
        let receiver = config.receivers().unwrap().remove(0);
        let (wording, metrics) = (config.wording(&Coin::default(), "regtest"), Metrics::new("x"));
        let (end, counts) = (writer.durable_end(), AlertCounts::new(&metrics));
        let mut alerts = Alerts::new(receiver, wording, &ledger, end, counts);
        alerts.backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        let (end, (report, reports)) = (durable.subscribe(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            alerts.run(&end, &|| true, &|told| report.send(told).unwrap());
        });
        assert_eq!(reports.recv_timeout(PATIENCE), Ok(Ok(())));
        Self { writer, durable, thread, reports, metrics }
    }

    fn write(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.writer.push_entry(NOW_MS, entry);
        }
        self.writer.commit().unwrap();
        self.durable.send_replace(self.writer.durable_end());
    }

    fn end(self) {
        drop(self.durable);
        self.thread.join().unwrap();
    }
}

fn found(height: u8) -> Entry {
    let block = BlockFound {
        hash: [height; 32],
        height: Some(height.into()),
        prev_hash: [0; 32],
        nbits: 0,
        coinbase_value: 5,
    };
    Entry::BlockFound { finder: Arc::new(Earner::named("ann", "rig")), block: Box::new(block) }
}

fn became(height: u8, stage: BlockStage) -> Entry {
    Entry::BlockState(BlockState::new([height; 32], stage))
}

#[test]
fn a_message_is_sent_until_it_is_taken_and_what_happens_meanwhile_is_told_in_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[500, 404]);
    let mut bench = Bench::start(&folder, &url, "interval_seconds = 3");
    bench.write(vec![found(1), became(1, BlockStage::Accepted)]);
    for _ in 0..3 {
        assert_eq!(title(&requests), "Block 1 found on Bitcoin regtest");
    }
    assert!(bench.reports.recv_timeout(PATIENCE).unwrap().unwrap_err().starts_with("HTTP 500"));
    assert_eq!(bench.reports.recv_timeout(PATIENCE), Ok(Ok(())));
    bench.write(vec![found(2)]);
    bench.write(vec![found(3), became(2, BlockStage::Orphaned)]);
    let title = title(&requests);
    assert_eq!(title, "2 blocks found on Bitcoin regtest, Block orphaned on Bitcoin regtest");
    let metrics = bench.metrics.clone();
    bench.end();
    let text = metrics.text();
    assert!(text.contains("x_alert_failures_total{receiver=\"phone\"} 2"), "{text}");
    assert!(text.contains("x_alert_messages_total{receiver=\"phone\"} 2"), "{text}");
    assert!(requests.try_recv().is_err());
}

#[test]
fn only_what_is_wanted_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let mut bench = Bench::start(&folder, &url, "events = [\"block_orphaned\"]");
    bench.write(vec![found(1), became(1, BlockStage::Orphaned)]);
    assert_eq!(title(&requests), "Block orphaned on Bitcoin regtest");
    bench.end();
}

#[test]
fn the_next_start_tells_what_this_one_could_not_and_a_first_one_tells_no_history() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&[]);
    let nobody = "http://127.0.0.1:9/topic";
    let mut bench = Bench::start(&folder, nobody, "");
    bench.write(vec![found(1)]);
    assert!(bench.reports.recv_timeout(PATIENCE).unwrap().is_err());
    bench.end();
    let bench = Bench::start(&folder, &url, "");
    assert_eq!(title(&requests), "Block 1 found on Bitcoin regtest");
    bench.end();
    // Another one of another name, or the same without his file, begins with what comes next.
    std::fs::remove_file(folder.path().join("alert-phone.cursor")).unwrap();
    let mut bench = Bench::start(&folder, &url, "");
    bench.write(vec![found(2)]);
    assert_eq!(title(&requests), "Block 2 found on Bitcoin regtest");
    bench.end();
    assert!(requests.try_recv().is_err(), "each is told once");
}
