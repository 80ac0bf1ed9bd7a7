//! What becomes of a share: whose verdict it gets, and which of the codes 20 to 25.

use std::time::Duration;

use mining::target::Target;
use translator_v1::bridge::submit::Verdict;
use translator_v1::downstream::{Answers, Command, Event, SHARES_WAITING_MAX};
use wire::session::Session;

use crate::device::{Device, MINER_DIFFICULTY, NTIME, REGTEST_NBITS, Sample};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_share_below_the_upstream_target_is_answered_here() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    assert_eq!(device.submit(&found)["result"], true);
    assert!(device.passed_on().is_none());
}

#[test]
fn a_share_that_the_upstream_counts_waits_for_its_verdict() {
    let mut device = Device::logged_in(Sample { id: 77, ..Sample::default() });
    let found = device.mine_upstream();
    device.send(&found.line(9, "w"));
    assert!(device.lines.is_empty());
    let (ticket, share) = device.passed_on().unwrap();
    assert_eq!((share.job_id, share.nonce, share.ntime), (77, found.nonce, found.ntime));
    assert_eq!(share.version, found.version);
    // The seat's two bytes, then what the miner rolled.
    assert_eq!(share.extranonce.as_slice(), [&[1, 2][..], &found.extranonce_2].concat());
    device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    assert_eq!(device.line()["result"], true);
}

#[test]
fn a_refusal_by_the_upstream_is_told_with_its_code_as_text() {
    for (code, text) in [
        (21, "stale-share"),
        (21, "invalid-job-id"),
        (22, "duplicate-share"),
        (23, "difficulty-too-low"),
        (20, "anything-else"),
    ] {
        let mut device = Device::logged_in(Sample::default());
        let found = device.mine_upstream();
        device.send(&found.line(9, "w"));
        let (ticket, _) = device.passed_on().unwrap();
        device.command(Command::Verdict { ticket, verdict: Verdict::Rejected(text.into()) });
        let answer = device.line();
        assert_eq!(answer["error"][0], code);
        assert_eq!(answer["error"][1], text);
    }
}

/// Flaw 15: no V1 share is answered with true in the hope that it will count.
#[test]
fn no_share_is_answered_true_that_the_upstream_did_not_count() {
    for verdict in [Verdict::Unanswered, Verdict::UpstreamLost, Verdict::TooManyWaiting] {
        let mut device = Device::logged_in(Sample::default());
        let found = device.mine_upstream();
        device.send(&found.line(9, "w"));
        let (ticket, _) = device.passed_on().unwrap();
        device.command(Command::Verdict { ticket, verdict });
        assert_eq!(device.line()["error"][0], 20);
    }
}

#[test]
fn a_share_that_is_answered_early_is_counted_again_if_the_upstream_refuses_it() {
    let mut settings = crate::device::settings(6.0);
    settings.answers = Answers::Early;
    let mut device = Device::of_settings(&settings, "5e55", std::time::Instant::now());
    device.give(Sample::default());
    device.login();
    let found = device.mine_upstream();
    assert_eq!(device.submit(&found)["result"], true, "before any verdict");
    let by_upstream = |event: &Event| matches!(event, Event::Answered { is_upstreams: true, .. });
    assert!(!device.events.iter().any(by_upstream), "it is not the upstream's word");
    let (ticket, _) = device.passed_on().unwrap();
    device.lines.clear();
    device.command(Command::Verdict { ticket, verdict: Verdict::Rejected("stale-share".into()) });
    assert!(device.lines.is_empty(), "it was answered");
    let [Event::LateVerdict { outcome: Err(error) }] = &device.events.make_contiguous()[..] else {
        panic!("{:?}", device.events);
    };
    assert_eq!(error.reason(), "stale");
}

