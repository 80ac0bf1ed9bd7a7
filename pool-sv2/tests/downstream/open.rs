//! Spec 5.3.2 to 5.3.9: channels come, change and go.

use mining::target::Target;
use wire::sv2::codec::Str255;
use wire::sv2::mining::{
    CloseChannel, ERROR_CHANNEL_CAPACITY_EXHAUSTED, ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED,
    ERROR_INVALID_CHANNEL_ID, ERROR_INVALID_NOMINAL_HASHRATE, ERROR_INVALID_USER_IDENTITY,
    ERROR_MAX_TARGET_OUT_OF_RANGE, ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE, Mining,
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetTarget, UpdateChannel,
};
use wire::sv2::setup::REQUIRES_STANDARD_JOBS;

use crate::miner::{HARD, Table, extended_request, standard_request};

fn error_code(table: &mut Table) -> String {
    match table.message() {
        Mining::OpenMiningChannelError(error) => error.error_code.display().into_owned(),
        Mining::UpdateChannelError(error) => error.error_code.display().into_owned(),
        other => panic!("no error but {}", other.name()),
    }
}

/// Firmware: nothing is sent between SetupConnection.Success and the answer to Open*MiningChannel.
#[test]
fn nothing_comes_between_setup_success_and_open_success() {
    let mut table = Table::ready(0);
    table.assert_silent();
    table.work(2, 2, HARD);
    table.assert_silent();
    table.open_extended();
    table.assert_silent();
}

/// Spec 5.2.3: all members of a group have a whole extranonce of the same size.
/// Spec 5.2.3: groups and channels share one space of ids; none is given twice.
#[test]
fn all_channels_have_the_same_whole_extranonce_and_ids_of_their_own() {
    let mut table = Table::ready(0);
    let a = table.open_extended().channel;
    table.send(&OpenExtendedMiningChannel { min_extranonce_size: 10, ..extended_request(2) });
    let Mining::OpenExtendedMiningChannelSuccess(b) = table.message() else { panic!() };
    table.frame();
    table.frame();
    let c = table.open_standard().channel;
    let whole = |prefix: usize, size: u16| prefix + usize::from(size);
    assert_eq!(whole(a.extranonce_prefix.as_slice().len(), a.extranonce_size), 12);
    assert_eq!(whole(b.extranonce_prefix.as_slice().len(), b.extranonce_size), 12);
    assert_eq!(c.extranonce_prefix.as_slice().len(), 12);
    assert!(b.extranonce_size >= 10);
    let ids = [a.channel_id, b.channel_id, c.channel_id, a.group_channel_id];
    let distinct: std::collections::BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
    assert_eq!(a.group_channel_id, c.group_channel_id);
}

#[test]
fn a_request_before_the_first_template_is_answered_with_it() {
    let mut table = Table::new();
    table.set_up(0);
    table.send(&extended_request(7));
    table.assert_silent();
    table.work(1, 1, HARD);
    let Mining::OpenExtendedMiningChannelSuccess(channel) = table.message() else { panic!() };
    assert_eq!(channel.request_id, 7);
    assert!(matches!(table.message(), Mining::NewExtendedMiningJob(_)));
    assert!(matches!(table.message(), Mining::SetNewPrevHash(_)));
}

/// Spec 5.3.1: REQUIRES_STANDARD_JOBS: no extended channel is opened.
#[test]
fn an_extended_channel_is_refused_where_standard_jobs_are_required() {
    let mut table = Table::ready(REQUIRES_STANDARD_JOBS);
    table.send(&extended_request(1));
    assert_eq!(error_code(&mut table), ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED);
}

/// Spec 5.3.4: a channel has at least the extranonce that was asked for, or is refused.
#[test]
fn more_rollable_extranonce_than_there_is_is_refused() {
    let mut table = Table::ready(0);
    table.send(&OpenExtendedMiningChannel { min_extranonce_size: 11, ..extended_request(1) });
    assert_eq!(error_code(&mut table), ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE);
}

/// Spec 5.3.2: a pool may restrict user_identity; here it is text without control characters.
#[test]
fn a_name_with_control_characters_is_refused() {
    let mut table = Table::ready(0);
    let user_identity = Str255::truncated("a\nb");
    table.send(&OpenStandardMiningChannel { user_identity, ..standard_request(1) });
    assert_eq!(error_code(&mut table), ERROR_INVALID_USER_IDENTITY);
}

/// Spec 5.3.2: nominal_hash_rate may be 0.0, of a proxy without miners; what is no hashrate is
/// refused.
#[test]
fn a_hashrate_that_is_no_number_is_refused_and_zero_is_fine() {
    let mut table = Table::ready(0);
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        table.send(&OpenStandardMiningChannel { nominal_hash_rate: rate, ..standard_request(1) });
        assert_eq!(error_code(&mut table), ERROR_INVALID_NOMINAL_HASHRATE);
    }
    table.open_standard();
}

