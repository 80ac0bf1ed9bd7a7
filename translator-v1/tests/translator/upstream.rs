//! The SV2 client against a scripted pool.

use std::time::Duration;

use mining::target::Target;
use translator_v1::bridge::notify::{ChannelEpoch, Job};
use translator_v1::bridge::submit::{UpstreamShare, Verdict};
use translator_v1::upstream::promise::Promise;
use translator_v1::upstream::{Command, Event, MinersTotal};
use wire::session::PeerError;
use wire::sv2::codec::{Blob, Bytes32, List};
use wire::sv2::extensions::{RequestExtensions, RequestExtensionsSuccess};
use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, OpenExtendedMiningChannel, OpenMiningChannelError,
    SetExtranoncePrefix, SetGroupChannel, SetTarget, SubmitSharesError, SubmitSharesExtended,
    SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};
use wire::sv2::setup::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};

use crate::device::{HARD_NBITS, NTIME};
use crate::pool::{CHANNEL, GROUP, Pool, job, job_that_pays, prev_hash, success};

const SECOND: Duration = Duration::from_secs(1);
const EASY: [u8; 32] = [0xff; 32];

fn jobs(pool: &mut Pool) -> Vec<std::sync::Arc<Job>> {
    let events = std::mem::take(&mut pool.events);
    let job = |event| match event {
        Event::Job { job, .. } => Some(job),
        _ => None,
    };
    events.into_iter().filter_map(job).collect()
}

pub(crate) fn share(epoch: u64, nonce: u32) -> UpstreamShare {
    UpstreamShare {
        epoch: ChannelEpoch(epoch),
        job_id: 1,
        nonce,
        ntime: NTIME,
        version: 0x2000_0000,
        extranonce: Bytes32::new(&[1; 10]).unwrap(),
        is_block: false,
    }
}

fn submit(pool: &mut Pool, ticket: u32) -> SubmitSharesExtended {
    pool.command(Command::Submit { share: share(100, ticket), worker: "farm.rig".into(), ticket });
    pool.take()
}

#[test]
fn setup_asks_for_version_rolling_and_names_the_host() {
    let mut pool = Pool::dialled(MinersTotal::default(), true);
    let setup: SetupConnection = pool.take();
    assert_eq!(setup.protocol, 0);
    assert_eq!(setup.flags, 0b100);
    assert_eq!(setup.endpoint_host.as_str(), Some("pool.example"));
    assert_eq!(setup.endpoint_port, 34_254);
    assert!(pool.is_quiet(), "nothing more before the answer");
}

#[test]
fn a_pool_with_another_key_is_refused() {
    let pool = Pool::dialled(MinersTotal::default(), false);
    assert!(matches!(pool.ended, Some(PeerError::Noise(_))), "{:?}", pool.ended);
}

#[test]
fn a_pool_that_refuses_or_forbids_version_rolling_is_left() {
    let mut refused = Pool::dialled(MinersTotal::default(), true);
    refused
        .send(&SetupConnectionError { flags: 4, error_code: "unsupported-feature-flags".into() });
    assert!(matches!(refused.ended, Some(PeerError::Incompatible(_))));
    let mut fixed = Pool::dialled(MinersTotal::default(), true);
    fixed.send(&SetupConnectionSuccess { used_version: 2, flags: 1 });
    assert!(matches!(fixed.ended, Some(PeerError::Incompatible(_))));
    let mut job_of_it = Pool::open(EASY);
    job_of_it.send(&NewExtendedMiningJob { version_rolling_allowed: false, ..job(1, None) });
    assert!(matches!(job_of_it.ended, Some(PeerError::Incompatible(_))));
}

/// Every share of it, and every block, would be refused: the next pool is better.
#[test]
fn rule_18_a_coinbase_with_a_witness_is_not_mined() {
    for min_ntime in [None, Some(NTIME)] {
        let mut pool = Pool::working(EASY);
        jobs(&mut pool);
        pool.send(&with_witness(job(2, min_ntime)));
        assert!(matches!(pool.ended, Some(PeerError::Incompatible(_))), "{:?}", pool.ended);
        assert!(jobs(&mut pool).is_empty());
    }
}