#[test]
fn while_the_upstream_is_lost_shares_are_refused_and_mining_goes_on() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    let mut work = Sample::default().work(device.now, device.now);
    device.give(Sample::default());
    work.is_live = false;
    device.command(Command::Work(Some(work)));
    assert_eq!(device.refusal(&found), (20, "upstream lost".into()));
    let before = device.job.clone().unwrap();
    device.pass(46 * SECOND);
    assert_ne!(device.job.unwrap().job_id, before.job_id, "keepalive");
}

#[test]
fn shares_are_answered_in_the_order_in_which_they_came() {
    let mut device = Device::logged_in(Sample::default());
    let (far, near) = (device.mine_upstream(), device.mine_local());
    device.send(&far.line(4, "w"));
    device.send(&near.line(4, "w"));
    assert!(device.lines.is_empty());
    let (ticket, _) = device.passed_on().unwrap();
    device.command(Command::Verdict { ticket, verdict: Verdict::Rejected("stale-share".into()) });
    assert_eq!(device.line()["error"][0], 21);
    assert_eq!(device.line()["result"], true);
}

#[test]
fn error_20_for_what_is_no_share() {
    let mut device = Device::logged_in(Sample::default());
    device.send(r#"{"id":9,"method":"mining.submit","params":["w","1","zz","0","0"]}"#);
    assert_eq!(device.line()["error"][0], 20);
    let mut found = device.mine_local();
    for ntime in [NTIME - 1, NTIME + 3 * 60 * 60] {
        found.ntime = ntime;
        assert_eq!(device.refusal(&found), (20, "ntime out of range".into()));
    }
}

#[test]
fn error_21_for_a_job_of_an_earlier_tip_and_for_one_that_never_was() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    device.give(Sample { id: 2, prev_hash: 0xb2, ..Sample::default() });
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    for unknown in ["ffff", "0", "", "x", "+1"] {
        let found = crate::device::Found { job_id: unknown.into(), ..found.clone() };
        assert_eq!(device.refusal(&found), (21, "Job not found".into()), "{unknown}");
    }
}

#[test]
fn error_21_for_a_job_of_a_channel_that_is_gone() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    device.give(Sample { epoch: 2, ..Sample::default() });
    assert_eq!(device.refusal(&found).0, 21);
    device.pass(SECOND);
    assert!(device.job.as_ref().unwrap().clean_jobs);
    assert_eq!(device.refusal(&found).0, 21);
}

#[test]
fn an_earlier_job_of_the_same_tip_is_still_good() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_upstream();
    device.give(Sample { id: 2, content: 7, ..Sample::default() });
    device.send(&found.line(9, "w"));
    assert_eq!(device.passed_on().unwrap().1.job_id, 1);
}

#[test]
fn error_22_for_the_same_share_twice() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    assert_eq!(device.submit(&found)["result"], true);
    assert_eq!(device.refusal(&found), (22, "Duplicate share".into()));
}

/// Flaw 3: no V1 share is credited before it has met its target.
/// Flaw 4: no V1 share is remembered before it has met its target.
#[test]
fn error_23_for_a_hash_above_the_target_which_is_not_remembered() {
    let mut device = Device::logged_in(Sample::default());
    let own = Target::from_difficulty(MINER_DIFFICULTY / 2.0);
    let found = device.mine(0, |hash| !own.is_met_by(hash));
    for _ in 0..2 {
        assert_eq!(device.refusal(&found).0, 23);
    }
}

#[test]
fn error_24_for_a_worker_that_has_not_authorized() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    device.send(&found.line(9, "stranger"));
    assert_eq!(device.line()["error"][0], 24);
}

