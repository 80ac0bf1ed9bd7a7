//! Keeps a connection to the upstream: dials, runs the session, and dials again for ever.
//!
//! While the upstream is lost, miners keep their work for a bounded time; shares are refused, for
//! nobody would count them.

use std::time::Duration;

use service::authority::ExpectedKey;
use service::backoff::Backoff;
use service::driver::{Ended, Host, drive};
use service::health::Health;
use service::{clock, listen};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wire::session::PeerError;

use super::session::UpstreamSession;
use super::{Command, Event, MinersTotal, UpstreamSettings};
use crate::bridge::notify::{ChannelEpoch, Work};
use crate::shares::{Leaving, Submitted, Ticket};

/// The neighbour's name in /health.
pub const NEIGHBOUR: &str = "upstream";
/// An upstream that does not take a connection within this time is not there.
const DIAL_MAX: Duration = Duration::from_secs(10);

/// The upstream and what it takes to talk to it.
pub struct Supervisor {
    /// Its address, `HOST:PORT`.
    pub address: String,
    /// What each connection needs to know; key and epoch are filled in for each.
    pub settings: UpstreamSettings,
    /// The key that it must prove.
    pub key: ExpectedKey,
    /// How long miners keep their work without it.
    pub work_without_upstream: Duration,
    /// Shares for it.
    pub shares: mpsc::Receiver<Submitted>,
    /// The sum over all miners.
    pub miners: watch::Receiver<MinersTotal>,
    /// Where its work goes.
    pub work: watch::Sender<Option<Work>>,
    /// Where its state goes.
    pub health: Health,
}

impl Supervisor {
    /// Runs until `miners_gone`; shares that are queued by then are still sent.
    pub async fn run(self, miners_gone: CancellationToken) {
        let leaving = Leaving::at(miners_gone.clone());
        let mut link = UpstreamHost { supervisor: self, leaving, work_ends: None, has_work: false };
        let mut backoff = Backoff::for_neighbours();
        for connection in 0_u32.. {
            let ended = link.connect_once(connection).await;
            if miners_gone.is_cancelled() {
                return;
            }
            if link.has_work {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            let address = &link.supervisor.address;
            let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            warn!(%address, reason = %ended, retry_ms, "upstream lost");
            link.lose(&ended.to_string());
            tokio::select! {
                () = miners_gone.cancelled() => return,
                () = sleep(delay) => {}
                () = link.refuse_shares() => {}
            }
        }
    }
}

struct UpstreamHost {
    supervisor: Supervisor,
    /// When the connection may be closed for good.
    leaving: Leaving,
    /// When miners lose the work that they have.
    work_ends: Option<Instant>,
    /// True while the work that miners have is this upstream's.
    has_work: bool,
}

impl UpstreamHost {
    async fn connect_once(&mut self, connection: u32) -> Ended {
        let miners_gone = self.leaving.restart();
        let address = self.supervisor.address.clone();
        let key = self.supervisor.key.clone();
        let dialled = tokio::select! {
            dialled = timeout(DIAL_MAX, listen::connect(&address)) => dialled,
            () = self.refuse_shares() => return Ended::ByHost,
            () = miners_gone.cancelled() => return Ended::ByHost,
        };
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error.into(),
            Err(_) => return PeerError::TimedOut("connecting").into(),
        };
        match self.session(&key, connection) {
            Ok(session) => self.run(session, stream).await,
            Err(ended) => ended,
        }
    }

    fn session(
        &mut self,
        key: &ExpectedKey,
        connection: u32,
    ) -> Result<UpstreamSession<Ticket>, Ended> {
        let settings = UpstreamSettings {
            authority: key.read()?,
            first_epoch: ChannelEpoch(u64::from(connection) << 32),
            ..self.supervisor.settings.clone()
        };
        let miners = *self.supervisor.miners.borrow_and_update();
        let clocks = (clock::now(), clock::unix_now_seconds());
        Ok(UpstreamSession::new(settings, miners, clocks, clock::fresh_seed())?)
    }

    async fn run(&mut self, mut session: UpstreamSession<Ticket>, stream: TcpStream) -> Ended {
        // Tickets that still wait are dropped with the session, which answers them.
        drive(&mut session, self, stream).await
    }

    /// Refuses what miners submit, and ends their work when its time is over. Never returns.
    async fn refuse_shares(&mut self) {
        loop {
            tokio::select! {
                // A dropped ticket answers that the upstream is lost.
                share = self.supervisor.shares.recv() => match share {
                    Some(share) => drop(share),
                    None => return std::future::pending().await,
                },
                () = clock::until(self.work_ends) => self.end_work(),
            }
        }
    }

    fn lose(&mut self, reason: &str) {
        self.supervisor.health.lost(NEIGHBOUR, reason);
        if !std::mem::take(&mut self.has_work) {
            return;
        }
        self.work_ends = Some(Instant::now() + self.supervisor.work_without_upstream);
        self.supervisor.work.send_modify(|work| {
            if let Some(work) = work {
                work.is_live = false;
            }
        });
    }

    fn end_work(&mut self) {
        self.work_ends = None;
        warn!("no upstream for too long: miners are sent to their next pool");
        self.supervisor.work.send_replace(None);
    }

    fn take_job(&mut self, work: Work) {
        if !std::mem::replace(&mut self.has_work, true) {
            info!(address = %self.supervisor.address, "upstream found");
            self.supervisor.health.found(NEIGHBOUR, "it gives work");
        }
        self.work_ends = None;
        let prev_hash = mining::hash::display(&work.job.tip.prev_hash);
        debug!(job = work.job.id, %prev_hash, bytes = work.job.coinbase_bytes, "new job");
        self.supervisor.work.send_replace(Some(work));
    }
}

impl Host<UpstreamSession<Ticket>> for UpstreamHost {
    async fn next_command(&mut self) -> Option<Command<Ticket>> {
        loop {
            tokio::select! {
                // In this order, so that what is queued goes before the end.
                biased;
                () = clock::until(self.work_ends) => self.end_work(),
                Ok(()) = self.supervisor.miners.changed() => {
                    let miners = *self.supervisor.miners.borrow_and_update();
                    return Some(Command::Miners(miners));
                }
                Some(Submitted { share, ticket }) = self.supervisor.shares.recv() => {
                    self.leaving.count_share();
                    return Some(Command::Submit { share, ticket });
                }
                () = self.leaving.until_done(), if self.supervisor.shares.is_empty() => {
                    return None;
                }
            }
        }
    }

    async fn take_event(&mut self, event: Event<Ticket>) {
        match event {
            Event::ChannelOpened { channel, terms } => {
                let difficulty = terms.target.difficulty();
                info!(channel, difficulty, "channel opened");
            }
            Event::Job(job) => self.take_job(Work { job, is_live: true }),
            Event::ChannelClosed { reason } => {
                warn!(%reason, "channel closed by the upstream");
                self.lose("it closed the channel");
            }
            Event::Verdict { ticket, verdict } => {
                self.leaving.count_verdict();
                ticket.answer(verdict);
            }
        }
    }
}
