//! Spec 3.6.1 and 5.3.1: setting up.

use std::time::Duration;

use testkit::pair::Ended;
use wire::session::PeerError;
use wire::sv2::message::Message;
use wire::sv2::mining::CloseChannel;
use wire::sv2::setup::{
    ERROR_UNSUPPORTED_FEATURE_FLAGS, PROTOCOL_MINING, REQUIRES_WORK_SELECTION, SetupConnection,
    SetupConnectionError,
};

use crate::miner::Table;

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

#[test]
fn the_first_message_must_be_setup_connection() {
    let mut table = Table::new();
    table.send(&CloseChannel { channel_id: 1, reason_code: "x".into() });
    let ended = &table.pair.server.ended;
    assert!(matches!(ended, Some(Ended::Failed(PeerError::Misbehaved(_)))), "{ended:?}");
}

#[test]
fn a_second_setup_connection_ends_the_connection() {
    let mut table = Table::ready(0);
    table.send(&SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test"));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(PeerError::Misbehaved(_)))));
}

#[test]
fn a_peer_that_sets_nothing_up_is_closed_after_ten_seconds() {
    let mut table = Table::new();
    table.wait(Duration::from_secs(9));
    assert!(table.pair.server.ended.is_none());
    table.wait(Duration::from_secs(2));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}

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
