//! The thread that brings the store up to the log, and says how far behind it is.
//!
//! Whatever is wrong with the store is said, and tried again: it never reaches who writes the log.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use service::advice;
use service::clock;
use tokio::sync::watch;
use tracing::{error, info};

use super::log::LogError;
use super::log::cursor::Cursor;
use super::log::disk::{Disk, Folder};
use super::log::segment::DurableEnd;
use super::store::sqlite::{FileIdentity, SqliteStore};
use super::store::{Chunk, DAY_SECONDS, Store, StoreError};

/// Records of one transaction, or a frame more.
const CHUNK_RECORDS_MAX: u64 = 100_000;
/// How often the store is brought up to the log.
const INTERVAL: Duration = Duration::from_secs(1);
/// The thread looks so often whether it is to end.
const STEP: Duration = Duration::from_millis(50);
/// How long a store that does not work is left alone.
const RETRY: Duration = Duration::from_secs(5);
/// How often old slices are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);

/// Why the store is not fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The store does not work.
    #[error("the store does not work: {0}")]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
}

/// How the store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// It has everything but so many of the latest records.
    Behind(u64),
    /// It does not work: why.
    Broken(String),
}

/// Feeds one store from one log.
#[derive(Debug, Clone)]
pub struct Feeder {
    /// The folder of the log.
    pub log: PathBuf,
    /// The store's file.
    pub store: PathBuf,
    /// Whose records they are.
    pub node: u32,
    /// Slices that are older are forgotten.
    pub slice_days: u64,
}

impl Feeder {
    /// Feeds until the writer of the log is gone, whose durable end `durable` is.
    pub fn run(self, durable: &watch::Receiver<DurableEnd>, report: &mut dyn FnMut(StoreState)) {
        loop {
            match self.feed_while_it_works(durable, report) {
                Ok(()) => return,
                Err(error) => {
                    let file = self.store.display();
                    error!(code = advice::STORE_NOT_FED,
                        %file, %error, "store not fed: shares are acknowledged all the same");
                    report(StoreState::Broken(error.to_string()));
                }
            }
            if !wait(RETRY, durable) {
                return;
            }
        }
    }

    /// Brings the store up to a log that nobody writes; says how many records it took.
    pub fn catch_up(&self) -> Result<u64, FeedError> {
        let mut store = SqliteStore::open(&self.store)?;
        let mut cursor = self.cursor(&store)?;
        let mut records = 0;
        loop {
            match feed(&mut store, self.node, &mut cursor, None, self.oldest_slice_s())? {
                0 => return Ok(records),
                more => records += more,
            }
        }
    }

    fn cursor(&self, store: &SqliteStore) -> Result<Cursor<Folder>, StoreError> {
        Ok(Cursor::new(Folder(self.log.clone()), store.next_place(self.node)?))
    }

    fn oldest_slice_s(&self) -> u64 {
        let now_s = u64::from(clock::unix_now_seconds());
        now_s.saturating_sub(self.slice_days.saturating_mul(DAY_SECONDS))
    }

    fn feed_while_it_works(
        &self,
        durable: &watch::Receiver<DurableEnd>,
        report: &mut dyn FnMut(StoreState),
    ) -> Result<(), FeedError> {
        let mut store = SqliteStore::open(&self.store)?;
        let opened = FileIdentity::of(&self.store).ok();
        let mut cursor = self.cursor(&store)?;
        let mut forgot_at: Option<Instant> = None;
        info!(file = %self.store.display(), "store opened");
        loop {
            let is_last = durable.has_changed().is_err();
            let (end, oldest_s) = (*durable.borrow(), self.oldest_slice_s());
            while feed(&mut store, self.node, &mut cursor, Some(end), oldest_s)? > 0 {
                report(StoreState::Behind(behind(&cursor, *durable.borrow())));
                if durable.has_changed().is_err() {
                    // Nobody waits for more: the next start goes on from here.
                    return Ok(());
                }
            }
            report(StoreState::Behind(behind(&cursor, *durable.borrow())));
            if is_last {
                return Ok(());
            }
            if forgot_at.is_none_or(|at| at.elapsed() >= FORGET_INTERVAL) {
                store.forget_slices_before(oldest_s)?;
                forgot_at = Some(Instant::now());
            }
            wait(INTERVAL, durable);
            if FileIdentity::of(&self.store).ok() != opened {
                // What is written into it from now on would be lost with it; another file may have
                // its name by now.
                return Err(StoreError("its file was deleted; it is built again".into()).into());
            }
        }
    }
}

/// Brings the next records of the log into the store, in one transaction, without slices from
/// before `oldest_slice_s`; says how many records.
pub fn feed<D: Disk>(
    store: &mut dyn Store,
    node: u32,
    cursor: &mut Cursor<D>,
    durable: Option<DurableEnd>,
    oldest_slice_s: u64,
) -> Result<u64, FeedError> {
    let mut chunk = Chunk::new(oldest_slice_s);
    let before = cursor.next_place();
    while chunk.records() < CHUNK_RECORDS_MAX
        && cursor.read_frame(durable, &mut |located| chunk.take(located))?
    {}
    if cursor.next_place() != before {
        store.apply(node, &chunk, cursor.next_place())?;
    }
    Ok(chunk.records())
}

/// Records of the present epoch that the store does not have; of earlier ones it is not known how
/// many they are.
fn behind<D: Disk>(cursor: &Cursor<D>, end: DurableEnd) -> u64 {
    let next = cursor.next_place();
    let is_here = next.epoch == end.segment.epoch;
    end.sequence.saturating_sub(if is_here { next.sequence } else { 0 })
}

/// False if the writer of the log has gone.
fn wait(time: Duration, durable: &watch::Receiver<DurableEnd>) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if durable.has_changed().is_err() {
            return false;
        }
        std::thread::sleep(STEP);
    }
    true
}