/// Spec 5.3.2: max_target is accepted or refused, never made easier.
#[test]
fn a_max_target_is_honoured_even_if_it_is_harder_than_wanted() {
    let mut table = Table::ready(0);
    let max_target = Target::from_difficulty(1_000.0).to_le_bytes();
    table.send(&OpenExtendedMiningChannel { max_target, ..extended_request(1) });
    let Mining::OpenExtendedMiningChannelSuccess(channel) = table.message() else { panic!() };
    assert_eq!(channel.target, max_target);
}

/// Spec 5.3.6: a max_target that cannot be accepted is answered with OpenMiningChannel.Error.
#[test]
fn a_max_target_harder_than_a_block_is_refused() {
    let mut table = Table::ready(0);
    let max_target = Target::MIN.to_le_bytes();
    table.send(&OpenExtendedMiningChannel { max_target, ..extended_request(1) });
    assert_eq!(error_code(&mut table), ERROR_MAX_TARGET_OUT_OF_RANGE);
}

#[test]
fn channels_beyond_the_limit_are_refused_and_a_closed_one_makes_room() {
    let mut table = Table::ready(0);
    let first = table.open_extended().channel.channel_id;
    for _ in 1..4 {
        table.open_extended();
    }
    table.send(&extended_request(9));
    assert_eq!(error_code(&mut table), ERROR_CHANNEL_CAPACITY_EXHAUSTED);
    table.send(&CloseChannel { channel_id: first, reason_code: "bye".into() });
    table.open_extended();
}

/// Spec 5.3.7: a smaller maximum_target is reflected by SetTarget.
/// Firmware: a job follows SetTarget at once, for the target holds for later jobs only.
#[test]
fn a_smaller_maximum_target_is_answered_with_set_target_and_a_job() {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    let maximum_target = Target::from_difficulty(1_000.0).to_le_bytes();
    let channel_id = open.channel.channel_id;
    table.send(&UpdateChannel { channel_id, nominal_hash_rate: 0.0, maximum_target });
    assert_eq!(table.message(), Mining::SetTarget(SetTarget { channel_id, maximum_target }));
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
    assert_eq!(job.channel_id, channel_id);
    assert!(job.min_ntime.is_some() && job.job_id != open.job.job_id);
}

/// Spec 5.3.8: an UpdateChannel that is accepted has no answer of its own.
#[test]
fn a_hashrate_that_is_said_again_changes_nothing() {
    let mut table = Table::ready(0);
    let channel_id = table.open_extended().channel.channel_id;
    let maximum_target = [0xff; 32];
    table.send(&UpdateChannel { channel_id, nominal_hash_rate: 1e12, maximum_target });
    assert!(matches!(table.message(), Mining::SetTarget(_)));
    table.frame();
    table.send(&UpdateChannel { channel_id, nominal_hash_rate: 1e12, maximum_target });
    table.assert_silent();
}

/// Spec 5.3.8: an UpdateChannel that is invalid is answered with an error.
#[test]
fn an_update_of_an_unknown_channel_is_an_error() {
    let mut table = Table::ready(0);
    let maximum_target = [0xff; 32];
    table.send(&UpdateChannel { channel_id: 99, nominal_hash_rate: 1.0, maximum_target });
    assert_eq!(error_code(&mut table), ERROR_INVALID_CHANNEL_ID);
}

/// Spec 5.3.9: CloseChannel of a group closes all its channels.
/// Spec 5.3.9: nothing more is sent for a closed channel.
#[test]
fn closing_the_group_closes_all_its_channels() {
    let mut table = Table::ready(0);
    let group = table.open_extended().channel.group_channel_id;
    let open = table.open_extended();
    table.send(&CloseChannel { channel_id: group, reason_code: "bye".into() });
    table.work(2, 2, HARD);
    table.assert_silent();
    table.send(&open.share(1));
    let Mining::SubmitSharesError(error) = table.message() else { panic!() };
    assert_eq!(error.error_code, ERROR_INVALID_CHANNEL_ID.into());
}

/// Spec 5.2.2: both standard and extended channels are served, on one connection too.
#[test]
fn standard_and_extended_channels_live_side_by_side() {
    let mut table = Table::ready(0);
    let (extended, standard) = (table.open_extended(), table.open_standard());
    table.send(&extended.share(1));
    table.send(&standard.share(1));
    assert_eq!(table.pair.server.events.len(), 2);
}

