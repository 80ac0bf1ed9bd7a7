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

#[test]
fn nothing_comes_between_setup_success_and_open_success() {
    let mut table = Table::ready(0);
    table.assert_silent();
    table.work(2, 2, HARD);
    table.assert_silent();
    table.open_extended();
    table.assert_silent();
}

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

#[test]
fn an_extended_channel_is_refused_where_standard_jobs_are_required() {
    let mut table = Table::ready(REQUIRES_STANDARD_JOBS);
    table.send(&extended_request(1));
    assert_eq!(error_code(&mut table), ERROR_EXTENDED_CHANNELS_NOT_SUPPORTED);
}

#[test]
fn more_rollable_extranonce_than_there_is_is_refused() {
    let mut table = Table::ready(0);
    table.send(&OpenExtendedMiningChannel { min_extranonce_size: 11, ..extended_request(1) });
    assert_eq!(error_code(&mut table), ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE);
}

#[test]
fn a_name_with_control_characters_is_refused() {
    let mut table = Table::ready(0);
    let user_identity = Str255::truncated("a\nb");
    table.send(&OpenStandardMiningChannel { user_identity, ..standard_request(1) });
    assert_eq!(error_code(&mut table), ERROR_INVALID_USER_IDENTITY);
}

#[test]
fn a_hashrate_that_is_no_number_is_refused_and_zero_is_fine() {
    let mut table = Table::ready(0);
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        table.send(&OpenStandardMiningChannel { nominal_hash_rate: rate, ..standard_request(1) });
        assert_eq!(error_code(&mut table), ERROR_INVALID_NOMINAL_HASHRATE);
    }
    table.open_standard();
}

#[test]
fn a_max_target_is_honoured_even_if_it_is_harder_than_wanted() {
    let mut table = Table::ready(0);
    let max_target = Target::from_difficulty(1_000.0).to_le_bytes();
    table.send(&OpenExtendedMiningChannel { max_target, ..extended_request(1) });
    let Mining::OpenExtendedMiningChannelSuccess(channel) = table.message() else { panic!() };
    assert_eq!(channel.target, max_target);
}

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

#[test]
fn an_update_of_an_unknown_channel_is_an_error() {
    let mut table = Table::ready(0);
    let maximum_target = [0xff; 32];
    table.send(&UpdateChannel { channel_id: 99, nominal_hash_rate: 1.0, maximum_target });
    assert_eq!(error_code(&mut table), ERROR_INVALID_CHANNEL_ID);
}

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
