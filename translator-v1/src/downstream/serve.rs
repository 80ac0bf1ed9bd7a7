//! Gives one miner's session its socket, its work and its way to the upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use service::clock;
use service::driver::{Host, drive};
use service::gate::Place;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use super::session::MinerSession;
use super::{Command, Event, MinerIdentity, MinerSettings};
use crate::bridge::extranonce::Seats;
use crate::bridge::notify::Work;
use crate::bridge::submit::UpstreamShare;
use crate::miners::{MinerPart, Miners};
use crate::shares::{Answered, Leaving, Submitted, Ticket, answers};

/// What every miner's connection is given. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Rules for all miners.
    pub settings: Arc<MinerSettings>,
    /// Places in the search space.
    pub seats: Seats,
    /// What is to be mined; none while there is no valid work.
    pub work: watch::Receiver<Option<Work>>,
    /// The way to the upstream.
    pub shares: mpsc::Sender<Submitted>,
    /// The sum over all miners.
    pub miners: Miners,
    /// Ends the connections, when the shares in flight have their verdicts or soon after.
    pub shutdown: CancellationToken,
}

impl Service {
    /// Serves one miner until its connection ends.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let Some(seat) = self.seats.take() else {
            warn!(%peer, "miner refused: no place is left in the search space");
            return;
        };
        let [a, b, c, d, ..] = clock::fresh_seed();
        let session = format!("{:08x}", u32::from_be_bytes([a, b, c, d]));
        let identity = MinerIdentity { seat: seat.number(), session };
        let mut session = MinerSession::new(&self.settings, identity, clock::now());
        let (sender, verdicts) = answers();
        let part = self.miners.part();
        let leaving = Leaving::at(self.shutdown.clone());
        let mut host = MinerHost { service: self, is_new: true, sender, verdicts, part, leaving };
        let span = info_span!("miner", %peer);
        async {
            let ended = drive(&mut session, &mut host, stream).await;
            debug!(reason = %ended, "connection closed");
        }
        .instrument(span)
        .await;
        // Not before the session is over may its part of the search space be another's.
        drop(seat);
    }
}

struct MinerHost {
    service: Service,
    /// True until the session has been given the work that was there when it began.
    is_new: bool,
    sender: mpsc::Sender<Answered>,
    verdicts: mpsc::Receiver<Answered>,
    part: MinerPart,
    leaving: Leaving,
}

impl MinerHost {
    fn work(&mut self) -> Command {
        Command::Work(self.service.work.borrow_and_update().clone())
    }

    async fn submit(&self, share: UpstreamShare, ticket: Ticket) {
        // Where nobody takes it any more, the ticket answers as it is dropped.
        drop(self.service.shares.send(Submitted { share, ticket }).await);
    }
}

impl Host<MinerSession> for MinerHost {
    async fn next_command(&mut self) -> Option<Command> {
        if std::mem::take(&mut self.is_new) {
            return Some(self.work());
        }
        tokio::select! {
            () = self.leaving.until_done() => None,
            changed = self.service.work.changed() => {
                changed.ok()?;
                Some(self.work())
            }
            answered = self.verdicts.recv() => {
                let (ticket, verdict) = answered?;
                self.leaving.count_verdict();
                Some(Command::Verdict { ticket, verdict })
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Submit { ticket, share } => {
                self.leaving.count_share();
                self.submit(share, Ticket::new(ticket, self.sender.clone())).await;
            }
            Event::SubmitBlock { share } => self.submit(share, Ticket::for_nobody()).await,
            Event::Hashrate(hashrate) => self.part.set(hashrate),
            Event::Authorized { worker, agent } => info!(%worker, %agent, "miner authorized"),
            Event::BlockFound { worker, hash } => {
                info!(%worker, hash = %mining::hash::display(&hash), "block found");
            }
            Event::Answered { worker, difficulty, answer } => match answer {
                Ok(()) => debug!(%worker, difficulty, "share accepted"),
                Err(error) => debug!(%worker, reason = %error, "share rejected"),
            },
        }
    }
}