/// The job with marker and flag between version and inputs of its coinbase.
pub(crate) fn with_witness(job: NewExtendedMiningJob) -> NewExtendedMiningJob {
    let prefix = [&[2, 0, 0, 0, 0, 1, 1][..], &[0; 32], &[0xff; 4], &[16, 3, 1, 2, 3]].concat();
    NewExtendedMiningJob { coinbase_tx_prefix: Blob::new(prefix).unwrap(), ..job }
}

#[test]
fn a_proxy_without_miners_says_0_and_then_the_truth_at_most_once_a_second() {
    let mut pool = Pool::set_up();
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!((open.nominal_hash_rate, open.min_extranonce_size), (0.0, 10));
    assert_eq!(open.user_identity.as_str(), Some("farm"));
    pool.send(&success(open.request_id, EASY, 10));
    for miners in 1..=5_u32 {
        let hashrate = f64::from(miners) * 1e12;
        pool.command(Command::Miners(MinersTotal { miners, hashrate }));
    }
    assert!(pool.is_quiet(), "the open request is not a second old");
    pool.pass(SECOND);
    let update: UpdateChannel = pool.take();
    assert_eq!((update.channel_id, update.nominal_hash_rate), (CHANNEL, 5e12));
    pool.pass(SECOND);
    assert!(pool.is_quiet());
    // While the miners are the same, so little is luck.
    pool.command(Command::Miners(MinersTotal { miners: 5, hashrate: 5.9e12 }));
    pool.pass(10 * SECOND);
    assert!(pool.is_quiet());
    pool.command(Command::Miners(MinersTotal { miners: 5, hashrate: 6.1e12 }));
    let update: UpdateChannel = pool.take();
    assert_eq!(update.nominal_hash_rate, 6.1e12);
    pool.pass(SECOND);
    pool.command(Command::Miners(MinersTotal::default()));
    let update: UpdateChannel = pool.take();
    assert_eq!(update.nominal_hash_rate, 0.0);
}

#[test]
fn fewer_extranonce_bytes_are_asked_for_when_10_are_refused() {
    let mut pool = Pool::set_up();
    let mut asked = Vec::new();
    for code in ["min-extranonce-size-too-large", "unsupported-min-extranonce-size"] {
        let open: OpenExtendedMiningChannel = pool.take();
        asked.push(open.min_extranonce_size);
        let (request_id, error_code) = (open.request_id, code.into());
        pool.send(&OpenMiningChannelError { request_id, error_code });
    }
    let open: OpenExtendedMiningChannel = pool.take();
    asked.push(open.min_extranonce_size);
    assert_eq!(asked, [10, 8, 6]);
    pool.send(&success(open.request_id, EASY, 6));
    assert!(pool.ended.is_none());
}

#[test]
fn a_pool_without_room_for_miners_is_left_with_a_sentence() {
    let mut pool = Pool::set_up();
    let open: OpenExtendedMiningChannel = pool.take();
    pool.send(&success(open.request_id, EASY, 4));
    let reason = pool.ended.unwrap().to_string();
    assert!(reason.contains("at least 6"), "{reason}");
}

#[test]
fn a_pool_that_takes_no_0_is_told_the_configured_hashrate() {
    let mut pool = Pool::set_up();
    let open: OpenExtendedMiningChannel = pool.take();
    let (request_id, error_code) = (open.request_id, "invalid-nominal-hashrate".into());
    pool.send(&OpenMiningChannelError { request_id, error_code });
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!(open.nominal_hash_rate, 5e9);
}

#[test]
fn an_unknown_refusal_ends_the_connection_with_the_code() {
    let mut pool = Pool::set_up();
    let open: OpenExtendedMiningChannel = pool.take();
    let (request_id, error_code) = (open.request_id, "unknown-user".into());
    pool.send(&OpenMiningChannelError { request_id, error_code });
    assert!(pool.ended.unwrap().to_string().contains("unknown-user"));
}

