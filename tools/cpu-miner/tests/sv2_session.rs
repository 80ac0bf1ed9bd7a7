//! The SV2 device against a pool that says exactly what a test tells it to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may say what it means")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cpu_miner::pool::Event;
use cpu_miner::sv2::{ChannelKind, Device, Start, Sv2Session};
use cpu_miner::work::{MerkleSource, Share, Work};
use mining::target::Target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::pair::{Ended, Pair};
use testkit::scripted::ScriptedPeer;
use wire::session::PeerError;
use wire::sv2::codec::{Blob, Bytes32, DecodeError, List};
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::keys::{AuthorityKey, AuthoritySecret, Sv2Url};
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::mining::*;
use wire::sv2::noise::{NoiseError, ServerIdentity};
use wire::sv2::setup::{REQUIRES_STANDARD_JOBS, Setup, SetupConnectionSuccess, is_setup_message};

const UNIX_NOW: u32 = 1_700_000_000;

#[derive(Debug)]
enum Heard {
    Setup(Setup),
    Mining(Mining),
}

fn read(frame: &Frame) -> Result<Heard, DecodeError> {
    let message_type = frame.header.message_type;
    match is_setup_message(message_type) {
        true => Setup::decode(message_type, &frame.payload).map(Heard::Setup),
        false => Mining::decode(message_type, &frame.payload).map(Heard::Mining),
    }
}

type Meeting = Pair<Sv2Session, ScriptedPeer<Heard>>;

fn authority(seed: u64) -> AuthoritySecret {
    AuthoritySecret::generate(&mut StdRng::seed_from_u64(seed))
}

/// A device and a pool whose handshake is still to come.
fn meet_with_key(kind: ChannelKind, expected: Option<AuthorityKey>) -> Meeting {
    let now = Instant::now();
    let url = Sv2Url { host: "pool.example".to_owned(), port: 34254, authority_key: expected };
    let device = Device { url, kind, user: "someone.cpu".to_owned(), nominal_hash_rate: 5e6 };
    let start = Start { seed: [1; 32], unix_now: UNIX_NOW, now, connection: 1 };
    let limits = LinkLimits { frame_bytes_max: 1 << 16, output_bytes_max: 1 << 20 };
    let identity = ServerIdentity::certified(&authority(1), 86_400, [3; 32], UNIX_NOW);
    let pool = ScriptedPeer::new(Link::server(Arc::new(identity), limits, [2; 32]), read);
    let mut pair = Pair::new(Sv2Session::new(device, start).unwrap(), pool, now);
    pair.drive();
    pair
}

fn meet(kind: ChannelKind) -> Meeting {
    meet_with_key(kind, Some(authority(1).public()))
}

fn say<M: Message>(pair: &mut Meeting, message: &M) {
    pair.command_server(EncodedFrame::new(message));
}

fn set_up(pair: &mut Meeting) {
    say(pair, &SetupConnectionSuccess { used_version: 2, flags: 0 });
}

/// A device with an open channel 7 of group 1, which has heard of nothing else.
fn open(kind: ChannelKind) -> Meeting {
    let mut pair = meet(kind);
    set_up(&mut pair);
    let target = Target::from_difficulty(0.001).to_le_bytes();
    let extranonce_prefix = Bytes32::new(&[0xaa, 0xbb]).unwrap();
    match kind {
        ChannelKind::Standard => say(
            &mut pair,
            &OpenStandardMiningChannelSuccess {
                request_id: 1,
                channel_id: 7,
                target,
                extranonce_prefix,
                group_channel_id: 1,
            },
        ),
        ChannelKind::Extended => say(
            &mut pair,
            &OpenExtendedMiningChannelSuccess {
                request_id: 1,
                channel_id: 7,
                target,
                extranonce_size: 4,
                extranonce_prefix,
                group_channel_id: 1,
            },
        ),
    }
    assert!(matches!(pair.client.event(), Some(Event::Ready)));
    pair.server.events.clear();
    pair
}

fn standard_job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    NewMiningJob { channel_id: 7, job_id, min_ntime, version: 0x2000_0000, merkle_root: [5; 32] }
}

fn extended_job(channel_id: u32, job_id: u32) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime: None,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: List::new(vec![[9; 32]]).unwrap(),
        coinbase_tx_prefix: Blob::new(vec![1, 2]).unwrap(),
        coinbase_tx_suffix: Blob::new(vec![3]).unwrap(),
    }
}

fn tip(channel_id: u32, job_id: u32, prev_hash: u8) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: [prev_hash; 32],
        min_ntime: 1000,
        nbits: 0x207f_ffff,
    }
}

fn set_target(difficulty: f64) -> SetTarget {
    let maximum_target = Target::from_difficulty(difficulty).to_le_bytes();
    SetTarget { channel_id: 7, maximum_target }
}

/// The next work; there must be one.
fn work(pair: &mut Meeting) -> Work {
    match pair.client.event() {
        Some(Event::Work(work)) => Work::clone(&work),
        other => panic!("no work but {other:?}"),
    }
}

