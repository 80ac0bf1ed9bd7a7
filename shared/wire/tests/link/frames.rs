//! Frames over an open link (spec 4.6).

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wire::session::PeerError;
use wire::sv2::codec::DecodeError;
use wire::sv2::frame::{EncodedFrame, Frame, Header};
use wire::sv2::link::Link;
use wire::sv2::noise::NoiseError;

use crate::sri::{SriPeer, initiate, respond};
use crate::{Filler, LIMITS, UNIX_NOW, authority, open_pair, our_client, our_server, sent};

/// Around the 65 519 plaintext bytes of a Noise block, and several blocks.
const LENGTHS: [usize; 6] = [0, 1, 65_518, 65_519, 65_520, 200_000];

/// Our link in each role, open towards SRI.
fn open_to_sri() -> [(Link, SriPeer); 2] {
    let mut client = our_client(Some(authority().public()), UNIX_NOW);
    let (act_2, their_server) = respond(&sent(&mut client), UNIX_NOW);
    client.receive(&act_2).unwrap();
    let (act_1, their_client) = initiate(authority().public().to_bytes());
    let mut server = our_server(UNIX_NOW);
    server.receive(&act_1).unwrap();
    let their_client = their_client.finish(&sent(&mut server), UNIX_NOW).unwrap();
    [(client, their_server), (server, their_client)]
}

fn header_of(length: usize) -> Header {
    let length = length.try_into().unwrap();
    Header { extension: 0, channel_msg: true, message_type: 0xfe, length }
}

fn frame_of(length: usize) -> Frame {
    Frame { header: header_of(length), payload: Filler::of_length(length).0.into() }
}

/// Bytes on the wire: 22 of header, 16 for each block of payload (spec 4.6).
fn sealed_length(length: usize) -> usize {
    22 + length + length.div_ceil(65_519) * 16
}

/// Spec 4.6: header and payload are encrypted apart, the payload in chunks of 65,519 bytes.
#[test]
fn sri_reads_our_frames_of_every_length_in_both_roles() {
    for (mut link, mut peer) in open_to_sri() {
        for length in LENGTHS {
            let filler = Filler::of_length(length);
            link.send(&filler).unwrap();
            let sealed = sent(&mut link);
            assert_eq!(sealed.len(), sealed_length(length));
            assert_eq!(peer.open(&sealed), Ok(vec![(header_of(length), filler.0)]));
        }
    }
}

#[test]
fn we_read_sris_frames_of_every_length_in_both_roles() {
    for (mut link, mut peer) in open_to_sri() {
        for length in LENGTHS {
            let sealed = peer.seal(header_of(length), &Filler::of_length(length).0);
            assert_eq!(sealed.len(), sealed_length(length));
            link.receive(&sealed).unwrap();
            assert_eq!(link.next_frame().unwrap(), Some(frame_of(length)));
            assert_eq!(link.next_frame().unwrap(), None);
        }
    }
}

#[test]
fn many_frames_in_one_delivery_come_in_order() {
    for (mut link, mut peer) in open_to_sri() {
        let sealed =
            LENGTHS.map(|length| peer.seal(header_of(length), &Filler::of_length(length).0));
        link.receive(&sealed.concat()).unwrap();
        for length in LENGTHS {
            assert_eq!(link.next_frame().unwrap(), Some(frame_of(length)));
        }
        for length in LENGTHS {
            link.send(&Filler::of_length(length)).unwrap();
        }
        let frames = peer.open(&sent(&mut link)).unwrap();
        assert_eq!(frames.len(), LENGTHS.len());
    }
}

#[test]
fn a_frame_byte_by_byte_is_given_once_and_only_when_it_is_whole() {
    for (mut link, mut peer) in open_to_sri() {
        for length in [0, 1, 65_520] {
            let sealed = peer.seal(header_of(length), &Filler::of_length(length).0);
            let (last, before) = sealed.split_last().unwrap();
            for byte in before {
                link.receive(&[*byte]).unwrap();
                assert_eq!(link.next_frame().unwrap(), None);
            }
            link.receive(&[*last]).unwrap();
            assert_eq!(link.next_frame().unwrap(), Some(frame_of(length)));
        }
    }
}

