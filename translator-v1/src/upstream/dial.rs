//! Keeps a connection to one upstream: dials, runs the session, and dials again for ever.
//!
//! It says what its upstream gives, and never decides whether that is mined: an upstream that is
//! not is held ready, with a channel that says that nobody mines.

use std::time::Duration;

use service::advice;
use service::authority::ExpectedKey;
use service::backoff::Backoff;
use service::driver::{Ended, Host, drive};
use service::metrics::{Counter, Histogram};
use service::{clock, listen};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use wire::session::PeerError;

use super::session::UpstreamSession;
use super::{Command, Event, MinersTotal, UpstreamSettings};
use crate::bridge::notify::{ChannelEpoch, Work};
use crate::pools::Pools;
use crate::shares::{Leaving, Submitted, Ticket};
use crate::teams::{Changes, TeamId, Teams};

/// An upstream that does not take a connection within this time is not there.
const DIAL_MAX: Duration = Duration::from_secs(10);
/// The longest wait between two attempts: a good upstream is to be mined on within two seconds.
const RETRY_MAX: Duration = Duration::from_millis(1_500);
const RETRY_MIN: Duration = Duration::from_millis(100);

/// An upstream and what it takes to talk to it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its address, `HOST:PORT`.
    pub address: String,
    /// What each connection needs to know; key and epoch are filled in for each.
    pub settings: UpstreamSettings,
    /// The key that it must prove.
    pub key: ExpectedKey,
}

/// What became of an upstream.
#[derive(Debug)]
pub(super) enum Report {
    /// It gives this work.
    Work(Work),
    /// It gives none any more, and why.
    Lost(String),
    /// It gives a team this work.
    TeamWork(TeamId, Work),
    /// A team's channel is being opened again.
    TeamLost(TeamId),
    /// It gives a team none, and why.
    TeamRefused(TeamId, String),
}

/// What is counted of all upstreams.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    /// How long the verdicts took.
    pub(super) verdict_seconds: Histogram,
    /// Connections that ended.
    pub(super) lost: Counter,
    /// Jobs that did not pay what they should.
    pub(super) broken_promises: Counter,
}

/// Keeps the connection to one upstream.
pub(super) struct Dialler {
    /// Which of the upstreams it is.
    pub(super) index: usize,
    pub(super) place: Place,
    /// Shares for it.
    pub(super) shares: mpsc::Receiver<Submitted>,
    /// The sum over all miners.
    pub(super) miners: watch::Receiver<MinersTotal>,
    /// The teams of miners, if there are any, and what changes of them; none while this upstream is
    /// not mined on.
    pub(super) teams: Teams,
    pub(super) team_changes: Option<Changes>,
    /// The upstream that is mined on.
    pub(super) active: watch::Receiver<Option<usize>>,
    /// Where it says what its upstream gives.
    pub(super) reports: mpsc::Sender<(usize, Report)>,
    pub(super) counts: Counts,
    /// Where people see how the upstreams do.
    pub(super) pools: Pools,
    /// When the connection may be closed for good.
    pub(super) leaving: Leaving,
    /// True if the connection ended after SetupConnection.Success and before it had a channel.
    pub(super) was_denied: bool,
    /// True once the connection gave work.
    pub(super) has_work: bool,
    /// False after an upstream that hung up as it was asked for extensions.
    pub(super) names_workers: bool,
}

impl Dialler {
    /// Runs until `miners_gone`; shares that are queued by then are still sent.
    pub(super) async fn run(mut self, miners_gone: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        for connection in 0_u32.. {
            (self.was_denied, self.has_work) = (false, false);
            let ended = self.connect_once(connection).await;
            if miners_gone.is_cancelled() {
                return;
            }
            if self.has_work {
                backoff.reset();
            }
            if self.was_denied && self.place.settings.names_workers {
                // Perhaps it is one that does not bear the question, which comes between the two.
                self.names_workers = !self.names_workers;
            }
            let delay = backoff.next_delay();
            let address = &self.place.address;
            let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            warn!(%address, reason = %ended, retry_ms, "upstream lost");
            self.counts.lost.inc();
            self.pools.count_loss(self.index);
            self.report(Report::Lost(ended.to_string())).await;
            tokio::select! {
                () = miners_gone.cancelled() => return,
                () = sleep(delay) => {}
                () = self.refuse_shares() => {}
            }
        }
    }

    async fn connect_once(&mut self, connection: u32) -> Ended {
        let miners_gone = self.leaving.restart();
        let address = self.place.address.clone();
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
        match self.session(connection) {
            Ok(session) => self.talk(session, stream).await,
            Err(ended) => ended,
        }
    }

    fn session(&mut self, connection: u32) -> Result<UpstreamSession<Ticket>, Ended> {
        let settings = UpstreamSettings {
            authority: self.place.key.read()?,
            first_epoch: ChannelEpoch::first_of(self.index, connection),
            names_workers: self.names_workers,
            ..self.place.settings.clone()
        };
        let miners = self.miners_here();
        self.watch_teams();
        let clocks = (clock::now(), clock::unix_now_seconds());
        Ok(UpstreamSession::new(settings, miners, clocks, clock::fresh_seed())?)
    }

