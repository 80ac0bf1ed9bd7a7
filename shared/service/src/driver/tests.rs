//! The end of a connection, in virtual time, and when one is written to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Context;
use std::time::Instant as StdInstant;

use bytes::BytesMut;
use tokio::io::{DuplexStream, duplex};

use super::output::WRITE_STALL_MAX;
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
async fn refused() -> (DuplexStream, tokio::task::JoinHandle<Duration>) {
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

/// Says one byte to each command and each read, and tells of the reads.
#[derive(Default)]
struct Echo {
    said: usize,
    reads: usize,
}

impl Session for Echo {
    type Command = ();
    type Event = ();

    fn handle_bytes(&mut self, _now: StdInstant, _bytes: &[u8]) -> Result<(), PeerError> {
        (self.said, self.reads) = (self.said + 1, self.reads + 1);
        Ok(())
    }

    fn handle_command(&mut self, _now: StdInstant, (): ()) -> Result<(), PeerError> {
        self.said += 1;
        Ok(())
    }

    fn handle_timeout(&mut self, _now: StdInstant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        let said = std::mem::take(&mut self.said);
        out.extend(std::iter::repeat_n(b'x', said));
        said > 0
    }

    fn poll_event(&mut self) -> Option<()> {
        self.reads = self.reads.checked_sub(1)?;
        Some(())
    }

    fn poll_timeout(&self) -> Option<StdInstant> {
        None
    }
}

/// Has so many commands at once, and no more; and takes so long to take an event.
#[derive(Clone, Default)]
struct Commands {
    left: Arc<AtomicU32>,
    event: Duration,
    taken: Arc<AtomicU32>,
}

impl Host<Echo> for Commands {
    async fn next_command(&mut self) -> Option<()> {
        tokio::task::coop::consume_budget().await;
        match self.left.load(Ordering::Relaxed).checked_sub(1) {
            Some(left) => self.left.store(left, Ordering::Relaxed),
            None => pending().await,
        }
        Some(())
    }

    async fn take_event(&mut self, (): ()) {
        sleep(self.event).await;
        self.taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Drives `commands` over `stream`, with a program that takes so long to take an event.
fn driven(
    commands: u32,
    event: Duration,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> tokio::task::JoinHandle<Ended> {
    let left = Arc::new(commands.into());
    driven_by(Commands { left, event, ..Commands::default() }, stream)
}

fn driven_by(
    mut commands: Commands,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> tokio::task::JoinHandle<Ended> {
    tokio::spawn(async move { drive(&mut Echo::default(), &mut commands, stream).await })
}

/// A stream that tells how much each write took.
struct Written {
    stream: DuplexStream,
    sizes: tokio::sync::mpsc::UnboundedSender<usize>,
}

impl AsyncRead for Written {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(size)) = &written {
            self.sizes.send(*size).unwrap();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Drives `commands` that are all there at once to a peer with room for `room` bytes that reads
/// each second; gives the bytes of each write.
async fn writes(commands: u32, room: usize) -> Vec<usize> {
    let (mut peer, stream) = duplex(room);
    let (sizes, mut written) = tokio::sync::mpsc::unbounded_channel();
    let driven = driven(commands, Duration::ZERO, Written { stream, sizes });
    let mut left = usize::try_from(commands).unwrap();
    while left > 0 {
        sleep(Duration::from_secs(1)).await;
        left -= peer.read(&mut [0; 1_024]).await.unwrap();
    }
    drop(peer);
    assert!(matches!(driven.await.unwrap(), Ended::ByPeer));
    std::iter::from_fn(|| written.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_commands_that_are_there_at_once_goes_in_one_write() {
    assert_eq!(writes(STEPS_UNWRITTEN_MAX, 1_024).await, [64]);
}

#[tokio::test(start_paused = true)]
async fn commands_without_end_do_not_hold_up_a_write() {
    assert_eq!(writes(2 * STEPS_UNWRITTEN_MAX, 1_024).await, [64, 64]);
}

#[tokio::test(start_paused = true)]
async fn a_full_socket_gets_the_rest_as_it_is_read() {
    assert_eq!(writes(10, 4).await, [4, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn commands_in_endless_number_do_not_hold_up_a_full_socket_that_is_read() {
    let (mut peer, stream) = duplex(4);
    let commands = Commands { left: Arc::new(1_000_000.into()), ..Commands::default() };
    let _driven = driven_by(commands.clone(), stream);
    peer.read_exact(&mut [0; 1_000]).await.unwrap();
    let left = commands.left.load(Ordering::Relaxed);
    assert!(left > 0, "it was not written to before the last command");
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_written_does_not_wait_for_a_busy_program() {
    let (mut peer, stream) = duplex(64);
    peer.write_all(b"?").await.unwrap();
    let began = Instant::now();
    let _driven = driven(0, Duration::from_secs(60), stream);
    peer.read_exact(&mut [0; 1]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_while_the_program_is_busy_is_not_given_up() {
    let (mut peer, stream) = duplex(4);
    let driven = driven(10, 2 * WRITE_STALL_MAX, stream);
    // The socket is full by then.
    sleep(Duration::from_secs(1)).await;
    peer.write_all(b"?").await.unwrap();
    peer.read_exact(&mut [0; 11]).await.unwrap();
    drop(peer);
    assert!(matches!(driven.await.unwrap(), Ended::ByPeer));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_whatever_the_program_says() {
    let (_peer, stream) = duplex(4);
    let ended = driven(10, Duration::ZERO, stream).await.unwrap();
    assert!(ended.to_string().contains(DOES_NOT_READ), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_holds_what_it_took_is_flushed() {
    let (mut peer, stream) = duplex(64);
    let _driven = driven(1, Duration::ZERO, tokio::io::BufWriter::new(stream));
    let read = timeout(Duration::from_secs(1), peer.read_exact(&mut [0; 1])).await;
    assert_eq!(read.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_being_taken_is_taken_whatever_becomes_of_the_peer() {
    let (mut peer, stream) = duplex(64);
    peer.write_all(b"?").await.unwrap();
    drop(peer);
    let busy = Commands { event: Duration::from_secs(60), ..Commands::default() };
    let ended = driven_by(busy.clone(), stream).await.unwrap();
    assert!(matches!(ended, Ended::Stream(_)), "{ended}");
    assert_eq!(busy.taken.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_program_does_not_hold_up_what_a_full_socket_takes_later() {
    let (mut peer, stream) = duplex(4);
    let _driven = driven(10, Duration::from_secs(3_600), stream);
    sleep(Duration::from_secs(1)).await;
    peer.write_all(b"?").await.unwrap();
    let read = timeout(Duration::from_secs(1), peer.read_exact(&mut [0; 11])).await;
    assert_eq!(read.unwrap().unwrap(), 11);
}
