//! Spec 3.6.1 and 5.3.1: setting up.

use std::time::Duration;

use pool_sv2::downstream::close::ReconnectTo;
use pool_sv2::downstream::connection::{Command, Event};
use testkit::pair::Ended;
use wire::session::PeerError;
use wire::sv2::message::Message;
use wire::sv2::mining::{CloseChannel, Mining};
use wire::sv2::setup::{
    ERROR_PROTOCOL_VERSION_MISMATCH, ERROR_UNSUPPORTED_FEATURE_FLAGS, ERROR_UNSUPPORTED_PROTOCOL,
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION,
    Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};

use crate::miner::Table;

/// Spec 3.6.3: a refused setup is answered, and the connection closed.
/// Spec 5.3.1: REQUIRES_WORK_SELECTION is refused as long as no job can be declared.
#[test]
fn a_refused_setup_is_answered_and_closed() {
    let mut table = Table::new();
    let flags = REQUIRES_WORK_SELECTION;
    table.send(&SetupConnection::of_program(PROTOCOL_MINING, flags, "pool", 1, "test"));
    let error = SetupConnectionError::from_payload(&table.frame().payload).unwrap();
    assert_eq!(error.flags, REQUIRES_WORK_SELECTION);
    assert_eq!(error.error_code, ERROR_UNSUPPORTED_FEATURE_FLAGS.into());
    assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
}

#[test]
fn a_frame_after_a_refused_setup_ends_nothing_else() {
    let mut table = Table::new();
    let refused = SetupConnection::of_program(PROTOCOL_MINING, 1 << 30, "pool", 1, "test");
    table.send(&refused);
    table.send(&refused);
    assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
}

/// Spec 3.6.1: SetupConnection is the first message.
#[test]
fn the_first_message_must_be_setup_connection() {
    let mut table = Table::new();
    table.send(&CloseChannel { channel_id: 1, reason_code: "x".into() });
    let ended = &table.pair.server.ended;
    assert!(matches!(ended, Some(Ended::Failed(PeerError::Misbehaved(_)))), "{ended:?}");
}

