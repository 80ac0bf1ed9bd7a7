//! The one loop that runs any session over any byte stream.
//!
//! Back pressure is part of it: while bytes wait for a peer that does not read, and while the
//! program is busy taking events, that peer is not read from. It knows no protocol.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use wire::session::{PeerError, Session};

use crate::clock;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// With this much unsent, more is left in the session (whose own limit then counts) and the peer is
/// not read.
const OUTPUT_HIGH_WATER_BYTES: usize = 64 * 1024;
/// A peer that takes no byte for so long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long the last bytes (an error message, say) may take.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The program's side of one session.
pub trait Host<S: Session>: Send {
    /// Waits for the next command; `None` closes the session. Must be cancel-safe: it is dropped
    /// and called again whenever something else happens first.
    fn next_command(&mut self) -> impl Future<Output = Option<S::Command>> + Send;

    /// Takes an event. The peer is not read until it returns.
    fn take_event(&mut self, event: S::Event) -> impl Future<Output = ()> + Send;
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer closed the stream.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The program closed it.
    #[error("closed by this program")]
    ByHost,
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Stream(#[from] io::Error),
    /// The session could not go on.
    #[error(transparent)]
    Session(#[from] PeerError),
}

/// Runs `session` over `stream` until one side ends it; says why.
pub async fn drive<S: Session>(
    session: &mut S,
    host: &mut impl Host<S>,
    stream: impl AsyncRead + AsyncWrite + Send,
) -> Ended {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut output = BytesMut::new();
    let ended = run(session, host, &mut reader, &mut writer, &mut output).await;
    // What the session has to say to the program does not wait for a peer that does not read.
    while let Some(event) = session.poll_event() {
        host.take_event(event).await;
    }
    // The last words, an error message for instance, are worth a moment.
    while session.poll_transmit(&mut output) {}
    let flush = async {
        writer.write_all(&output).await?;
        writer.shutdown().await
    };
    let _ = timeout(FLUSH_MAX, flush).await;
    ended
}

async fn run<S: Session>(
    session: &mut S,
    host: &mut impl Host<S>,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut BytesMut,
) -> Ended {
    let mut input = BytesMut::new();
    let mut write_deadline = Instant::now() + WRITE_STALL_MAX;
    loop {
        while let Some(event) = session.poll_event() {
            host.take_event(event).await;
        }
        if output.is_empty() {
            write_deadline = Instant::now() + WRITE_STALL_MAX;
        }
        while output.len() < OUTPUT_HIGH_WATER_BYTES && session.poll_transmit(output) {}
        if output.is_empty() && session.is_finished() {
            return Ended::ByHost;
        }
        let wake = session.poll_timeout().map_or(write_deadline, Instant::from_std);
        let sleep_deadline = if output.is_empty() { wake } else { wake.min(write_deadline) };
        let sleeping = !output.is_empty() || session.poll_timeout().is_some();
        let stepped = tokio::select! {
            written = writer.write_buf(output), if !output.is_empty() => match written {
                Ok(0) => return Ended::ByPeer,
                Ok(_) => { write_deadline = Instant::now() + WRITE_STALL_MAX; Ok(()) }
                Err(error) => return error.into(),
            },
            command = host.next_command() => match command {
                Some(command) => session.handle_command(clock::now(), command),
                None => return Ended::ByHost,
            },
            read = read_some(reader, &mut input), if output.len() < OUTPUT_HIGH_WATER_BYTES => {
                match read {
                    Ok(0) => return Ended::ByPeer,
                    Ok(_) => {
                        let stepped = session.handle_bytes(clock::now(), &input);
                        input.clear();
                        stepped
                    }
                    Err(error) => return error.into(),
                }
            },
            () = sleep_until(sleep_deadline), if sleeping => {
                if !output.is_empty() && Instant::now() >= write_deadline {
                    return PeerError::TimedOut("the peer does not read").into();
                }
                session.handle_timeout(clock::now())
            },
        };
        if let Err(error) = stepped {
            return error.into();
        }
    }
}

async fn read_some(
    reader: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> io::Result<usize> {
    input.reserve(READ_BYTES);
    reader.read_buf(input).await
}
