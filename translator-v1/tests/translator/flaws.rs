//! What has gone wrong in other servers, by the numbers of docs/conformance.md; what other files of
//! these tests hold is not repeated here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::target::Target;
use translator_v1::bridge::extranonce::Seats;
use translator_v1::bridge::notify::Work;
use translator_v1::bridge::submit::{UpstreamShare, Verdict};
use translator_v1::downstream::{Answers, Command, Event, MinerSettings};
use wire::session::Session;
use wire::sv1::notify::Notify;

use crate::device::{
    Device, MINER_DIFFICULTY, NTIME, REGTEST_NBITS, Sample, UPSTREAM_DIFFICULTY, counts_upstream,
    settings,
};

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
        // A hash with another nTime is hardly a share at all: that must not be the reason.
        assert_eq!(device.refusal(&share), (20, "ntime out of range".into()), "{ntime}");
    }
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    for ntime in [NTIME, NTIME + 7_200] {
        let job = Notify { ntime, ..device.job.clone().unwrap() };
        // None for the upstream, whose verdict would have to be waited for.
        let suits = |hash: &[u8; 32]| own.is_met_by(hash) && !counts_upstream(hash);
        let share = device.mine_job(&job, 0, None, suits);
        assert_eq!(device.submit(&share)["result"], true, "{ntime}");
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

/// Flaw 10: the least difficulty of the operator, or of a V1 miner itself, is rounded up.
#[test]
fn nobody_gets_an_easier_difficulty_than_the_least_that_is_allowed() {
    // Between two powers of two.
    let least = 3e-8;
    let by_operator = {
        let mut settings = settings(6.0);
        settings.vardiff.min_difficulty = least;
        Device::of_settings(&settings, "5e55", Instant::now())
    };
    let mut by_miner = Device::new();
    by_miner.give(Sample::default());
    by_miner.send(&format!(
        r#"{{"id":1,"method":"mining.configure","params":[["minimum-difficulty"],{}]}}"#,
        format_args!(r#"{{"minimum-difficulty.value":{least}}}"#),
    ));
    for mut device in [by_operator, by_miner] {
        device.give(Sample::default());
        device.login();
        device.send(r#"{"id":5,"method":"mining.suggest_difficulty","params":[1e-300]}"#);
        device.pass(Duration::from_secs(1));
        assert_eq!(device.difficulty, Some(2_f64.powi(-24)));
        // What the upstream asks for is not held back.
        device.give(Sample { id: 2, content: 1, difficulty: 1e-8, ..Sample::default() });
        assert_eq!(device.difficulty, Some(2_f64.powi(-27)));
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
    let other_prefix = Sample { prefix: [8, 8], epoch: 2, ..Sample::default() };
    let less_room = Sample { rollable: 8, epoch: 2, ..Sample::default() };
    let without_upstream = |device: &mut Device| {
        let work = Sample::default().work(device.now, device.now);
        device.command(Command::Work(Some(Work { is_live: false, ..work })));
    };
    let situations: [&dyn Fn(&mut Device); 4] = [
        &|device| device.give(other_prefix),
        &|device| device.give(less_room),
        &without_upstream,
        &|device| device.command(Command::Work(None)),
    ];
    for (index, situation) in situations.into_iter().enumerate() {
        let mut device = Device::logged_in(Sample::default());
        situation(&mut device);
        device.pass(Duration::from_secs(60));
        let said = device.said();
        assert!(!said.iter().any(|said| said == "client.reconnect"), "{index}: {said:?}");
    }
}

/// Flaw 17: a second block that a V1 miner finds while the first is on its way goes up too.
#[test]
fn two_blocks_that_are_found_in_a_row_both_go_up() {
    let mut device = Device::logged_in(Sample { nbits: REGTEST_NBITS, ..Sample::default() });
    let block = Target::from_nbits(REGTEST_NBITS).unwrap();
    let first = device.mine(0, |hash| block.is_met_by(hash));
    let second = device.mine(first.nonce + 1, |hash| block.is_met_by(hash));
    for found in [&first, &second] {
        device.send(&found.line(9, "w"));
    }
    let nonces: Vec<_> = device.events.iter().filter_map(sent_up).map(|it| it.nonce).collect();
    assert_eq!(nonces, [first.nonce, second.nonce]);
}

/// The share that goes to the upstream, whatever it is worth.
fn sent_up(event: &Event) -> Option<UpstreamShare> {
    match event {
        Event::Submit { share, .. } | Event::SubmitBlock { share, .. } => Some(*share),
        _ => None,
    }
}

/// Flaw 21: junk of a V1 miner goes nowhere, and there is less of it soon.
#[test]
fn junk_is_not_sent_up_and_its_sender_is_slowed_down() {
    let mut device = Device::logged_in(Sample::default());
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    let mut nonce = 0;
    for _ in 0..1_000 {
        let junk = device.mine(nonce, |hash| !own.is_met_by(hash));
        nonce = junk.nonce + 1;
        assert_eq!(device.refusal(&junk).0, 23);
    }
    assert!(device.session.poll_pause().is_some_and(|until| until > device.now));
    assert_eq!(device.events.iter().filter_map(sent_up).count(), 0);
    let slowed = device.events.iter().filter(|event| matches!(event, Event::SlowedDown)).count();
    assert_eq!(slowed, 1);
}

/// Flaw 24: what all V1 miners are given is not changed for one of them.
/// Flaw 29: a V1 job is made once, however many mine it.
#[test]
fn a_job_is_one_for_all_who_mine_it_and_clean_for_who_needs_it_so() {
    let mut mining = Device::logged_in(Sample::default());
    let mut newcomer = Device::new();
    let now = mining.now;
    let content = |content| Sample { id: 2, content, ..Sample::default() }.work(now, now);
    let work = content(1);
    for device in [&mut mining, &mut newcomer] {
        device.command(Command::Work(Some(work.clone())));
    }
    newcomer.login();
    let clean = |device: &Device| device.job.as_ref().unwrap().clean_jobs;
    assert_eq!((clean(&mining), clean(&newcomer)), (false, true));
    // Here, and as work and as job sent in each session.
    assert_eq!(Arc::strong_count(&work.job), 5, "nobody has copied it");
    let shared = |device: &mut Device| {
        device.lines.back().unwrap()["params"].as_array().unwrap()[1..8].to_vec()
    };
    assert_eq!(shared(&mut mining), shared(&mut newcomer));
    mining.command(Command::Work(Some(content(2))));
    assert!(!clean(&mining), "the newcomer's was clean for him alone");
}

/// Flaw 22: no V1 share is taken whose hash does not meet its target.
#[test]
fn no_share_is_taken_whose_hash_does_not_meet_the_target() {
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    let early = {
        let settings = MinerSettings { answers: Answers::Early, ..settings(6.0) };
        let mut device = Device::of_settings(&settings, "5e55", Instant::now());
        device.give(Sample::default());
        device.login();
        device
    };
    let given = |next: Sample| {
        let mut device = Device::logged_in(Sample::default());
        let job = device.job.clone().unwrap();
        device.give(next);
        (device, job)
    };
    let (later, earlier_job) = given(Sample { id: 2, content: 1, ..Sample::default() });
    let (moved, stale_job) = given(Sample { id: 2, prev_hash: 0xb2, ..Sample::default() });
    let situations = [
        ("plain", Device::logged_in(Sample::default()), None, true),
        ("answered early", early, None, true),
        ("resumed", crate::resume::resumed(), None, true),
        ("an earlier job", later, Some(earlier_job), true),
        ("a stale job", moved, Some(stale_job), false),
    ];
    for (situation, mut device, job, is_good_taken) in situations {
        let job = job.unwrap_or_else(|| device.job.clone().unwrap());
        let mut nonce = 0;
        for (is_good, id) in [(false, "9"), (true, "9"), (false, "null"), (true, "null")] {
            let found = device.mine_job(&job, nonce, None, |hash| own.is_met_by(hash) == is_good);
            nonce = found.nonce + 1;
            device.events.clear();
            device.send(&found.line(9, "w").replace("\"id\":9", &format!("\"id\":{id}")));
            let is_taken = device.events.iter().any(is_taken);
            assert_eq!(is_taken, is_good && is_good_taken, "{situation}, {is_good}, {id}");
            // The next answer waits for that of one that went up.
            if let Some((ticket, _)) = device.passed_on() {
                device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
            }
        }
    }
}

/// True if a share was answered with true, or goes up and may be.
fn is_taken(event: &Event) -> bool {
    sent_up(event).is_some() || matches!(event, Event::Answered { answer: Ok(()), .. })
}

/// Flaw 18: credited is a V1 share's difficulty as it was set, not that of a lucky hash.
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

/// Flaw 27: no name of a V1 miner forges a line of the log.
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