#[test]
fn error_25_for_a_share_before_subscribe() {
    let mut device = Device::with_work();
    device.send(r#"{"id":9,"method":"mining.submit","params":["w","1","00","0","0"]}"#);
    assert_eq!(device.line()["error"][0], 25);
}

#[test]
fn a_share_with_id_null_is_counted_and_not_answered() {
    let mut device = Device::logged_in(Sample::default());
    let found = device.mine_local();
    device.send(&found.line(9, "w").replace("\"id\":9", "\"id\":null"));
    assert!(device.lines.is_empty());
    assert_eq!(device.refusal(&found).0, 22);
}

/// Sends `count` shares for the upstream from `nonce` on; gives the next nonce and what went up.
fn send_upstream(device: &mut Device, mut nonce: u32, count: usize) -> (u32, Vec<u64>) {
    let upstream = Target::from_difficulty(crate::device::UPSTREAM_DIFFICULTY);
    let mut tickets = Vec::new();
    for _ in 0..count {
        let found = device.mine(nonce, |hash| upstream.is_met_by(hash));
        nonce = found.nonce + 1;
        device.send(&found.line(9, "w"));
        tickets.extend(device.passed_on().map(|(ticket, _)| ticket));
    }
    (nonce, tickets)
}

#[test]
fn only_so_many_shares_wait_for_the_upstream_and_no_refusal_overtakes_an_answer() {
    let mut device = Device::logged_in(Sample::default());
    let (_, tickets) = send_upstream(&mut device, 0, SHARES_WAITING_MAX + 3);
    assert_eq!(tickets.len(), SHARES_WAITING_MAX);
    assert!(device.lines.is_empty(), "the first one was not answered yet");
    for ticket in tickets {
        device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    }
    let answers: Vec<_> = device.lines.drain(..).map(|line| line["error"][0] == 20).collect();
    assert_eq!(answers.len(), SHARES_WAITING_MAX + 3);
    let refused = answers.iter().position(|is_refused| *is_refused);
    assert_eq!(refused, Some(SHARES_WAITING_MAX), "in the order of the requests");
}

#[test]
fn with_early_answers_no_share_is_answered_true_whose_verdict_would_have_no_room() {
    let mut settings = crate::device::settings(6.0);
    settings.answers = Answers::Early;
    let mut device = Device::of_settings(&settings, "5e55", std::time::Instant::now());
    device.give(Sample::default());
    device.login();
    device.lines.clear();
    let (nonce, tickets) = send_upstream(&mut device, 0, SHARES_WAITING_MAX + 3);
    assert_eq!(tickets.len(), SHARES_WAITING_MAX);
    let is_true = |line: serde_json::Value| line["result"] == true;
    let answers: Vec<_> = device.lines.drain(..).map(is_true).collect();
    assert_eq!(answers.iter().filter(|it| **it).count(), SHARES_WAITING_MAX);
    assert_eq!(answers.len(), SHARES_WAITING_MAX + 3, "the others are refused, not forgotten");
    // Each verdict makes room for one more.
    let ticket = tickets[0];
    device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    let (_, later) = send_upstream(&mut device, nonce, 2);
    assert_eq!(later.len(), 1);
}

#[test]
fn who_has_too_many_shares_without_an_answer_is_not_read_until_there_is_one() {
    let mut device = Device::logged_in(Sample::default());
    let (nonce, tickets) = send_upstream(&mut device, 0, 2 * SHARES_WAITING_MAX);
    assert!(device.session.poll_pause().unwrap() > device.now + 3_600 * SECOND);
    let (_, later) = send_upstream(&mut device, nonce, 1);
    assert!(later.is_empty());
    for ticket in tickets {
        device.command(Command::Verdict { ticket, verdict: Verdict::Accepted });
    }
    assert_eq!(device.lines.len(), 2 * SHARES_WAITING_MAX + 1, "and the one that had to wait");
    assert!(device.session.poll_pause().is_none_or(|until| until < device.now + 60 * SECOND));
}

#[test]
fn a_flood_of_lines_is_read_later_and_said_once() {
    let mut device = Device::logged_in(Sample::default());
    let ping = "{\"id\":5,\"method\":\"mining.ping\",\"params\":[]}\n";
    device.pass(10 * SECOND);
    device.send_bytes(ping.repeat(100).as_bytes());
    assert_eq!(device.session.poll_pause(), None, "a second's worth");
    for pause in [1, 2] {
        device.send_bytes(ping.repeat(if pause == 1 { 200 } else { 100 }).as_bytes());
        assert_eq!(device.session.poll_pause(), Some(device.now + pause * SECOND));
    }
    device.pass(10 * SECOND);
    device.send_bytes(ping.repeat(100).as_bytes());
    assert_eq!(device.session.poll_pause(), None);
    let said = device.events.iter().filter(|event| matches!(event, Event::SlowedDown)).count();
    assert_eq!(said, 1);
}

/// Flaw 7: a V1 share is looked at as a block before anything can refuse it.
#[test]
fn a_block_is_reported_and_goes_upstream_whatever_its_share_is_worth() {
    // Every second hash is a block; the upstream would count one in 4096.
    let mut device = Device::logged_in(Sample { nbits: REGTEST_NBITS, ..Sample::default() });
    let block = Target::from_nbits(REGTEST_NBITS).unwrap();
    let own = Target::from_difficulty(MINER_DIFFICULTY / 2.0);
    let worthless = device.mine(0, |hash| block.is_met_by(hash) && !own.is_met_by(hash));
    assert_eq!(device.refusal(&worthless).0, 23, "it is no share");
    let events: Vec<_> = device.events.drain(..).collect();
    let is_sent = |event: &Event| matches!(event, Event::SubmitBlock { .. });
    assert!(events.iter().any(is_sent));
    assert!(
        events.iter().any(
            |event| matches!(event, Event::BlockFound { hash, .. } if *hash == worthless.hash)
        )
    );
    let found = device.mine_local();
    assert_eq!(device.submit(&found)["result"], true, "the miner did what it was told");
    assert!(device.events.iter().any(is_sent));
}

/// What the session did about a block, and forgets it: reported, and sent though it is no share.
fn block_events(device: &mut Device) -> (usize, usize) {
    let events: Vec<_> = device.events.drain(..).collect();
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    let is_sent =
        |event: &Event| matches!(event, Event::SubmitBlock { share, .. } if share.is_block);
    (count(|event| matches!(event, Event::BlockFound { .. })), count(is_sent))
}

/// A miner on a chain where every second hash is a block, and the first one that it finds.
fn device_with_block() -> (Device, crate::device::Found) {
    let device = Device::logged_in(Sample { nbits: REGTEST_NBITS, ..Sample::default() });
    let block = Target::from_nbits(REGTEST_NBITS).unwrap();
    let found = device.mine(0, |hash| block.is_met_by(hash));
    (device, found)
}

/// Flaw 7: a V1 share that has become stale is still a block.
#[test]
fn a_block_that_races_a_new_tip_goes_upstream_once_and_its_share_is_stale() {
    let (mut device, found) = device_with_block();
    for id in 2..=5 {
        let prev_hash = 0xb0 + u8::try_from(id).unwrap();
        device.give(Sample { id, prev_hash, nbits: REGTEST_NBITS, ..Sample::default() });
    }
    block_events(&mut device);
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (1, 1));
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (0, 0), "it went up already");
    device.give(Sample { id: 6, prev_hash: 0xc6, nbits: REGTEST_NBITS, ..Sample::default() });
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (0, 0), "so many tips later nobody has its job");
}

