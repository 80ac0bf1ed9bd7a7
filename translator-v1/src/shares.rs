//! The way of a share from a miner's connection to the upstream's, and of its verdict back.
//!
//! The queue is bounded: miners wait when it is full. A ticket is answered whatever happens: one
//! that is dropped says that the upstream was lost.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::bridge::notify::{ChannelEpoch, Work};
use crate::bridge::submit::{UpstreamShare, Verdict};

/// Shares that wait to be taken by the upstream's connection.
const QUEUE_MAX: usize = 1024;

/// When the program ends, shares on their way up wait so long for their verdicts: at a miner's
/// connection, and then at the upstream's.
pub const LAST_VERDICTS_MAX: Duration = Duration::from_secs(1);

/// Shares of one miner that may wait for the upstream. With an answer within half a second a miner
/// that needs more has a far too low difficulty.
pub const SHARES_WAITING_MAX: usize = 256;

/// What miners are to mine, and where its shares go.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// The work.
    pub work: Work,
    /// The ways to all upstreams: a block of one that is mined on no more still goes to it.
    pub ways: Ways,
}

/// The ways of shares to all upstreams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ways(Arc<[mpsc::Sender<Submitted>]>);

impl Ways {
    /// The upstreams' queues in the order of their numbers.
    pub fn new(queues: impl IntoIterator<Item = mpsc::Sender<Submitted>>) -> Self {
        Self(queues.into_iter().collect())
    }

    /// The way to the upstream that opened the channel of `epoch`.
    pub fn of(&self, epoch: ChannelEpoch) -> Option<&mpsc::Sender<Submitted>> {
        self.0.get(epoch.upstream())
    }
}

/// A share on its way up.
#[derive(Debug)]
pub struct Submitted {
    /// The share.
    pub share: UpstreamShare,
    /// Who found it.
    pub worker: Arc<str>,
    /// Whom the verdict is for.
    pub ticket: Ticket,
}

/// The queue to the upstream.
pub fn queue() -> (mpsc::Sender<Submitted>, mpsc::Receiver<Submitted>) {
    mpsc::channel(QUEUE_MAX)
}

/// A verdict on its way back.
#[derive(Debug, PartialEq)]
pub struct Answered {
    /// The session's number of the share.
    pub number: u64,
    /// What became of it.
    pub verdict: Verdict,
    /// How long that took.
    pub waited: Duration,
}

/// The way back to one miner. It holds one answer for each share that the miner may have waiting,
/// so that an answer never has to wait.
pub fn answers() -> (mpsc::Sender<Answered>, mpsc::Receiver<Answered>) {
    mpsc::channel(SHARES_WAITING_MAX)
}

/// Whom a verdict is for.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    since: Instant,
    /// Gone once answered; none if nobody waits.
    miner: Option<mpsc::Sender<Answered>>,
}

impl Ticket {
    /// For the share that the session behind `miner` calls `number`.
    pub fn new(number: u64, miner: mpsc::Sender<Answered>) -> Self {
        Self { number, since: Instant::now(), miner: Some(miner) }
    }

    /// For a share whose verdict nobody waits for.
    pub fn for_nobody() -> Self {
        Self { number: 0, since: Instant::now(), miner: None }
    }

    /// How long it has been on its way.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tells the miner.
    pub fn answer(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        if let Some(miner) = self.miner.take() {
            // It fails only where the miner has gone.
            let answered = Answered { number: self.number, verdict, waited: self.since.elapsed() };
            drop(miner.try_send(answered));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.send(Verdict::UpstreamLost);
    }
}

/// When a connection that is to be closed may go: shares that it sent wait for their verdicts.
#[derive(Debug)]
pub struct Leaving {
    shutdown: CancellationToken,
    /// Waits for it, for as long as the connection lasts: all connections wait for the same, and
    /// who begins to wait again with each share stands in the others' way.
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set once it is to be closed.
    deadline: Option<Instant>,
    /// Shares that have no verdict.
    in_flight: usize,
}

impl Leaving {
    /// A connection that is closed at `shutdown`.
    pub fn at(shutdown: CancellationToken) -> Self {
        let cancelled = Box::pin(shutdown.clone().cancelled_owned());
        Self { shutdown, cancelled, deadline: None, in_flight: 0 }
    }

    /// A share was sent that will get a verdict.
    pub fn count_share(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A verdict came.
    pub fn count_verdict(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Begins anew with another connection; gives what will end it.
    pub fn restart(&mut self) -> CancellationToken {
        self.in_flight = 0;
        self.shutdown.clone()
    }

    /// Waits until the connection may be closed. Cancel-safe.
    pub async fn until_done(&mut self) {
        if !self.shutdown.is_cancelled() {
            self.cancelled.as_mut().await;
        }
        let soon = || Instant::now() + LAST_VERDICTS_MAX;
        let deadline = *self.deadline.get_or_insert_with(soon);
        if self.in_flight > 0 {
            tokio::time::sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_ticket_says_that_the_upstream_was_lost() {
        let (sender, mut receiver) = answers();
        drop(Ticket::new(7, sender.clone()));
        Ticket::new(8, sender).answer(Verdict::Accepted);
        let mut next = || receiver.try_recv().ok().map(|it| (it.number, it.verdict));
        assert_eq!(next(), Some((7, Verdict::UpstreamLost)));
        assert_eq!(next(), Some((8, Verdict::Accepted)));
        assert_eq!(next(), None);
    }
}
