//! The two messages of the Noise handshake, broken at will: an act 2 that differs from SRI's by one
//! bit is refused, and whatever a stranger sends never becomes a frame.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use fuzz::{UNIX_NOW, authority, client, responder, sent, server};
use libfuzzer_sys::fuzz_target;
use stratum_core::codec_sv2::Handshake;

#[derive(Debug, Arbitrary)]
enum Input {
    /// To our server, in pieces.
    ToServer(Vec<Vec<u8>>),
    /// To our client, in pieces.
    ToClient(Vec<Vec<u8>>),
    /// SRI's act 2 with this laid over it, to our client.
    Act2(Vec<u8>),
}

/// Act 1 of our client, always the same, and SRI's answer to it.
static ACT_2: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let act_1 = sent(&mut client(Some(authority().public())));
    let (responder, mut rng) = responder();
    let step = Handshake::responder(responder).step_1_with_now_rng(
        act_1.as_slice().try_into().unwrap(),
        UNIX_NOW,
        &mut rng,
    );
    step.unwrap().0.payload().to_vec()
});

fuzz_target!(|input: Input| {
    match input {
        Input::ToServer(pieces) => stays_shut(server(), &pieces),
        Input::ToClient(pieces) => stays_shut(client(Some(authority().public())), &pieces),
        Input::Act2(mask) => {
            let mut act_2 = ACT_2.clone();
            act_2.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte ^= mask);
            let mut client = client(Some(authority().public()));
            drop(sent(&mut client));
            let taken = client.receive(&act_2);
            let is_whole = act_2 == *ACT_2;
            assert_eq!(taken.is_ok(), is_whole, "{taken:?}");
            assert_eq!(client.is_open(), is_whole);
        }
    }
});

/// No frame comes out of a link to a stranger.
fn stays_shut(mut link: wire::sv2::link::Link, pieces: &[Vec<u8>]) {
    for piece in pieces {
        let received = link.receive(piece);
        let frame = link.next_frame();
        assert!(!matches!(frame, Ok(Some(_))), "a frame of a stranger");
        drop(sent(&mut link));
        if received.is_err() || frame.is_err() {
            return;
        }
    }
}
