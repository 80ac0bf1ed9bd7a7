//! The one loop that runs any session over any byte stream.
//!
//! Back pressure is part of it: while bytes wait for a peer that does not read, and while the
//! program is busy taking events, that peer is not read from. And so is that what is said to many
//! commands and bytes that are there together goes out in one write. It knows no protocol.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use wire::session::{PeerError, Session};

use self::output::Output;
use crate::clock;

mod output;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Why the session of either ends.
pub const DOES_NOT_READ: &str = "the peer does not read";
/// How long the last bytes (an error message, say) may take.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long a peer that was sent last words has to close the connection by itself. Closed at once,
/// with bytes of the peer unread, it would be reset, and the words lost on their way; and there are
/// peers that do not look at a message behind which the stream ends.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// What is there together is taken together and then answered in one write; but after so many
/// commands and reads with no pause between them a write is tried in any case.
const STEPS_UNWRITTEN_MAX: u32 = 64;

/// Reads of up to a kibibyte that are worth the last words: who floods is waited for no longer.
const UNWANTED_READS_MAX: usize = 64;

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
    let mut output = Output::default();
    let ended = run(session, host, &mut reader, &mut writer, &mut output).await;
    // What the session has to say to the program does not wait for a peer that does not read.
    while let Some(event) = session.poll_event() {
        host.take_event(event).await;
    }
    // The last words, an error message for instance, are worth a moment.
    let bytes = output.take_all(session);
    let has_last_words =
        (!bytes.is_empty() || output.has_written()) && !matches!(ended, Ended::ByPeer);
    let _ = timeout(FLUSH_MAX, write_out(&mut writer, &bytes)).await;
    if has_last_words {
        let _ = timeout(LAST_WORDS_MAX, until_closed(&mut reader)).await;
    }
    let _ = timeout(FLUSH_MAX, writer.shutdown()).await;
    ended
}

async fn write_out(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Reads what nobody wants any more, until the peer closes, or has sent too much of it.
async fn until_closed(reader: &mut (impl AsyncRead + Unpin)) {
    let mut unwanted = [0; 1_024];
    for _ in 0..UNWANTED_READS_MAX {
        if !reader.read(&mut unwanted).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}

async fn run<S: Session>(
    session: &mut S,
    host: &mut impl Host<S>,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut Output,
) -> Ended {
    let mut alarm = Alarm { sleep: pin!(sleep(Duration::ZERO)), rings_at: None };
    let mut steps_unwritten = 0;
    loop {
        if let Err(error) = take_events(session, host, writer, output).await {
            return error.into();
        }
        output.fill(session);
        // Its last words have the time of the last bytes and no more: a peer that does not read
        // must not hold up the end of the program.
        if session.is_finished() {
            return Ended::ByHost;
        }
        let is_due = steps_unwritten >= STEPS_UNWRITTEN_MAX && !output.is_done();
        if is_due || output.is_high() && !output.is_stalled() {
            steps_unwritten = 0;
            match output.write_at_once(writer).await {
                Ok(()) => continue,
                Err(error) => return error.into(),
            }
        }
        let pause =
            session.poll_pause().map(Instant::from_std).filter(|until| *until > Instant::now());
        let stall = output.deadline();
        let timeout = session.poll_timeout().map(Instant::from_std);
        let wake = [pause, stall, timeout].into_iter().flatten().min();
        let reads = pause.is_none() && !output.is_high();
        let step = tokio::select! {
            // What is there already is taken first, so that one write carries all answers to it.
            biased;
            step = next_step(host, reader, reads, alarm.wait(wake)) => step,
            written = output.drain(writer) => {
                written.map_or_else(|error| Step::End(error.into()), |()| Step::Written)
            }
        };
        output.begin_turn();
        steps_unwritten = if output.is_done() { 1 } else { steps_unwritten + 1 };
        let stepped = match step {
            Step::Command(command) => session.handle_command(clock::now(), command),
            Step::Read(input) => session.handle_bytes(clock::now(), &input),
            Step::Time if stall.is_some_and(|at| Instant::now() >= at) => {
                match output.is_given_up(writer).await {
                    Ok(true) => Err(PeerError::TimedOut(DOES_NOT_READ)),
                    Ok(false) => Ok(()),
                    Err(error) => return error.into(),
                }
            }
            Step::Time => session.handle_timeout(clock::now()),
            Step::Written => Ok(()),
            Step::End(ended) => return ended,
        };
        if let Err(error) = stepped {
            return error.into();
        }
    }
}

/// Gives the program what the session tells. What waits to be written does not wait for a program
/// that is busy.
async fn take_events<S: Session>(
    session: &mut S,
    host: &mut impl Host<S>,
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut Output,
) -> io::Result<()> {
    while let Some(event) = session.poll_event() {
        let mut taking = pin!(host.take_event(event));
        if poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready())).await {
            continue;
        }
        output.fill(session);
        // An event that is being taken may be a block: no failure of this peer's ends that.
        let mut written = Ok(());
        loop {
            tokio::select! {
                biased;
                () = taking.as_mut() => break,
                result = output.drain(writer), if written.is_ok() => written = result,
            }
        }
        written?;
    }
    Ok(())
}

/// What happens to a session next.
enum Step<C> {
    Command(C),
    Read(Vec<u8>),
    /// A deadline has passed.
    Time,
    /// The peer's socket was found full, or has room again.
    Written,
    End(Ended),
}

/// Waits for what the program says, what the peer says if it is to be read, or the time.
/// Cancel-safe.
async fn next_step<S: Session>(
    host: &mut impl Host<S>,
    reader: &mut (impl AsyncRead + Unpin),
    reads: bool,
    alarm: impl Future<Output = ()>,
) -> Step<S::Command> {
    tokio::select! {
        command = host.next_command() => {
            command.map_or(Step::End(Ended::ByHost), Step::Command)
        }
        read = read_some(reader), if reads => match read {
            Ok(input) if input.is_empty() => Step::End(Ended::ByPeer),
            Ok(input) => Step::Read(input),
            Err(error) => Step::End(error.into()),
        },
        () = alarm => Step::Time,
    }
}

/// The one timer of a connection. It stays armed while other things happen: a deadline that moves
/// away costs nothing until the old one has passed.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    rings_at: Option<Instant>,
}

impl Alarm<'_> {
    /// Waits for `deadline`; for ever if there is none. Cancel-safe.
    async fn wait(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return pending().await;
        };
        loop {
            let rings_at = match self.rings_at {
                Some(earlier) if earlier <= deadline => earlier,
                _ => {
                    self.sleep.as_mut().reset(deadline);
                    self.rings_at = Some(deadline);
                    deadline
                }
            };
            self.sleep.as_mut().await;
            self.rings_at = None;
            if rings_at >= deadline {
                return;
            }
        }
    }
}

/// Reads what there is, and no bytes at the end of the stream. What is read stands on the stack
/// until it is known how much it is: a connection that waits, as nearly all do, holds no buffer.
async fn read_some(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        let polled = Pin::new(&mut *reader).poll_read(context, &mut read);
        polled.map_ok(|()| read.filled().to_vec())
    })
    .await
}

#[cfg(test)]
mod tests;
