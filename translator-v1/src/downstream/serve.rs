//! Gives one miner's session its socket, its work and its way to the upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use service::clock;
use service::driver::{Host, drive};
use service::gate::Place;
use service::handshake::Handshakes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use super::counts::Counts;
use super::session::MinerSession;
use super::tls::Tls;
use super::{Command, Event, MinerIdentity, MinerSettings, shown};
use crate::bridge::extranonce::Seats;
use crate::bridge::submit::UpstreamShare;
use crate::miners::{MinerPart, Miners};
use crate::register::{Register, Registered};
use crate::shares::{Answered, Assigned, Leaving, Submitted, Ticket, Ways, answers};
use crate::teams::{Member, Teams};

/// Bytes of a session's token.
const TOKEN_BYTES: usize = 16;

/// What every miner's connection is given. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Rules for all miners.
    pub settings: Arc<MinerSettings>,
    /// Places in the search space.
    pub seats: Seats,
    /// What is to be mined, and where its shares go; none while there is no valid work.
    pub work: watch::Receiver<Option<Assigned>>,
    /// The sum over all miners.
    pub miners: Miners,
    /// Miners that share a channel, where not all do.
    pub teams: Teams,
    /// What people see.
    pub register: Register,
    /// What is counted.
    pub counts: Counts,
    /// Gives TLS handshakes their turns.
    pub handshakes: Handshakes,
    /// Where miners are sent at the end.
    pub elsewhere: Option<(String, u16)>,
    /// Ends the connections, when the shares in flight have their verdicts or soon after.
    pub shutdown: CancellationToken,
}

impl Service {
    /// Serves one miner with TLS until its connection ends.
    pub async fn serve_tls(self, tls: Tls, stream: TcpStream, peer: SocketAddr, place: Place) {
        match tls.accept(stream, &self.handshakes).await {
            Ok(stream) => self.serve(stream, peer, place).await,
            // A miner without TLS, or one that does not trust the certificate: no fault.
            Err(reason) => debug!(%peer, %reason, "connection closed: no TLS"),
        }
    }

    /// Serves one miner until its connection ends.
    pub async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Send,
        peer: SocketAddr,
        place: Place,
    ) {
        let departed = &self.settings.departed;
        let seat = self.seats.take().or_else(|| {
            departed.clear();
            self.seats.take()
        });
        let Some(seat) = seat else {
            warn!(%peer, "miner refused: no place is left in the search space");
            return;
        };
        let session = token();
        let identity = MinerIdentity { seat, session };
        let mut session = MinerSession::new(&self.settings, identity, clock::now());
        let mut host = MinerHost::new(self, peer, place);
        let span = info_span!("miner", %peer);
        async {
            let ended = drive(&mut session, &mut host, stream).await;
            host.place.judge(&ended);
            debug!(reason = %ended, "connection closed");
        }
        .instrument(span)
        .await;
        // Not before the session is over may its part of the search space be another's.
        session.park(clock::now());
    }
}

