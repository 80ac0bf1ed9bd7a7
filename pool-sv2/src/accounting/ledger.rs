//! The thread that makes shares durable: it gathers what connections hand over, commits it to the
//! log, and says so to all of them at once.
//!
//! A disk that fails stops acknowledgements, loudly, and nothing else.

mod counts;
mod record_clock;

use std::fs::{self, File, TryLockError};
use std::time::{Duration, Instant};

use mining::memo::Memo;
use service::advice;
use service::clock;
use service::config::ConfigError;
use service::metrics::Metrics;
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::counts::Counts;
pub use self::record_clock::ClockBehind;
use self::record_clock::RecordClock;
use super::config::LedgerConfig;
use super::log::LogError;
use super::log::disk::Folder;
use super::log::recover::{Recovered, recover};
use super::log::segment::DurableEnd;
use super::log::writer::{LogSettings, LogWriter};
use super::whole_file::folder_of;
use crate::shares::{Batch, ShareQueue};

/// How long the writer waits before it tries a failing disk again.
const RETRY: Duration = Duration::from_secs(1);
/// Records of one commit: with more the writer waits for no others. A batch is never split.
const COMMIT_RECORDS_MAX: usize = 1 << 16;
/// While shares gather, the queue is emptied this often. It is asked, and does not call, so that
/// handing over a batch wakes nobody.
const GATHER_STEP: Duration = Duration::from_millis(10);
/// Between some connections that are told of a commit and the next ones.
const TELL_STEP: Duration = Duration::from_millis(1);
/// Locked by the pool that writes the ledger.
const LOCK_FILE: &str = "pool.lock";

/// Why a log is not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// It cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its records would be of an earlier time.
    #[error(transparent)]
    Clock(#[from] ClockBehind),
}

/// The writer. It runs on a thread of its own, for it waits for the disk.
pub struct Ledger {
    log: LogWriter<Folder>,
    interval: Duration,
    clock: RecordClock,
    counts: Counts,
    /// What blocks of the next commit promise: kept until others may read of them.
    memos: Vec<Memo>,
    /// How far others may read the log.
    durable: watch::Sender<DurableEnd>,
    /// Keeps another pool from the same folder.
    _lock: File,
}

impl Ledger {
    /// Opens the folder, or makes it, and cuts off what a crash left unfinished.
    pub fn open(config: &LedgerConfig, metrics: &Metrics) -> Result<Self, ConfigError> {
        let directory = config.directory.display();
        let unusable = |remedy: String| {
            let error = ConfigError::unusable("ledger.directory", remedy);
            error.explained_by(advice::LEDGER_NOT_OPENED)
        };
        let lock = prepare(config).map_err(|error| unusable(format!("{directory}: {error}")))?;
        let (log, recovered) = open_log(config).map_err(|error| match error {
            OpenError::Log(error) => unusable(format!("{directory}/log/{error}")),
            OpenError::Clock(error) => unusable(format!("{directory}: {error}")),
        })?;
        info!(%directory, epoch = log.durable_end().segment.epoch,
            cut_bytes = recovered.cut_bytes, "ledger opened");
        Ok(Self {
            durable: watch::Sender::new(log.durable_end()),
            clock: RecordClock::new(
                Instant::now(),
                clock::unix_now_milliseconds(),
                recovered.last_ms,
            ),
            log,
            interval: Duration::from_millis(config.ack_interval_ms),
            counts: Counts::new(metrics),
            memos: Vec::new(),
            _lock: lock,
        })
    }

    /// How far the log is durable, for those who read it; closed when nothing more is written.
    pub fn durable(&self) -> watch::Receiver<DurableEnd> {
        self.durable.subscribe()
    }

    /// Writes until every sender is gone; what was handed over by then is durable.
    ///
    /// `report` hears when the log cannot be written, and when it can again.
    pub fn run(mut self, mut queue: ShareQueue, report: &dyn Fn(Result<(), String>)) {
        report(Ok(()));
        while let Some(first) = next(&mut queue) {
            let mut tickets = Vec::new();
            self.take(first, &mut tickets);
            self.gather(&mut queue, &mut tickets);
            self.commit(report);
            queue.publish(&tickets);
        }
    }

