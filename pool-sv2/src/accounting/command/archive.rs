//! `pool-sv2 ledger archive`: moves the oldest segments of the log to another folder, another disk
//! for instance, and none that a start of the pool would need.
//!
//! A segment is copied, synced and compared before it is taken away, the oldest first: whenever it
//! is interrupted, each is in one of the folders at least, and what is left is a log that begins
//! later.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bitcoin::Network;

use crate::accounting::checkpoint::{self, CheckpointError};
use crate::accounting::config::LedgerConfig;
use crate::accounting::ledger;
use crate::accounting::log::LogError;
use crate::accounting::log::cursor::Place;
use crate::accounting::log::disk::{Disk, Folder};
use crate::accounting::log::reader::{ReadError, SegmentReader};
use crate::accounting::log::recover::{holds_no_frame, segments};
use crate::accounting::log::segment::{Follows, SegmentId};
use crate::accounting::store::sqlite::SqliteReader;
use crate::accounting::store::{Reader, StoreError};
use crate::accounting::webhook;

/// Bytes that are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

/// What is to be moved, and where to.
pub(super) struct Wanted<'a> {
    pub(super) to: &'a Path,
    /// Segments with a record from this moment on stay, milliseconds since 1970.
    pub(super) before_ms: u64,
    pub(super) network: Network,
    /// True if a webhook is to be told of all that is in the log.
    pub(super) has_webhook: bool,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Archived {
    pub(super) segments: usize,
    pub(super) bytes: u64,
    /// Segments that are left.
    pub(super) left: usize,
}

/// Why nothing more is moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("{0}; stop the pool first")]
    Locked(io::Error),
    #[error(
        "there is no checkpoint to go on from ({0}); start the pool, which writes one when it ends"
    )]
    NoCheckpoint(PathBuf),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}; start the pool and let the store come up to the log first")]
    Store(StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0} is no segment that can be read: {1}; `ledger verify` says more")]
    Segment(SegmentId, ReadError),
    #[error("{0} is the log's own folder; name another one")]
    Same(PathBuf),
    #[error("{0} is there already and is another file; name another folder")]
    Other(PathBuf),
    #[error("{path}: {error}")]
    Disk { path: PathBuf, error: io::Error },
}

/// Moves what may be moved; the pool must be stopped.
pub(super) fn archive(
    config: &LedgerConfig,
    wanted: &Wanted<'_>,
) -> Result<Archived, ArchiveError> {
    let _lock = ledger::prepare(config).map_err(ArchiveError::Locked)?;
    let (log, to) = (Folder(config.log_directory()), wanted.to);
    at(to, fs::create_dir_all(to))?;
    if at(to, to.canonicalize())? == at(&log.0, log.0.canonicalize())? {
        return Err(ArchiveError::Same(to.to_owned()));
    }
    let needed = needed_from(config, wanted)?;
    let mut all = Vec::new();
    for id in segments(&log).map_err(|error| at_log(&log, error))? {
        // What a full disk left behind is passed over here as by everyone who reads.
        if !holds_no_frame(&log, id)? {
            all.push(id);
        }
    }
    let mut archived = Archived::default();
    // The last one is never moved: without any segment nothing says where the log goes on.
    for pair in all.windows(2) {
        let [oldest, next] = pair else { break };
        let reader = SegmentReader::open(&log, *next);
        let header = reader.map_err(|error| ArchiveError::Segment(*next, error))?.header();
        let end = match header.follows() {
            Follows::Place(end) => end,
            // An early version wrote it: were it the first one, it would pass for the beginning of
            // all, and what was before would not be missed.
            Follows::Unknown | Follows::Nothing => break,
        };
        if end > needed || header.begun_ms > wanted.before_ms {
            break;
        }
        archived.bytes = archived.bytes.saturating_add(move_to(&log, *oldest, to)?);
        archived.segments += 1;
    }
    archived.left = all.len() - archived.segments;
    Ok(archived)
}