#[test]
fn a_future_job_is_mined_when_its_prev_hash_comes() {
    let mut pool = Pool::open(EASY);
    pool.send(&job(1, None));
    pool.send(&job(2, None));
    assert!(jobs(&mut pool).is_empty());
    pool.send(&prev_hash(2, 0xa1, HARD_NBITS));
    let started = jobs(&mut pool);
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].id, 2);
    assert_eq!(started[0].tip.prev_hash, [0xa1; 32]);
    assert_eq!(started[0].min_ntime, NTIME);
    // The other one became invalid with it.
    pool.send(&prev_hash(1, 0xa2, HARD_NBITS));
    assert!(matches!(pool.ended, Some(PeerError::Misbehaved(_))));
}

#[test]
fn a_job_for_now_is_mined_on_the_last_prev_hash() {
    let mut pool = Pool::working(EASY);
    jobs(&mut pool);
    pool.send(&job(5, Some(NTIME + 40)));
    let started = jobs(&mut pool);
    assert_eq!(started[0].tip.prev_hash, [0xa1; 32]);
    assert_eq!(started[0].min_ntime, NTIME + 40);
    assert_eq!(started[0].version, 0x2000_0000);
}

#[test]
fn a_job_for_now_before_any_prev_hash_is_a_fault() {
    let mut pool = Pool::open(EASY);
    pool.send(&job(5, Some(NTIME)));
    assert!(matches!(pool.ended, Some(PeerError::Misbehaved(_))));
}

#[test]
fn messages_for_other_channels_are_not_for_us() {
    let mut pool = Pool::working(EASY);
    jobs(&mut pool);
    pool.send(&NewExtendedMiningJob { channel_id: 99, ..job(6, Some(NTIME)) });
    pool.send(&SetTarget { channel_id: 99, maximum_target: [0; 32] });
    pool.send(&CloseChannel { channel_id: 99, reason_code: "x".into() });
    assert!(jobs(&mut pool).is_empty() && pool.ended.is_none());
    pool.send(&job(7, Some(NTIME)));
    assert_eq!(jobs(&mut pool)[0].terms.target, Target::from_le_bytes(EASY));
}

#[test]
fn a_new_group_is_answered_to() {
    let mut pool = Pool::working(EASY);
    jobs(&mut pool);
    let channel_ids = List::new(vec![CHANNEL]).unwrap();
    pool.send(&SetGroupChannel { group_channel_id: 44, channel_ids });
    pool.send(&NewExtendedMiningJob { channel_id: 44, ..job(8, Some(NTIME)) });
    pool.send(&NewExtendedMiningJob { channel_id: GROUP, ..job(9, Some(NTIME)) });
    let ids: Vec<_> = jobs(&mut pool).iter().map(|job| job.id).collect();
    assert_eq!(ids, [8]);
}

#[test]
fn a_target_holds_for_later_jobs_and_for_those_sent_ahead() {
    let mut pool = Pool::working(EASY);
    pool.send(&job(2, None));
    let first = jobs(&mut pool);
    let harder = Target::from_difficulty(1.0);
    pool.send(&SetTarget { channel_id: CHANNEL, maximum_target: harder.to_le_bytes() });
    assert_eq!(first[0].terms.target, Target::from_le_bytes(EASY));
    pool.send(&prev_hash(2, 0xa2, HARD_NBITS));
    assert_eq!(jobs(&mut pool)[0].terms.target, harder);
}

#[test]
fn an_extranonce_prefix_holds_for_jobs_sent_after_it() {
    let mut pool = Pool::working(EASY);
    pool.send(&job(2, None));
    let extranonce_prefix = Bytes32::new(&[0xf1, 0xf2]).unwrap();
    pool.send(&SetExtranoncePrefix { channel_id: CHANNEL, extranonce_prefix });
    jobs(&mut pool);
    pool.send(&prev_hash(2, 0xa2, HARD_NBITS));
    pool.send(&job(3, Some(NTIME)));
    let started = jobs(&mut pool);
    let prefixes: Vec<_> = started.iter().map(|job| job.terms.split.prefix().to_vec()).collect();
    assert_eq!(prefixes, [[0xe1, 0xe2], [0xf1, 0xf2]]);
}

