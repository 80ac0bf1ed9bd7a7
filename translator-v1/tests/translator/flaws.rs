//! What has gone wrong in other servers, by the numbers of docs/conformance.md; what other files of
//! these tests hold is not repeated here.

use std::time::Duration;

use mining::target::Target;
use translator_v1::bridge::extranonce::Seats;
use translator_v1::downstream::Event;

use crate::device::{Device, MINER_DIFFICULTY, NTIME, Sample, UPSTREAM_DIFFICULTY};

/// Flaw 1: a V1 share in other letters is the same share.
#[test]
fn a_share_in_other_letters_is_the_same_share() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    assert_eq!(device.submit(&found)["result"], true);
    let line = found.line(9, "w");
    let (name, rest) = line.split_once("\"w\"").unwrap();
    device.send(&format!("{name}\"w\"{}", rest.to_uppercase()));
    assert_eq!(device.line()["error"][0], 22);
}

/// Flaw 5: a V1 share's nTime is not before its job's, nor more than two hours ahead.
#[test]
fn a_share_from_hours_ahead_or_from_before_the_job_is_refused() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    for ntime in [NTIME - 1, NTIME + 7_201, u32::MAX, 0] {
        let share = crate::device::Found { ntime, ..found.clone() };
        assert!(device.submit(&share)["error"][0].as_i64().is_some(), "{ntime}");
    }
}

/// Flaw 10: a V1 miner's suggestion is held to what the operator and the upstream allow.
#[test]
fn a_suggestion_is_held_to_what_operator_and_upstream_allow() {
    let mut device = Device::logged_in(Sample::default());
    for (suggested, told) in [("1e-300", 2_f64.powi(-39)), ("1e300", UPSTREAM_DIFFICULTY)] {
        let line = r#"{"id":5,"method":"mining.suggest_difficulty","params":["#;
        device.send(&format!("{line}{suggested}]}}"));
        device.pass(Duration::from_secs(1));
        assert_eq!(device.difficulty, Some(told), "{suggested}");
    }
    for refused in ["0", "-1", "null", "\"nan\"", "1e999"] {
        device.lines.clear();
        let line = r#"{"id":5,"method":"mining.suggest_difficulty","params":["#;
        device.send(&format!("{line}{refused}]}}"));
        assert_eq!(device.line()["error"][0], 20, "{refused}");
    }
}

/// Flaw 11: no two V1 miners have one place in the search space.
#[test]
fn no_two_miners_have_one_place_in_the_search_space() {
    let seats = Seats::default();
    let taken: Vec<_> = (0..5_000).map(|_| seats.take().unwrap()).collect();
    let numbers: std::collections::BTreeSet<_> = taken.iter().map(|it| it.number()).collect();
    assert_eq!(numbers.len(), taken.len());
}

/// Flaw 13: no V1 miner becomes a proxy by saying so.
#[test]
fn nobody_becomes_a_proxy_by_saying_so() {
    let mut device = Device::logged_in(Sample::default());
    for method in ["mining.passthrough", "mining.node", "mining.remote", "mining.proxy"] {
        device.lines.clear();
        device.send(&format!(r#"{{"id":6,"method":"{method}","params":[]}}"#));
        assert_eq!(device.line()["error"][0], 20, "{method}");
        assert!(device.ended.is_none());
    }
}

/// Flaw 19: no V1 miner is sent to another server while this one serves.
#[test]
fn nobody_is_sent_to_another_server_while_this_one_serves() {
    let mut device = Device::logged_in(Sample::default());
    device.give(Sample { prefix: [8, 8], epoch: 2, ..Sample::default() });
    assert!(!device.said().iter().any(|said| said == "client.reconnect"));
}

/// Flaw 22: no V1 share is taken whose hash does not meet its target.
#[test]
fn no_share_is_taken_whose_hash_does_not_meet_the_target() {
    let mut device = Device::logged_in(Sample::default());
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    for nonce in 0..50 {
        let found = device.mine(nonce, |_| true);
        let answer = device.submit(&found);
        let is_good = own.is_met_by(&found.hash);
        assert_eq!(answer["result"] == true, is_good, "{nonce}");
    }
}

/// Flaw 25: a V1 share counts for the difficulty of its job, not of its hash.
#[test]
fn a_share_counts_for_the_difficulty_of_its_job_and_not_of_its_hash() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    device.submit(&found);
    let counted = device.events.iter().find_map(|event| match event {
        Event::Answered { difficulty, .. } => Some(*difficulty),
        _ => None,
    });
    assert_eq!(counted, Some(MINER_DIFFICULTY));
}

/// What a log shows as two lines, the second of which is the miner's own.
const FORGED: &str = r"x\r\n2026-01-01 INFO block found";

#[test]
fn no_name_of_a_miner_begins_a_line_of_the_log() {
    let mut device = Device::with_work();
    device.send(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["{FORGED}"]}}"#));
    device.send(&format!(r#"{{"id":2,"method":"mining.authorize","params":["{FORGED}","x"]}}"#));
    device.line();
    assert_eq!(device.line()["error"][0], 24);
    device.send(r#"{"id":3,"method":"mining.authorize","params":["w","x"]}"#);
    let found = device.mine_local();
    device.send(&found.line(4, "x\r\nforged"));
    let names: Vec<String> = device.events.iter().filter_map(names_in).flatten().collect();
    assert!(names.contains(&"x2026-01-01 INFO block found".to_owned()), "{names:?}");
    assert!(names.contains(&"xforged".to_owned()), "{names:?}");
    assert!(!names.concat().contains(char::is_control), "{names:?}");
}

fn names_in(event: &Event) -> Option<Vec<String>> {
    match event {
        Event::Authorized { worker, agent } => Some(vec![worker.to_string(), agent.to_string()]),
        Event::Answered { worker, .. } => Some(vec![worker.to_string()]),
        _ => None,
    }
}
