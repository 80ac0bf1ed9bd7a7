//! Spec 5.3.11 to 5.3.14: shares and their answers.

use std::time::Duration;

use mining::target::Target;
use pool_sv2::downstream::connection::{Command, Event};
use wire::session::Session;
use wire::sv2::codec::Bytes32;
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{
    ERROR_BAD_EXTRANONCE_SIZE, ERROR_DIFFICULTY_TOO_LOW, ERROR_DUPLICATE_SHARE,
    ERROR_INVALID_CHANNEL_ID, ERROR_INVALID_JOB_ID, ERROR_INVALID_NON_ROLLABLE_VERSION_BIT,
    ERROR_INVALID_NTIME, ERROR_STALE_SHARE, Mining, SubmitSharesExtended, SubmitSharesStandard,
    UpdateChannel,
};

use crate::miner::{HARD, OpenExtended, REGTEST, Table};

/// Sends a share and gives the code with which it is rejected.
fn rejection(table: &mut Table, share: &SubmitSharesExtended) -> String {
    table.send(share);
    let Mining::SubmitSharesError(error) = table.message() else { panic!("it was not rejected") };
    assert_eq!(error.sequence_number, share.sequence_number);
    error.error_code.display().into_owned()
}

fn ready() -> (Table, OpenExtended) {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    (table, open)
}

/// Flaw 15: nothing is acknowledged in the hope that it will be kept.
#[test]
fn a_share_is_acknowledged_when_it_is_durable_and_not_before() {
    let (mut table, open) = ready();
    table.send(&open.share(5));
    assert!(matches!(table.pair.server.event(), Some(Event::Share(_))));
    table.wait(Duration::from_secs(5));
    table.assert_silent();
    table.pair.command_server(Command::Committed(1));
    let Mining::SubmitSharesSuccess(success) = table.message() else { panic!() };
    assert_eq!(success.last_sequence_number, 5);
    assert_eq!(success.new_submits_accepted_count, 1);
}

/// Spec 5.3.13: one SubmitShares.Success may answer many shares; its counts begin anew with each.
#[test]
fn one_success_covers_all_shares_of_a_commit_and_counts_start_over() {
    let (mut table, open) = ready();
    for sequence_number in 1..=3 {
        table.send(&open.share(sequence_number));
    }
    table.pair.command_server(Command::Committed(2));
    let Mining::SubmitSharesSuccess(first) = table.message() else { panic!() };
    assert_eq!((first.last_sequence_number, first.new_submits_accepted_count), (2, 2));
    table.pair.command_server(Command::Committed(1));
    let Mining::SubmitSharesSuccess(second) = table.message() else { panic!() };
    assert_eq!((second.last_sequence_number, second.new_submits_accepted_count), (3, 1));
}

/// Spec 5.3.14: each share that is not accepted is answered at once, with its cause.
#[test]
fn each_cause_of_rejection_has_its_code() {
    let (mut table, open) = ready();
    let good = open.share(1);
    let cases = [
        (SubmitSharesExtended { job_id: 999, ..good.clone() }, ERROR_INVALID_JOB_ID),
        (SubmitSharesExtended { channel_id: 99, ..good.clone() }, ERROR_INVALID_CHANNEL_ID),
        (SubmitSharesExtended { ntime: 1, ..good.clone() }, ERROR_INVALID_NTIME),
        (
            SubmitSharesExtended { version: good.version | 1, ..good.clone() },
            ERROR_INVALID_NON_ROLLABLE_VERSION_BIT,
        ),
        (
            SubmitSharesExtended { extranonce: Bytes32::default(), ..good.clone() },
            ERROR_BAD_EXTRANONCE_SIZE,
        ),
    ];
    for (share, code) in cases {
        assert_eq!(rejection(&mut table, &share), code);
    }
    table.send(&good);
    table.assert_silent();
    assert_eq!(rejection(&mut table, &good), ERROR_DUPLICATE_SHARE);
}

