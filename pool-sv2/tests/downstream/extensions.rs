//! Spec 3.4 and the extensions: what is negotiated, and what a share appends.

use pool_sv2::downstream::connection::Event;
use testkit::pair::Ended;
use wire::sv2::codec::List;
use wire::sv2::extensions::{
    NEGOTIATION, Negotiation, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
    WORKER_HASHRATE_TRACKING,
};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{ERROR_INVALID_USER_IDENTITY, Mining, SubmitSharesExtended};

use crate::miner::{HARD, OpenExtended, REGTEST, Table};

/// The example of the spec: extension 0x0002, field 0x01, 10 bytes, "Worker_001".
const WORKER_001: &[u8] = b"\x00\x02\x01\x00\x0aWorker_001";

fn ask(table: &mut Table, extensions: &[u16]) -> Negotiation {
    let requested_extensions = List::new(extensions.to_vec()).unwrap();
    table.send(&RequestExtensions { request_id: 9, requested_extensions });
    let frame = table.frame();
    assert_eq!(frame.header.extension, NEGOTIATION);
    assert!(!frame.header.channel_msg);
    Negotiation::decode(frame.header.message_type, &frame.payload).unwrap()
}

fn success(extensions: &[u16]) -> Negotiation {
    let supported_extensions = List::new(extensions.to_vec()).unwrap();
    RequestExtensionsSuccess { request_id: 9, supported_extensions }.into()
}

/// A connection where shares name their worker if `asked`, with an extended channel.
fn ready(asked: bool) -> (Table, OpenExtended) {
    let mut table = Table::ready(0);
    if asked {
        ask(&mut table, &[WORKER_HASHRATE_TRACKING]);
    }
    let open = table.open_extended();
    (table, open)
}

fn send_with(table: &mut Table, share: &SubmitSharesExtended, appended: &[u8]) {
    table.pair.command_client(EncodedFrame::with_appended(share, appended));
}

fn credited(table: &mut Table) -> String {
    match table.pair.server.event() {
        Some(Event::Share(share)) => share.earner.to_string(),
        other => panic!("no share but {other:?}"),
    }
}

fn named(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap().to_be_bytes();
    [&[0, 2, 1], length.as_slice(), name].concat()
}

/// Extension 0x0001, 1.1: Success lists those of the requested extensions that are supported.
#[test]
fn supported_extensions_are_named_and_others_left_out() {
    let mut table = Table::ready(0);
    assert_eq!(ask(&mut table, &[0x0002, 0x0003]), success(&[0x0002]));
    assert_eq!(ask(&mut table, &[0x0001, 0x0002]), success(&[0x0001, 0x0002]));
}

/// Extension 0x0001, 4: Error if none of the requested extensions is supported, with all of them;
/// the client may go on without, or ask again.
#[test]
fn a_request_without_any_supported_extension_is_an_error_and_no_end() {
    let mut table = Table::ready(0);
    let unsupported_extensions = List::new(vec![0x0003, 0x4001]).unwrap();
    let required_extensions = List::default();
    let error =
        RequestExtensionsError { request_id: 9, unsupported_extensions, required_extensions };
    assert_eq!(ask(&mut table, &[0x0003, 0x4001]), error.into());
    assert_eq!(ask(&mut table, &[0x0002]), success(&[0x0002]));
    table.open_extended();
}

/// Extension 0x0002, 1.2: a share is counted for the worker that it names.
#[test]
fn a_share_is_recorded_for_its_worker() {
    let (mut table, open) = ready(true);
    send_with(&mut table, &open.share(1), WORKER_001);
    assert_eq!(credited(&mut table), "miner.a.Worker_001");
    send_with(&mut table, &open.share(2), &named("Zürich-äöü".as_bytes()));
    assert_eq!(credited(&mut table), "miner.a.Zürich-äöü");
    send_with(&mut table, &open.share(3), WORKER_001);
    assert_eq!(credited(&mut table), "miner.a.Worker_001");
}