/// The first record that somebody has still to read: at a start, for the store, or for a webhook.
fn needed_from(config: &LedgerConfig, wanted: &Wanted<'_>) -> Result<Place, ArchiveError> {
    let file = config.checkpoint_file();
    let checkpoint = checkpoint::read(&file, wanted.network)?;
    let books = checkpoint.ok_or(ArchiveError::NoCheckpoint(file))?.next;
    let store = SqliteReader::open(&config.store_file());
    let stored = store.and_then(|store| store.next_place(config.node));
    let mut needed = books.min(stored.map_err(ArchiveError::Store)?);
    if wanted.has_webhook {
        let told = webhook::told_before(config);
        // Without a place it begins with what comes next.
        needed = needed.min(at(&config.directory, told)?.unwrap_or(needed));
    }
    Ok(needed)
}

/// Gives the bytes that were moved.
fn move_to(log: &Folder, id: SegmentId, to: &Path) -> Result<u64, ArchiveError> {
    let name = id.to_string();
    let (from, into) = (log.0.join(&name), to.join(&name));
    if !into.exists() {
        let partial = to.join(format!("{name}.partial"));
        at(&partial, fs::copy(&from, &partial))?;
        at(&into, fs::rename(&partial, &into))?;
    }
    // Whoever has copied it, an interrupted one before this among them: it has to be durable, and
    // so have its name and its folder's.
    let folder = at(to, to.canonicalize())?;
    for path in [Some(into.as_path()), Some(&folder), folder.parent()].into_iter().flatten() {
        at(path, File::open(path).and_then(|it| it.sync_all()))?;
    }
    if !at(&into, are_same(&from, &into))? {
        return Err(ArchiveError::Other(into));
    }
    let bytes = at(&from, fs::metadata(&from))?.len();
    at(&from, log.remove(&name))?;
    at(&log.0, log.sync_names())?;
    Ok(bytes)
}

fn are_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let read = one.read(&mut left)?;
        let (left, right) = (left.get(..read), right.get_mut(..read));
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(right)?;
        if left != right {
            return Ok(false);
        }
    }
}

fn at<T>(path: &Path, done: io::Result<T>) -> Result<T, ArchiveError> {
    done.map_err(|error| ArchiveError::Disk { path: path.to_owned(), error })
}

