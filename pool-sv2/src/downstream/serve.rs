//! Gives one miner's session its socket, its work, its way to the ledger and to the network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use service::clock;
use service::driver::{Host, drive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span};
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::Link;
use wire::sv2::noise::ServerIdentity;

use super::connection::{Command, Downstream, Event, LIMITS, Settings};
use crate::blocks::Solutions;
use crate::shares::{ShareRecord, ShareSender, Watermark};
use crate::work::Work;

/// What every connection is given. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Rules and limits.
    pub settings: Arc<Settings>,
    /// Signs the certificate of each connection.
    pub authority: AuthoritySecret,
    /// How long a certificate is valid, in seconds.
    pub certificate_validity_seconds: u32,
    /// What is to be mined; none before the first template, and once it is worth nothing any more.
    pub work: watch::Receiver<Option<Arc<Work>>>,
    /// Where accepted shares go.
    pub shares: ShareSender,
    /// Where blocks go.
    pub solutions: Solutions,
    /// Ends the connections.
    pub shutdown: CancellationToken,
}

impl Service {
    /// Serves one connection until it ends.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let identity = ServerIdentity {
            authority: self.authority.clone(),
            certificate_validity_seconds: self.certificate_validity_seconds,
        };
        let link = Link::server(identity, LIMITS, clock::fresh_seed(), clock::unix_now_seconds());
        let mut session = Downstream::new(link, Arc::clone(&self.settings), clock::now());
        let mut host = MinerHost::new(self);
        let span = info_span!("miner", %peer);
        async {
            let ended = drive(&mut session, &mut host, stream).await;
            host.hand_over().await;
            debug!(reason = %ended, "connection closed");
        }
        .instrument(span)
        .await;
    }
}

struct MinerHost {
    service: Service,
    watermark: Watermark,
    /// True until the session has been given the work that was there when it began.
    is_new: bool,
    /// Accepted and not yet handed to the ledger. The session limits how many there can be.
    batch: Vec<ShareRecord>,
    /// Handed over and not yet durable: ticket and number of shares.
    tickets: VecDeque<(u64, usize)>,
}

impl MinerHost {
    fn new(service: Service) -> Self {
        let watermark = service.shares.watermark();
        Self { service, watermark, is_new: true, batch: Vec::new(), tickets: VecDeque::new() }
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

impl Host<Downstream> for MinerHost {
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
            let (count, is_waiting) = (self.batch.len(), !self.tickets.is_empty());
            tokio::select! {
                () = self.service.shutdown.cancelled() => return None,
                // Work that is taken back ends the connection.
                changed = self.service.work.changed() => {
                    changed.ok()?;
                    return self.take_work();
                }
                ticket = self.service.shares.send(&mut self.batch), if count > 0 => {
                    self.tickets.push_back((ticket?, count));
                }
                () = self.watermark.moved(), if is_waiting => {}
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Block(solution) => self.service.solutions.send(solution, clock::now()),
            Event::Share(share) => self.batch.push(share),
        }
    }
}

#[cfg(test)]
mod tests;