fn share(work: &Work, hash: [u8; 32]) -> Share {
    Share { work: work.id, extranonce: vec![], version: 0x2000_0020, ntime: 1001, nonce: 3, hash }
}

fn misbehaved(pair: &Meeting) -> bool {
    matches!(pair.client.ended, Some(Ended::Failed(PeerError::Misbehaved(_))))
}

#[test]
fn a_standard_device_says_that_it_needs_standard_jobs_and_opens_one_channel() {
    let mut pair = meet(ChannelKind::Standard);
    let Some(Heard::Setup(Setup::SetupConnection(setup))) = pair.server.event() else { panic!() };
    assert_eq!((setup.protocol, setup.flags), (0, REQUIRES_STANDARD_JOBS));
    assert_eq!(
        (setup.endpoint_host.display().as_ref(), setup.endpoint_port),
        ("pool.example", 34254)
    );
    set_up(&mut pair);
    let Some(Heard::Mining(Mining::OpenStandardMiningChannel(open))) = pair.server.event() else {
        panic!()
    };
    assert_eq!(open.user_identity.display(), "someone.cpu");
    assert_eq!(open.nominal_hash_rate, 5e6);
    assert!(pair.server.event().is_none());
}

#[test]
fn an_extended_device_takes_any_jobs_and_asks_for_room_to_roll() {
    let mut pair = meet(ChannelKind::Extended);
    let Some(Heard::Setup(Setup::SetupConnection(setup))) = pair.server.event() else { panic!() };
    assert_eq!(setup.flags, 0);
    set_up(&mut pair);
    let Some(Heard::Mining(Mining::OpenExtendedMiningChannel(open))) = pair.server.event() else {
        panic!()
    };
    assert!(open.min_extranonce_size >= 2);
}

#[test]
fn a_pool_with_another_key_is_refused_before_anything_is_said_to_it() {
    let mut pair = meet_with_key(ChannelKind::Standard, Some(authority(2).public()));
    let ended = pair.client.ended.take();
    let certificate = PeerError::Noise(NoiseError::Certificate).to_string();
    assert!(matches!(ended, Some(Ended::Failed(error)) if error.to_string() == certificate));
    assert!(pair.server.event().is_none());
}

#[test]
fn without_a_key_any_pool_is_taken() {
    let mut pair = meet_with_key(ChannelKind::Standard, None);
    assert!(matches!(pair.server.event(), Some(Heard::Setup(_))));
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut pair = open(ChannelKind::Standard);
    pair.fragment_bytes = 1;
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &tip(7, 1, 4));
    assert_eq!(work(&mut pair).prev_hash, [4; 32]);
}

#[test]
fn a_future_job_is_mined_when_its_tip_comes_and_not_before() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &standard_job(2, None));
    assert!(pair.client.event().is_none());
    say(&mut pair, &tip(7, 2, 4));
    let work = work(&mut pair);
    assert_eq!((work.prev_hash, work.nbits, work.min_ntime), ([4; 32], 0x207f_ffff, 1000));
    assert!(matches!(work.merkle, MerkleSource::Fixed(root) if root == [5; 32]));
    // The other future job went with the old tip.
    say(&mut pair, &tip(7, 1, 5));
    assert!(misbehaved(&pair));
}

#[test]
fn a_job_with_a_time_is_mined_at_once_on_the_present_tip() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &tip(7, 1, 4));
    let _ = work(&mut pair);
    say(&mut pair, &standard_job(2, Some(1234)));
    let work = work(&mut pair);
    assert_eq!((work.prev_hash, work.min_ntime), ([4; 32], 1234));
}

#[test]
fn a_job_for_now_before_any_tip_breaks_the_protocol() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, Some(1234)));
    assert!(misbehaved(&pair));
}

#[test]
fn jobs_and_tips_for_the_group_are_mined_on_an_extended_channel() {
    let mut pair = open(ChannelKind::Extended);
    say(&mut pair, &extended_job(1, 3));
    say(&mut pair, &tip(1, 3, 4));
    let MerkleSource::Rolled(parts) = work(&mut pair).merkle else { panic!() };
    assert_eq!(parts.prefix, [1, 2, 0xaa, 0xbb]);
    assert_eq!((parts.extranonce_bytes, parts.suffix), (4, vec![3]));
}

#[test]
fn a_new_extranonce_prefix_counts_for_later_jobs() {
    let mut pair = open(ChannelKind::Extended);
    say(&mut pair, &extended_job(7, 1));
    let extranonce_prefix = Bytes32::new(&[0xcc, 0xdd]).unwrap();
    say(&mut pair, &SetExtranoncePrefix { channel_id: 7, extranonce_prefix });
    say(&mut pair, &extended_job(7, 2));
    say(&mut pair, &tip(7, 2, 4));
    let MerkleSource::Rolled(parts) = work(&mut pair).merkle else { panic!() };
    assert_eq!(parts.prefix, [1, 2, 0xcc, 0xdd]);
}

