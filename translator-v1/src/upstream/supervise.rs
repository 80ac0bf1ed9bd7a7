//! Keeps all upstreams, and gives the work of the best of them to the miners.
//!
//! While none of them gives work, miners keep what they have for a bounded time; their shares are
//! refused, for nobody would count them.

use std::time::{Duration, Instant as StdInstant};

use service::clock;
use service::health::Health;
use service::metrics::{Gauge, Labelled, Metrics};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::MinersTotal;
use super::choice::Choice;
use super::dial::{Counts, Dialler, Place, Report};
use crate::bridge::notify::Work;
use crate::pools::{PoolState, Pools};
use crate::shares::{Assigned, Leaving, Ways, queue};
use crate::teams::{TeamId, Teams};

/// More upstreams are of no use to anybody.
pub const UPSTREAMS_MAX: usize = 8;
/// Their names in /health, in the order of the config.
pub const NAMES: [&str; UPSTREAMS_MAX] = [
    "upstream",
    "upstream 2",
    "upstream 3",
    "upstream 4",
    "upstream 5",
    "upstream 6",
    "upstream 7",
    "upstream 8",
];
/// Reports that may wait; an upstream that finds them full waits.
const REPORTS_MAX: usize = 64;
/// Upper ends of the ranges in which verdicts are counted, in seconds.
const VERDICT_SECONDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0];

/// All upstreams and what it takes to keep them.
pub struct Supervisor {
    /// The upstreams, best first.
    pub upstreams: Vec<Place>,
    /// How long miners keep their work without any of them.
    pub work_without_upstream: Duration,
    /// A better upstream is returned to after it has given work for so long.
    pub return_after: Duration,
    /// The sum over all miners.
    pub miners: watch::Receiver<MinersTotal>,
    /// Miners that share a channel, where not all do.
    pub teams: Teams,
    /// Where the work goes.
    pub work: watch::Sender<Option<Assigned>>,
    /// Where the state of the upstreams goes.
    pub health: Health,
    /// The same for people.
    pub pools: Pools,
    /// Where they are counted.
    pub metrics: Metrics,
}

impl Supervisor {
    /// Runs until `miners_gone`; shares that are queued by then are still sent.
    pub async fn run(self, miners_gone: CancellationToken) {
        let (reports, mut heard) = mpsc::channel(REPORTS_MAX);
        let active = watch::Sender::new(None);
        let counts = Counts {
            verdict_seconds: self.metrics.histogram(
                "verdict_seconds",
                "How long shares waited for the upstream's verdict",
                &VERDICT_SECONDS,
            ),
            lost: self.metrics.counter("upstreams_lost", "Connections to upstreams that ended"),
            broken_promises: self.metrics.counter(
                "payouts_not_as_promised",
                "Jobs of upstreams that do not pay upstream.expect_payout",
            ),
        };
        let gauge = self.metrics.gauges("upstream_state", STATE_HELP, "upstream");
        let (mut diallers, mut upstreams) = (JoinSet::new(), Vec::new());
        let mut queues = Vec::new();
        for (index, (place, name)) in self.upstreams.into_iter().zip(NAMES).enumerate() {
            let (sender, shares) = queue();
            let address = place.address.clone();
            let state = Err("not reached yet".to_owned());
            queues.push(sender);
            upstreams.push(Upstream { name, address, work: None, state, doubted_until: None });
            let dialler = Dialler {
                index,
                names_workers: place.settings.names_workers,
                place,
                shares,
                miners: self.miners.clone(),
                teams: self.teams.clone(),
                team_changes: None,
                active: active.subscribe(),
                reports: reports.clone(),
                counts: counts.clone(),
                pools: self.pools.clone(),
                leaving: Leaving::at(miners_gone.clone()),
                was_denied: false,
                has_work: false,
            };
            diallers.spawn(dialler.run(miners_gone.clone()));
        }
        drop(reports);
        let mut hub = Hub {
            choice: Choice::new(upstreams.len(), self.return_after),
            upstreams,
            ways: Ways::new(queues),
            active,
            teams: self.teams,
            work: self.work,
            work_without_upstream: self.work_without_upstream,
            work_ends: None,
            health: self.health,
            pools: self.pools,
            gauge,
        };
        hub.show();
        loop {
            tokio::select! {
                report = heard.recv() => match report {
                    Some((index, report)) => hub.take(index, report),
                    None => break,
                },
                () = clock::until(hub.next_look()) => hub.decide(),
            }
        }
        while diallers.join_next().await.is_some() {}
    }
}

/// What the gauge of an upstream means.
const STATE_HELP: &str = "0 is gone, 1 is ready, 2 is mined on";

struct Upstream {
    name: &'static str,
    address: String,
    /// What it gives; none if it gives nothing.
    work: Option<Work>,
    /// Whether it gives work, or why not.
    state: Result<(), String>,
    /// Until when it is not believed about the others, as it was said last.
    doubted_until: Option<StdInstant>,
}

impl Upstream {
    /// Says that it is not believed about the others, when that begins; gives it in words, and
    /// nothing where it is believed.
    fn doubt(&mut self, until: Option<StdInstant>, now: StdInstant) -> String {
        let before = std::mem::replace(&mut self.doubted_until, until);
        let Some(until) = until else { return String::new() };
        let minutes = until.saturating_duration_since(now).as_secs().div_ceil(60);
        if before != Some(until) {
            warn!(
                address = %self.address,
                minutes,
                "this upstream went ahead to a block that another did not go on from: its word on \
                 others' blocks does not count for a while"
            );
        }
        format!("not believed about others' blocks for {minutes} min")
    }
}

