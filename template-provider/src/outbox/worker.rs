//! The one task that delivers what the outbox holds: each parcel again and again at its own pace,
//! until it has arrived or will never be taken.
//!
//! Nothing waits for it: neither templates nor shares nor blocks. A neighbour that hangs delays its
//! own parcels alone. Nothing is delivered for a block that a reorganisation took out of the chain:
//! its parcels wait until it is back. What runs when the program ends is tried again at the next
//! start, so hooks must be harmless to repeat. It never logs what a parcel holds.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use service::advice;
use service::backoff::Backoff;
use service::health::Health;
use service::metrics::{Gauge, Metrics};
use tokio::task::{self, JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use super::store::{Counts, Dead, Pending, Store};
use crate::extension::{AcceptedBlock, Delivery, Extension, Hook, Standing};

/// The first wait after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest wait between two attempts: how late a delivery may be once its neighbour is back.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long one attempt may take. An extension bounds its own calls; this ends one that does not.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
/// Attempts of one extension at a time: enough that one parcel that hangs delays no other, and few
/// enough for a neighbour that comes back to a full outbox. Further ones wait for their turn.
const AT_ONCE_MAX: usize = 4;
/// Parcels that are known to the worker; those behind them wait on disk until some are delivered.
const WAITING_MAX: usize = 10_000;
/// How long a parcel is offered to a neighbour that answers and does not take it. Kept for longer,
/// such parcels would in the end stand before all others.
const DECLINED_MAX: Duration = Duration::from_secs(24 * 3600);
/// Blocks above the height of one that left the chain, past which it will not come back: two days
/// of ten minutes each.
const BLOCKS_ABOVE_MAX: u32 = 288;
/// For how long the acceptance of a block is believed while no node answers.
const ACCEPTED_JUST_NOW: Duration = Duration::from_secs(60);
/// How often the directory is looked at for what a person's command put there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What people watch of the outbox.
#[derive(Debug, Clone)]
pub struct OutboxMetrics {
    pending: Gauge,
    oldest_seconds: Gauge,
    dead: Gauge,
    off_chain: Gauge,
}

impl OutboxMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            pending: metrics.gauge("outbox_pending", "Parcels that wait for their delivery"),
            oldest_seconds: metrics
                .gauge("outbox_oldest_seconds", "How long the parcel has waited that came first"),
            dead: metrics.gauge("outbox_dead", "Parcels that were refused and wait for a person"),
            off_chain: metrics
                .gauge("outbox_off_chain", "Parcels that wait because their block left the chain"),
        }
    }

    /// Lets /health say how many wait, and for whom.
    pub fn shown_in(self, health: &Health) -> Self {
        for (name, gauge) in [("outbox_pending", &self.pending), ("outbox_dead", &self.dead)] {
            let gauge = gauge.clone();
            health.shows(name, move || Some(gauge.get()));
        }
        self
    }

    fn show(&self, counts: &Counts) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.pending.set(number(counts.pending));
        self.oldest_seconds.set(number(counts.oldest.as_secs()));
        self.dead.set(number(counts.dead));
    }
}

/// Asks where a block stands. Safe to drop at any time.
pub type AskChain = Arc<dyn Fn(AcceptedBlock) -> Hook<'static, Standing> + Send + Sync>;

/// Delivers for as long as it is polled. Before each delivery `chain` is asked for the block.
pub async fn deliver(
    store: Store,
    extensions: Arc<[Arc<dyn Extension>]>,
    chain: AskChain,
    metrics: OutboxMetrics,
) {
    let mut worker = Worker {
        store,
        extensions,
        chain,
        metrics,
        waits: BTreeMap::new(),
        attempts: JoinSet::new(),
        names: HashMap::new(),
    };
    let mut look_at = Instant::now();
    loop {
        if look_at <= Instant::now() {
            worker.look().await;
            look_at = Instant::now() + LOOK_EVERY;
        }
        let next = worker.start_due(Instant::now()).unwrap_or(look_at).min(look_at);
        tokio::select! {
            () = worker.store.wait_put() => look_at = Instant::now(),
            Some(ended) = worker.attempts.join_next_with_id() => worker.note(ended),
            () = sleep_until(next) => {}
        }
    }
}