#[test]
fn shares_are_numbered_and_carry_what_the_miner_found() {
    let mut pool = Pool::working(EASY);
    let (first, second) = (submit(&mut pool, 10), submit(&mut pool, 11));
    assert_eq!(second.sequence_number, first.sequence_number + 1);
    assert_eq!((first.channel_id, first.job_id, first.nonce), (CHANNEL, 1, 10));
    assert_eq!(first.extranonce.as_slice(), [1; 10]);
}

#[test]
fn an_acceptance_answers_all_shares_up_to_it_that_were_not_refused() {
    let mut pool = Pool::working(EASY);
    let numbers: Vec<_> = (0..4).map(|ticket| submit(&mut pool, ticket).sequence_number).collect();
    pool.verdicts();
    pool.send(&SubmitSharesError {
        channel_id: CHANNEL,
        sequence_number: numbers[1],
        error_code: "stale-share".into(),
    });
    assert_eq!(pool.verdicts(), [(1, Verdict::Rejected("stale-share".into()))]);
    pool.send(&SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: numbers[2],
        new_submits_accepted_count: 2,
        new_shares_sum: 2,
    });
    assert_eq!(pool.verdicts(), [(0, Verdict::Accepted), (2, Verdict::Accepted)]);
    // A second verdict on the same share changes nothing.
    pool.send(&SubmitSharesError {
        channel_id: CHANNEL,
        sequence_number: numbers[0],
        error_code: "late".into(),
    });
    assert!(pool.verdicts().is_empty());
}

#[test]
fn a_share_without_an_answer_is_unanswered_after_30_seconds() {
    let mut pool = Pool::working(EASY);
    submit(&mut pool, 5);
    pool.verdicts();
    for tick in 0..30 {
        assert!(pool.verdicts().is_empty(), "{tick}");
        // It is there, for it refuses what it is asked.
        pool.send(&UpdateChannelError { channel_id: CHANNEL, error_code: "x".into() });
        pool.pass(SECOND);
    }
    pool.pass(SECOND);
    assert_eq!(pool.verdicts(), [(5, Verdict::Unanswered)]);
    assert!(pool.ended.is_none());
}

#[test]
fn a_block_is_sent_while_too_many_shares_wait_and_they_get_their_verdicts() {
    let mut pool = Pool::working(EASY);
    let mut last = 0;
    for ticket in 0..4096 {
        last = submit(&mut pool, ticket).sequence_number;
    }
    pool.verdicts();
    pool.command(Command::Submit { share: share(100, 1), worker: "farm.rig".into(), ticket: 5000 });
    assert_eq!(pool.verdicts(), [(5000, Verdict::TooManyWaiting)]);
    assert!(pool.is_quiet(), "it is a share like any other");
    let block = UpstreamShare { is_block: true, ..share(100, 2) };
    pool.command(Command::Submit { share: block, worker: "farm.rig".into(), ticket: 5001 });
    assert_eq!(pool.verdicts(), [(5001, Verdict::TooManyWaiting)]);
    let sent: SubmitSharesExtended = pool.take();
    assert_eq!((sent.nonce, sent.sequence_number), (2, last + 1));
    pool.send(&SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: sent.sequence_number,
        new_submits_accepted_count: 4097,
        new_shares_sum: 4097,
    });
    assert_eq!(pool.verdicts().len(), 4096);
    assert_eq!(submit(&mut pool, 6000).sequence_number, sent.sequence_number + 1);
}

#[test]
fn a_share_of_another_channel_or_before_any_is_not_sent() {
    let mut pool = Pool::set_up();
    let _: OpenExtendedMiningChannel = pool.take();
    pool.command(Command::Submit { share: share(100, 0), worker: "farm.rig".into(), ticket: 1 });
    assert_eq!(pool.verdicts(), [(1, Verdict::UpstreamLost)]);
    let mut pool = Pool::working(EASY);
    pool.verdicts();
    pool.command(Command::Submit { share: share(99, 0), worker: "farm.rig".into(), ticket: 2 });
    assert_eq!(pool.verdicts(), [(2, Verdict::UpstreamLost)]);
    assert!(pool.is_quiet());
}