#[test]
fn messages_for_other_channels_are_left_alone() {
    let mut pair = open(ChannelKind::Extended);
    say(&mut pair, &extended_job(99, 1));
    say(&mut pair, &CloseChannel { channel_id: 99, reason_code: "no".into() });
    assert!(pair.client.event().is_none());
    assert!(pair.client.ended.is_none());
}

#[test]
fn a_share_goes_to_the_pool_with_its_job_and_a_growing_number() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(31, None));
    say(&mut pair, &tip(7, 31, 4));
    let work = work(&mut pair);
    for number in [1, 2] {
        pair.command_client(share(&work, [0; 32]));
        let expected = SubmitSharesStandard {
            channel_id: 7,
            sequence_number: number,
            job_id: 31,
            nonce: 3,
            ntime: 1001,
            version: 0x2000_0020,
        };
        let heard = pair.server.event();
        assert!(
            matches!(heard, Some(Heard::Mining(Mining::SubmitSharesStandard(s))) if s == expected)
        );
    }
}

#[test]
fn an_extended_share_carries_the_rolled_extranonce_alone() {
    let mut pair = open(ChannelKind::Extended);
    say(&mut pair, &extended_job(7, 1));
    say(&mut pair, &tip(7, 1, 4));
    let work = work(&mut pair);
    pair.command_client(Share { extranonce: vec![0, 0, 0, 9], ..share(&work, [0; 32]) });
    let Some(Heard::Mining(Mining::SubmitSharesExtended(submit))) = pair.server.event() else {
        panic!()
    };
    assert_eq!(submit.extranonce.as_slice(), [0, 0, 0, 9]);
}

#[test]
fn a_share_of_an_earlier_tip_is_withheld_and_one_of_an_earlier_job_is_sent() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &tip(7, 1, 4));
    let first = work(&mut pair);
    say(&mut pair, &standard_job(2, Some(1100)));
    let _ = work(&mut pair);
    pair.command_client(share(&first, [0; 32]));
    assert!(matches!(pair.server.event(), Some(Heard::Mining(_))));
    say(&mut pair, &standard_job(3, None));
    say(&mut pair, &tip(7, 3, 5));
    let _ = work(&mut pair);
    pair.command_client(share(&first, [0; 32]));
    assert!(pair.server.event().is_none());
    assert!(matches!(pair.client.event(), Some(Event::Withheld)));
}

#[test]
fn a_new_target_counts_for_future_jobs_that_came_before_it() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &set_target(0.5));
    say(&mut pair, &tip(7, 1, 4));
    assert_eq!(work(&mut pair).target, Target::from_difficulty(0.5));
}

#[test]
fn a_running_job_gets_harder_with_a_new_target_and_never_easier() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &standard_job(1, None));
    say(&mut pair, &tip(7, 1, 4));
    let work = work(&mut pair);
    let just_good_enough = work.target.to_le_bytes();
    say(&mut pair, &set_target(0.0001));
    pair.command_client(share(&work, just_good_enough));
    assert!(matches!(pair.server.event(), Some(Heard::Mining(_))));
    say(&mut pair, &set_target(1.0));
    pair.command_client(share(&work, just_good_enough));
    assert!(pair.server.event().is_none());
    assert!(matches!(pair.client.event(), Some(Event::Withheld)));
}

#[test]
fn verdicts_are_told() {
    let mut pair = open(ChannelKind::Standard);
    let accepted = SubmitSharesSuccess {
        channel_id: 7,
        last_sequence_number: 3,
        new_submits_accepted_count: 3,
        new_shares_sum: 3,
    };
    say(&mut pair, &accepted);
    let refused =
        SubmitSharesError { channel_id: 7, sequence_number: 4, error_code: "stale-share".into() };
    say(&mut pair, &refused);
    assert!(matches!(pair.client.event(), Some(Event::Accepted { shares: 3 })));
    let reason = pair.client.event();
    assert!(matches!(reason, Some(Event::Rejected { reason }) if reason == "stale-share"));
}

#[test]
fn a_closed_channel_ends_the_session() {
    let mut pair = open(ChannelKind::Standard);
    say(&mut pair, &CloseChannel { channel_id: 1, reason_code: "going".into() });
    assert!(matches!(pair.client.ended, Some(Ended::Failed(PeerError::Closed(_)))));
}

#[test]
fn a_pool_that_opens_no_channel_in_time_is_left() {
    let mut pair = meet(ChannelKind::Standard);
    set_up(&mut pair);
    pair.run_for(Duration::from_secs(14));
    assert!(pair.client.ended.is_none());
    pair.run_for(Duration::from_secs(2));
    assert!(matches!(pair.client.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}

#[test]
fn a_silent_pool_is_left_after_three_minutes_of_silence() {
    let mut pair = open(ChannelKind::Standard);
    pair.run_for(Duration::from_secs(170));
    say(&mut pair, &set_target(1.0));
    pair.run_for(Duration::from_secs(170));
    assert!(pair.client.ended.is_none());
    pair.run_for(Duration::from_secs(20));
    assert!(matches!(pair.client.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}
