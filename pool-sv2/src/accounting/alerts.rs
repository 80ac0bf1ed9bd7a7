//! Tells people of blocks, payouts and workers that are gone: each receiver by a service of his
//! own, on a thread of his own, so that whoever does not answer keeps nobody else waiting.
//!
//! The log is the outbox for blocks and payouts, as it is for the webhook: a file names the first
//! record that was not told. What happens while somebody cannot be told, or was told a moment ago,
//! is told in one message with the rest.

pub mod command;
pub mod config;
mod fact;
mod message;
mod outlet;
pub mod receiver;
mod words;
mod workers;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use service::advice;
use service::backoff::Backoff;
use service::clock;
use service::metrics::{Counter, Labelled, Metrics};
use tokio::sync::watch;
use tracing::{info, warn};

use self::config::{AlertKind, Wording};
use self::fact::Fact;
use self::message::Message;
use self::receiver::Receiver;
use self::workers::{WorkerNews, WorkerWatch};
use super::config::LedgerConfig;
use super::log::LogError;
use super::log::cursor::{Cursor, Place};
use super::log::disk::Folder;
use super::log::recover::end_place;
use super::log::segment::DurableEnd;
use super::place_file;
use super::store::StoreError;
use super::store::sqlite::SqliteReader;
use super::wait::{Over, wait};

/// How often the log's end is looked at, and whether the pool ends.
const STEP: Duration = Duration::from_millis(200);
/// How often workers are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Waits after a message that was not taken.
const WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(600)];
/// How often the file follows when nothing is told.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Facts of one message; the log keeps the others.
const FACTS_MAX: usize = 500;

/// Why nothing is told at the moment.
#[derive(Debug, thiserror::Error)]
enum AlertError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the store does not work: {0}")]
    Store(#[from] StoreError),
    #[error("{0} cannot be used: {1}")]
    File(String, io::Error),
}

/// What is counted of all receivers.
#[derive(Debug, Clone)]
pub struct AlertCounts {
    told: Labelled<Counter>,
    failures: Labelled<Counter>,
}

impl AlertCounts {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let counters = |name, help| metrics.counters(name, help, "receiver");
        Self {
            told: counters("alert_messages", "Alerts that a receiver's service has taken"),
            failures: counters("alert_failures", "Alerts that it has not taken at once"),
        }
    }
}

/// The teller of one receiver.
pub struct Alerts {
    receiver: Receiver,
    wording: Wording,
    ledger: LedgerConfig,
    counts: AlertCounts,
    backoff: Backoff,
    /// Where the log ended at the start: there it begins without a file.
    end: DurableEnd,
    /// No message goes out before.
    next_at: Instant,
    /// What is not told yet.
    facts: Vec<Fact>,
    news: WorkerNews,
    failures: u64,
    look_every: Duration,
}

/// What the teller reads, opened.
struct Sources {
    cursor: Cursor<Folder>,
    /// The first record that was not told, as it stands in the file.
    saved: Place,
    saved_at: Instant,
    /// None where workers are not asked for.
    workers: Option<WorkerWatch>,
    look_at: Instant,
}

impl Alerts {
    /// One that tells `receiver` of what comes behind `end`, if he was never told anything.
    pub fn new(
        receiver: Receiver,
        wording: Wording,
        ledger: &LedgerConfig,
        end: DurableEnd,
        counts: AlertCounts,
    ) -> Self {
        Self {
            receiver,
            wording,
            ledger: ledger.clone(),
            counts,
            backoff: Backoff::new(WAITS[0], WAITS[1]),
            end,
            next_at: Instant::now(),
            facts: Vec::new(),
            news: WorkerNews::default(),
            failures: 0,
            look_every: LOOK_EVERY,
        }
    }

    /// Tells until the writer of the log, whose durable end `durable` is, is gone. `is_serving`
    /// says whether the pool can take shares; `report` hears whether the receiver is reached, each
    /// time that changes.
    pub fn run(
        mut self,
        durable: &watch::Receiver<DurableEnd>,
        is_serving: &dyn Fn() -> bool,
        report: &dyn Fn(Result<(), String>),
    ) {
        report(Ok(()));
        loop {
            match self.tell_all(durable, is_serving, report) {
                Ok(Over) => return,
                Err(error) => {
                    let receiver = &*self.receiver.name;
                    warn!(code = advice::NOBODY_TOLD, receiver, %error, "alerts not sent");
                    report(Err(error.to_string()));
                }
            }
            // What was read is read again.
            (self.facts, self.news) = (Vec::new(), WorkerNews::default());
            if wait(Instant::now() + WAITS[1], STEP, durable).is_err() {
                return;
            }
        }
    }

    fn tell_all(
        &mut self,
        durable: &watch::Receiver<DurableEnd>,
        is_serving: &dyn Fn() -> bool,
        report: &dyn Fn(Result<(), String>),
    ) -> Result<Over, AlertError> {
        let mut sources = self.open()?;
        loop {
            let end = *durable.borrow();
            self.read_log(&mut sources, end)?;
            self.look_for_workers(&mut sources, end, is_serving)?;
            let is_due = Instant::now() >= self.next_at;
            if is_due && !(self.facts.is_empty() && self.news.is_empty()) {
                self.tell(&mut sources, report)?;
            }
            let over = wait(Instant::now() + STEP, STEP, durable).is_err();
            let next = sources.cursor.next_place();
            let is_behind = self.facts.is_empty() && next != sources.saved;
            if is_behind && (over || sources.saved_at.elapsed() >= SAVE_EVERY) {
                self.save(&mut sources)?;
            }
            if over {
                return Ok(Over);
            }
        }
    }

