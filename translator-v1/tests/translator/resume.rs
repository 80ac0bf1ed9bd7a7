//! Sessions that miners take up again: only with the token, only when nobody else is in it.

use std::time::{Duration, Instant};

use mining::target::Target;
use translator_v1::downstream::{Event, MinerSettings};
use wire::session::Session;

use crate::device::{Device, MINER_DIFFICULTY, Sample, counts_upstream, settings};

const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// A miner that has earned something in a session with `TOKEN`, and a share that it has not sent.
fn departed(settings: &MinerSettings) -> (Device, crate::device::Found) {
    let mut device = Device::of_settings(settings, TOKEN, Instant::now());
    device.give(Sample::default());
    device.login();
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    let local = |hash: &[u8; 32]| own.is_met_by(hash) && !counts_upstream(hash);
    let earned = device.mine(0, local);
    assert_eq!(device.submit(&earned)["result"], true);
    let found = device.mine(earned.nonce + 1, local);
    (device, found)
}

/// The same miner on a new connection, with another seat than before.
fn back(settings: &MinerSettings, now: Instant, token: &str) -> Device {
    back_with(settings, now, token, "x")
}

fn back_with(settings: &MinerSettings, now: Instant, token: &str, password: &str) -> Device {
    let mut device = Device::of_settings(settings, "fresh", now);
    device.give(Sample { content: 3, ..Sample::default() });
    device.send(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["x","{token}"]}}"#));
    let authorize = r#"{"id":2,"method":"mining.authorize","params":["w",""#;
    device.send(&format!("{authorize}{password}\"]}}"));
    device
}

/// A miner that is back in the session that it had.
pub(crate) fn resumed() -> Device {
    let settings = settings(6.0);
    let first = departed(&settings).0;
    let mut device = back(&settings, end(first), TOKEN);
    assert_eq!(token_told(&mut device), TOKEN);
    device
}

fn token_told(device: &mut Device) -> String {
    device.line()["result"][0][0][1].as_str().unwrap().to_owned()
}

/// Ends the connection; gives the time.
fn end(device: Device) -> Instant {
    let Device { session, now, .. } = device;
    session.park(now);
    now
}

#[test]
fn a_session_goes_on_with_its_extranonce_its_jobs_and_its_shares() {
    let settings = settings(6.0);
    let (mut first, found) = departed(&settings);
    let other = first.mine(found.nonce + 1, |hash| {
        Target::from_difficulty(MINER_DIFFICULTY).is_met_by(hash) && !counts_upstream(hash)
    });
    assert_eq!(first.submit(&other)["result"], true);
    let (extranonce_1, job) = (first.extranonce_1.clone(), first.job.clone().unwrap());
    let mut second = back(&settings, end(first) + Duration::from_secs(100), TOKEN);
    assert_eq!(token_told(&mut second), TOKEN);
    assert_eq!(second.extranonce_1, extranonce_1);
    assert!(second.events.iter().any(|event| matches!(event, Event::Resumed)));
    assert!(second.job.as_ref().unwrap().clean_jobs, "rule 9, on this connection");
    assert_ne!(second.job.as_ref().unwrap().job_id, job.job_id, "no id is used twice");
    assert_eq!(second.submit(&found)["result"], true, "found while the connection was gone");
    assert_eq!(second.refusal(&other).0, 22, "answered before the connection was gone");
}

#[test]
fn a_miner_that_was_silent_is_counted_when_it_comes_back() {
    let settings = settings(6.0);
    let mut first = departed(&settings).0;
    first.pass(Duration::from_secs(120));
    let second = back(&settings, end(first), TOKEN);
    let mut told = second.events.iter().filter_map(|event| match event {
        Event::Hashrate(hashrate) => Some(hashrate.hashes),
        _ => None,
    });
    assert!(told.next().is_some_and(|hashrate| hashrate > 0.0));
}