/// Spec 3.6.1: a connection is set up once.
#[test]
fn a_second_setup_connection_ends_the_connection() {
    let mut table = Table::ready(0);
    table.send(&SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test"));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(PeerError::Misbehaved(_)))));
}

/// Spec 3.6.1: a peer that sends no SetupConnection is closed.
#[test]
fn a_peer_that_sets_nothing_up_is_closed_after_ten_seconds() {
    let mut table = Table::new();
    table.wait(Duration::from_secs(9));
    assert!(table.pair.server.ended.is_none());
    table.wait(Duration::from_secs(2));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}

/// Spec 5.3.2: a connection on which no channel is opened within a reasonable time is closed.
#[test]
fn a_peer_that_opens_no_channel_is_closed_after_a_minute() {
    let mut table = Table::ready(0);
    table.wait(Duration::from_secs(61));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}

#[test]
fn a_peer_with_a_channel_is_not_closed_for_silence() {
    let mut table = Table::ready(0);
    table.open_extended();
    table.wait(Duration::from_secs(600));
    assert!(table.pair.server.ended.is_none());
}

/// Spec 3.6.3: to a client that sets all flags the error tells the full set of those that are not
/// supported.
#[test]
fn all_flags_at_once_are_answered_with_all_that_are_not_supported() {
    let mut table = Table::new();
    table.send(&SetupConnection::of_program(PROTOCOL_MINING, u32::MAX, "pool", 1, "test"));
    let error = SetupConnectionError::from_payload(&table.frame().payload).unwrap();
    assert_eq!(error.flags, !(REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING));
}

/// Spec 3.6.3: flags are 0 where the cause is another one.
#[test]
fn another_protocol_or_version_is_refused_without_flags() {
    let good = SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test");
    let cases = [
        (SetupConnection { protocol: 1, ..good.clone() }, ERROR_UNSUPPORTED_PROTOCOL),
        (SetupConnection { protocol: 200, ..good.clone() }, ERROR_UNSUPPORTED_PROTOCOL),
        (
            SetupConnection { min_version: 3, max_version: 9, ..good.clone() },
            ERROR_PROTOCOL_VERSION_MISMATCH,
        ),
        (
            SetupConnection { min_version: 0, max_version: 1, ..good },
            ERROR_PROTOCOL_VERSION_MISMATCH,
        ),
    ];
    for (message, code) in cases {
        let mut table = Table::new();
        table.send(&message);
        let error = SetupConnectionError::from_payload(&table.frame().payload).unwrap();
        assert_eq!((error.flags, error.error_code), (0, code.into()));
        assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
    }
}

/// Spec 5.3.1: Success sets neither REQUIRES_FIXED_VERSION nor REQUIRES_EXTENDED_CHANNELS: versions
/// may be rolled, and standard channels opened.
#[test]
fn success_requires_nothing_of_the_client() {
    for flags in 0..8_u32 {
        if flags & REQUIRES_WORK_SELECTION != 0 {
            continue;
        }
        let mut table = Table::new();
        table.work(1, 1, crate::miner::HARD);
        table.send(&SetupConnection::of_program(PROTOCOL_MINING, flags, "pool", 1, "test"));
        let success = SetupConnectionSuccess::from_payload(&table.frame().payload).unwrap();
        assert_eq!((success.used_version, success.flags), (2, 0));
        table.open_standard();
    }
}

/// Spec 5.3.1: where REQUIRES_VERSION_ROLLING is set, and everywhere else, every job allows it.
#[test]
fn every_job_allows_version_rolling() {
    let mut table = Table::ready(REQUIRES_VERSION_ROLLING);
    assert!(table.open_extended().job.version_rolling_allowed);
    table.work(2, 2, crate::miner::HARD);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
    assert!(job.version_rolling_allowed);
}

/// Spec 3.6.1: the client must name its vendor; one that does not is served all the same.
#[test]
fn a_client_without_a_vendor_is_served() {
    let mut table = Table::new();
    let good = SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test");
    table.send(&SetupConnection { vendor: "".into(), ..good });
    assert_eq!(table.frame().header.message_type, 0x01);
}

/// Spec 3.6.5: a pool that shuts down may send its miners elsewhere with Reconnect.
/// Firmware: nothing is sent before a channel is asked for, a good-bye excepted.
#[test]
fn a_pool_that_shuts_down_sends_its_miners_to_the_configured_server() {
    let to = ReconnectTo::from_address("drain.reconnect_to", "other.example:3333").unwrap();
    let mut table = Table::with_settings(|settings| settings.reconnect_to = Some(to));
    table.work(1, 1, crate::miner::HARD);
    table.set_up(0);
    table.open_extended();
    table.pair.command_server(Command::Leave);
    let frame = table.frame();
    assert_eq!((frame.header.message_type, frame.header.channel_msg), (0x04, false));
    let reconnect = Reconnect::from_payload(&frame.payload).unwrap();
    assert_eq!((reconnect.new_host, reconnect.new_port), ("other.example".into(), 3_333));
    table.assert_silent();
    table.wait(Duration::from_secs(3));
    assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
}

#[test]
fn shares_that_are_on_their_way_when_a_miner_is_sent_elsewhere_are_acknowledged() {
    let to = ReconnectTo::from_address("drain.reconnect_to", "other.example:3333").unwrap();
    let mut table = Table::with_settings(|settings| settings.reconnect_to = Some(to));
    table.work(1, 1, crate::miner::HARD);
    table.set_up(0);
    let open = table.open_extended();
    table.pair.command_server(Command::Leave);
    assert_eq!(table.frame().header.message_type, Reconnect::MESSAGE_TYPE);
    table.send(&open.share(7));
    assert!(matches!(table.pair.server.event(), Some(Event::Share(_))));
    table.pair.command_server(Command::Committed(1));
    let Mining::SubmitSharesSuccess(success) = table.message() else { panic!("no Success") };
    assert_eq!(success.last_sequence_number, 7);
}

/// Spec 3.6.5: nobody is sent anywhere who has not been set up on an encrypted connection.
#[test]
fn a_peer_that_is_not_set_up_is_told_nothing_when_the_pool_shuts_down() {
    let to = ReconnectTo::from_address("drain.reconnect_to", "other.example:3333").unwrap();
    let mut table = Table::with_settings(|settings| settings.reconnect_to = Some(to));
    table.pair.command_server(Command::Leave);
    table.assert_silent();
    assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
}

/// Spec 5.3.9: a server closes channels too: all of a group at once, or each of its own where there
/// is none.
#[test]
fn a_pool_that_shuts_down_closes_all_channels() {
    for flags in [0, REQUIRES_STANDARD_JOBS] {
        let mut table = Table::ready(flags);
        let open = [table.open_standard(), table.open_standard()];
        table.pair.command_server(Command::Leave);
        let group = [open[0].channel.group_channel_id];
        let each = open.map(|open| open.channel.channel_id);
        for channel_id in if flags == 0 { group.as_slice() } else { &each } {
            let Mining::CloseChannel(close) = table.message() else { panic!("no CloseChannel") };
            assert_eq!(close.channel_id, *channel_id);
        }
        table.assert_silent();
        assert!(matches!(table.pair.server.ended, Some(Ended::Finished)));
    }
}