/// Spec 5.3.21: a hash above the target is rejected.
#[test]
fn a_share_above_its_target_is_rejected() {
    let mut table = Table::with_min_difficulty(1_000_000.0);
    table.work(1, 1, HARD);
    table.set_up(0);
    let open = table.open_extended();
    assert_eq!(rejection(&mut table, &open.share(1)), ERROR_DIFFICULTY_TOO_LOW);
}

/// Spec 5.3.17: a share of a job for the tip before is stale.
#[test]
fn a_share_for_the_tip_before_is_stale() {
    let (mut table, open) = ready();
    table.work(2, 2, HARD);
    table.frame();
    table.frame();
    assert_eq!(rejection(&mut table, &open.share(1)), ERROR_STALE_SHARE);
}

/// Spec 7.7: a block leaves at once, before its share is answered, and even if that is stale.
#[test]
fn a_block_leaves_before_its_share_and_even_if_the_share_is_stale() {
    let mut table = Table::new();
    table.work(1, 77, REGTEST);
    table.set_up(0);
    let open = table.open_extended();
    let mut found = 0;
    for sequence_number in 0..40 {
        table.send(&open.share(sequence_number));
        match table.pair.server.event() {
            Some(Event::Block(solution)) => {
                assert_eq!(solution.template_id, 77);
                found += 1;
            }
            Some(Event::Found { .. }) => panic!("the ledger hears of it before the network"),
            Some(Event::Share(_) | Event::Entry(_) | Event::Channels(_) | Event::Settled)
            | None => continue,
        }
        table.pair.server.events.clear();
    }
    assert!(found > 0, "no hash of 40 met a target that half of them meet");
    table.work(2, 78, REGTEST);
    table.pair.server.events.clear();
    for sequence_number in 100..140 {
        table.send(&open.share(sequence_number));
    }
    let late = table.pair.server.events.iter().filter(|event| matches!(event, Event::Block(_)));
    assert!(late.count() > 0, "a stale block was dropped");
}

/// Spec 5.3.11: a standard share is a header with the merkle root of its job.
#[test]
fn a_standard_share_is_judged_by_its_own_merkle_root() {
    let mut table = Table::ready(0);
    let open = table.open_standard();
    let share = open.share(3);
    table.send(&share);
    let Some(Event::Share(record)) = table.pair.server.event() else { panic!("not accepted") };
    let header = mining::header::Header {
        version: share.version,
        prev_hash: open.prev_hash.prev_hash,
        merkle_root: open.job.merkle_root,
        ntime: share.ntime,
        nbits: open.prev_hash.nbits,
        nonce: share.nonce,
    };
    assert_eq!(record.hash, header.hash());
    assert_eq!((&*record.earner.account, &*record.earner.worker), ("miner", "b"));
}

/// Spec 5.3.9: a closed channel is not told of its shares.
#[test]
fn a_closed_channel_hears_nothing_of_its_shares() {
    let (mut table, open) = ready();
    table.send(&open.share(1));
    let channel_id = open.channel.channel_id;
    table.send(&wire::sv2::mining::CloseChannel { channel_id, reason_code: "bye".into() });
    table.pair.command_server(Command::Committed(1));
    table.assert_silent();
}

/// Spec 5.3.21: SetTarget holds for jobs to come, never for one that is being mined.
/// Firmware: a job follows SetTarget at once.
#[test]
fn fast_shares_raise_the_difficulty_and_a_job_follows_at_once() {
    let (mut table, open) = ready();
    let mut sequence_number = 0;
    let target = loop {
        sequence_number += 1;
        assert!(sequence_number < 100, "a hundred shares in ten seconds changed nothing");
        table.pair.run_for(Duration::from_millis(100));
        table.send(&open.share(sequence_number));
        if let Some(frame) = table.try_frame() {
            break Mining::decode(frame.header.message_type, &frame.payload).unwrap();
        }
    };
    let Mining::SetTarget(target) = target else { panic!("{} came", target.name()) };
    assert!(target.maximum_target < [0xff; 32]);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
    assert_eq!(job.channel_id, open.channel.channel_id);
    // Shares of the job before keep the target that it was issued with.
    table.send(&open.share(1_000));
    table.assert_silent();
}

