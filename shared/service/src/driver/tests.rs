//! The end of a connection, in virtual time.

use std::collections::VecDeque;
use std::time::Instant as StdInstant;

use tokio::io::duplex;

use super::*;

const WORDS: &[u8] = b"no";

/// Refuses whatever it is told, and is done.
#[derive(Default)]
struct Refusal {
    words: VecDeque<&'static [u8]>,
    is_finished: bool,
}

impl Session for Refusal {
    type Command = ();
    type Event = ();

    fn handle_bytes(&mut self, _now: StdInstant, _bytes: &[u8]) -> Result<(), PeerError> {
        self.words.push_back(WORDS);
        self.is_finished = true;
        Ok(())
    }

    fn handle_command(&mut self, _now: StdInstant, (): ()) -> Result<(), PeerError> {
        Ok(())
    }

    fn handle_timeout(&mut self, _now: StdInstant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.words.pop_front().is_some_and(|words| {
            out.extend_from_slice(words);
            true
        })
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<StdInstant> {
        None
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// Wants nothing.
struct Idle;

impl Host<Refusal> for Idle {
    async fn next_command(&mut self) -> Option<()> {
        pending().await
    }

    async fn take_event(&mut self, (): ()) {}
}

/// Drives a session that refuses; gives the peer's end, which has read the words, and how long ago
/// the drive began.
async fn refused() -> (tokio::io::DuplexStream, tokio::task::JoinHandle<Duration>) {
    let (mut peer, stream) = duplex(64);
    let driven = tokio::spawn(async move {
        let began = Instant::now();
        drive(&mut Refusal::default(), &mut Idle, stream).await;
        began.elapsed()
    });
    peer.write_all(b"may I?").await.unwrap();
    let mut words = [0; WORDS.len()];
    peer.read_exact(&mut words).await.unwrap();
    assert_eq!(words, WORDS);
    (peer, driven)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_refused_has_time_to_close_first() {
    let (mut peer, driven) = refused().await;
    // What it still sends is nobody's business.
    peer.write_all(&[7; 40]).await.unwrap();
    assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(driven.await.unwrap(), LAST_WORDS_MAX);
}

#[tokio::test(start_paused = true)]
async fn the_connection_of_a_peer_that_closes_is_over_at_once() {
    let (peer, driven) = refused().await;
    drop(peer);
    assert_eq!(driven.await.unwrap(), Duration::ZERO);
}
