//! Channels of their own for the miners of a user, or for each miner.

use std::time::Duration;

use mining::target::Target;
use translator_v1::bridge::notify::ChannelEpoch;
use translator_v1::bridge::submit::Verdict;
use translator_v1::teams::{TeamId, TeamName};
use translator_v1::upstream::promise::Promise;
use translator_v1::upstream::{Command, Event, MinersTotal};
use wire::session::PeerError;
use wire::sv2::codec::{Bytes32, List};
use wire::sv2::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, SetGroupChannel, SetTarget, SubmitSharesExtended, SubmitSharesSuccess,
    UpdateChannel, UpdateChannelError,
};

use crate::device::{Device, HARD_NBITS, NTIME, Sample, UPSTREAM_DIFFICULTY};
use crate::pool::{GROUP, Pool, job, job_that_pays, prev_hash, success};
use crate::program::{Miner, PoolLink, PoolPort, Running, translator_of};
use crate::upstream::{share, with_witness};

const SECOND: Duration = Duration::from_secs(1);
const EASY: [u8; 32] = [0xff; 32];
const TEAM: TeamId = TeamId(4);
/// The channel of the team, beside the one of all.
const OWN: u32 = 11;

fn wanted(hashrate: f64) -> Command<u32> {
    let miners = MinersTotal { miners: 1, hashrate };
    Command::Team { team: TEAM, wanted: Some((TeamName::User("bob".into()), miners)) }
}

fn answer(request_id: u32, channel_id: u32, prefix: u8) -> OpenExtendedMiningChannelSuccess {
    OpenExtendedMiningChannelSuccess {
        channel_id,
        extranonce_prefix: Bytes32::new(&[prefix, prefix]).unwrap(),
        ..success(request_id, EASY, 10)
    }
}

/// With work on the channel of all, and a channel of the team that has none yet.
fn opened() -> Pool {
    let mut pool = Pool::working(EASY);
    pool.command(wanted(5e9));
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!(open.user_identity.as_str(), Some("bob"));
    assert_eq!((open.nominal_hash_rate, open.min_extranonce_size), (5e9, 10));
    pool.send(&answer(open.request_id, OWN, 0xf1));
    pool.events.clear();
    pool
}

/// And its first job, sent to the group.
fn mining() -> Pool {
    let mut pool = opened();
    pool.send(&job(2, None));
    pool.send(&prev_hash(2, 0xa2, HARD_NBITS));
    pool
}

/// Jobs as they were given: the team's prefix or none for all, and the job's number.
fn jobs(pool: &mut Pool) -> Vec<(Option<u8>, u32)> {
    let events = std::mem::take(&mut pool.events);
    let job = |event| match event {
        Event::Job { job, .. } => Some((None, job.id)),
        Event::TeamJob { team: TEAM, job } => Some((Some(job.terms.split.prefix()[0]), job.id)),
        _ => None,
    };
    events.into_iter().filter_map(job).collect()
}

fn refusals(pool: &mut Pool) -> Vec<String> {
    let events = std::mem::take(&mut pool.events);
    let refusal = |event| match event {
        Event::TeamRefused { team: TEAM, reason } => Some(reason),
        _ => None,
    };
    events.into_iter().filter_map(refusal).collect()
}

#[test]
fn a_team_has_a_channel_of_its_own_that_hears_what_is_said_to_its_group() {
    let mut pool = mining();
    let mut given = jobs(&mut pool);
    given.sort_unstable();
    assert_eq!(given, [(None, 2), (Some(0xf1), 2)]);
    let mut own = job(3, Some(NTIME));
    own.channel_id = OWN;
    pool.send(&own);
    assert_eq!(jobs(&mut pool), [(Some(0xf1), 3)]);
}

#[test]
fn rule_18_a_team_whose_coinbase_has_a_witness_is_refused_and_nobody_else() {
    let mut pool = mining();
    jobs(&mut pool);
    let mut own = with_witness(job(3, Some(NTIME)));
    own.channel_id = OWN;
    pool.send(&own);
    assert_eq!(refusals(&mut pool), ["incompatible: its coinbase has a witness"]);
    assert!(pool.ended.is_none());
}

/// The first output would begin in the longer one.
#[test]
fn a_job_for_a_group_has_to_pay_as_promised_with_the_extranonce_of_each_of_its_channels() {
    const PROMISED: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    for (prefix, is_kept) in [(&[1, 2][..], true), (&[1, 2, 3], false)] {
        let mut pool = Pool::that_promised(Promise::new(PROMISED, 9_800).unwrap());
        pool.command(wanted(5e9));
        let open: OpenExtendedMiningChannel = pool.take();
        let extranonce_prefix = Bytes32::new(prefix).unwrap();
        let opened = answer(open.request_id, OWN, 0xf1);
        pool.send(&OpenExtendedMiningChannelSuccess { extranonce_prefix, ..opened });
        pool.send(&job_that_pays(PROMISED, 1));
        assert_eq!(pool.ended.is_none(), is_kept, "{:?}", pool.ended);
    }
}