struct Hub {
    upstreams: Vec<Upstream>,
    ways: Ways,
    choice: Choice,
    active: watch::Sender<Option<usize>>,
    teams: Teams,
    work: watch::Sender<Option<Assigned>>,
    work_without_upstream: Duration,
    /// When miners lose the work that they have.
    work_ends: Option<Instant>,
    health: Health,
    pools: Pools,
    gauge: Labelled<Gauge>,
}

impl Hub {
    fn next_look(&self) -> Option<Instant> {
        let look = self.choice.next_look().map(Instant::from_std);
        [look, self.work_ends].into_iter().flatten().min()
    }

    fn take(&mut self, index: usize, report: Report) {
        let Some(upstream) = self.upstreams.get_mut(index) else { return };
        let is_active = *self.active.borrow() == Some(index);
        match report {
            // What an upstream said that is not mined on any more means nothing.
            Report::TeamWork(team, work) if is_active => return self.give_team(team, work),
            Report::TeamLost(team) if is_active => return self.teams.suspend(team),
            Report::TeamRefused(team, reason) if is_active => {
                warn!(address = %upstream.address, reason, "no channel for some miners");
                return self.teams.give(team, None);
            }
            Report::TeamWork(..) | Report::TeamLost(_) | Report::TeamRefused(..) => return,
            Report::Work(work) => {
                self.choice.heard(index, work.job.tip.prev_hash, clock::now());
                upstream.work = Some(work);
                upstream.state = Ok(());
            }
            Report::Lost(reason) => {
                self.choice.lost(index, clock::now());
                upstream.work = None;
                upstream.state = Err(reason);
            }
        }
        self.decide();
    }

    fn give_team(&self, team: TeamId, work: Work) {
        self.teams.give(team, Some(Assigned { work, ways: self.ways.clone() }));
    }

    /// Mines on the best upstream, and ends the work that miners have when its time is over.
    fn decide(&mut self) {
        let chosen = self.choice.decide(clock::now());
        let before = *self.active.borrow();
        if chosen != before {
            self.active.send_replace(chosen);
            self.teams.suspend_all();
            match chosen.and_then(|index| self.upstreams.get(index)) {
                Some(upstream) => info!(address = %upstream.address, "mining on this upstream"),
                None => warn!("no upstream gives work"),
            }
        }
        match chosen.and_then(|index| self.upstreams.get(index)) {
            Some(Upstream { work: Some(work), .. }) => {
                self.work_ends = None;
                // Miners in teams wait for the work of their own channel.
                let is_held = work.is_held || self.teams.are_used();
                let work = Work { is_held, ..work.clone() };
                let assigned = Assigned { work: work.clone(), ways: self.ways.clone() };
                self.work.send_if_modified(|present| {
                    let is_new = present.as_ref().is_none_or(|it| !it.work.is_same(&work));
                    if is_new {
                        *present = Some(assigned);
                    }
                    is_new
                });
            }
            _ => self.let_work_end(),
        }
        self.show();
    }

    /// Nobody takes shares of the work that miners have.
    fn let_work_end(&mut self) {
        if self.work_ends.is_some_and(|end| Instant::now() >= end) {
            self.work_ends = None;
            warn!("no upstream for too long: miners are sent to their next pool");
            self.work.send_replace(None);
            self.teams.end_all();
            return;
        }
        let lost_now = self.work.send_if_modified(|work| match work {
            Some(assigned) => std::mem::take(&mut assigned.work.is_live),
            None => false,
        });
        if lost_now {
            self.work_ends = Some(Instant::now() + self.work_without_upstream);
        }
    }

    /// Says in /health and /metrics how they are: one is missed only while none gives work.
    fn show(&mut self) {
        let (active, now) = (*self.active.borrow(), clock::now());
        for (index, upstream) in self.upstreams.iter_mut().enumerate() {
            let is_active = active == Some(index);
            let doubt = upstream.doubt(self.choice.mistrusted_until(index, now), now);
            let with_doubt = |good: &str| match &*doubt {
                "" => good.to_owned(),
                doubt => format!("{good}; {doubt}"),
            };
            match &upstream.state {
                Ok(()) if is_active => {
                    self.health.found(upstream.name, with_doubt("it gives work"));
                }
                Ok(()) => self.health.found(upstream.name, with_doubt("it stands ready")),
                Err(reason) if active.is_some() => {
                    self.health.lost_spare(upstream.name, reason.as_str());
                }
                Err(reason) => self.health.lost(upstream.name, reason.as_str()),
            }
            let (state, detail) = match &upstream.state {
                Ok(()) if is_active => (PoolState::MinedOn, &doubt),
                Ok(()) => (PoolState::Ready, &doubt),
                Err(reason) => (PoolState::Gone, reason),
            };
            self.pools.set(index, state, detail);
            let state = i64::from(upstream.state.is_ok()) + i64::from(is_active);
            self.gauge.with(upstream.name).set(state);
        }
    }
}

#[cfg(test)]
mod tests;