#[test]
fn a_closed_channel_is_opened_again_and_its_shares_are_lost() {
    let mut pool = Pool::working(EASY);
    submit(&mut pool, 5);
    pool.events.clear();
    pool.send(&CloseChannel { channel_id: GROUP, reason_code: "moved".into() });
    let closed = pool
        .events
        .iter()
        .any(|event| matches!(event, Event::ChannelClosed { reason } if reason == "moved"));
    assert!(closed);
    assert_eq!(pool.verdicts(), [(5, Verdict::UpstreamLost)]);
    let open: OpenExtendedMiningChannel = pool.take();
    pool.send(&success(open.request_id, EASY, 10));
    pool.send(&job(1, None));
    pool.send(&prev_hash(1, 0xa1, HARD_NBITS));
    assert_eq!(jobs(&mut pool)[0].terms.epoch, ChannelEpoch(101));
}

#[test]
fn a_channel_that_is_closed_before_it_gave_work_ends_the_connection() {
    let mut pool = Pool::open(EASY);
    pool.send(&CloseChannel { channel_id: CHANNEL, reason_code: "no".into() });
    assert!(matches!(pool.ended, Some(PeerError::Closed(_))));
}

#[test]
fn a_pool_that_closes_one_channel_after_the_other_is_left() {
    let mut pool = Pool::working(EASY);
    for _ in 0..2 {
        pool.send(&CloseChannel { channel_id: CHANNEL, reason_code: "no".into() });
        let open: OpenExtendedMiningChannel = pool.take();
        pool.send(&success(open.request_id, EASY, 10));
        pool.send(&job(1, None));
        pool.send(&prev_hash(1, 0xa1, HARD_NBITS));
        assert!(pool.ended.is_none());
    }
    pool.send(&CloseChannel { channel_id: CHANNEL, reason_code: "no".into() });
    assert!(matches!(pool.ended, Some(PeerError::Closed(_))), "{:?}", pool.ended);
    assert!(pool.is_quiet());
}

#[test]
fn reconnect_ends_the_connection_and_unknown_things_do_not() {
    let mut pool = Pool::working(EASY);
    pool.send(&ChannelEndpointChanged { channel_id: CHANNEL });
    pool.send(&wire::sv2::mining::NewMiningJob {
        channel_id: CHANNEL,
        job_id: 1,
        min_ntime: None,
        version: 0,
        merkle_root: [0; 32],
    });
    assert!(pool.ended.is_none());
    pool.send(&Reconnect { new_host: "".into(), new_port: 0 });
    assert!(matches!(pool.ended, Some(PeerError::Closed(_))));
}

#[test]
fn a_silent_pool_is_left_at_every_step() {
    let mut silent = Pool::dialled(MinersTotal::default(), true);
    silent.pass(11 * SECOND);
    assert!(matches!(silent.ended, Some(PeerError::TimedOut(_))));
    let mut opening = Pool::set_up();
    opening.pass(11 * SECOND);
    assert!(matches!(opening.ended, Some(PeerError::TimedOut(_))));
    let mut idle = Pool::open(EASY);
    idle.pass(31 * SECOND);
    assert!(matches!(idle.ended, Some(PeerError::TimedOut(_))));
    let mut working = Pool::working(EASY);
    working.pass(600 * SECOND);
    assert!(working.ended.is_none());
}

#[test]
fn an_upstream_that_is_silent_while_shares_wait_is_asked_for_a_sign_of_life_and_left() {
    let mut pool = Pool::working(EASY);
    pool.pass(60 * SECOND);
    assert!(pool.is_quiet() && pool.ended.is_none(), "no share waits");
    submit(&mut pool, 1);
    pool.pass(5 * SECOND);
    let asked: OpenExtendedMiningChannel = pool.take();
    assert_eq!(asked.min_extranonce_size, u16::MAX, "nobody can open that");
    pool.send(&OpenMiningChannelError {
        request_id: asked.request_id,
        error_code: "min-extranonce-size-too-large".into(),
    });
    pool.pass(4 * SECOND);
    assert!(pool.ended.is_none(), "it lives");
    pool.pass(2 * SECOND);
    let _: OpenExtendedMiningChannel = pool.take();
    pool.pass(3 * SECOND);
    assert!(matches!(pool.ended, Some(PeerError::TimedOut(_))), "{:?}", pool.ended);
}

