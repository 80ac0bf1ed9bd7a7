//! What one miner may do, in virtual time: who is too fast is read later, who is silent or sends
//! junk is closed, and nobody is closed for being an honest farm.

use std::time::Duration;

use bytes::BytesMut;
use mining::extranonce::ExtranonceAllocator;
use pool_sv2::downstream::connection::Event;
use testkit::pair::Ended;
use wire::session::{PeerError, Session};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::message::Message;
use wire::sv2::mining::{CloseChannel, Mining, UpdateChannel};

use crate::miner::{HARD, Table, extended_request, standard_request};

const SECOND: Duration = Duration::from_secs(1);

/// A connection with `channels_per_connection_max` of a translator, and a hard first target.
fn busy(min_difficulty: f64) -> Table {
    let mut table = proxys(min_difficulty, 4_096);
    table.work(1, 1, HARD);
    table.set_up(0);
    table
}

fn proxys(min_difficulty: f64, channels_per_connection_max: usize) -> Table {
    let mut table = Table::with_settings(|settings| {
        settings.vardiff.min_difficulty = min_difficulty;
        settings.extranonces = ExtranonceAllocator::new(10_000);
        settings.limits.channels_per_connection_max = channels_per_connection_max;
        settings.limits.shares_per_second_max = 100;
        settings.limits.requests_per_second_max = 10;
    });
    // What a socket gives at once.
    table.pair.fragment_bytes = 1_000;
    table
}

/// Lets the miner say something with what it says next.
fn queue<M: Message>(table: &mut Table, message: &M) {
    let now = table.pair.now;
    table.pair.client.session.handle_command(now, EncodedFrame::new(message)).unwrap();
}

/// The sequence numbers of the answers that have come, errors alone.
fn refused(table: &mut Table) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(frame) = table.try_frame() {
        let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
        if let Mining::SubmitSharesError(error) = message {
            numbers.push(error.sequence_number);
        }
    }
    numbers
}

/// Flaw 25: who bursts at an easy target is slowed down, and credited for the work that he did.
#[test]
fn a_flood_of_shares_is_read_later_and_none_of_it_is_lost() {
    let mut table = busy(1e9);
    let open = table.open_extended();
    // Two seconds' worth may come at once.
    for number in 0..600 {
        queue(&mut table, &open.share(number));
    }
    table.pair.drive();
    let at_once = refused(&mut table).len();
    assert!((200..=220).contains(&at_once), "{at_once} at once");
    table.wait(SECOND);
    let later = refused(&mut table).len();
    assert!((95..=105).contains(&later), "{later} in a second");
    table.wait(SECOND * 4);
    assert_eq!(at_once + later + refused(&mut table).len(), 600);
    assert!(table.pair.server.ended.is_none());
}

#[test]
fn a_proxy_may_open_all_of_its_channels_at_once() {
    let mut table = proxys(1.0, 1_024);
    table.work(1, 1, HARD);
    table.set_up(0);
    for request_id in 0..1_024 {
        queue(&mut table, &extended_request(request_id));
    }
    table.pair.drive();
    let mut opened = 0;
    while let Some(frame) = table.try_frame() {
        let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
        opened += usize::from(matches!(message, Mining::OpenExtendedMiningChannelSuccess(_)));
    }
    assert_eq!(opened, 1_024);
}

/// Flaw 20: requests whose answers are larger than they are have a rate.
#[test]
fn channels_opened_and_closed_without_end_are_slowed_down() {
    let mut table = proxys(1.0, 128);
    table.work(1, 1, HARD);
    table.set_up(0);
    for number in 0..1_000 {
        queue(&mut table, &standard_request(number));
        let close = CloseChannel { channel_id: number + 2, reason_code: "".into() };
        queue(&mut table, &close);
    }
    table.pair.drive();
    let opened = |table: &mut Table| {
        let mut opened = 0;
        while let Some(frame) = table.try_frame() {
            let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
            opened += usize::from(matches!(message, Mining::OpenStandardMiningChannelSuccess(_)));
        }
        opened
    };
    let at_once = opened(&mut table);
    assert!((126..140).contains(&at_once), "{at_once} at once");
    table.wait(SECOND * 10);
    let later = opened(&mut table);
    assert!((45..=55).contains(&later), "{later} in ten seconds");
    assert!(table.pair.server.ended.is_none());
}

#[test]
fn requests_before_the_first_work_wait_unread_and_are_all_answered() {
    let mut table = proxys(1.0, 4_096);
    table.set_up(0);
    for request_id in 0..1_000 {
        queue(&mut table, &standard_request(request_id));
    }
    table.pair.drive();
    assert_eq!(table.try_frame(), None);
    table.work(1, 1, HARD);
    table.wait(SECOND);
    let opened = std::iter::from_fn(|| table.try_frame())
        .filter(|frame| {
            let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
            matches!(message, Mining::OpenStandardMiningChannelSuccess(_))
        })
        .count();
    assert_eq!(opened, 1_000);
}

/// Flaw 21: junk is counted and never recorded.
#[test]
fn a_channel_that_sends_nothing_but_junk_is_closed_and_its_neighbour_is_not() {
    let mut table = busy(1e9);
    let (bad, good) = (table.open_extended(), table.open_extended());
    for number in 0..1_000 {
        table.send(&bad.share(number));
        table.wait(SECOND / 50);
    }
    let mut closed = Vec::new();
    while let Some(frame) = table.try_frame() {
        let message = Mining::decode(frame.header.message_type, &frame.payload).unwrap();
        if let Mining::CloseChannel(close) = message {
            closed.push(close);
        }
    }
    let recorded = table.pair.server.events.iter().any(|it| matches!(it, Event::Share(_)));
    assert!(!recorded, "junk was recorded");
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed[0].channel_id, bad.channel.channel_id);
    assert_eq!(closed[0].reason_code, "too-many-invalid-shares".into());
    let update = UpdateChannel {
        channel_id: good.channel.channel_id,
        nominal_hash_rate: 1e21,
        maximum_target: [0xff; 32],
    };
    table.send(&update);
    assert!(matches!(table.message(), Mining::SetTarget(_)), "the other channel lives");
    assert!(table.pair.server.ended.is_none());
}

#[test]
fn a_miner_that_is_silent_for_hours_is_closed() {
    let mut table = busy(1.0);
    table.open_extended();
    table.wait(SECOND * 7_190);
    assert!(table.pair.server.ended.is_none());
    table.wait(SECOND * 20);
    let ended = &table.pair.server.ended;
    assert!(matches!(ended, Some(Ended::Failed(PeerError::TimedOut(_)))), "{ended:?}");
}

/// Flaw 9: half a message is not waited for for ever.
#[test]
fn a_message_that_does_not_come_to_its_end_closes_its_connection() {
    let mut table = busy(1.0);
    table.open_extended();
    queue(&mut table, &extended_request(7));
    let mut sealed = BytesMut::new();
    assert!(table.pair.client.session.poll_transmit(&mut sealed));
    table.pair.server.session.handle_bytes(table.pair.now, &sealed[..30]).unwrap();
    table.wait(SECOND * 20);
    assert!(table.pair.server.ended.is_none());
    table.wait(SECOND * 20);
    let ended = &table.pair.server.ended;
    assert!(matches!(ended, Some(Ended::Failed(PeerError::TimedOut(_)))), "{ended:?}");
}