/// Spec 5.3.12: a share of one kind of channel does not pass on the other.
#[test]
fn a_share_of_the_other_kind_of_channel_is_rejected() {
    let mut table = Table::ready(0);
    let (extended, standard) = (table.open_extended(), table.open_standard());
    let channel_id = standard.channel.channel_id;
    let share = SubmitSharesExtended { channel_id, ..extended.share(1) };
    assert_eq!(rejection(&mut table, &share), ERROR_BAD_EXTRANONCE_SIZE);
    let channel_id = extended.channel.channel_id;
    table.send(&SubmitSharesStandard { channel_id, ..standard.share(2) });
    let Mining::SubmitSharesError(error) = table.message() else { panic!("accepted") };
    assert_eq!(error.error_code, ERROR_BAD_EXTRANONCE_SIZE.into());
}

/// Spec 5.3.16: a better job on the same tip leaves the shares of the one before valid.
#[test]
fn a_share_of_the_job_before_on_the_same_tip_is_accepted() {
    let (mut table, open) = ready();
    table.work(1, 2, HARD);
    table.frame();
    table.send(&open.share(1));
    table.assert_silent();
    assert!(matches!(table.pair.server.event(), Some(Event::Share(_))));
}

/// Spec 5.3.13: new_shares_sum is the difficulty of the shares, each by the target of its job.
#[test]
fn the_sum_of_an_acknowledgement_is_the_work_of_its_shares() {
    let mut table = Table::with_min_difficulty(0.000_000_1);
    table.work(1, 1, HARD);
    table.set_up(0);
    let open = table.open_extended();
    let share = (1..).map(|nonce| open.share(nonce)).find(|share| {
        table.send(share);
        table.try_frame().is_none()
    });
    let Some(Event::Share(record)) = table.pair.server.event() else { panic!("no share") };
    assert_eq!(record.work, Target::from_le_bytes(open.channel.target).work());
    table.pair.command_server(Command::Committed(1));
    let Mining::SubmitSharesSuccess(success) = table.message() else { panic!() };
    assert_eq!(success.last_sequence_number, share.unwrap().sequence_number);
    assert_eq!(success.new_shares_sum, record.work.difficulty_floor());
}

/// Shares that come at once.
fn send_many(table: &mut Table, shares: impl Iterator<Item = SubmitSharesExtended>) {
    for share in shares {
        let share = EncodedFrame::new(&share);
        table.pair.client.session.handle_command(table.pair.now, share).unwrap();
    }
    table.pair.drive();
}

/// More shares than may wait for the ledger are not accepted, for nobody could keep them.
#[test]
fn a_ledger_that_has_stopped_is_no_reason_to_accept_shares_without_end() {
    const WAITING_MAX: u32 = 1 << 14;
    let mut table = Table::with_settings(|settings| {
        settings.vardiff.shares_per_minute = 1e9;
        settings.vardiff.search_shares_per_minute = 1e9;
        settings.limits.shares_per_second_max = 1_000_000;
    });
    table.work(1, 1, HARD);
    table.set_up(0);
    let open = table.open_extended();
    send_many(&mut table, (0..WAITING_MAX).map(|number| open.share(number)));
    table.assert_silent();
    assert_eq!(rejection(&mut table, &open.share(WAITING_MAX)), "share-not-recorded");
    table.pair.command_server(Command::Committed(1));
    assert!(matches!(table.message(), Mining::SubmitSharesSuccess(_)));
    table.send(&open.share(WAITING_MAX + 1));
    table.assert_silent();
}

/// Shares of a job before, at its easier target, are no proof that the new one is too easy.
#[test]
fn shares_of_an_easier_job_do_not_move_the_new_target() {
    let (mut table, open) = ready();
    table.send(&UpdateChannel {
        channel_id: open.channel.channel_id,
        nominal_hash_rate: 1e12,
        maximum_target: [0xff; 32],
    });
    assert!(matches!(table.message(), Mining::SetTarget(_)));
    table.pair.client.events.clear();
    send_many(&mut table, (0..1_000).map(|number| open.share(number)));
    table.assert_silent();
}
