//! The V1 device against a pool that says exactly what a test tells it to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may say what it means")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cpu_miner::pool::Event;
use cpu_miner::sv1::Sv1Session;
use cpu_miner::work::{MerkleSource, Share, Work};
use mining::target::Target;
use serde_json::{Value, json};
use testkit::pair::{Ended, Pair};
use wire::session::{PeerError, Session};
use wire::sv1::notify::Notify;

/// A pool without a will of its own: it hears lines and says lines.
#[derive(Default)]
struct ScriptedPool {
    input: Vec<u8>,
    output: BytesMut,
    heard: VecDeque<Value>,
}

impl Session for ScriptedPool {
    type Command = String;
    type Event = Value;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.input.extend_from_slice(bytes);
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            self.heard.push_back(serde_json::from_slice(&line).expect("a line of JSON"));
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, line: String) -> Result<(), PeerError> {
        self.output.extend_from_slice(line.trim_end().as_bytes());
        self.output.extend_from_slice(b"\n");
        Ok(())
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        out.unsplit(self.output.split());
        false
    }

    fn poll_event(&mut self) -> Option<Value> {
        self.heard.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

type Meeting = Pair<Sv1Session, ScriptedPool>;

fn meet() -> Meeting {
    let now = Instant::now();
    let device = Sv1Session::new("someone.cpu".to_owned(), "secret".to_owned(), now, 1);
    let mut pair = Pair::new(device, ScriptedPool::default(), now);
    pair.drive();
    pair
}

fn say(pair: &mut Meeting, line: &Value) {
    pair.command_server(line.to_string());
}

fn answer(pair: &mut Meeting, id: u64, result: &Value) {
    say(pair, &json!({ "id": id, "result": result, "error": null }));
}

/// A device that is logged in, with version rolling if a mask is granted.
fn logged_in(mask: Option<&str>) -> Meeting {
    let mut pair = meet();
    match mask {
        Some(mask) => {
            let granted = json!({ "version-rolling": true, "version-rolling.mask": mask });
            answer(&mut pair, 1, &granted);
        }
        None => say(&mut pair, &json!({ "id": 1, "result": null, "error": [20, "what?", null] })),
    }
    answer(&mut pair, 2, &json!([[["mining.notify", "1"]], "aabb", 4]));
    answer(&mut pair, 3, &json!(true));
    assert!(matches!(pair.client.event(), Some(Event::Ready)));
    pair.server.events.clear();
    pair
}

fn notify(job_id: &str, prev_hash: u8, clean_jobs: bool) -> String {
    let job = Notify {
        job_id: job_id.to_owned(),
        prev_hash: [prev_hash; 32],
        coinbase_1: vec![1, 2],
        coinbase_2: vec![3],
        merkle_path: vec![[9; 32]],
        version: 0x2000_0000,
        nbits: 0x207f_ffff,
        ntime: 1000,
        clean_jobs,
    };
    String::from_utf8(job.line().to_vec()).unwrap()
}

fn work(pair: &mut Meeting) -> Work {
    match pair.client.event() {
        Some(Event::Work(work)) => Work::clone(&work),
        other => panic!("no work but {other:?}"),
    }
}

fn share(work: &Work) -> Share {
    Share {
        work: work.id,
        extranonce: vec![0, 0, 0, 9],
        version: 0x2000_2000,
        ntime: 1001,
        nonce: 0xb346,
        hash: [0; 32],
    }
}

#[test]
fn the_device_configures_and_subscribes_at_once_and_authorizes_after_the_answer() {
    let mut pair = meet();
    let methods: Vec<_> = pair.server.events.drain(..).map(|line| line["method"].clone()).collect();
    assert_eq!(methods, ["mining.configure", "mining.subscribe"]);
    answer(&mut pair, 2, &json!([[["mining.notify", "1"]], "aabb", 4]));
    let line = pair.server.event().unwrap();
    assert_eq!(line["method"], "mining.authorize");
    assert_eq!(line["params"], json!(["someone.cpu", "secret"]));
}

#[test]
fn a_job_becomes_work_with_the_difficulty_that_was_set_before_it() {
    let mut pair = logged_in(Some("1fffe000"));
    say(&mut pair, &json!({ "id": null, "method": "mining.set_difficulty", "params": [0.001] }));
    pair.command_server(notify("a", 4, true));
    let work = work(&mut pair);
    assert_eq!(work.target, Target::from_difficulty(0.001));
    assert_eq!((work.prev_hash, work.min_ntime), ([4; 32], 1000));
    assert_eq!(work.rolling_mask, 0x1fff_e000);
    let MerkleSource::Rolled(parts) = work.merkle else { panic!() };
    assert_eq!((parts.prefix, parts.suffix), (vec![1, 2, 0xaa, 0xbb], vec![3]));
    assert_eq!((parts.extranonce_bytes, parts.path), (4, vec![[9; 32]]));
}

#[test]
fn a_share_is_submitted_with_its_version_bits() {
    let mut pair = logged_in(Some("1fffe000"));
    pair.command_server(notify("a", 4, true));
    let work = work(&mut pair);
    pair.command_client(share(&work));
    let line = pair.server.event().unwrap();
    assert_eq!(line["method"], "mining.submit");
    let params = json!(["someone.cpu", "a", "00000009", "000003e9", "0000b346", "00002000"]);
    assert_eq!(line["params"], params);
}

#[test]
fn a_pool_that_knows_no_configure_gets_no_version_bits() {
    let mut pair = logged_in(None);
    pair.command_server(notify("a", 4, true));
    let work = work(&mut pair);
    assert_eq!(work.rolling_mask, 0);
    pair.command_client(share(&work));
    assert_eq!(pair.server.event().unwrap()["params"].as_array().unwrap().len(), 5);
}

#[test]
fn shares_of_jobs_that_a_clean_one_replaced_are_withheld() {
    let mut pair = logged_in(None);
    pair.command_server(notify("a", 4, true));
    let first = work(&mut pair);
    pair.command_server(notify("b", 4, false));
    let _ = work(&mut pair);
    pair.command_client(share(&first));
    assert_eq!(pair.server.event().unwrap()["params"][1], "a");
    pair.command_server(notify("c", 5, true));
    let _ = work(&mut pair);
    pair.command_client(share(&first));
    assert!(pair.server.event().is_none());
    assert!(matches!(pair.client.event(), Some(Event::Withheld)));
}

#[test]
fn a_new_extranonce_counts_from_the_next_job_on() {
    let mut pair = logged_in(None);
    say(&mut pair, &json!({ "id": null, "method": "mining.set_extranonce", "params": ["cc", 8] }));
    pair.command_server(notify("a", 4, true));
    let MerkleSource::Rolled(parts) = work(&mut pair).merkle else { panic!() };
    assert_eq!((parts.prefix, parts.extranonce_bytes), (vec![1, 2, 0xcc], 8));
}

#[test]
fn verdicts_are_told_whatever_form_they_have() {
    let mut pair = logged_in(None);
    answer(&mut pair, 10, &json!(true));
    answer(&mut pair, 11, &json!(false));
    say(&mut pair, &json!({ "id": 12, "result": null, "error": [21, "Job not found", null] }));
    assert!(matches!(pair.client.event(), Some(Event::Accepted { shares: 1 })));
    assert!(matches!(pair.client.event(), Some(Event::Rejected { .. })));
    let told = pair.client.event();
    assert!(matches!(told, Some(Event::Rejected { reason }) if reason == "Job not found"));
}

#[test]
fn a_refused_user_ends_the_session_with_the_pools_reason() {
    let mut pair = meet();
    answer(&mut pair, 2, &json!([[["mining.notify", "1"]], "aabb", 4]));
    say(&mut pair, &json!({ "id": 3, "result": null, "error": [24, "Unauthorized worker", null] }));
    let Some(Ended::Failed(error)) = pair.client.ended else { panic!() };
    assert!(error.to_string().contains("Unauthorized worker"), "{error}");
}

#[test]
fn requests_of_the_pool_are_answered_and_unknown_notifications_left_alone() {
    let mut pair = logged_in(None);
    say(&mut pair, &json!({ "id": 5, "method": "mining.ping", "params": [] }));
    assert_eq!(pair.server.event().unwrap()["result"], "pong");
    say(&mut pair, &json!({ "id": "v", "method": "client.get_version", "params": [] }));
    let version = pair.server.event().unwrap();
    assert_eq!(version["id"], "v");
    assert!(version["result"].as_str().unwrap().contains("cpu-miner"));
    say(&mut pair, &json!({ "id": 6, "method": "mining.dance", "params": [] }));
    assert!(pair.server.event().unwrap()["error"][1].is_string());
    say(&mut pair, &json!({ "id": null, "method": "mining.dance", "params": [] }));
    assert!(pair.server.event().is_none());
    assert!(pair.client.ended.is_none());
}

#[test]
fn a_pool_that_lets_nobody_in_is_left() {
    let mut pair = meet();
    pair.run_for(Duration::from_secs(31));
    assert!(matches!(pair.client.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}