#[test]
fn a_team_that_comes_before_the_connection_is_ready_is_opened_then() {
    let mut pool = Pool::set_up();
    let open: OpenExtendedMiningChannel = pool.take();
    pool.command(wanted(5e9));
    assert!(pool.is_quiet());
    pool.send(&success(open.request_id, EASY, 10));
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!(open.user_identity.as_str(), Some("bob"));
}

/// Requests that a pool gets from so many teams at once.
fn asked_by(teams: u64) -> (Pool, Vec<u32>) {
    let mut pool = Pool::working(EASY);
    for team in 0..teams {
        let miners = MinersTotal { miners: 1, hashrate: 5e9 };
        let wanted = Some((TeamName::User(format!("user-{team}").into()), miners));
        pool.command(Command::Team { team: TeamId(team), wanted });
    }
    let asked = requests(&mut pool);
    (pool, asked)
}

/// The requests that have come, by their numbers.
fn requests(pool: &mut Pool) -> Vec<u32> {
    let mut asked = Vec::new();
    while !pool.is_quiet() {
        let open: OpenExtendedMiningChannel = pool.take();
        asked.push(open.request_id);
    }
    asked
}

#[test]
fn of_many_teams_64_wait_for_the_answer_and_each_answer_lets_the_next_one_ask() {
    let (mut pool, asked) = asked_by(67);
    assert_eq!(asked.len(), 64);
    pool.send(&answer(asked[1], OWN, 0xf1));
    assert_eq!(requests(&mut pool).len(), 1);
    let refused = OpenMiningChannelError { request_id: asked[0], error_code: "no".into() };
    pool.send(&refused);
    assert_eq!(requests(&mut pool).len(), 1);
    // Its miners leave before it could ask.
    pool.command(Command::Team { team: TeamId(66), wanted: None });
    pool.send(&OpenMiningChannelError { request_id: asked[2], ..refused });
    assert!(pool.is_quiet());
}

#[test]
fn a_request_that_is_never_answered_makes_room_for_the_next_and_is_closed_if_it_is_after_all() {
    let (mut pool, asked) = asked_by(66);
    // Nobody is there who could be refused.
    for team in 0..64 {
        pool.command(Command::Team { team: TeamId(team), wanted: None });
    }
    assert!(pool.is_quiet(), "the answers are still to come");
    pool.pass(30 * SECOND);
    assert_eq!(requests(&mut pool).len(), 2);
    pool.send(&answer(asked[0], 77, 0xf1));
    let close: CloseChannel = pool.take();
    assert_eq!(close.channel_id, 77);
}

/// A pool has room for more channels that roll less, and miners are told one size.
#[test]
fn where_there_are_many_channels_each_asks_for_six_bytes() {
    let mut pool = Pool::with_teams();
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!(open.min_extranonce_size, 6);
    pool.send(&success(open.request_id, EASY, 8));
    pool.command(wanted(5e9));
    let open: OpenExtendedMiningChannel = pool.take();
    assert_eq!(open.min_extranonce_size, 6);
}

#[test]
fn a_share_of_a_team_goes_up_its_channel_and_gets_the_verdict_for_that() {
    let mut pool = mining();
    pool.events.clear();
    let ours = share(101, 7);
    pool.command(Command::Submit { share: ours, worker: "bob.1".into(), ticket: 1 });
    pool.command(Command::Submit { share: share(100, 8), worker: "x.1".into(), ticket: 2 });
    let (first, second): (SubmitSharesExtended, SubmitSharesExtended) = (pool.take(), pool.take());
    assert_eq!((first.channel_id, first.sequence_number), (OWN, second.sequence_number));
    let accepted = |channel_id| SubmitSharesSuccess {
        channel_id,
        last_sequence_number: first.sequence_number,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    };
    pool.send(&accepted(OWN));
    assert_eq!(pool.verdicts(), [(1, Verdict::Accepted)]);
    pool.send(&accepted(second.channel_id));
    assert_eq!(pool.verdicts(), [(2, Verdict::Accepted)]);
}

#[test]
fn a_share_of_a_team_without_an_answer_is_unanswered_after_30_seconds() {
    let mut pool = mining();
    pool.events.clear();
    for ticket in [1, 2] {
        let share = share(101, ticket);
        pool.command(Command::Submit { share, worker: "bob".into(), ticket });
        pool.pass(SECOND);
    }
    for _ in 0..28 {
        pool.send(&UpdateChannelError { channel_id: OWN, error_code: "x".into() });
        pool.pass(SECOND);
    }
    assert_eq!(pool.verdicts(), [(1, Verdict::Unanswered)]);
    pool.pass(SECOND);
    assert_eq!(pool.verdicts(), [(2, Verdict::Unanswered)]);
}