fn at_log(log: &Folder, error: io::Error) -> ArchiveError {
    ArchiveError::Disk { path: log.0.clone(), error }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mining::target::Hashes;
    use tokio::sync::watch;

    use super::*;
    use crate::accounting::bookkeeper::{Beginning, Bookkeeper, Sources};
    use crate::accounting::log::verify::verify;
    use crate::accounting::log::writer::{LogSettings, LogWriter};
    use crate::accounting::store::Scope;
    use crate::shares::{Earner, PAYS_ALL, ShareRecord};

    /// BIP173's example, on regtest.
    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    /// Shares of a segment, and segments of a life.
    const SHARES: u64 = 20;
    const LIVES: u64 = 4;
    const START_MS: u64 = 1_700_000_000_000;

    struct Table {
        folder: tempfile::TempDir,
        config: LedgerConfig,
    }

    impl Table {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let directory = folder.path().join("ledger");
            let config = LedgerConfig { directory, ..LedgerConfig::default() };
            Self { folder, config }
        }

        /// A life of the pool writes some shares; store and books come up to them when it ends.
        fn live(&self, life: u64) {
            let _lock = ledger::prepare(&self.config).unwrap();
            let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
            let log = Folder(self.config.log_directory());
            let now_ms = START_MS + life * 1_000;
            let (mut writer, _) = LogWriter::open(log, settings, now_ms, 7).unwrap();
            let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(ANN, "rig") });
            for _ in 0..SHARES {
                let earner = Arc::clone(&earner);
                writer.push_share(now_ms, &ShareRecord { earner, work: Hashes(3), hash: [9; 32] });
            }
            writer.commit().unwrap();
            let sources = Sources::of(&self.config, Network::Regtest);
            let (sender, durable) = watch::channel(writer.durable_end());
            let (keeper, _) =
                Bookkeeper::open(&sources, Beginning::Needed, writer.durable_end()).unwrap();
            drop((sender, writer));
            keeper.run(&durable, &drop);
        }

        fn archive(&self, before_ms: u64) -> Result<Archived, ArchiveError> {
            let to = self.folder.path().join("archive");
            let network = Network::Regtest;
            archive(&self.config, &Wanted { to: &to, before_ms, network, has_webhook: true })
        }

        fn work(&self) -> Hashes {
            let sources = Sources::of(&self.config, Network::Regtest);
            let saved = checkpoint::read(&sources.checkpoint, Network::Regtest).unwrap().unwrap();
            saved.books.claims(Hashes(u128::MAX)).all()[0].work
        }

        fn files(&self, folder: &str) -> usize {
            fs::read_dir(self.folder.path().join(folder)).unwrap().count()
        }
    }

    #[test]
    fn what_nobody_needs_is_moved_and_a_pool_goes_on_with_the_same_books_and_sums() {
        let table = Table::new();
        (0..LIVES).for_each(|life| table.live(life));
        table.config.feeder().catch_up().unwrap();
        let archived = table.archive(u64::MAX).unwrap();
        assert_eq!((archived.segments, archived.left), (3, 1), "never the newest one");
        assert_eq!((table.files("archive"), table.files("ledger/log")), (3, 1));
        assert_eq!(table.archive(u64::MAX).unwrap().segments, 0);
        table.live(LIVES);
        table.config.feeder().catch_up().unwrap();
        let shares = u128::from(SHARES * (LIVES + 1));
        assert_eq!(table.work(), Hashes(3 * shares), "work from before counts");
        let store = SqliteReader::open(&table.config.store_file()).unwrap();
        assert_eq!(u128::from(store.total(Scope::Pool).unwrap().shares), shares);
        // Put back, it is the whole log again.
        for file in fs::read_dir(table.folder.path().join("archive")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), table.config.log_directory().join(file.file_name())).unwrap();
        }
        let whole = verify(&Folder(table.config.log_directory())).unwrap();
        assert_eq!(u128::from(whole.shares), shares);
        assert_eq!((whole.faults, whole.begins_after), (Vec::new(), None));
    }

    #[test]
    fn a_segment_that_was_begun_and_never_written_hides_nothing_that_is_needed() {
        let table = Table::new();
        (0..LIVES).for_each(|life| table.live(life));
        table.config.feeder().catch_up().unwrap();
        let log = table.config.log_directory();
        let all = segments(&Folder(log.clone())).unwrap();
        let torn = SegmentId { first_sequence: 1, ..all[1] };
        fs::write(log.join(torn.to_string()), "torn").unwrap();
        let archived = table.archive(u64::MAX).unwrap();
        assert_eq!((archived.segments, archived.left), (3, 1), "those with records");
        assert!(log.join(torn.to_string()).exists());
    }

    #[test]
    fn what_is_young_or_not_read_by_all_stays() {
        let table = Table::new();
        table.live(0);
        table.live(1);
        let error = table.archive(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("let the store come up"), "{error}");
        table.config.feeder().catch_up().unwrap();
        table.live(2);
        table.live(3);
        // The store has read two segments, and the third one not.
        assert_eq!(table.archive(START_MS + 500).unwrap().segments, 0);
        assert_eq!(table.archive(START_MS + 1_500).unwrap().segments, 1);
        assert_eq!(table.archive(u64::MAX).unwrap().segments, 1);
        fs::write(table.config.directory.join("webhook.cursor"), "0 0\n").unwrap();
        table.config.feeder().catch_up().unwrap();
        assert_eq!(table.archive(u64::MAX).unwrap().segments, 0, "it was told to nobody");
        fs::remove_file(table.config.checkpoint_file()).unwrap();
        let error = table.archive(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("there is no checkpoint"), "{error}");
    }

    #[test]
    fn a_running_pools_log_and_files_that_are_there_are_left_alone() {
        let table = Table::new();
        (0..LIVES).for_each(|life| table.live(life));
        table.config.feeder().catch_up().unwrap();
        let running = ledger::prepare(&table.config).unwrap();
        let error = table.archive(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("stop the pool first"), "{error}");
        drop(running);
        let first = segments(&Folder(table.config.log_directory())).unwrap()[0].to_string();
        let archive = table.folder.path().join("archive");
        fs::create_dir_all(&archive).unwrap();
        fs::write(archive.join(&first), "something else").unwrap();
        let error = table.archive(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("is another file"), "{error}");
        assert_eq!(table.files("ledger/log"), 4);
        // An interrupted one goes on.
        fs::copy(table.config.log_directory().join(&first), archive.join(&first)).unwrap();
        assert_eq!(table.archive(u64::MAX).unwrap().segments, 3);
    }
}
