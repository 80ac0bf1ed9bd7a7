//! Bytes written by hand from the field tables of the specification, one literal for each field, so
//! that a mistake that we share with SRI would show.
//!
//! Numbers are chosen so that their bytes on the wire count up: a wrong order or size shows at
//! once.

mod extensions;
mod mining;
mod setup;
mod template;

use bytes::BytesMut;
use wire::sv2::codec::{Blob, Bytes32, List, Str255};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::message::Message;

/// On the wire 0102.
const U16: u16 = 0x0201;
/// On the wire 01020304.
const U32: u32 = 0x0403_0201;
/// On the wire 0102030405060708.
const U64: u64 = 0x0807_0605_0403_0201;
/// 1.5 is 0x3fc00000 in IEEE 754: on the wire 0000c03f.
const F32: f32 = 1.5;

/// On the wire `A_HEX`.
const A: [u8; 32] = [0xaa; 32];
const A_HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A U256 whose bytes count up on the wire.
const UP_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn up() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at).unwrap())
}

/// `message` is, in a frame, `header` and then `fields`; and back.
fn golden<M: Message + PartialEq + std::fmt::Debug>(message: &M, header: &str, fields: &[&str]) {
    let frame = EncodedFrame::new(message);
    assert_eq!(hex(frame.header()), header, "header of {}", M::NAME);
    let mut payload = BytesMut::new();
    frame.put_payload(&[], &mut payload);
    assert_eq!(hex(&payload), fields.concat(), "payload of {}", M::NAME);
    let read = M::from_payload(&unhex(&fields.concat()));
    assert_eq!(read.as_ref(), Ok(message), "{} read back", M::NAME);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let pairs = digits.map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn blob<const MAX: usize>(bytes: &'static [u8]) -> Blob<MAX> {
    Blob::new(bytes).unwrap()
}

fn list<T: Clone, const MAX: usize>(elements: &[T]) -> List<T, MAX> {
    List::new(elements.to_vec()).unwrap()
}

fn bytes32(bytes: &[u8]) -> Bytes32 {
    Bytes32::new(bytes).unwrap()
}

fn text(text: &str) -> Str255 {
    Str255::truncated(text)
}

#[test]
fn spec_3_1_length_prefixes_of_two_and_three_bytes_are_little_endian() {
    let ids: Vec<u32> = vec![7; 0x0102];
    let group = wire::sv2::mining::SetGroupChannel { group_channel_id: 0, channel_ids: list(&ids) };
    let payload = group.to_payload();
    assert_eq!(hex(&payload[..10]), "00000000020107000000", "SEQ0_64K");
    assert_eq!(payload.len(), 4 + 2 + 4 * 0x0102);

    let transaction = Blob::new(vec![0xee; 0x0001_0203]).unwrap();
    let data = wire::sv2::template::RequestTransactionDataSuccess {
        template_id: 0,
        excess_data: Blob::new(vec![0xdd; 0x0102]).unwrap(),
        transaction_list: List::new(vec![transaction]).unwrap(),
    };
    let payload = data.to_payload();
    assert_eq!(hex(&payload[8..11]), "0201dd", "B0_64K");
    assert_eq!(hex(&payload[8 + 2 + 0x0102..][..6]), "0100030201ee", "SEQ0_64K[B0_16M]");
}

/// Spec 3.4.3: TLV fields stand after the last field and do not disturb it.
#[test]
fn spec_3_4_3_a_tlv_after_the_last_field_does_not_disturb_the_message() {
    let share = "010203040102030401020304010203040102030401020304021122";
    // The example of the spec: extension 0x0002, field 0x01, 10 bytes, "Worker_001".
    let tlv = "00020100 0a 576f726b65725f303031".replace(' ', "");
    let whole = unhex(&[share, &tlv].concat());
    let read = wire::sv2::mining::SubmitSharesExtended::from_payload(&whole).unwrap();
    assert_eq!(read.extranonce, bytes32(&[0x11, 0x22]));
    assert_eq!(hex(&read.to_payload()), share);
}