/// Extension 0x0002, 1.1: a share without the name, or with an empty one, is its channel's user's.
#[test]
fn a_share_that_names_no_worker_is_recorded_for_the_channels_user() {
    let (mut table, open) = ready(true);
    send_with(&mut table, &open.share(1), &[]);
    assert_eq!(credited(&mut table), "miner.a");
    send_with(&mut table, &open.share(2), &named(b""));
    assert_eq!(credited(&mut table), "miner.a");
}

/// Spec 3.4.3: an appended field longer than its extension allows spoils the message: here a name
/// of more than 32 bytes.
/// Extension 0x0002, 1.1: a name is UTF-8.
/// Flaw 27: names are bounded.
#[test]
fn a_worker_name_that_cannot_be_used_is_refused() {
    let (mut table, open) = ready(true);
    let long = [b'x'; 33];
    let bad: [&[u8]; 3] = [&long, b"a\nb", &[0xff, 0xfe]];
    for (sequence_number, name) in (1..).zip(bad) {
        send_with(&mut table, &open.share(sequence_number), &named(name));
        let Mining::SubmitSharesError(error) = table.message() else { panic!("accepted") };
        assert_eq!(error.error_code, ERROR_INVALID_USER_IDENTITY.into());
    }
    send_with(&mut table, &open.share(9), &named(&[b'x'; 32]));
    assert!(credited(&mut table).ends_with(&"x".repeat(32)));
}

/// Spec 7.7: a block leaves, whatever is appended to its share.
#[test]
fn a_block_with_a_bad_worker_name_is_a_block() {
    let (mut table, open) = ready(true);
    table.work(2, 2, REGTEST);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!() };
    for sequence_number in 0..40 {
        let share = SubmitSharesExtended { job_id: job.job_id, ..open.share(sequence_number) };
        send_with(&mut table, &share, &named(&[b'x'; 33]));
    }
    let blocks = table.pair.server.events.iter();
    assert!(blocks.filter(|event| matches!(event, Event::Block(_))).count() > 0);
    assert!(!table.pair.server.events.iter().any(|event| matches!(event, Event::Share(_))));
}

/// Extension 0x0002, 1.3: fields of extensions that were not negotiated are ignored.
#[test]
fn what_was_not_negotiated_is_ignored_in_a_share() {
    let (mut table, open) = ready(false);
    send_with(&mut table, &open.share(1), WORKER_001);
    assert_eq!(credited(&mut table), "miner.a");
    send_with(&mut table, &open.share(2), b"\x00\x02\x01\xff\xff");
    assert_eq!(credited(&mut table), "miner.a");
}

/// Extension 0x0002, 1.3: known fields are found among others.
#[test]
fn a_worker_is_found_behind_the_field_of_another_extension() {
    let (mut table, open) = ready(true);
    let appended = [b"\x00\x01\x07\x00\x02ab".as_slice(), WORKER_001].concat();
    send_with(&mut table, &open.share(1), &appended);
    assert_eq!(credited(&mut table), "miner.a.Worker_001");
}

/// Spec 3.4.1: a message of an unknown extension is discarded, with the channel_msg bit or without.
#[test]
fn messages_of_unknown_extensions_are_discarded() {
    let (mut table, open) = ready(false);
    for channel_msg in [false, true] {
        let payload = open.channel.channel_id.to_le_bytes().to_vec();
        let frame = EncodedFrame::of_unknown(0x4abc, channel_msg, 0x1b, payload);
        table.pair.command_client(frame);
    }
    table.pair.command_client(EncodedFrame::of_unknown(NEGOTIATION, false, 0x77, vec![]));
    table.assert_silent();
    table.work(1, 2, HARD);
    assert!(matches!(table.message(), Mining::NewExtendedMiningJob(_)));
}

/// Spec 3.6.1: nothing is negotiated before SetupConnection.
#[test]
fn extensions_are_not_negotiated_before_the_setup() {
    let mut table = Table::new();
    let requested_extensions = List::new(vec![2]).unwrap();
    table.send(&RequestExtensions { request_id: 1, requested_extensions });
    table.assert_silent();
    table.set_up(0);
}

#[test]
fn a_request_that_ends_early_ends_the_connection() {
    let mut table = Table::ready(0);
    table.pair.command_client(EncodedFrame::of_unknown(NEGOTIATION, false, 0, vec![1, 0, 5]));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(_))));
}