#[test]
fn a_team_that_sends_more_shares_is_not_looked_at_more_often() {
    let mut pool = mining();
    pool.events.clear();
    for ticket in 0..100 {
        pool.pass(SECOND / 100);
        let share = share(101, ticket);
        pool.command(Command::Submit { share, worker: "bob".into(), ticket });
        let sent: SubmitSharesExtended = pool.take();
        pool.send(&SubmitSharesSuccess {
            channel_id: OWN,
            last_sequence_number: sent.sequence_number,
            new_submits_accepted_count: 1,
            new_shares_sum: 1,
        });
    }
    assert_eq!(pool.verdicts().len(), 100);
    pool.deadlines = 0;
    pool.pass(60 * SECOND);
    assert!(pool.deadlines < 10, "{}", pool.deadlines);
}

#[test]
fn an_upstream_that_is_silent_while_shares_of_teams_wait_is_left() {
    let mut pool = mining();
    let share = share(101, 1);
    pool.command(Command::Submit { share, worker: "bob".into(), ticket: 1 });
    pool.pass(9 * SECOND);
    assert!(matches!(pool.ended, Some(PeerError::TimedOut(_))), "{:?}", pool.ended);
}

#[test]
fn the_hashrate_of_a_team_is_told_at_most_once_a_second() {
    let mut pool = opened();
    for hashrate in [1e10, 2e10, 3e10] {
        pool.command(wanted(hashrate));
    }
    assert!(pool.is_quiet());
    pool.pass(SECOND);
    let update: UpdateChannel = pool.take();
    assert_eq!((update.channel_id, update.nominal_hash_rate), (OWN, 3e10));
    pool.pass(SECOND);
    assert!(pool.is_quiet());
}

#[test]
fn the_channel_of_a_team_is_closed_when_its_miners_have_left() {
    let mut pool = mining();
    pool.events.clear();
    let share = share(101, 1);
    pool.command(Command::Submit { share, worker: "bob".into(), ticket: 1 });
    let _: SubmitSharesExtended = pool.take();
    pool.command(Command::Team { team: TEAM, wanted: None });
    let close: CloseChannel = pool.take();
    assert_eq!(close.channel_id, OWN);
    assert_eq!(pool.verdicts(), [(1, Verdict::UpstreamLost)]);
    // It came back, and left before the answer.
    pool.command(wanted(5e9));
    let open: OpenExtendedMiningChannel = pool.take();
    pool.command(Command::NoTeams);
    assert!(pool.is_quiet(), "nothing is open yet");
    pool.send(&answer(open.request_id, 12, 0xf2));
    let close: CloseChannel = pool.take();
    assert_eq!(close.channel_id, 12);
}

#[test]
fn a_team_that_gets_no_channel_or_no_work_is_told_and_nobody_else() {
    let mut pool = Pool::working(EASY);
    pool.command(wanted(5e9));
    let open: OpenExtendedMiningChannel = pool.take();
    let error_code = "unknown-user".into();
    pool.send(&OpenMiningChannelError { request_id: open.request_id, error_code });
    assert_eq!(refusals(&mut pool), ["unknown-user"]);
    let mut idle = opened();
    idle.pass(31 * SECOND);
    assert_eq!(refusals(&mut idle).len(), 1);
    let close: CloseChannel = idle.take();
    assert_eq!(close.channel_id, OWN);
    assert!(pool.ended.is_none() && idle.ended.is_none());
}

#[test]
fn a_channel_of_a_team_that_the_pool_closes_is_opened_again_twice() {
    let mut pool = mining();
    for channel in [OWN, OWN + 1] {
        pool.events.clear();
        pool.send(&CloseChannel { channel_id: channel, reason_code: "no".into() });
        assert!(pool.events.iter().any(|event| matches!(event, Event::TeamLost { team: TEAM })));
        let open: OpenExtendedMiningChannel = pool.take();
        pool.send(&answer(open.request_id, channel + 1, 0xf3));
    }
    pool.send(&CloseChannel { channel_id: OWN + 2, reason_code: "no".into() });
    assert_eq!(refusals(&mut pool), ["no"]);
    assert!(pool.is_quiet() && pool.ended.is_none());
}

