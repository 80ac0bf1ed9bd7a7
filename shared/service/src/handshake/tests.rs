//! Peers that shake hands, and peers that do something else.

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::LinkLimits;
use wire::sv2::noise::ServerIdentity;

use super::*;

const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1_000, output_bytes_max: 1_000 };
const UNIX_NOW: u32 = 1_700_000_000;

fn authority() -> AuthoritySecret {
    "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n".parse().unwrap()
}

fn server() -> Link {
    let identity = ServerIdentity::certified(&authority(), 60, [3; 32], UNIX_NOW);
    Link::server(Arc::new(identity), LIMITS, [1; 32])
}

fn handshakes(at_once: usize) -> Handshakes {
    let at_once = NonZeroUsize::new(at_once).unwrap();
    Handshakes::new(at_once, Duration::from_secs(10), &Metrics::new("x"))
}

/// How the answer to a peer goes that sends `bytes` and then, perhaps, closes.
async fn answer_to(bytes: &[u8], closes: bool) -> Result<Link, Ended> {
    let (mut ours, mut theirs) = tokio::io::duplex(1_000);
    theirs.write_all(bytes).await.unwrap();
    let kept = (!closes).then_some(theirs);
    let answered = handshakes(1).answer(&mut ours, server).await;
    drop(kept);
    answered
}

#[tokio::test]
async fn a_client_is_answered_and_what_it_said_besides_is_left_for_the_session() {
    let mut client = Link::client(Some(authority().public()), LIMITS, [2; 32], UNIX_NOW);
    let mut act_1 = BytesMut::new();
    client.poll_transmit(&mut act_1);
    let (mut ours, mut theirs) = tokio::io::duplex(1_000);
    theirs.write_all(&act_1).await.unwrap();
    theirs.write_all(b"more").await.unwrap();
    let mut link = handshakes(1).answer(&mut ours, server).await.ok().unwrap();
    let mut act_2 = BytesMut::new();
    assert!(link.is_open() && link.poll_transmit(&mut act_2));
    client.receive(&act_2).unwrap();
    assert!(client.is_open());
    let mut rest = [0; 4];
    ours.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"more");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_or_half_of_it_is_let_go() {
    for bytes in [&[][..], &[7; ACT_1_BYTES - 1]] {
        let ended = answer_to(bytes, false).await.err();
        assert!(matches!(ended, Some(Ended::Session(PeerError::TimedOut(_)))), "{ended:?}");
        let ended = answer_to(bytes, true).await.err();
        assert!(matches!(ended, Some(Ended::ByPeer)), "{ended:?}");
    }
}

#[tokio::test]
async fn text_is_told_from_a_handshake_before_it_costs_anything() {
    let subscribe = br#"{"id": 1, "method": "mining.subscribe", "params": ["miner/1.0.0", null]}"#;
    let request = b"GET / HTTP/1.1\r\nHost: pool.example\r\nUser-Agent: something-or-other/1\r\n";
    for text in [&subscribe[..], &request[..]] {
        let ended = answer_to(text, false).await.err();
        assert!(matches!(ended, Some(Ended::Session(PeerError::Misbehaved(_)))), "{ended:?}");
    }
}

#[tokio::test]
async fn no_more_handshakes_are_on_the_processor_than_there_are_turns() {
    let handshakes = handshakes(2);
    let (running, most) = (Arc::new(Semaphore::new(2)), 40);
    let answers: Vec<_> = (0..most)
        .map(|_| {
            let (handshakes, running) = (handshakes.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let (mut ours, mut theirs) = tokio::io::duplex(1_000);
                theirs.write_all(&[0xfe; ACT_1_BYTES]).await.unwrap();
                let link = move || {
                    // A third one at this moment would find nothing to take.
                    let _running = running.try_acquire().expect("too many at once");
                    thread::yield_now();
                    server()
                };
                handshakes.answer(&mut ours, link).await.is_ok()
            })
        })
        .collect();
    for answer in answers {
        assert!(answer.await.unwrap());
    }
}