struct Worker {
    store: Store,
    extensions: Arc<[Arc<dyn Extension>]>,
    chain: AskChain,
    metrics: OutboxMetrics,
    /// What is known to wait, by the name of its file.
    waits: BTreeMap<String, Wait>,
    attempts: JoinSet<Outcome>,
    /// Which parcel an attempt is for.
    names: HashMap<task::Id, String>,
}

struct Wait {
    backoff: Backoff,
    turn: Turn,
    /// Whether its block was not in the chain at the last look.
    is_off_chain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    At(Instant),
    Running,
    /// Nobody here can deliver it: perhaps the next start, with other settings.
    Never,
}

/// What came of an attempt.
#[derive(Debug)]
enum Outcome {
    /// Delivered, buried or gone: nothing left to do.
    Over,
    /// No extension of this name is configured.
    Unknown,
    Failed,
    /// The block, of this hash, is not in the chain.
    OffChain(String),
}

impl Worker {
    /// Learns what waits. What cannot be read now is looked at again later.
    async fn look(&mut self) {
        let found = self.on_disk(|store| Ok((store.waiting(WAITING_MAX)?, store.counts()?))).await;
        let (names, counts) = match found {
            Ok(found) => found,
            Err(error) => {
                return error!(code = advice::OUTBOX_BROKEN, %error, "outbox cannot be read");
            }
        };
        self.metrics.show(&counts);
        let now = Instant::now();
        let new = || Wait {
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
            turn: Turn::At(now),
            is_off_chain: false,
        };
        let mut last = std::mem::take(&mut self.waits);
        self.waits = names
            .into_iter()
            .map(|name| {
                let wait = last.remove(&name).unwrap_or_else(new);
                (name, wait)
            })
            .collect();
        last.retain(|_, wait| wait.turn == Turn::Running);
        self.waits.append(&mut last);
    }

    /// Starts what is due; says when something else will be, unless an attempt must end first.
    fn start_due(&mut self, now: Instant) -> Option<Instant> {
        let mut running: HashMap<&str, usize> = HashMap::new();
        let mut due = Vec::new();
        for (name, wait) in &self.waits {
            match wait.turn {
                Turn::At(at) => due.push((at, name.clone())),
                Turn::Running => *running.entry(extension_of(name)).or_default() += 1,
                Turn::Never => {}
            }
        }
        due.sort();
        let mut next = None;
        let mut started = Vec::new();
        for (at, name) in due {
            if at > now {
                next = Some(at);
                break;
            }
            let extension =
                self.extensions.iter().find(|known| known.name() == extension_of(&name));
            let count = running.entry(extension.map_or("", |known| known.name())).or_default();
            if *count < AT_ONCE_MAX {
                *count += 1;
                started.push(name);
            }
        }
        for name in started {
            self.start(name);
        }
        next
    }

    fn start(&mut self, name: String) {
        let (extensions, chain) = (Arc::clone(&self.extensions), Arc::clone(&self.chain));
        let attempt = attempt(self.store.clone(), extensions, chain, name.clone());
        let id = self.attempts.spawn(attempt).id();
        if let Some(wait) = self.waits.get_mut(&name) {
            wait.turn = Turn::Running;
        }
        self.names.insert(id, name);
    }

    fn note(&mut self, ended: Result<(task::Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                error!(code = advice::OUTBOX_BROKEN, %error, "delivery broke off");
                (error.id(), Outcome::Failed)
            }
        };
        let Some(name) = self.names.remove(&id) else { return };
        match (outcome, self.waits.get_mut(&name)) {
            (Outcome::Over, _) => drop(self.waits.remove(&name)),
            (_, None) => {}
            (Outcome::Unknown, Some(wait)) => wait.turn = Turn::Never,
            (Outcome::Failed, Some(wait)) => {
                wait.turn = Turn::At(Instant::now() + wait.backoff.next_delay());
            }
            (Outcome::OffChain(hash), Some(wait)) => {
                if !wait.is_off_chain {
                    warn!(parcel = %name, %hash, "block left the chain: its parcel waits");
                }
                wait.is_off_chain = true;
                wait.turn = Turn::At(Instant::now() + wait.backoff.next_delay());
            }
        }
        let off_chain = self.waits.values().filter(|wait| wait.is_off_chain).count();
        self.metrics.off_chain.set(i64::try_from(off_chain).unwrap_or(i64::MAX));
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        on_disk(&self.store, call).await
    }
}

