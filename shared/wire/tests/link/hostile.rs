//! Random bytes in every state of a link, and what an authenticated peer may still do.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wire::sv2::link::Link;
use wire::sv2::mining::Mining;
use wire::sv2::setup::Setup;
use wire::sv2::template::TemplateDistribution;

use crate::sri::respond;
use crate::{Filler, UNIX_NOW, authority, open_pair, our_client, our_server, sent};

/// A state that a link can be in.
#[derive(Debug, Clone, Copy)]
enum State {
    AwaitAct1,
    AwaitAct2,
    OpenServer,
    OpenClient,
    WithinFrame,
    Failed,
}

const STATES: [State; 6] = [
    State::AwaitAct1,
    State::AwaitAct2,
    State::OpenServer,
    State::OpenClient,
    State::WithinFrame,
    State::Failed,
];

impl State {
    fn link(self) -> Link {
        match self {
            Self::AwaitAct1 => our_server(UNIX_NOW),
            Self::AwaitAct2 => our_client(Some(authority().public()), UNIX_NOW),
            Self::OpenServer => open_pair().1,
            Self::OpenClient => open_pair().0,
            Self::WithinFrame => {
                let (mut client, mut server) = open_pair();
                client.send(&Filler::of_length(500)).unwrap();
                server.receive(&sent(&mut client)[..100]).unwrap();
                assert_eq!(server.next_frame().unwrap(), None);
                server
            }
            Self::Failed => {
                let mut client = our_client(None, UNIX_NOW);
                assert!(client.receive(&[7; 234]).is_err());
                client
            }
        }
    }
}

fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { failure_persistence: None, ..Config::with_cases(64) };
    TestRunner::new(config).run(strategy, test).unwrap();
}

#[test]
fn random_bytes_in_every_state_never_panic_and_never_become_a_frame() {
    let deliveries = vec(vec(any::<u8>(), 0..400), 1..6);
    run(&(proptest::sample::select(&STATES), deliveries), |(state, deliveries)| {
        let mut link = state.link();
        for delivery in deliveries {
            let received = link.receive(&delivery);
            let frame = link.next_frame();
            prop_assert!(!matches!(frame, Ok(Some(_))), "a frame in {state:?}");
            // An ended link is not used any more, but it must stand it.
            drop((received, frame, link.send(&Filler::of_length(8)), sent(&mut link)));
        }
        Ok(())
    });
}

#[test]
fn random_bytes_instead_of_act_2_end_the_link() {
    run(&vec(any::<u8>(), 234), |act_2| {
        let mut client = our_client(None, UNIX_NOW);
        prop_assert!(client.receive(&act_2).is_err());
        prop_assert!(!client.is_open());
        Ok(())
    });
}

#[test]
fn any_frame_of_an_authenticated_peer_is_delivered_and_read_or_refused() {
    let header = (any::<u16>(), any::<u8>());
    run(&(header, vec(any::<u8>(), 0..500)), |((extension_type, message_type), payload)| {
        let mut client = our_client(None, UNIX_NOW);
        let (act_2, mut peer) = respond(&sent(&mut client), UNIX_NOW);
        client.receive(&act_2).unwrap();
        let [low, high] = extension_type.to_le_bytes();
        let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let header = wire::sv2::frame::Header::from_bytes([low, high, message_type, a, b, c]);
        client.receive(&peer.seal(header, &payload)).unwrap();
        let frame = client.next_frame().unwrap().unwrap();
        prop_assert_eq!(frame.header, header);
        prop_assert_eq!(frame.payload.as_ref(), payload.as_slice());
        drop(Setup::decode(frame.header.message_type, &frame.payload));
        drop(Mining::decode(frame.header.message_type, &frame.payload));
        drop(TemplateDistribution::decode(frame.header.message_type, &frame.payload));
        Ok(())
    });
}