/// Flaw 12: a V1 session goes back only to who knows its token, and only when it is over.
#[test]
fn a_session_is_nobody_elses() {
    let settings = settings(6.0);
    let first = departed(&settings).0;
    let mut twin = back(&settings, first.now, TOKEN);
    assert_eq!(token_told(&mut twin), "fresh", "the session is alive");
    let now = end(first);
    let mut stranger = back(&settings, now, "00112233445566778899aabbccddeefe");
    assert_eq!(token_told(&mut stranger), "fresh", "a guess");
    let mut owner = back(&settings, now, TOKEN);
    assert_eq!(token_told(&mut owner), TOKEN);
    let mut third = back(&settings, now, TOKEN);
    assert_eq!(token_told(&mut third), "fresh", "taken up already");
}

#[test]
fn a_session_is_forgotten_after_three_minutes_and_with_its_channel() {
    let settings = settings(6.0);
    let now = end(departed(&settings).0) + Duration::from_secs(181);
    assert_eq!(token_told(&mut back(&settings, now, TOKEN)), "fresh");
    let now = end(departed(&settings).0);
    let mut device = Device::of_settings(&settings, "fresh", now);
    device.give(Sample { rollable: 8, epoch: 2, ..Sample::default() });
    device.send(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["x","{TOKEN}"]}}"#));
    assert_eq!(token_told(&mut device), "fresh");
    assert!(!device.session.is_finished());
}

#[test]
fn nothing_is_kept_of_a_miner_that_has_earned_nothing() {
    let settings = settings(6.0);
    let mut first = Device::of_settings(&settings, TOKEN, Instant::now());
    first.give(Sample::default());
    first.login();
    let now = end(first);
    assert_eq!(token_told(&mut back(&settings, now, TOKEN)), "fresh");
}

#[test]
fn what_was_found_for_another_pool_meanwhile_is_stale_and_a_block_of_it_goes_there() {
    let settings = settings(6.0);
    let mut first = Device::of_settings(&settings, TOKEN, Instant::now());
    let easy = Sample { nbits: crate::device::REGTEST_NBITS, ..Sample::default() };
    first.give(easy);
    first.login();
    let own = Target::from_difficulty(MINER_DIFFICULTY);
    let earned = first.mine(0, |hash| own.is_met_by(hash) && !counts_upstream(hash));
    assert_eq!(first.submit(&earned)["result"], true);
    let block = Target::from_nbits(crate::device::REGTEST_NBITS).unwrap();
    let found = first.mine(earned.nonce + 1, |hash| block.is_met_by(hash));
    let mut second = Device::of_settings(&settings, "fresh", end(first));
    second.give(Sample { prefix: [9, 9], epoch: 2, ..easy });
    second.send(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["x","{TOKEN}"]}}"#));
    second.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    assert_eq!(second.refusal(&found).0, 21);
    let sent = second.events.iter().find_map(|event| match event {
        Event::SubmitBlock { share, .. } => Some(share.epoch.0),
        _ => None,
    });
    assert_eq!(sent, Some(1), "the pool of its job");
}

#[test]
fn a_password_that_was_heard_before_does_not_undo_the_difficulty_that_was_found() {
    let settings = settings(6.0);
    let asked = MINER_DIFFICULTY / 4.0;
    let first = |password: &str| {
        let mut device = Device::of_settings(&settings, TOKEN, Instant::now());
        device.give(Sample::default());
        device.send(r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
        let authorize = r#"{"id":2,"method":"mining.authorize","params":["w",""#;
        device.send(&format!("{authorize}{password}\"]}}"));
        assert_eq!(device.difficulty, Some(asked));
        let own = Target::from_difficulty(asked);
        let found = device.mine(0, |hash| own.is_met_by(hash) && !counts_upstream(hash));
        assert_eq!(device.submit(&found)["result"], true);
        device.pass(Duration::from_secs(600));
        assert!(device.difficulty.unwrap() < asked, "it is slower than it said");
        (device.difficulty, end(device))
    };
    let password = format!("d={asked}");
    let (difficulty, now) = first(&password);
    assert_eq!(back_with(&settings, now, TOKEN, &password).difficulty, difficulty);
    let (_, now) = first(&password);
    let other = format!("d={}", asked * 2.0);
    assert_eq!(back_with(&settings, now, TOKEN, &other).difficulty, Some(asked * 2.0));
}
