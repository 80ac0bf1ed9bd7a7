//! Acts 1 and 2 (spec 4.5).

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wire::session::PeerError;
use wire::sv2::noise::{ACT_1_BYTES, ACT_2_BYTES, NoiseError};

use crate::sri::{initiate, respond};
use crate::{OTHER_KEY, UNIX_NOW, VALIDITY_SECONDS, authority, open_pair, our_client};
use crate::{our_server, sent};

/// How far the clocks may differ: SRI's leeway, which the specification leaves open.
const LEEWAY_SECONDS: u32 = 10;

fn noise_error(result: Result<(), PeerError>) -> Option<NoiseError> {
    result.err().and_then(|error| match error {
        PeerError::Noise(error) => Some(error),
        _ => None,
    })
}

/// Spec 4.5: the handshake is Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256, as SRI's server speaks
/// it.
#[test]
fn our_client_takes_sris_server_for_the_owner_of_its_key() {
    let mut client = our_client(Some(authority().public()), UNIX_NOW);
    let act_1 = sent(&mut client);
    assert_eq!(act_1.len(), ACT_1_BYTES);
    let (act_2, _) = respond(&act_1, UNIX_NOW);
    client.receive(&act_2).unwrap();
    assert!(client.is_open());
}

/// Spec 4.5: the handshake is Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256, as SRI's client speaks
/// it.
#[test]
fn sris_client_takes_our_server_for_the_owner_of_its_key() {
    let (act_1, client) = initiate(authority().public().to_bytes());
    let mut server = our_server(UNIX_NOW);
    server.receive(&act_1).unwrap();
    assert!(server.is_open());
    let act_2 = sent(&mut server);
    assert_eq!(act_2.len(), ACT_2_BYTES);
    assert!(client.finish(&act_2, UNIX_NOW).is_ok());
}

/// Flaw 19: nobody between a miner and its pool can stand in for the pool.
#[test]
fn our_client_refuses_a_server_of_another_authority() {
    let mut client = our_client(Some(OTHER_KEY.parse().unwrap()), UNIX_NOW);
    let (act_2, _) = respond(&sent(&mut client), UNIX_NOW);
    assert_eq!(noise_error(client.receive(&act_2)), Some(NoiseError::Certificate));
    assert!(!client.is_open());
}

#[test]
fn sris_client_refuses_our_server_for_another_authority() {
    let other: wire::sv2::keys::AuthorityKey = OTHER_KEY.parse().unwrap();
    let (act_1, client) = initiate(other.to_bytes());
    let mut server = our_server(UNIX_NOW);
    server.receive(&act_1).unwrap();
    assert!(client.finish(&sent(&mut server), UNIX_NOW).is_err());
}

#[test]
fn our_client_without_a_key_takes_any_server() {
    let mut client = our_client(None, UNIX_NOW);
    let (act_2, _) = respond(&sent(&mut client), UNIX_NOW);
    client.receive(&act_2).unwrap();
    assert!(client.is_open());
}

#[test]
fn our_client_refuses_a_certificate_outside_its_validity() {
    let expires = UNIX_NOW + VALIDITY_SECONDS + LEEWAY_SECONDS;
    let begins = UNIX_NOW - LEEWAY_SECONDS;
    for (unix_now, valid) in [
        (expires, true),
        (expires + 1, false),
        (begins, true),
        (begins - 1, false),
        (u32::MAX, false),
    ] {
        let mut client = our_client(Some(authority().public()), unix_now);
        let (act_2, _) = respond(&sent(&mut client), UNIX_NOW);
        let refused = noise_error(client.receive(&act_2));
        assert_eq!(refused, (!valid).then_some(NoiseError::Certificate), "at {unix_now}");
        assert_eq!(client.is_open(), valid, "at {unix_now}");
    }
}