#[test]
fn groups_and_targets_of_a_team_follow_the_pool() {
    let mut pool = mining();
    let channel_ids = List::new(vec![OWN]).unwrap();
    pool.send(&SetGroupChannel { group_channel_id: 44, channel_ids });
    let harder = Target::from_difficulty(2.0);
    pool.send(&SetTarget { channel_id: OWN, maximum_target: harder.to_le_bytes() });
    pool.events.clear();
    let mut regrouped = job(8, Some(NTIME));
    regrouped.channel_id = 44;
    pool.send(&regrouped);
    let targets = pool.events.iter().filter_map(|event| match event {
        Event::TeamJob { job, .. } => Some((job.id, job.terms.target, job.terms.epoch)),
        _ => None,
    });
    assert_eq!(targets.collect::<Vec<_>>(), [(8, harder, ChannelEpoch(101))]);
    pool.send(&job(9, Some(NTIME)));
    assert!(!jobs(&mut pool).contains(&(Some(0xf1), 9)), "it has left that group");
}

#[test]
fn a_connection_is_for_one_user_where_users_have_channels_of_their_own() {
    let mut settings = crate::device::settings(6.0);
    settings.channels = translator_v1::teams::Channels::PerUser;
    let mut device = Device::of_settings(&settings, "5e55", std::time::Instant::now());
    device.give(Sample::default());
    device.send(r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    for (name, code) in [("bob.1", None), ("bob.2", None), ("eve.1", Some(24))] {
        device.lines.clear();
        device.send(&format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#));
        assert_eq!(device.line()["error"][0].as_i64(), code, "{name}");
    }
}

/// A translator whose users have their own channels, and a backup.
async fn per_user(best: &PoolPort, backup: &PoolPort) -> Running {
    let address = backup.listener.local_addr().unwrap();
    let key = crate::program::secret().public();
    let more = format!("[[backup_upstream]]\naddress = \"{address}\"\nauthority_key = \"{key}\"\n");
    translator_of(best, 60, ("channels = \"per-user\"", &more)).await
}

/// Opens the next channel that is asked for, in that user's name, and gives it a job.
async fn open_for(pool: &mut PoolLink, user: &str, channel_id: u32, prefix: u8) {
    let open: OpenExtendedMiningChannel = pool.take().await;
    assert_eq!(open.user_identity.as_str(), Some(user));
    let target = Target::from_difficulty(UPSTREAM_DIFFICULTY).to_le_bytes();
    pool.send(&OpenExtendedMiningChannelSuccess {
        target,
        group_channel_id: GROUP + channel_id,
        ..answer(open.request_id, channel_id, prefix)
    })
    .await;
    let (mut job, mut tip) = (job(1, None), prev_hash(1, 0xa1, HARD_NBITS));
    (job.channel_id, tip.channel_id) = (channel_id, channel_id);
    pool.send(&job).await;
    pool.send(&tip).await;
}

#[tokio::test]
async fn each_user_mines_on_a_channel_of_its_own_and_on_the_backup_when_the_pool_goes() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = per_user(&best, &backup).await;
    let mut first = best.serve([0xe1, 0xe1]).await;
    let mut bob = Miner::log_in(&translator, "bob.1", "x").await;
    open_for(&mut first, "bob", 21, 0xb0).await;
    bob.job_of([0xb0, 0xb0]).await;
    // Not before: the first pool that gives work is mined on, whichever it is.
    let mut second = backup.serve([0xf1, 0xf1]).await;
    let mut eve = Miner::log_in(&translator, "eve.1", "x").await;
    open_for(&mut first, "eve", 22, 0xee).await;
    eve.job_of([0xee, 0xee]).await;
    let found = bob.submit_as("bob.1").await;
    let share: SubmitSharesExtended = first.take().await;
    assert_eq!((share.channel_id, share.nonce), (21, found.nonce));
    drop(eve);
    let close: CloseChannel = first.take().await;
    assert_eq!(close.channel_id, 22);
    drop((first, best));
    open_for(&mut second, "bob", 31, 0xb1).await;
    bob.job_of([0xb1, 0xb1]).await;
    let found = bob.submit_as("bob.1").await;
    let share: SubmitSharesExtended = second.take().await;
    assert_eq!((share.channel_id, share.nonce), (31, found.nonce));
}

#[tokio::test]
async fn a_user_whom_the_pool_does_not_want_is_sent_away_and_others_mine_on() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = per_user(&best, &backup).await;
    let mut pool = best.serve([0xe1, 0xe1]).await;
    let mut bob = Miner::log_in(&translator, "bob.1", "x").await;
    open_for(&mut pool, "bob", 21, 0xb0).await;
    bob.job_of([0xb0, 0xb0]).await;
    let mut eve = Miner::log_in(&translator, "eve.1", "x").await;
    let open: OpenExtendedMiningChannel = pool.take().await;
    let error_code = "unknown-user".into();
    pool.send(&OpenMiningChannelError { request_id: open.request_id, error_code }).await;
    eve.is_hung_up_on().await;
    let found = bob.submit_as("bob.1").await;
    let share: SubmitSharesExtended = pool.take().await;
    assert_eq!((share.channel_id, share.nonce), (21, found.nonce));
}