    async fn talk(&mut self, mut session: UpstreamSession<Ticket>, stream: TcpStream) -> Ended {
        // Tickets that still wait are dropped with the session, which answers them.
        let ended = drive(&mut session, self, stream).await;
        self.was_denied = session.waits_for_first_channel();
        ended
    }

    /// The miners that mine on this upstream, or would if it gave work.
    fn miners_here(&mut self) -> MinersTotal {
        let all = *self.miners.borrow_and_update();
        match *self.active.borrow_and_update() {
            _ if self.teams.are_used() => MinersTotal::default(),
            Some(other) if other != self.index => MinersTotal::default(),
            _ => all,
        }
    }

    /// Teams have channels at the upstream that is mined on, and nowhere else.
    fn watch_teams(&mut self) {
        let is_active = *self.active.borrow() == Some(self.index) && self.teams.are_used();
        self.team_changes = is_active.then(|| self.teams.watch());
    }

    /// Another upstream is mined on now, or this one.
    fn follow_active(&mut self) -> Command<Ticket> {
        if !self.teams.are_used() {
            return Command::Miners(self.miners_here());
        }
        self.active.mark_unchanged();
        self.watch_teams();
        // Who mines here now has had no channel here before.
        Command::NoTeams
    }

    /// What has changed while shares were taken: no number of them may stand before it.
    fn changed_already(&mut self) -> Option<Command<Ticket>> {
        if self.active.has_changed().is_ok_and(|changed| changed) {
            return Some(self.follow_active());
        }
        let have_changed = self.miners.has_changed().is_ok_and(|changed| changed);
        have_changed.then(|| Command::Miners(self.miners_here()))
    }

    /// Refuses what miners submit. Never returns.
    async fn refuse_shares(&mut self) {
        while let Some(share) = self.shares.recv().await {
            // A dropped ticket answers that the upstream is lost.
            drop(share);
        }
        std::future::pending::<()>().await;
    }

    async fn report(&self, report: Report) {
        // It fails only where the program ends.
        drop(self.reports.send((self.index, report)).await);
    }

    async fn take_job(&mut self, work: Work) {
        if !std::mem::replace(&mut self.has_work, true) {
            info!(address = %self.place.address, "upstream found");
        }
        let prev_hash = mining::hash::display(&work.job.tip.prev_hash);
        debug!(job = work.job.id, %prev_hash, bytes = work.job.coinbase_bytes, "new job");
        self.report(Report::Work(work)).await;
    }
}

impl Host<UpstreamSession<Ticket>> for Dialler {
    async fn next_command(&mut self) -> Option<Command<Ticket>> {
        if let Some(command) = self.changed_already() {
            return Some(command);
        }
        tokio::select! {
            // In this order, so that what is queued goes before the end; and shares first, because
            // to begin to wait for the others costs more than to take one.
            biased;
            Some(Submitted { share, worker, ticket }) = self.shares.recv() => {
                self.leaving.count_share();
                Some(Command::Submit { share, worker, ticket })
            }
            Ok(()) = self.active.changed() => Some(self.follow_active()),
            Ok(()) = self.miners.changed() => Some(Command::Miners(self.miners_here())),
            team = next_change(&mut self.team_changes) => {
                Some(Command::Team { team, wanted: self.teams.wanted(team) })
            }
            () = self.leaving.until_done(), if self.shares.is_empty() => None,
        }
    }

    async fn take_event(&mut self, event: Event<Ticket>) {
        match event {
            Event::ChannelOpened { channel, terms } => {
                let difficulty = terms.target.difficulty();
                info!(channel, difficulty, "channel opened");
            }
            Event::Job { job, is_held } => {
                self.take_job(Work { job, is_live: true, is_held }).await;
            }
            Event::TeamJob { team, job } => {
                let work = Work { job, is_live: true, is_held: false };
                self.report(Report::TeamWork(team, work)).await;
            }
            Event::PromiseBroken { breach } => {
                self.counts.broken_promises.inc();
                error!(code = advice::PROMISE_BROKEN,
                    address = %self.place.address, %breach, "the pool does not pay as promised");
            }
            Event::TeamLost { team } => self.report(Report::TeamLost(team)).await,
            Event::TeamRefused { team, reason } => {
                self.report(Report::TeamRefused(team, reason)).await;
            }
            Event::ChannelClosed { reason } => {
                warn!(%reason, "channel closed by the upstream");
                self.report(Report::Lost("it closed the channel".to_owned())).await;
            }
            Event::Verdict { ticket, verdict } => {
                self.leaving.count_verdict();
                let waited = ticket.waited();
                self.counts.verdict_seconds.observe(waited.as_secs_f64());
                self.pools.waited(self.index, waited);
                ticket.answer(verdict);
            }
        }
    }
}

/// Waits for ever where there are no teams.
async fn next_change(changes: &mut Option<Changes>) -> TeamId {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