#[test]
fn a_stale_block_of_a_channel_that_is_mined_on_no_more_goes_to_its_upstream_once() {
    let (mut device, found) = device_with_block();
    device.give(Sample { epoch: 2, prev_hash: 0xb2, nbits: REGTEST_NBITS, ..Sample::default() });
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (1, 1));
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (0, 0), "it went up already");
}

#[test]
fn a_block_under_another_worker_name_goes_upstream_and_its_share_is_refused() {
    let (mut device, found) = device_with_block();
    device.send(&found.line(9, "stranger"));
    assert_eq!(device.line()["error"][0], 24);
    assert_eq!(block_events(&mut device), (1, 1));
}

/// Flaw 7: a V1 share with a wrong nTime or version is still a block.
#[test]
fn a_block_with_an_ntime_or_version_out_of_bounds_goes_upstream_and_its_share_is_refused() {
    let (mut device, found) = device_with_block();
    let mut job = device.job.clone().unwrap();
    job.ntime = NTIME + 3 * 60 * 60;
    let block = Target::from_nbits(REGTEST_NBITS).unwrap();
    let late = device.mine_job(&job, 0, None, |hash| block.is_met_by(hash));
    assert_eq!(device.refusal(&late), (20, "ntime out of range".into()));
    assert_eq!(block_events(&mut device), (1, 1));
    let bits = Some((1, crate::device::Rolling::Or));
    job.ntime = found.ntime;
    let rolled = device.mine_job(&job, 0, bits, |hash| block.is_met_by(hash));
    assert_eq!(device.refusal(&rolled), (20, "version bits outside the mask".into()));
    assert_eq!(block_events(&mut device), (1, 1));
}

