//! What a session has to say on its way out: how much may wait, and how long for a peer that does
//! not read. It decides nothing about the session.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use wire::session::Session;

/// With this much unsent, more is left in the session (whose own limit then counts) and the peer is
/// not read.
const OUTPUT_HIGH_WATER_BYTES: usize = 64 * 1024;
/// A peer that takes no byte for so long is gone.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// And so is one that takes a few, but never all: it would hold what waits for it for ever.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// Bytes on their way out, and how long they have been.
#[derive(Default)]
pub(super) struct Output {
    bytes: BytesMut,
    /// True while the stream may hold bytes that it has taken, as one with TLS does.
    is_unflushed: bool,
    /// True if anything was written in this turn.
    has_written: bool,
    /// While the peer's socket is full: a byte must be taken until then.
    write_deadline: Option<Instant>,
    /// Since it was full, until all is written: when that must be.
    drain_deadline: Option<Instant>,
}

impl Output {
    /// Takes what `session` has to send, as far as there is room.
    pub(super) fn fill(&mut self, session: &mut impl Session) {
        while !self.is_high() && session.poll_transmit(&mut self.bytes) {}
    }

    /// All that is unsent, here and in `session`: its last words.
    pub(super) fn take_all(&mut self, session: &mut impl Session) -> BytesMut {
        let mut bytes = std::mem::take(&mut self.bytes);
        while session.poll_transmit(&mut bytes) {}
        bytes
    }

    pub(super) fn is_high(&self) -> bool {
        self.bytes.len() >= OUTPUT_HIGH_WATER_BYTES
    }

    /// True since the stream was full, until all is written.
    pub(super) fn is_stalled(&self) -> bool {
        self.drain_deadline.is_some()
    }

    /// The session is about to take the next thing that happens.
    pub(super) fn begin_turn(&mut self) {
        self.has_written = false;
    }

    /// True if some of what the session said of the last thing that happened is written already.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.is_unflushed
    }

    /// When the peer will have taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.write_deadline.into_iter().chain(self.drain_deadline).min()
    }

    /// Writes what the stream takes without waiting. Nearly all writes end here, and spare the
    /// wake-ups that waiting would set up and tear down.
    pub(super) async fn write_at_once(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        // Out of turn is not out of room: only the stream may say that it is full.
        unconstrained(poll_fn(|context| match self.poll_write(context, writer) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => Poll::Ready(Ok(())),
        }))
        .await
    }

    /// True if a deadline has passed and the stream still takes too little: the program may have
    /// been busy since it last looked.
    pub(super) async fn is_given_up(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        self.write_at_once(writer).await?;
        Ok(self.deadline().is_some_and(|at| Instant::now() >= at))
    }

    /// Writes. Returns when the stream becomes full, or was full and has taken something; once all
    /// is written it waits for ever. Cancel-safe.
    pub(super) async fn drain(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        unconstrained(poll_fn(|context| self.poll_write(context, writer))).await
    }

    /// Ready when the deadlines have changed.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let (was_stalled, mut has_moved) = (self.is_stalled(), false);
        while !self.is_done() {
            match self.poll_piece(context, writer) {
                Poll::Ready(Ok(())) => (has_moved, self.write_deadline) = (true, None),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let now = Instant::now();
                    self.drain_deadline.get_or_insert(now + DRAIN_MAX);
                    // How far it is with what it holds itself, a stream does not say.
                    if !self.bytes.is_empty() {
                        self.write_deadline.get_or_insert(now + WRITE_STALL_MAX);
                    }
                    break;
                }
            }
        }
        if self.is_done() {
            self.drain_deadline = None;
        }
        match (was_stalled, self.is_stalled()) {
            (false, false) => Poll::Pending,
            (true, true) if !has_moved => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes once, or has the stream send what it holds.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            ready!(Pin::new(writer).poll_flush(context))?;
            self.is_unflushed = false;
            return Poll::Ready(Ok(()));
        }
        let count = ready!(Pin::new(writer).poll_write(context, &self.bytes))?;
        if count == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        self.bytes.advance(count);
        (self.is_unflushed, self.has_written) = (true, true);
        if self.bytes.is_empty() {
            // Its memory is another connection's until there is something to say again.
            self.bytes = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}