/// A token that nobody guesses: 16 random bytes.
fn token() -> String {
    let seed = clock::fresh_seed();
    let (token, _) = seed.split_at(TOKEN_BYTES);
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct MinerHost {
    service: Service,
    /// What this miner is to mine.
    work: watch::Receiver<Option<Assigned>>,
    /// Its part of a team, once it has one.
    member: Option<Member>,
    /// True until the session has been given the work that was there when it began.
    is_new: bool,
    /// True once the session was told that it is over.
    has_left: bool,
    /// The ways to the upstreams; none before there is work.
    ways: Option<Ways>,
    sender: mpsc::Sender<Answered>,
    verdicts: mpsc::Receiver<Answered>,
    part: MinerPart,
    leaving: Leaving,
    place: Place,
    shown: Registered,
}

impl MinerHost {
    fn new(service: Service, peer: SocketAddr, place: Place) -> Self {
        let (sender, verdicts) = answers();
        Self {
            work: service.work.clone(),
            member: None,
            is_new: true,
            has_left: false,
            ways: None,
            sender,
            verdicts,
            part: service.miners.part(),
            leaving: Leaving::at(service.shutdown.clone()),
            place,
            shown: service.register.enter(peer),
            service,
        }
    }

    fn work(&mut self) -> Command {
        let assigned = self.work.borrow_and_update();
        // They are the same in all work, and kept when it ends: shares that are on their way then
        // have still been found. Cloning them each time would have all cores change one count.
        if let (Some(assigned), None) = (&*assigned, &self.ways) {
            self.ways = Some(assigned.ways.clone());
        }
        Command::Work(assigned.as_ref().map(|it| it.work.clone()))
    }

    /// The first worker's name says which team the miner is of; then it has that one's work.
    fn join_team(&mut self, worker: &str) {
        if self.member.is_some() {
            return;
        }
        let present = self.service.work.borrow().clone();
        if let Some(member) = self.service.teams.join(worker, present) {
            (self.work, self.is_new) = (member.work(), true);
            self.member = Some(member);
        }
    }

    async fn submit(&self, share: UpstreamShare, worker: Arc<str>, ticket: Ticket) {
        // Where nobody takes it any more, the ticket answers as it is dropped.
        if let Some(upward) = self.ways.as_ref().and_then(|ways| ways.of(share.epoch)) {
            drop(upward.send(Submitted { share, worker, ticket }).await);
        }
    }
}

impl Host<MinerSession> for MinerHost {
    async fn next_command(&mut self) -> Option<Command> {
        if std::mem::take(&mut self.is_new) {
            return Some(self.work());
        }
        // Not left to the order below: no number of verdicts may stand before it.
        if self.work.has_changed().is_ok_and(|changed| changed) {
            return Some(self.work());
        }
        tokio::select! {
            // To begin to wait costs more than to take a verdict, and most often one is there.
            biased;
            answered = self.verdicts.recv() => {
                let Answered { number, verdict, waited } = answered?;
                self.leaving.count_verdict();
                self.shown.waited(waited);
                Some(Command::Verdict { ticket: number, verdict })
            }
            changed = self.work.changed() => {
                changed.ok()?;
                Some(self.work())
            }
            () = self.leaving.until_done(), if !self.has_left => {
                self.has_left = true;
                Some(Command::Leave { elsewhere: self.service.elsewhere.clone() })
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        self.service.counts.count(&event);
        shown::note(&self.shown, &event);
        match event {
            Event::Submit { ticket, share, worker } => {
                self.leaving.count_share();
                self.submit(share, worker, Ticket::new(ticket, self.sender.clone())).await;
            }
            Event::SubmitBlock { share, worker } => {
                self.submit(share, worker, Ticket::for_nobody()).await;
            }
            Event::Hashrate(hashrate) => match &mut self.member {
                Some(member) => member.set(hashrate),
                None => self.part.set(hashrate),
            },
            Event::Authorized { worker, agent } => {
                self.join_team(&worker);
                self.place.settle();
                info!(%worker, %agent, "miner authorized");
            }
            Event::Named { agent } => info!(%agent, "miner says what it is"),
            Event::LateVerdict { outcome } => {
                if let Err(error) = outcome {
                    debug!(reason = %error, "share that was answered with true was refused");
                }
            }
            Event::Difficulty(difficulty) => debug!(difficulty, "difficulty told"),
            Event::Resumed => debug!("session resumed"),
            Event::SlowedDown => info!(
                "miner slowed down: it sends more than limits.lines_per_second_max; its difficulty \
                 may be far too low"
            ),
            Event::CoinbaseTooLong { kind, bytes } => {
                let (kind, bytes_max) = (kind.name, kind.coinbase_bytes_max);
                warn!(
                    kind,
                    bytes,
                    bytes_max,
                    "the pool's coinbase is longer than this kind of miner can hold: its shares \
                     may all be wrong; ask the pool for a shorter one, or use another pool"
                );
            }
            Event::BlockFound { worker, hash } => {
                info!(%worker, hash = %mining::hash::display(&hash), "block found");
            }
            Event::Answered { worker, difficulty, answer, .. } => match answer {
                Ok(()) => {
                    self.place.prove();
                    debug!(%worker, difficulty, "share accepted");
                }
                Err(error) => debug!(%worker, reason = %error, "share rejected"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