#[test]
fn a_block_goes_upstream_while_too_many_shares_wait() {
    let mut device = Device::logged_in(Sample { nbits: REGTEST_NBITS, ..Sample::default() });
    let (nonce, _) = send_upstream(&mut device, 0, SHARES_WAITING_MAX);
    assert!(device.lines.iter().all(|line| line["id"] != 9));
    block_events(&mut device);
    let upstream = Target::from_difficulty(crate::device::UPSTREAM_DIFFICULTY);
    let found = device.mine(nonce, |hash| upstream.is_met_by(hash));
    device.send(&found.line(9, "w"));
    assert_eq!(block_events(&mut device), (1, 1));
}

#[test]
fn a_block_on_its_way_from_a_miner_that_is_hung_up_on_goes_to_the_upstream_of_its_job() {
    let (mut device, found) = device_with_block();
    block_events(&mut device);
    // Another pool leaves less room, and the miner takes no set_extranonce.
    let other = Sample { epoch: 2, rollable: 8, nbits: REGTEST_NBITS, ..Sample::default() };
    device.give(other);
    assert!(!device.session.is_finished(), "it cannot have heard of it yet");
    assert_eq!(device.refusal(&found), (21, "Stale job".into()));
    assert_eq!(block_events(&mut device), (1, 1));
    device.pass(SECOND);
    assert!(device.session.is_finished());
}

#[test]
fn a_fast_miner_gets_a_higher_difficulty_and_tells_its_hashrate() {
    let mut device = Device::logged_in(Sample { difficulty: 1.0, ..Sample::default() });
    let (start, first) = (device.difficulty.unwrap(), device.job.clone().unwrap());
    let mut nonce = 0;
    // Ten times as many shares as wanted: one a second.
    for _ in 0..120 {
        if device.difficulty.unwrap() >= 4.0 * start {
            break;
        }
        device.pass(SECOND);
        let own = Target::from_difficulty(device.difficulty.unwrap());
        let found = device.mine(nonce, |hash| own.is_met_by(hash));
        nonce = found.nonce + 1;
        assert_eq!(device.submit(&found)["result"], true);
    }
    assert!(device.difficulty.unwrap() >= 4.0 * start, "{:?}", device.difficulty);
    assert_ne!(device.job.as_ref().unwrap().job_id, first.job_id);
    device.pass(10 * SECOND);
    let told = device.events.iter().filter_map(|event| match event {
        Event::Hashrate(hashrate) => Some(hashrate.hashes),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(told.last() > told.first(), "{told:?}");
}

#[test]
fn a_slow_miner_gets_a_lower_difficulty() {
    let mut device = Device::logged_in(Sample::default());
    let start = device.difficulty.unwrap();
    device.pass(180 * SECOND);
    assert!(device.difficulty.unwrap() < start);
}