    fn open(&self) -> Result<Sources, AlertError> {
        let (log, file) = (Folder(self.ledger.log_directory()), self.file("cursor"));
        let failed = |error| AlertError::File(file.display().to_string(), error);
        let saved = match place_file::read(&file).map_err(failed)? {
            Some(place) => place,
            None => {
                let place = end_place(&log, self.end)?;
                place_file::write(&file, place).map_err(failed)?;
                place
            }
        };
        let wants_workers = self.receiver.kinds.contains(&AlertKind::WorkerOffline);
        let workers = wants_workers.then(|| self.workers()).transpose()?;
        let (saved_at, look_at) = (Instant::now(), Instant::now());
        Ok(Sources { cursor: Cursor::new(log, saved), saved, saved_at, workers, look_at })
    }

    fn workers(&self) -> Result<WorkerWatch, AlertError> {
        let (receiver, file) = (&self.receiver, self.file("workers"));
        let (after, accounts) = (receiver.offline_after, receiver.workers_of.clone());
        let opened =
            WorkerWatch::open(file.clone(), after, accounts, clock::unix_now_milliseconds());
        opened.map_err(|error| AlertError::File(file.display().to_string(), error))
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.ledger.directory.join(format!("alert-{}.{ending}", self.receiver.name))
    }

    /// Takes what is new, as long as one message holds it.
    fn read_log(&mut self, sources: &mut Sources, end: DurableEnd) -> Result<(), AlertError> {
        let kinds = self.receiver.kinds.clone();
        while self.facts.len() < FACTS_MAX {
            let facts = &mut self.facts;
            let mut take = |located| {
                facts.extend(Fact::of(&located).filter(|fact| kinds.contains(&fact.kind())));
            };
            if !sources.cursor.read_frame(Some(end), &mut take)? {
                break;
            }
        }
        Ok(())
    }

    fn look_for_workers(
        &mut self,
        sources: &mut Sources,
        end: DurableEnd,
        is_serving: &dyn Fn() -> bool,
    ) -> Result<(), AlertError> {
        let Some(workers) = &mut sources.workers else {
            return Ok(());
        };
        let (now_ms, is_serving) = (clock::unix_now_milliseconds(), is_serving());
        workers.observe(is_serving, now_ms, Instant::now());
        if !is_serving {
            self.news = WorkerNews::default();
        }
        if Instant::now() < sources.look_at {
            return Ok(());
        }
        sources.look_at = Instant::now() + self.look_every;
        let end = end_place(&Folder(self.ledger.log_directory()), end)?;
        // Opened each time: the file may be deleted, and is made again.
        let looked = SqliteReader::open(&self.ledger.store_file()).and_then(|store| {
            store.at_one_moment(|store| workers.look(store, self.ledger.node, end, now_ms))?
        });
        match looked {
            Ok(Some(news)) => self.news = news,
            Ok(None) => {}
            // The feeder says so, and nobody is judged.
            Err(_) => workers.observe(false, now_ms, Instant::now()),
        }
        Ok(())
    }

    /// Tries once.
    fn tell(
        &mut self,
        sources: &mut Sources,
        report: &dyn Fn(Result<(), String>),
    ) -> Result<(), AlertError> {
        let Place { epoch, sequence } = sources.saved;
        let id = match self.facts.is_empty() {
            true => format!("workers-{}", clock::unix_now_milliseconds()),
            false => format!("{epoch}-{sequence}"),
        };
        let message = Message::of(id, &self.facts, &self.news, &self.wording);
        let name = &*self.receiver.name;
        match self.receiver.outlet.send(&message) {
            Ok(said) => {
                info!(receiver = name, title = message.title, answer = said, "alert sent");
                self.counts.told.with(name).inc();
                self.next_at = Instant::now() + self.receiver.interval;
                self.backoff.reset();
                if std::mem::take(&mut self.failures) > 0 {
                    report(Ok(()));
                }
                self.settle(sources)
            }
            Err(refused) => {
                self.failures += 1;
                let (reason, failures) = (refused.reason, self.failures);
                warn!(code = advice::NOBODY_TOLD, receiver = name, title = message.title, %reason,
                    failures, "alert not taken: it is sent again");
                self.counts.failures.with(name).inc();
                if failures == 1 {
                    report(Err(reason));
                }
                let wait = self.backoff.next_delay().max(refused.retry_after.unwrap_or_default());
                self.next_at = Instant::now() + wait;
                Ok(())
            }
        }
    }

    /// Forgets what was told, on disk too.
    fn settle(&mut self, sources: &mut Sources) -> Result<(), AlertError> {
        let (facts, news) = (std::mem::take(&mut self.facts), std::mem::take(&mut self.news));
        if let Some(workers) = sources.workers.as_mut().filter(|_| !news.is_empty()) {
            let file = self.file("workers").display().to_string();
            workers.settle(&news).map_err(|error| AlertError::File(file, error))?;
        }
        if facts.is_empty() { Ok(()) } else { self.save(sources) }
    }

    fn save(&self, sources: &mut Sources) -> Result<(), AlertError> {
        let (file, next) = (self.file("cursor"), sources.cursor.next_place());
        let written = place_file::write(&file, next);
        written.map_err(|error| AlertError::File(file.display().to_string(), error))?;
        (sources.saved, sources.saved_at) = (next, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
