//! Gives one miner's session its socket, its work, its way to the ledger and to the network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use service::certificates::Certificates;
use service::clock;
use service::driver::{Ended, Host, drive};
use service::gate::Place;
use service::handshake::Handshakes;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Instrument, debug, info, info_span};
use wire::session::Session;
use wire::sv2::link::Link;

use super::connection::{Command, Downstream, Event, Settings};
use super::drain::Drain;
use super::limits::Limit;
use crate::blocks::Solutions;
use crate::payout::settlement::PAYOUT_VERSION;
use crate::roster::{Attendance, Roster};
use crate::shares::{Entry, Gathered, PayoutRecord, ShareSender, Watermark};
use crate::work::Work;

/// Entries that wait on one connection for the ledger; rejects beyond are not counted.
const ENTRIES_MAX: usize = 1_024;

/// What every connection is given. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Rules and limits.
    pub settings: Arc<Settings>,
    /// What handshakes are answered with.
    pub certificates: Certificates,
    /// What is to be mined; none before the first template, and once it is worth nothing any more.
    pub work: watch::Receiver<Option<Arc<Work>>>,
    /// Where accepted shares go.
    pub shares: ShareSender,
    /// Where blocks go.
    pub solutions: Solutions,
    /// Answers the handshakes.
    pub handshakes: Handshakes,
    /// Ends the connections, one after the other.
    pub shutdown: CancellationToken,
    /// When it is whose turn to end.
    pub drain: Arc<Drain>,
    /// Who is connected.
    pub roster: Roster,
}

impl Service {
    /// Serves one connection until it ends.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        let span = info_span!("miner", %peer);
        async {
            let settings = Arc::clone(&self.settings);
            let listed = self.roster.enter(peer, settings.listener, &self.shutdown);
            let ended = self.run(stream, &mut place, &listed).await;
            place.judge(&ended);
            match Limit::of_ending(&ended) {
                Some(limit) => {
                    settings.counts.met(limit);
                    info!(limit = limit.name(), reason = %ended, "connection closed at a limit");
                }
                None => debug!(reason = %ended, "connection closed"),
            }
        }
        .instrument(span)
        .await;
    }

    async fn run(self, mut stream: TcpStream, place: &mut Place, listed: &Attendance) -> Ended {
        let answered = tokio::select! {
            () = listed.leave().cancelled() => return Ended::ByHost,
            answered = self.handshakes.answer(&mut stream, self.server_link()) => answered,
        };
        let link = match answered {
            Ok(link) => link,
            Err(ended) => return ended,
        };
        let mut session = Downstream::new(link, Arc::clone(&self.settings), clock::now());
        let mut host = MinerHost::new(self, place, listed);
        let ended = drive(&mut session, &mut host, stream).await;
        session.report_rejects();
        while let Some(event) = session.poll_event() {
            host.take_event(event).await;
        }
        host.hand_over().await;
        ended
    }

    /// Makes the pool's end of a connection.
    fn server_link(&self) -> impl FnOnce() -> Link + Send + use<> {
        let (certificates, limits) = (self.certificates.clone(), self.settings.limits.link());
        move || Link::server(certificates.current(), limits, clock::fresh_seed())
    }
}

struct MinerHost<'a> {
    service: Service,
    place: &'a mut Place,
    listed: &'a Attendance,
    watermark: Watermark,
    /// One wait for the life of the connection. To begin one and end it whenever something happens
    /// is to enter and to leave a list of ten thousand, under one lock.
    leave: Pin<Box<WaitForCancellationFutureOwned>>,
    /// True until the session has been given the work that was there when it began.
    is_new: bool,
    /// When the session is told to leave, once it is to.
    leaves_at: Option<Instant>,
    /// True once it was told.
    is_leaving: bool,
    /// Not yet handed to the ledger. The session limits how many shares there can be.
    batch: Gathered,
    /// Shares of the batch before: the next one is likely to have as many.
    batch_before: usize,
    /// Handed over and not yet durable: ticket and number of shares.
    tickets: VecDeque<(u64, usize)>,
}