#[test]
fn frames_cut_anywhere_come_out_the_same() {
    let config = Config { failure_persistence: None, ..Config::with_cases(64) };
    let pieces = proptest::collection::vec(1..200_usize, 1..20);
    let lengths = proptest::collection::vec(0..300_usize, 1..8);
    TestRunner::new(config)
        .run(&(pieces, lengths), |(pieces, lengths)| {
            let (mut client, mut server) = open_pair();
            for length in &lengths {
                client.send(&Filler::of_length(*length)).unwrap();
            }
            let sealed = sent(&mut client);
            let (mut rest, mut arrived) = (sealed.as_slice(), Vec::new());
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*piece));
                server.receive(now).unwrap();
                while let Some(frame) = server.next_frame().unwrap() {
                    arrived.push(frame);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let expected: Vec<_> = lengths.into_iter().map(frame_of).collect();
            prop_assert_eq!(arrived, expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_flipped_ciphertext_bit_is_refused() {
    let config = Config { failure_persistence: None, ..Config::with_cases(64) };
    let length = 40;
    let bits = 0..sealed_length(length) * 8;
    TestRunner::new(config)
        .run(&bits, |bit| {
            let (mut client, mut server) = open_pair();
            client.send(&Filler::of_length(length)).unwrap();
            let mut sealed = sent(&mut client);
            sealed[bit / 8] ^= 1 << (bit % 8);
            server.receive(&sealed).unwrap();
            let refused = server.next_frame();
            prop_assert!(matches!(refused, Err(PeerError::Noise(NoiseError::Authentication))));
            Ok(())
        })
        .unwrap();
}

/// Spec 4.6: the nonce counts, so that no frame can be replayed.
#[test]
fn a_frame_that_comes_twice_or_out_of_order_is_refused() {
    let (mut client, mut server) = open_pair();
    client.send(&Filler::of_length(4)).unwrap();
    let first = sent(&mut client);
    server.receive(&[first.clone(), first].concat()).unwrap();
    assert!(server.next_frame().unwrap().is_some());
    let replayed = server.next_frame();
    assert!(matches!(replayed, Err(PeerError::Noise(NoiseError::Authentication))));

    let (mut client, mut server) = open_pair();
    client.send(&Filler::of_length(4)).unwrap();
    let _lost = sent(&mut client);
    client.send(&Filler::of_length(4)).unwrap();
    server.receive(&sent(&mut client)).unwrap();
    assert!(matches!(server.next_frame(), Err(PeerError::Noise(NoiseError::Authentication))));
}

/// Flaw 9: no message makes a buffer grow past its limit.
#[test]
fn a_frame_longer_than_the_limit_is_refused_before_its_payload() {
    let max = LIMITS.frame_bytes_max;
    for (mut link, mut peer) in open_to_sri() {
        let sealed = peer.seal(header_of(max + 1), &Filler::of_length(max + 1).0);
        link.receive(&sealed[..22]).unwrap();
        let length = max + 1;
        let refused = link.next_frame();
        assert!(matches!(
            refused,
            Err(PeerError::InvalidMessage(DecodeError::FrameTooLong { length: l, max: m }))
                if l == length && m == max
        ));
    }
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let (mut client, _server) = open_pair();
    let filler = EncodedFrame::new(&Filler::of_length(200_000));
    let mut accepted = 0;
    let refused = loop {
        match client.send_frame(&filler, &[]) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 10, "nothing is refused");
    };
    assert!(matches!(refused, PeerError::OverLimit(_)));
    assert_eq!(accepted, 4, "1 000 000 bytes were allowed");
}

#[test]
fn a_message_that_is_refused_leaves_nothing_of_itself_behind() {
    let (mut client, mut server) = open_pair();
    let filler = Filler::of_length(200_000);
    let accepted = (0..10).take_while(|_| client.send(&filler).is_ok()).count();
    let mut bytes = sent(&mut client);
    assert!(bytes.len() <= LIMITS.output_bytes_max, "{} bytes", bytes.len());
    client.send(&Filler::of_length(3)).unwrap();
    bytes.extend(sent(&mut client));
    server.receive(&bytes).unwrap();
    let frames = std::iter::from_fn(|| server.next_frame().unwrap());
    let lengths: Vec<_> = frames.map(|frame| frame.payload.len()).collect();
    assert_eq!(lengths, [200_000, 200_000, 200_000, 200_000, 3]);
    assert_eq!(accepted, 4);
}

/// Flaw 24: what all peers get is not changed for one of them.
/// Flaw 29: what all peers get is serialised once.
#[test]
fn a_frame_made_once_reaches_each_peer_with_its_own_ids() {
    let made = EncodedFrame::new(&Filler(vec![0; 70_000]));
    for (mut link, mut peer) in open_to_sri() {
        for (ids, start) in [
            (&[][..], [0, 0, 0, 0, 0, 0, 0, 0]),
            (&[0x0403_0201], [1, 2, 3, 4, 0, 0, 0, 0]),
            (&[0x0403_0201, 0x0807_0605], [1, 2, 3, 4, 5, 6, 7, 8]),
        ] {
            link.send_frame(&made, ids).unwrap();
            let frames = peer.open(&sent(&mut link)).unwrap();
            let (header, payload) = &frames[0];
            assert_eq!(*header, header_of(70_000));
            assert_eq!(payload[..8], start);
            assert_eq!(payload.len(), 70_000);
        }
    }
}

#[test]
fn the_payload_of_a_frame_is_as_long_as_its_header_says() {
    let (mut client, mut server) = open_pair();
    client.send(&Filler::of_length(0)).unwrap();
    server.receive(&sent(&mut client)).unwrap();
    let frame = server.next_frame().unwrap().unwrap();
    assert_eq!((frame.header.length, frame.payload), (0, Bytes::new()));
}