/// Spec 5.3.2: an absurd nominal_hash_rate is a guess like any other: the target stays within what
/// a block takes.
/// Flaw 10: whatever a miner says of itself, its target stays within the bounds of the
/// operator.
#[test]
fn an_absurd_hashrate_gives_a_target_that_can_be_met() {
    let mut table = Table::ready(0);
    for rate in [f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
        table.send(&OpenStandardMiningChannel { nominal_hash_rate: rate, ..standard_request(1) });
        let Mining::OpenStandardMiningChannelSuccess(open) = table.message() else { panic!() };
        let target = Target::from_le_bytes(open.target);
        assert!(target >= Target::from_nbits(HARD).unwrap(), "{rate}: {target:?}");
        table.frame();
        table.frame();
    }
}

/// Spec 5.3.8: a nominal_hash_rate that is none is refused in an update too, and nothing changes.
#[test]
fn an_update_with_a_hashrate_that_is_no_number_is_an_error() {
    let mut table = Table::ready(0);
    let channel_id = table.open_extended().channel.channel_id;
    for nominal_hash_rate in [f32::NAN, f32::NEG_INFINITY, -0.5] {
        table.send(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target: [0xff; 32] });
        assert_eq!(error_code(&mut table), ERROR_INVALID_NOMINAL_HASHRATE);
    }
    let maximum_target = Target::MIN.to_le_bytes();
    table.send(&UpdateChannel { channel_id, nominal_hash_rate: 1.0, maximum_target });
    assert_eq!(error_code(&mut table), ERROR_MAX_TARGET_OUT_OF_RANGE);
    table.assert_silent();
}

/// Spec 5.3.7: a group is no channel, and cannot be updated.
#[test]
fn an_update_of_the_group_is_an_error() {
    let mut table = Table::ready(0);
    let channel_id = table.open_extended().channel.group_channel_id;
    table.send(&UpdateChannel { channel_id, nominal_hash_rate: 1.0, maximum_target: [0xff; 32] });
    assert_eq!(error_code(&mut table), ERROR_INVALID_CHANNEL_ID);
}

/// Spec 5.3.9: a closed channel is gone, and its neighbours are not.
#[test]
fn closing_a_channel_leaves_the_others() {
    let mut table = Table::ready(0);
    let (gone, stays) = (table.open_extended(), table.open_extended());
    let channel_id = gone.channel.channel_id;
    table.send(&CloseChannel { channel_id, reason_code: "bye".into() });
    table.send(&gone.share(1));
    let Mining::SubmitSharesError(error) = table.message() else { panic!() };
    assert_eq!((error.channel_id, error.error_code), (channel_id, ERROR_INVALID_CHANNEL_ID.into()));
    table.send(&stays.share(1));
    assert_eq!(table.pair.server.events.len(), 1);
    table.send(&CloseChannel { channel_id, reason_code: "again".into() });
    table.assert_silent();
}

/// Spec 5.2: no id of a closed channel is given to another one on the same connection.
#[test]
fn channel_ids_are_not_given_twice() {
    let mut table = Table::ready(0);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let channel_id = table.open_extended().channel.channel_id;
        assert!(ids.insert(channel_id), "{channel_id} twice");
        table.send(&CloseChannel { channel_id, reason_code: "bye".into() });
    }
}

/// Spec 5.3.2: user_identity may decide on a channel's target: rented hashrate has a least
/// difficulty of its own, for all its workers.
#[test]
fn a_user_with_a_least_difficulty_gets_no_easier_target() {
    let mut table = Table::with_settings(|settings| {
        settings.user_min_difficulty.insert("rented".to_owned(), 500_000.0);
    });
    table.work(1, 1, HARD);
    table.set_up(0);
    let mut difficulty = |user| {
        let user_identity = Str255::truncated(user);
        table.send(&OpenExtendedMiningChannel { user_identity, ..extended_request(1) });
        let Mining::OpenExtendedMiningChannelSuccess(open) = table.message() else { panic!() };
        table.frame();
        table.frame();
        Target::from_le_bytes(open.target).difficulty()
    };
    assert!((difficulty("rented") / 500_000.0 - 1.0).abs() < 1e-9);
    assert!((difficulty("rented.rig1") / 500_000.0 - 1.0).abs() < 1e-9);
    assert!(difficulty("rentedhash") < 1.0);
}

/// Spec 5.3.21: a least difficulty holds for every SetTarget, silence or not.
#[test]
fn silence_eases_no_target_below_the_users_least_difficulty() {
    let mut table = Table::with_settings(|settings| {
        settings.user_min_difficulty.insert("miner".to_owned(), 1_000.0);
    });
    table.work(1, 1, HARD);
    table.set_up(0);
    table.send(&OpenExtendedMiningChannel { nominal_hash_rate: 1e15, ..extended_request(1) });
    table.wait(std::time::Duration::from_secs(3_600));
    let mut last = f64::INFINITY;
    while let Some(frame) = table.try_frame() {
        let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
        if let Mining::SetTarget(target) = message {
            last = Target::from_le_bytes(target.maximum_target).difficulty();
        }
    }
    assert!((last / 1_000.0 - 1.0).abs() < 1e-9, "{last}");
}