impl<'a> MinerHost<'a> {
    fn new(service: Service, place: &'a mut Place, listed: &'a Attendance) -> Self {
        let watermark = service.shares.watermark();
        let leave = Box::pin(listed.leave().clone().cancelled_owned());
        let (batch, tickets) = (Gathered::default(), VecDeque::new());
        Self {
            service,
            place,
            listed,
            watermark,
            leave,
            is_new: true,
            leaves_at: None,
            is_leaving: false,
            batch,
            batch_before: 0,
            tickets,
        }
    }

    /// Hands the last shares over when the connection has ended; waits for room.
    async fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            self.service.shares.send(&mut self.batch).await;
        }
    }

    /// How many more of the oldest shares are durable.
    fn take_committed(&mut self) -> usize {
        let durable = self.watermark.durable();
        let mut committed = 0;
        while let Some((ticket, count)) = self.tickets.front().copied()
            && ticket < durable
        {
            self.tickets.pop_front();
            committed += count;
        }
        committed
    }

    fn take_work(&mut self) -> Option<Command> {
        self.service.work.borrow_and_update().clone().map(Command::Work)
    }
}

impl Host<Downstream> for MinerHost<'_> {
    /// A ledger that has stopped delays acknowledgements and nothing else: the hand-over is one
    /// branch among others.
    async fn next_command(&mut self) -> Option<Command> {
        if std::mem::take(&mut self.is_new)
            && let Some(command) = self.take_work()
        {
            return Some(command);
        }
        loop {
            let committed = self.take_committed();
            if committed > 0 {
                return Some(Command::Committed(committed));
            }
            let (count, is_waiting) = (self.batch.shares.len(), !self.tickets.is_empty());
            let Service { drain, work, shares, shutdown, .. } = &mut self.service;
            let turn = (&*shutdown, &**drain);
            tokio::select! {
                // What is nearly always possible at once comes first, before the others have set
                // up what wakes them; it takes what it does away, so that it starves none of them.
                biased;
                ticket = shares.send(&mut self.batch), if !self.batch.is_empty() => {
                    self.tickets.push_back((ticket?, count));
                    self.batch_before = count;
                }
                // Work that is taken back ends the connection.
                changed = work.changed() => {
                    changed.ok()?;
                    return self.take_work();
                }
                () = self.watermark.moved(), if is_waiting => {}
                // The session says its last word, and ends by itself.
                last = turn_to_leave(&mut self.leave, turn, &mut self.leaves_at),
                    if !self.is_leaving =>
                {
                    self.is_leaving = true;
                    return Some(last);
                }
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Block(solution) => self.service.solutions.send(solution, clock::now()),
            // The same share may come again, as often as its miner likes.
            Event::Found { block, .. } if !self.service.solutions.is_to_record(&block.hash) => {}
            Event::Found { finder, block, memo } => {
                let records = memo.records(&block.hash).into_iter();
                let payouts = records.filter_map(|it| PayoutRecord::new(PAYOUT_VERSION, it));
                // One batch, and so one commit.
                self.batch.entries.push(Entry::BlockFound { finder, block });
                self.batch.entries.extend(payouts.map(Entry::Payout));
                self.batch.memos.push(memo);
            }
            Event::Share(share) => {
                self.place.prove();
                if self.batch.shares.is_empty() {
                    self.batch.shares.reserve(self.batch_before);
                }
                self.batch.shares.push(share);
            }
            // A ledger that hangs must not make junk pile up: blocks alone are always kept.
            Event::Entry(Entry::Rejects { .. }) if self.batch.entries.len() >= ENTRIES_MAX => {}
            Event::Entry(entry) => self.batch.entries.push(entry),
            Event::Channels(channels) => self.listed.show(channels),
            Event::Settled => self.place.settle(),
        }
    }
}

/// Waits until this connection is to end, and gives what its session is told: at a shutdown it
/// waits for its turn, which is kept in `leaves_at`.
async fn turn_to_leave(
    leave: &mut Pin<Box<WaitForCancellationFutureOwned>>,
    (shutdown, drain): (&CancellationToken, &Drain),
    leaves_at: &mut Option<Instant>,
) -> Command {
    leave.await;
    if !shutdown.is_cancelled() {
        return Command::Dismiss;
    }
    let at = leaves_at.get_or_insert_with(|| drain.turn(clock::now()).into());
    tokio::time::sleep_until(*at).await;
    Command::Leave
}

#[cfg(test)]
mod tests;