/// The work that is given out, and whether it is held.
fn given(pool: &mut Pool) -> Vec<(f64, bool)> {
    let events = std::mem::take(&mut pool.events);
    let job = |event| match event {
        Event::Job { job, is_held } => Some((job.terms.target.difficulty(), is_held)),
        _ => None,
    };
    events.into_iter().filter_map(job).collect()
}

#[test]
fn the_first_miner_waits_for_the_target_that_follows_its_hashrate() {
    let (easy, hard) = (Target::from_difficulty(0.5), Target::from_difficulty(4096.0));
    let miners = MinersTotal { miners: 1, hashrate: 1e14 };
    let mut pool = Pool::working(easy.to_le_bytes());
    assert_eq!(given(&mut pool), [(0.5, true)], "the upstream believes that nobody mines");
    pool.pass(SECOND);
    pool.command(Command::Miners(miners));
    let _: UpdateChannel = pool.take();
    assert_eq!(given(&mut pool), []);
    pool.send(&SetTarget { channel_id: CHANNEL, maximum_target: hard.to_le_bytes() });
    assert_eq!(given(&mut pool), [(4096.0, false)]);
    pool.send(&job(2, Some(NTIME)));
    assert_eq!(given(&mut pool), [(4096.0, false)]);
    // All are gone, and one comes back: another upstream does not answer.
    pool.command(Command::Miners(MinersTotal::default()));
    pool.pass(2 * SECOND);
    let _: UpdateChannel = pool.take();
    pool.send(&job(3, Some(NTIME)));
    assert_eq!(given(&mut pool), [(4096.0, true)]);
    pool.command(Command::Miners(miners));
    let _: UpdateChannel = pool.take();
    pool.pass(SECOND);
    assert_eq!(given(&mut pool), [(4096.0, false)], "not for longer than half a second");
}

/// Extension 0x0002, 1.1: a share from a V1 miner names its worker, if the pool wants to know.
#[test]
fn a_share_names_its_worker_to_a_pool_that_wants_to_know() {
    for (supported, expected) in [(vec![2_u16], Some("rig".to_owned())), (vec![], None)] {
        let mut pool = Pool::that_names_workers();
        let request: RequestExtensions = pool.take();
        assert_eq!(request.requested_extensions.as_slice(), [2]);
        let open: OpenExtendedMiningChannel = pool.take();
        pool.send(&RequestExtensionsSuccess {
            request_id: request.request_id,
            supported_extensions: List::new(supported).unwrap(),
        });
        pool.send(&success(open.request_id, EASY, 10));
        pool.send(&job(1, None));
        pool.send(&prev_hash(1, 0xa1, HARD_NBITS));
        let worker = "farm.rig".into();
        pool.command(Command::Submit { share: share(100, 1), worker, ticket: 1 });
        assert_eq!(pool.take_named(), expected);
    }
}

/// Whom the miners were told that each block pays.
const PROMISED: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[test]
fn a_pool_that_does_not_pay_as_promised_is_left_before_its_job_is_mined() {
    let mut pool = Pool::that_promised(Promise::new(PROMISED, 9_800).unwrap());
    pool.send(&job_that_pays(PROMISED, 1));
    pool.send(&prev_hash(1, 0xa1, HARD_NBITS));
    assert_eq!(jobs(&mut pool).len(), 1);
    pool.send(&job_that_pays("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", 2));
    let is_alarm = |event: &Event<u32>| matches!(event, Event::PromiseBroken { .. });
    assert!(pool.events.iter().any(is_alarm));
    let reason = pool.ended.unwrap().to_string();
    assert!(reason.contains("0 of 50 satoshis"), "{reason}");
}
