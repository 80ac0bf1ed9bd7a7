//! The miner: threads that hash, one connection that brings work, and a line about both every few
//! seconds. A lost pool is looked for again, for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use service::backoff::Backoff;
use service::clock;
use service::driver::{Ended, Host, drive};
use service::listen::connect;
use service::program::Failure;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wire::session::Session;

use crate::arguments::{Arguments, Pool};
use crate::desk::Desk;
use crate::pool::Event;
use crate::sv1::Sv1Session;
use crate::sv2::{Device, Start, Sv2Session};
use crate::threads::{self, Pace};
use crate::work::Share;

/// Between two progress lines.
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
/// How long a TCP connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Found shares that wait to be sent; when it is full the threads wait.
const SHARES_WAITING_MAX: usize = 256;

/// Runs until `shutdown`, or with `--once` until the connection ends.
pub async fn run(arguments: Arguments, shutdown: CancellationToken) -> Result<(), Failure> {
    let pace =
        Pace { threads: arguments.threads(), hashes_per_second_max: arguments.hashrate_limit };
    let measured = tokio::task::spawn_blocking(move || threads::measure(pace))
        .await
        .context("the hashrate could not be measured")?;
    info!(hashrate = %rate(measured), threads = pace.threads, "hashrate measured");
    let (shares, found) = mpsc::channel(SHARES_WAITING_MAX);
    let desk = Arc::new(Desk::default());
    let tally = Arc::new(Tally::default());
    threads::start(&desk, &tally.hashes, &shares, pace).context("no hashing thread starts")?;
    drop(shares);
    let mut miner = Miner {
        arguments,
        measured,
        found,
        desk: Arc::clone(&desk),
        tally: Arc::clone(&tally),
        connections: 0,
        ready: false,
    };
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = miner.mine() => Err(Failure::Internal(anyhow!("{ended:#}"))),
        () = tell_progress(&tally) => Ok(()),
    };
    desk.close();
    ended
}

/// What was done so far.
#[derive(Debug, Default)]
struct Tally {
    hashes: Arc<AtomicU64>,
    accepted: AtomicU64,
    rejected: AtomicU64,
    /// Found, and not sent.
    withheld: AtomicU64,
}

/// Everything but the threads; also the program's side of each session.
struct Miner {
    arguments: Arguments,
    /// Hashes per second.
    measured: f64,
    found: mpsc::Receiver<Share>,
    desk: Arc<Desk>,
    tally: Arc<Tally>,
    connections: u32,
    /// The pool took this device, in the present connection.
    ready: bool,
}

impl Miner {
    /// Connects again and again; gives the last reason with `--once`.
    async fn mine(&mut self) -> anyhow::Error {
        let mut backoff = Backoff::for_neighbours();
        loop {
            self.ready = false;
            let ended = self.mine_on_one_connection().await;
            self.desk.put(None);
            // What was found for that connection is of no use to another.
            while self.found.try_recv().is_ok() {}
            if self.arguments.once {
                return ended;
            }
            if self.ready {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            warn!(reason = %format!("{ended:#}"), retry_ms, "pool lost");
            tokio::time::sleep(delay).await;
        }
    }

    async fn mine_on_one_connection(&mut self) -> anyhow::Error {
        self.connections = self.connections.wrapping_add(1);
        let address = self.arguments.url.address();
        let stream = match timeout(CONNECT_MAX, connect(&address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return anyhow!("cannot reach {address}: {error}"),
            Err(_) => return anyhow!("{address} does not answer"),
        };
        let start = Start {
            seed: clock::fresh_seed(),
            unix_now: clock::unix_now_seconds(),
            now: clock::now(),
            connection: self.connections,
        };
        let ended = match self.arguments.url.clone() {
            Pool::V1(_) => {
                let (user, password) =
                    (self.arguments.user.clone(), self.arguments.password.clone());
                let mut session = Sv1Session::new(user, password, start.now, start.connection);
                drive(&mut session, self, stream).await
            }
            Pool::V2(url) => match Sv2Session::new(self.device(url), start) {
                Ok(mut session) => drive(&mut session, self, stream).await,
                Err(error) => Ended::Session(error),
            },
        };
        ended.into()
    }

    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a first guess")]
    fn device(&self, url: wire::sv2::keys::Sv2Url) -> Device {
        Device {
            url,
            kind: self.arguments.channel,
            user: self.arguments.user.clone(),
            nominal_hash_rate: self.arguments.nominal_hashrate.unwrap_or(self.measured as f32),
        }
    }
}

impl<S> Host<S> for Miner
where
    S: Session<Command = Share, Event = Event>,
{
    async fn next_command(&mut self) -> Option<Share> {
        self.found.recv().await
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Ready => {
                self.ready = true;
                let (pool, user) = (self.arguments.url.address(), &self.arguments.user);
                info!(pool, user, "connected");
            }
            Event::Work(work) => {
                debug!(difficulty = work.target.difficulty(), "work taken");
                self.desk.put(Some(work));
            }
            Event::Accepted { shares } => {
                self.tally.accepted.fetch_add(shares, Ordering::Relaxed);
                info!(shares, "share accepted");
            }
            Event::Rejected { reason } => {
                self.tally.rejected.fetch_add(1, Ordering::Relaxed);
                warn!(reason, "share rejected");
            }
            Event::Withheld => {
                self.tally.withheld.fetch_add(1, Ordering::Relaxed);
                debug!("share withheld");
            }
        }
    }
}

/// Says how it goes, for ever.
async fn tell_progress(tally: &Tally) {
    let mut ticks = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut hashes_then) = (Instant::now(), 0);
    loop {
        let now = ticks.tick().await;
        let hashes = tally.hashes.load(Ordering::Relaxed);
        let seconds = now.duration_since(last).as_secs_f64();
        let hashrate = threads::to_f64(hashes.saturating_sub(hashes_then)) / seconds;
        info!(
            hashrate = %rate(hashrate),
            accepted = tally.accepted.load(Ordering::Relaxed),
            rejected = tally.rejected.load(Ordering::Relaxed),
            withheld = tally.withheld.load(Ordering::Relaxed),
            "hashed"
        );
        (last, hashes_then) = (now, hashes);
    }
}

/// Hashes per second, for people.
fn rate(hashes_per_second: f64) -> String {
    let units = [(1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s")];
    let fitting = units.into_iter().find(|(unit, _)| hashes_per_second >= *unit);
    let (unit, name) = fitting.unwrap_or((1.0, "H/s"));
    format!("{:.2} {name}", hashes_per_second / unit)
}