    /// Takes what comes until the interval is over or enough is there.
    fn gather(&mut self, queue: &mut ShareQueue, tickets: &mut Vec<u64>) {
        let deadline = Instant::now() + self.interval;
        loop {
            while self.log.pending_records() < COMMIT_RECORDS_MAX
                && let Some(batch) = queue.take()
            {
                self.take(batch, tickets);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.log.pending_records() >= COMMIT_RECORDS_MAX {
                return;
            }
            let step = if queue.tell_more() { TELL_STEP } else { GATHER_STEP };
            std::thread::sleep(left.min(step));
        }
    }

    fn take(&mut self, batch: Batch, tickets: &mut Vec<u64>) {
        tickets.push(batch.ticket);
        let time_ms = self.clock.time(Instant::now(), batch.time_ms);
        self.counts.count(&batch);
        for share in &batch.gathered.shares {
            self.log.push_share(time_ms, share);
        }
        for entry in batch.gathered.entries {
            self.log.push_entry(time_ms, entry);
        }
        self.memos.extend(batch.gathered.memos);
    }

    /// Returns when all that was taken is on the disk, however long that takes.
    fn commit(&mut self, report: &dyn Fn(Result<(), String>)) {
        let (mut failures, began) = (0_u64, Instant::now());
        let records = self.log.pending_records();
        while let Err(error) = self.log.commit() {
            failures += 1;
            self.counts.failures.inc();
            report(Err(error.to_string()));
            error!(code = advice::LEDGER_NOT_WRITTEN, %error, failures,
                "ledger not written: no share is acknowledged until it can be");
            std::thread::sleep(RETRY);
        }
        if failures > 0 {
            info!("ledger written again");
            report(Ok(()));
        }
        self.counts.commit_seconds.observe(began.elapsed().as_secs_f64());
        self.counts.records.inc_by(records.try_into().unwrap_or(0));
        self.durable.send_replace(self.log.durable_end());
        // Not before: who sees them gone takes what is not in the log then for lost.
        self.memos.clear();
    }
}

/// Waits for a batch, and tells meanwhile who was not told yet.
fn next(queue: &mut ShareQueue) -> Option<Batch> {
    loop {
        if let Some(batch) = queue.take() {
            return Some(batch);
        }
        if !queue.tell_more() {
            return queue.wait();
        }
        std::thread::sleep(TELL_STEP);
    }
}

/// Recovers the log and begins a segment of it, unless the clock is far behind. Only who has the
/// lock may do so.
pub(super) fn open_log(config: &LedgerConfig) -> Result<(LogWriter<Folder>, Recovered), OpenError> {
    let settings = LogSettings {
        node: config.node,
        segment_bytes: config.segment_megabytes.saturating_mul(1 << 20),
    };
    let now_ms = clock::unix_now_milliseconds();
    let salt = clock::fresh_seed().first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
    let log = Folder(config.log_directory());
    let recovered = recover(&log)?;
    match record_clock::check(now_ms, recovered.last_ms) {
        Err(error) if !config.accept_earlier_clock => return Err(error.into()),
        Err(_) => warn!("earlier clock accepted: records of later times count as of now"),
        Ok(()) if config.accept_earlier_clock => {
            warn!("ledger.accept_earlier_clock is set and not needed: remove it");
        }
        Ok(()) => {}
    }
    Ok((LogWriter::begin(log, settings, &recovered, now_ms, salt)?, recovered))
}

/// Makes the folders, durably, and locks them: nobody else writes while the file is open.
pub(super) fn prepare(config: &LedgerConfig) -> std::io::Result<File> {
    let log = config.log_directory();
    fs::create_dir_all(&log)?;
    let lock = File::create(config.directory.join(LOCK_FILE))?;
    // Two writers would cut off each other's commits.
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => std::io::Error::other("another pool has it open"),
        TryLockError::Error(error) => error,
    })?;
    for folder in [log.as_path(), &config.directory, folder_of(&config.directory)] {
        File::open(folder)?.sync_all()?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use mining::memo::BlockRecords;
    use mining::target::Hashes;

    use super::super::log::verify::verify;
    use super::*;
    use crate::shares::{Earner, Gathered, ShareRecord, queue};

    fn config(folder: &Path) -> LedgerConfig {
        let directory = folder.join("a/ledger");
        LedgerConfig { directory, ack_interval_ms: 1, ..LedgerConfig::default() }
    }

    #[test]
    fn what_is_acknowledged_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (sender, queue) = queue();
        let mut watermark = sender.watermark();
        let ledger = Ledger::open(&config, &Metrics::new("x")).unwrap();
        let writer = std::thread::spawn(move || ledger.run(queue, &drop));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let earner = Arc::new(Earner::named("a b", ""));
        let share = ShareRecord { earner, work: Hashes(7), hash: [1; 32] };
        runtime.block_on(async {
            let shares = vec![share.clone(), share];
            let mut gathered = Gathered { shares, ..Gathered::default() };
            let ticket = sender.send(&mut gathered).await.unwrap();
            while watermark.durable() <= ticket {
                watermark.moved().await;
            }
        });
        // The pool still runs: it is read beside it.
        let contents = verify(&Folder(config.log_directory())).unwrap();
        assert_eq!((contents.shares, contents.work, contents.faults.len()), (2, 14, 0));
        drop(sender);
        writer.join().unwrap();
    }

    /// A machine that starts before its clock is set, or whose clock was ahead before.
    #[test]
    fn a_clock_far_behind_the_log_is_refused_and_leaves_no_trace_unless_it_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        drop(prepare(&config).unwrap());
        let log = Folder(config.log_directory());
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let later_ms = clock::unix_now_milliseconds() + 5 * 3_600_000 + 1_800_000;
        let (mut writer, _) = LogWriter::open(log.clone(), settings, later_ms, 3).unwrap();
        let earner = Arc::new(Earner::named("a b", ""));
        writer.push_share(later_ms, &ShareRecord { earner, work: Hashes(7), hash: [1; 32] });
        writer.commit().unwrap();
        drop(writer);
        let segments = || super::super::log::recover::segments(&log).unwrap().len();
        let before = segments();
        let error = Ledger::open(&config, &Metrics::new("x")).err().unwrap().to_string();
        assert!(error.contains("5 hours behind"), "{error}");
        assert!(error.contains("ledger.accept_earlier_clock = true"), "{error}");
        assert_eq!(segments(), before);
        let config = LedgerConfig { accept_earlier_clock: true, ..config };
        let ledger = Ledger::open(&config, &Metrics::new("x")).unwrap();
        assert_eq!(ledger.log.durable_end().sequence, 0);
        assert!(segments() > before);
    }

    /// Says how far the log was durable when nobody held it any more.
    #[derive(Debug)]
    struct Witness(watch::Receiver<DurableEnd>, Arc<Mutex<Option<DurableEnd>>>);

    impl BlockRecords for Witness {
        fn records(&self, _: &[u8; 32]) -> Vec<Vec<u8>> {
            Vec::new()
        }
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(*self.0.borrow());
        }
    }

    /// However long a disk takes.
    #[test]
    fn what_a_block_promises_is_held_until_its_record_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&config(folder.path()), &Metrics::new("x")).unwrap();
        let seen = Arc::default();
        let memo = Memo::new(Arc::new(Witness(ledger.durable(), Arc::clone(&seen))));
        let earner = Arc::new(Earner::named("a b", ""));
        let shares = vec![ShareRecord { earner, work: Hashes(7), hash: [1; 32] }];
        let gathered = Gathered { shares, memos: vec![memo], ..Gathered::default() };
        ledger.take(Batch { ticket: 0, time_ms: 1, gathered }, &mut Vec::new());
        assert_eq!(*seen.lock().unwrap(), None);
        ledger.commit(&drop);
        let end = ledger.log.durable_end();
        assert_eq!((*seen.lock().unwrap(), end.sequence), (Some(end), 2));
    }

    #[test]
    fn a_ledger_that_another_pool_has_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let metrics = Metrics::new("x");
        let _first = Ledger::open(&config, &metrics).unwrap();
        let error = Ledger::open(&config, &metrics).err().unwrap().to_string();
        assert!(error.contains("another pool"), "{error}");
    }
}