/// What stands before the key, which has no dash.
fn extension_of(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(extension, _)| extension)
}

async fn attempt(
    store: Store,
    extensions: Arc<[Arc<dyn Extension>]>,
    chain: AskChain,
    name: String,
) -> Outcome {
    let pending = on_disk(&store, move |store| store.read(&name)).await;
    let pending = match pending {
        Ok(Some(pending)) => pending,
        Ok(None) => return Outcome::Over,
        Err(error) => {
            error!(code = advice::OUTBOX_BROKEN, %error, "parcel cannot be read");
            return Outcome::Failed;
        }
    };
    let (name, key) = (pending.parcel.extension.clone(), pending.parcel.key.clone());
    let Some(extension) = extensions.iter().find(|known| known.name() == name) else {
        error!(code = advice::PARCEL_STUCK,
            extension = %name, %key, "no settings for delivering this parcel: it is kept");
        return Outcome::Unknown;
    };
    let standing = chain(pending.block.clone()).await;
    let delivery = match course(standing, pending.waited()) {
        Course::Deliver => {
            let hook = extension.on_accepted(&pending.block, &pending.parcel);
            let late = || Delivery::Failed(format!("it took more than {ATTEMPT_MAX:?}"));
            timeout(ATTEMPT_MAX, hook).await.unwrap_or_else(|_| late())
        }
        Course::Ask => Delivery::Failed("no node tells whether its block is in the chain".into()),
        Course::Wait => return Outcome::OffChain(pending.block.hash),
        Course::GiveUp => {
            let hash = &pending.block.hash;
            Delivery::Refused(format!("block {hash} left the chain and did not come back"))
        }
    };
    let delivery = grown_old(delivery, pending.waited());
    match settle(&store, pending, delivery.clone()).await {
        Ok(()) => {}
        Err(error) => {
            error!(code = advice::OUTBOX_BROKEN,
                extension = %name, %key, %error, "outcome of a delivery not written to disk");
            return Outcome::Failed;
        }
    }
    match delivery {
        Delivery::Done => info!(extension = %name, %key, "parcel delivered"),
        Delivery::Refused(reason) => {
            error!(code = advice::PARCEL_STUCK,
                extension = %name, %key, %reason, "parcel refused: kept among the dead letters");
        }
        Delivery::Failed(reason) | Delivery::Declined(reason) => {
            warn!(extension = %name, %key, %reason, "parcel not delivered yet");
            return Outcome::Failed;
        }
    }
    Outcome::Over
}

/// What is done with a parcel, as its block stands.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    Deliver,
    /// Until a node answers.
    Ask,
    /// Until the block is in the chain again.
    Wait,
    GiveUp,
}

/// Nothing is delivered for a block that is off the chain. Where no node answers, only what was
/// put in a moment ago goes out: a node has just said that it has the block.
fn course(standing: Standing, waited: Duration) -> Course {
    match standing {
        Standing::InChain | Standing::Untold => Course::Deliver,
        Standing::Unknown if waited < ACCEPTED_JUST_NOW => Course::Deliver,
        Standing::Unknown => Course::Ask,
        Standing::OffChain { above } if above < BLOCKS_ABOVE_MAX => Course::Wait,
        Standing::OffChain { .. } => Course::GiveUp,
    }
}

/// What a neighbour declined for too long is a person's.
fn grown_old(delivery: Delivery, waited: Duration) -> Delivery {
    match delivery {
        Delivery::Declined(reason) if waited >= DECLINED_MAX => {
            Delivery::Refused(format!("{reason}, since {} hours", waited.as_secs() / 3600))
        }
        other => other,
    }
}

async fn settle(store: &Store, pending: Pending, delivery: Delivery) -> io::Result<()> {
    match delivery {
        Delivery::Done => on_disk(store, move |store| store.delivered(&pending)).await,
        Delivery::Refused(reason) => {
            on_disk(store, move |store| store.bury(&Dead { reason, pending })).await
        }
        Delivery::Failed(_) | Delivery::Declined(_) => Ok(()),
    }
}

async fn on_disk<T: Send + 'static>(
    store: &Store,
    call: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let store = store.clone();
    spawn_blocking(move || call(&store)).await.map_err(io::Error::other).flatten()
}

#[cfg(test)]
mod tests;
