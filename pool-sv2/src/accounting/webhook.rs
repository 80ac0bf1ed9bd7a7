//! Tells another program of blocks and money by HTTP: signed, in the order of the log, and again
//! and again until it has taken it.
//!
//! The log is the outbox: a file beside it names the first record that was not told yet, so that a
//! message may come twice after a crash, with the same id, and is never lost. It runs on a thread
//! of its own; whoever does not answer keeps nobody else waiting.

pub mod config;
mod event;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc::http::HttpConnection;
use service::advice;
use service::backoff::Backoff;
use service::clock;
use service::metrics::{Counter, Metrics};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use self::config::Target;
use self::event::{Event, events_of};
use super::config::LedgerConfig;
use super::log::LogError;
use super::log::cursor::{Cursor, Located, Place};
use super::log::disk::Folder;
use super::log::recover::end_place;
use super::log::segment::DurableEnd;
use super::wait::{Over, wait};
use super::{place_file, sign};

/// How often the log's end is looked at, and whether the pool ends.
const STEP: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Waits after a message that was not taken.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(600)];
/// How often the file follows when nothing is told.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Why nothing is told at the moment.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0} cannot be written: {1}")]
    File(String, io::Error),
}

/// The teller of one receiver.
pub struct Webhook {
    target: Target,
    connection: HttpConnection,
    backoff: Backoff,
    log: Folder,
    file: PathBuf,
    /// Where the log ended at the start: there it begins without a file.
    end: DurableEnd,
    /// No message goes out before.
    next_at: Instant,
    told: Counter,
    failures: Counter,
}

impl Webhook {
    /// One that tells `target` of the ledger's log: of what comes behind `end`, if it was never
    /// told anything.
    pub fn new(target: Target, ledger: &LedgerConfig, end: DurableEnd, metrics: &Metrics) -> Self {
        Self {
            end,
            connection: HttpConnection::new(target.endpoint.clone()),
            target,
            backoff: Backoff::new(WAITS[0], WAITS[1]),
            log: Folder(ledger.log_directory()),
            file: cursor_file(ledger),
            next_at: Instant::now(),
            told: metrics.counter("webhook_messages", "Messages that the webhook has taken"),
            failures: metrics.counter("webhook_failures", "Messages that it has not taken at once"),
        }
    }

    /// Tells until the writer of the log, whose durable end `durable` is, is gone. `report` hears
    /// whether it is heard, each time that changes.
    pub fn run(
        mut self,
        durable: &watch::Receiver<DurableEnd>,
        runtime: &Handle,
        report: &dyn Fn(Result<(), String>),
    ) {
        report(Ok(()));
        loop {
            match self.tell_all(durable, runtime, report) {
                Ok(Over) => return,
                Err(error) => {
                    warn!(code = advice::NOBODY_TOLD, %error, "webhook not told");
                    report(Err(error.to_string()));
                }
            }
            if wait(Instant::now() + WAITS[1], STEP, durable).is_err() {
                return;
            }
        }
    }

    fn tell_all(
        &mut self,
        durable: &watch::Receiver<DurableEnd>,
        runtime: &Handle,
        report: &dyn Fn(Result<(), String>),
    ) -> Result<Over, TellError> {
        let mut saved = self.begin()?;
        let mut cursor = Cursor::new(self.log.clone(), saved);
        let mut saved_at = Instant::now();
        loop {
            let end = *durable.borrow();
            let mut records = Vec::new();
            let any = cursor.read_frame(Some(end), &mut |located| records.push(located))?;
            for located in &records {
                match self.tell_record(located, durable, runtime, report) {
                    Ok(true) => {
                        let Place { epoch, sequence } = located.place;
                        saved = self.save(Place { epoch, sequence: sequence.saturating_add(1) })?;
                    }
                    Ok(false) => {}
                    Err(Over) => return Ok(Over),
                }
            }
            let is_over = !any && wait(Instant::now() + STEP, STEP, durable).is_err();
            let next = cursor.next_place();
            if next != saved && (is_over || saved_at.elapsed() >= SAVE_EVERY) {
                (saved, saved_at) = (self.save(next)?, Instant::now());
            }
            if is_over {
                return Ok(Over);
            }
        }
    }

    /// Where it was left; a new one begins with what comes next, and the file says so before
    /// anything is told: what nobody has taken is told by the next start.
    fn begin(&self) -> Result<Place, TellError> {
        let read = place_file::read(&self.file);
        let found =
            read.map_err(|error| TellError::File(self.file.display().to_string(), error))?;
        match found {
            Some(place) => Ok(place),
            None => self.save(end_place(&self.log, self.end)?),
        }
    }

    /// True if there was anything to tell of it.
    fn tell_record(
        &mut self,
        located: &Located,
        durable: &watch::Receiver<DurableEnd>,
        runtime: &Handle,
        report: &dyn Fn(Result<(), String>),
    ) -> Result<bool, Over> {
        let mut events = events_of(located);
        events.retain(|event| self.target.events.contains(&event.kind));
        for event in &events {
            self.tell(event, durable, runtime, report)?;
        }
        Ok(!events.is_empty())
    }

    /// Returns when it was taken.
    fn tell(
        &mut self,
        event: &Event,
        durable: &watch::Receiver<DurableEnd>,
        runtime: &Handle,
        report: &dyn Fn(Result<(), String>),
    ) -> Result<(), Over> {
        let mut failures = 0_u64;
        loop {
            wait(self.next_at, STEP, durable)?;
            self.next_at = Instant::now() + self.target.interval;
            match runtime.block_on(self.post(event)) {
                Ok(()) => break,
                Err(reason) => {
                    failures += 1;
                    self.failures.inc();
                    warn!(code = advice::NOBODY_TOLD, id = event.id, event = event.kind.name(),
                        %reason, failures,
                        "webhook has not taken a message: it is told again");
                    if failures == 1 {
                        report(Err(reason));
                    }
                    self.next_at = Instant::now() + self.backoff.next_delay();
                }
            }
        }
        self.backoff.reset();
        self.told.inc();
        info!(id = event.id, event = event.kind.name(), "webhook told");
        if failures > 0 {
            report(Ok(()));
        }
        Ok(())
    }

    async fn post(&mut self, event: &Event) -> Result<(), String> {
        let timestamp = clock::unix_now_seconds().to_string();
        let signature = sign::signature(self.target.secret(), &timestamp, &event.body);
        let headers = [
            ("adit-event", event.kind.name()),
            ("adit-delivery", &event.id),
            ("adit-timestamp", &timestamp),
            ("adit-signature", &signature),
        ];
        let body = Bytes::copy_from_slice(&event.body);
        let answer = self.connection.post_with(&headers, body, ANSWER_MAX).await;
        match answer {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("it answers with HTTP {}", answer.status.as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn save(&self, next: Place) -> Result<Place, TellError> {
        let failed = |error| TellError::File(self.file.display().to_string(), error);
        place_file::write(&self.file, next).map_err(failed)?;
        Ok(next)
    }
}

/// The first record of the log that was not told; none if nothing was told yet.
pub(super) fn told_before(ledger: &LedgerConfig) -> io::Result<Option<Place>> {
    place_file::read(&cursor_file(ledger))
}

fn cursor_file(ledger: &LedgerConfig) -> PathBuf {
    ledger.directory.join("webhook.cursor")
}

#[cfg(test)]
mod tests;