/// Spec 4.5.3: a certificate states from when and until when it is valid.
#[test]
fn our_certificate_is_valid_for_as_long_as_configured() {
    for (unix_now, valid) in [
        (UNIX_NOW + VALIDITY_SECONDS, true),
        (UNIX_NOW + VALIDITY_SECONDS + LEEWAY_SECONDS + 1, false),
    ] {
        let (act_1, client) = initiate(authority().public().to_bytes());
        let mut server = our_server(UNIX_NOW);
        server.receive(&act_1).unwrap();
        assert_eq!(client.finish(&sent(&mut server), unix_now).is_ok(), valid, "at {unix_now}");
    }
}

#[test]
fn a_handshake_byte_by_byte_is_one() {
    let mut client = our_client(Some(authority().public()), UNIX_NOW);
    let (act_2, _) = respond(&sent(&mut client), UNIX_NOW);
    let (last, before) = act_2.split_last().unwrap();
    for byte in before {
        client.receive(&[*byte]).unwrap();
        assert!(!client.is_open());
    }
    client.receive(&[*last]).unwrap();
    assert!(client.is_open());

    let (act_1, client) = initiate(authority().public().to_bytes());
    let mut server = our_server(UNIX_NOW);
    for byte in act_1 {
        assert!(!server.is_open());
        server.receive(&[byte]).unwrap();
    }
    assert!(client.finish(&sent(&mut server), UNIX_NOW).is_ok());
}

/// Spec 4.5: a handshake that was tampered with fails.
#[test]
fn a_flipped_bit_anywhere_in_act_2_is_refused() {
    let config = Config { failure_persistence: None, ..Config::with_cases(64) };
    let bits = 0..ACT_2_BYTES * 8;
    TestRunner::new(config)
        .run(&bits, |bit| {
            let mut client = our_client(Some(authority().public()), UNIX_NOW);
            let (mut act_2, _) = respond(&sent(&mut client), UNIX_NOW);
            act_2[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(noise_error(client.receive(&act_2)).is_some());
            prop_assert!(!client.is_open());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_flipped_bit_in_act_1_makes_the_client_refuse_the_answer() {
    let mut client = our_client(None, UNIX_NOW);
    let mut act_1 = sent(&mut client);
    act_1[17] ^= 4;
    let (act_2, _) = respond(&act_1, UNIX_NOW);
    assert_eq!(noise_error(client.receive(&act_2)), Some(NoiseError::Handshake));
}

#[test]
fn nothing_can_be_sent_before_the_handshake_or_after_it_failed() {
    let filler = crate::Filler::of_length(4);
    let mut client = our_client(None, UNIX_NOW);
    assert!(matches!(client.send(&filler), Err(PeerError::Misbehaved(_))));
    assert!(matches!(our_server(UNIX_NOW).send(&filler), Err(PeerError::Misbehaved(_))));
    assert!(client.receive(&[0; ACT_2_BYTES]).is_err());
    assert!(matches!(client.send(&filler), Err(PeerError::Misbehaved(_))));
}

#[test]
fn a_frame_that_comes_with_act_2_is_not_lost() {
    let (act_1, client) = initiate(authority().public().to_bytes());
    let mut server = our_server(UNIX_NOW);
    server.receive(&act_1).unwrap();
    server.send(&crate::Filler::of_length(9)).unwrap();
    let both = sent(&mut server);
    let (act_2, sealed) = both.split_at(ACT_2_BYTES);
    let mut peer = client.finish(act_2, UNIX_NOW).unwrap();
    assert_eq!(peer.open(sealed).unwrap().len(), 1);

    let (mut client, mut server) = (our_client(None, UNIX_NOW), our_server(UNIX_NOW));
    server.receive(&sent(&mut client)).unwrap();
    server.send(&crate::Filler::of_length(9)).unwrap();
    client.receive(&sent(&mut server)).unwrap();
    assert_eq!(client.next_frame().unwrap().unwrap().payload.len(), 9);
    assert_eq!(client.next_frame().unwrap(), None);
}

#[test]
fn two_of_our_links_open_each_other() {
    let (mut client, mut server) = open_pair();
    client.send(&crate::Filler::of_length(3)).unwrap();
    server.receive(&sent(&mut client)).unwrap();
    assert_eq!(server.next_frame().unwrap().unwrap().payload.as_ref(), [0, 1, 2]);
}
