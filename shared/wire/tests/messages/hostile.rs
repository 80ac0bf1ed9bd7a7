//! Bytes that no honest peer sends: decoding refuses them or reads what is there, but it never
//! panics and never takes more memory than the bytes that did arrive justify.

use allocation_counter::measure;
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::sv2::codec::{Blob, DecodeError, List, Wire};
use wire::sv2::message::Message;
use wire::sv2::mining::{Mining, SetGroupChannel};
use wire::sv2::setup::Setup;
use wire::sv2::template::{RequestTransactionDataSuccess, TemplateDistribution};

use crate::property;

/// A list of empty transactions takes 3 bytes on the wire and 32 in memory for each, and a vector
/// that grows holds its old and its new room for a moment.
const MEMORY_FACTOR: u64 = 40;
/// What a list may reserve before it has read anything.
const MEMORY_BASE: u64 = 64 * 1024;

/// Reads `payload` as every type there is and gives the most memory that one of them took.
fn memory_to_decode(payload: &[u8]) -> u64 {
    let decode = |number: u8| {
        let took = measure(|| {
            drop(Setup::decode(number, payload));
            drop(Mining::decode(number, payload));
            drop(TemplateDistribution::decode(number, payload));
        });
        took.bytes_max
    };
    (0..=u8::MAX).map(decode).max().unwrap_or(0)
}

fn is_justified(memory: u64, payload: &[u8]) -> bool {
    memory <= MEMORY_BASE + MEMORY_FACTOR * u64::try_from(payload.len()).unwrap()
}

#[test]
fn random_payloads_of_every_type_are_read_or_refused_within_bounds() {
    let short = vec(any::<u8>(), 0..=64);
    let long = vec(any::<u8>(), 65..=2_000);
    property(prop_oneof![short, long], |payload| {
        let memory = memory_to_decode(&payload);
        prop_assert!(is_justified(memory, &payload), "{memory} bytes for {}", payload.len());
        Ok(())
    });
}

/// Random bytes seldom get to the end of a long message; those with most bits set or cleared
/// announce the greatest lengths and the most elements.
#[test]
fn payloads_that_announce_the_greatest_lengths_are_refused_within_bounds() {
    let byte = prop_oneof![4 => Just(0xff_u8), 4 => Just(0_u8), 1 => any::<u8>()];
    property(vec(byte, 0..=400), |payload| {
        let memory = memory_to_decode(&payload);
        prop_assert!(is_justified(memory, &payload), "{memory} bytes for {}", payload.len());
        Ok(())
    });
}

#[test]
fn a_list_that_announces_more_than_arrives_is_refused_without_room_for_it() {
    let mut announced = vec![0; 8];
    announced.extend([0, 0, 0xff, 0xff]);
    let took = measure(|| {
        let read = RequestTransactionDataSuccess::from_payload(&announced);
        assert_eq!(read, Err(DecodeError::Truncated));
    });
    assert!(took.bytes_max < 1_024, "{took:?}");
}

#[test]
fn a_transaction_that_announces_16_megabytes_is_refused_without_room_for_it() {
    let mut announced = vec![0; 8];
    announced.extend([0, 0, 1, 0, 0xff, 0xff, 0xff, 0x11]);
    let took = measure(|| {
        let read = RequestTransactionDataSuccess::from_payload(&announced);
        assert_eq!(read, Err(DecodeError::Truncated));
    });
    assert!(took.bytes_max < 1_024, "{took:?}");
}

#[test]
fn the_longest_list_of_empty_transactions_stays_within_bounds() {
    let mut payload = vec![0; 8];
    payload.extend([0, 0, 0xff, 0xff]);
    payload.resize(payload.len() + 65_535 * 3, 0);
    let took = measure(|| {
        let read = RequestTransactionDataSuccess::from_payload(&payload).unwrap();
        assert_eq!(read.transaction_list.as_slice().len(), 65_535);
    });
    assert!(is_justified(took.bytes_max, &payload), "{took:?}");
}

#[test]
fn elements_beyond_what_the_type_allows_are_no_list_or_blob() {
    assert!(List::<u32, 255>::new(vec![0; 256]).is_none());
    assert!(Blob::<255>::new(vec![0; 256]).is_none());
    let longest =
        SetGroupChannel { group_channel_id: 1, channel_ids: List::new(vec![2; 65_535]).unwrap() };
    let mut payload = BytesMut::new();
    longest.encode(&mut payload);
    assert_eq!(SetGroupChannel::from_payload(&payload), Ok(longest));
}
