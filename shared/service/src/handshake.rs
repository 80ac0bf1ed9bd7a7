//! Answering handshakes of any kind: a few at a time, away from the threads that serve shares.
//!
//! A handshake costs a hundred times what a share does. Were each answered by the thread that its
//! bytes happen to wake, a storm of them (all miners come back at once, or somebody means harm)
//! would stand before every share. So they wait for a turn, and take it on a thread of their own,
//! where the operating system shares the processor out. Nothing here knows what comes after the
//! handshake.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use wire::session::PeerError;
use wire::sv2::link::Link;
use wire::sv2::noise::ACT_1_BYTES;

use crate::driver::Ended;
use crate::metrics::{Histogram, Metrics};

/// Why a peer is let go that does not begin.
pub const TOO_LATE: &str = "no handshake in time";
/// Bounds of `handshake_seconds`, from one that had no company to what a client bears.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];

/// Answers handshakes. Cheap to clone; all clones share the turns.
#[derive(Clone)]
pub struct Handshakes {
    turns: Arc<Semaphore>,
    patience: Duration,
    seconds: Histogram,
}

impl Handshakes {
    /// At most `at_once` on the processor at a time; none of them waits longer than `patience` for
    /// its peer's first message.
    pub fn new(at_once: NonZeroUsize, patience: Duration, metrics: &Metrics) -> Self {
        let help = "From a handshake's first message until it was answered";
        let seconds = metrics.histogram("handshake_seconds", help, &SECONDS);
        Self { turns: Arc::new(Semaphore::new(at_once.get())), patience, seconds }
    }

    /// Half of the processors, so that the other half is there for shares.
    pub fn usual_at_once() -> NonZeroUsize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN)
    }

    /// Reads the client's message from `stream` and answers it. `link` makes the server's end when
    /// its turn has come; the answer waits in it to be sent.
    pub async fn answer(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        link: impl FnOnce() -> Link + Send + 'static,
    ) -> Result<Link, Ended> {
        let mut act_1 = [0; ACT_1_BYTES];
        let read = timeout(self.patience, stream.read_exact(&mut act_1)).await;
        match read {
            Err(_) => return Err(PeerError::TimedOut(TOO_LATE).into()),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Ended::ByPeer);
            }
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(_)) => {}
        }
        if is_text(&act_1) {
            let what = "text instead of a handshake: this port speaks Stratum V2 alone";
            return Err(PeerError::Misbehaved(what).into());
        }
        let answered = self.reckon(move || {
            let mut link = link();
            link.receive(&act_1).map(|()| link)
        });
        Ok(answered.await??)
    }

    /// Does the reckoning of any kind of handshake when its turn has come. It must not wait for the
    /// peer: others wait for the turn.
    pub async fn reckon<T: Send + 'static>(
        &self,
        reckoning: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        let began = Instant::now();
        let _turn = self.turns.acquire().await.map_err(std::io::Error::other)?;
        let done = tokio::task::spawn_blocking(reckoning);
        let done = done.await.map_err(std::io::Error::other)?;
        self.seconds.observe(began.elapsed().as_secs_f64());
        Ok(done)
    }
}

/// A handshake begins with bytes that look random (spec 4.3.1, ElligatorSwift): in 10^25 honest
/// ones none is text, as what a Stratum V1 miner or a browser says is.
fn is_text(act_1: &[u8]) -> bool {
    act_1.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests;
