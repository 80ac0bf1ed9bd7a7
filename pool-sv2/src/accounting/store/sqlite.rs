//! The store in one SQLite file beside the log, in WAL mode: one writer, and readers that wait for
//! nobody.
//!
//! A file of another version, or one that is no database, is not touched: whoever opens it is told
//! to delete it, for the log builds it again.

mod money;
mod read;
mod scope;
mod write;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::rates::Rates;
use super::{
    Active, After, Block, Chunk, Credit, HISTORY_MAX, Line, Reader, Round, Scope, Settled,
    SilentWorker, Slice, Span, Store, StoreError, Total,
};
use crate::accounting::log::cursor::Place;
use crate::shares::Reason;

const SCHEMA: &str = include_str!("schema.sql");
const VERSION: i64 = 3;
/// How long a lock of another program is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that are kept ready: more than there are.
const STATEMENTS_MAX: usize = 64;
/// Bits of `work_low`.
const LOW_BITS: u32 = 40;

/// Which file it is, whatever its name: one that was deleted and made again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    /// A file system may give an inode's number to the next file.
    made: Option<SystemTime>,
}

impl FileIdentity {
    /// Of the file that has this name now.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let (device, inode, made) = (metadata.dev(), metadata.ino(), metadata.created().ok());
        Ok(Self { device, inode, made })
    }
}

/// The database, for the one who feeds it.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
}

/// The database, for those who ask.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

impl SqliteStore {
    /// Opens the file to write, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|error| unusable(path, &error))?;
        Self::prepare(&connection, path).map_err(|error| unusable(path, &error))?;
        check_version(&connection, path)?;
        Ok(Self { connection })
    }

    /// The log is what must be durable: after a power loss the store may be a little behind.
    fn prepare(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables == 0 {
            tracing::info!(file = %path.display(), "store made");
            connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
        }
        Ok(())
    }

    /// Deletes the file, and what SQLite keeps beside it; nobody may have it open.
    pub fn delete(path: &Path) -> Result<(), StoreError> {
        for ending in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            let file = PathBuf::from(name);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError(format!("{}: {error}", file.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl SqliteReader {
    /// Opens a file that is there, to read beside a running pool.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let how = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, how).map_err(|error| unusable(path, &error))?;
        connection.busy_timeout(BUSY).map_err(|error| unusable(path, &error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        check_version(&connection, path)?;
        Ok(Self { connection })
    }

    /// All that `ask` asks is answered as of one moment, whatever is written meanwhile.
    pub fn at_one_moment<T>(&self, ask: impl FnOnce(&Self) -> T) -> Result<T, StoreError> {
        let moment = self.connection.unchecked_transaction()?;
        let answer = ask(self);
        moment.finish()?;
        Ok(answer)
    }
}

fn check_version(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| unusable(path, &error))?;
    if version != VERSION {
        let file = name(path);
        let text = format!("{file} is of version {version}, not {VERSION}; delete it");
        return Err(StoreError(format!(
            "{text}: it is built again from the log, segments that were moved away put back first"
        )));
    }
    Ok(())
}

fn unusable(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (file, error) = (name(path), reason(error));
    StoreError(format!(
        "{file}: {error}; if that stays, delete it: it is built from the log, segments that were \
         moved away put back first"
    ))
}

/// Who asks from outside is not told where it is.
fn name(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(path, Path::new).display()
}

/// Without what SQLite adds, which is the whole path.
fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(text)) if text.contains('/') => code.to_string(),
        error => error.to_string(),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(reason(&error))
    }
}

impl Store for SqliteStore {
    fn next_place(&self, node: u32) -> Result<Place, StoreError> {
        Ok(read::next_place(&self.connection, node)?)
    }

    fn apply(&mut self, node: u32, chunk: &Chunk, next: Place) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        write::apply(&transaction, node, chunk, next)?;
        transaction.commit()?;
        Ok(())
    }

    fn forget_slices_before(&mut self, start_s: u64) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM slice WHERE start_s < ?1", [int(start_s)])?;
        Ok(())
    }
}

impl Reader for SqliteReader {
    fn next_place(&self, node: u32) -> Result<Place, StoreError> {
        Ok(read::next_place(&self.connection, node)?)
    }

    fn total(&self, scope: Scope<'_>) -> Result<Total, StoreError> {
        Ok(read::sums(&self.connection, scope)?.0)
    }

    fn rates(&self, scope: Scope<'_>, now_ms: u64) -> Result<Rates, StoreError> {
        let (total, rates) = read::sums(&self.connection, scope)?;
        Ok(shown(&total, rates, now_ms))
    }

    fn active(&self, since_ms: u64) -> Result<Active, StoreError> {
        Ok(read::active(&self.connection, since_ms)?)
    }

    fn rejects(&self, scope: Scope<'_>) -> Result<Vec<(Reason, u64)>, StoreError> {
        Ok(read::rejects(&self.connection, scope)?)
    }

    fn history(
        &self,
        scope: Scope<'_>,
        span: Span,
        from_s: u64,
        to_s: u64,
    ) -> Result<Vec<Slice>, StoreError> {
        let from_s = from_s.max(to_s.saturating_sub(HISTORY_MAX.saturating_mul(span.seconds())));
        Ok(read::history(&self.connection, scope, span, (from_s, to_s))?)
    }

    fn accounts(&self, after: &str, count: u32, now_ms: u64) -> Result<Vec<Line>, StoreError> {
        let mut lines = read::accounts(&self.connection, after, count)?;
        for line in &mut lines {
            line.rates = shown(&line.total, line.rates, now_ms);
        }
        Ok(lines)
    }

    fn fastest(&self, since_ms: u64, window: usize, now_ms: u64) -> Result<Vec<Line>, StoreError> {
        let mut lines = read::active_accounts(&self.connection, since_ms)?;
        for line in &mut lines {
            line.rates = shown(&line.total, line.rates, now_ms);
        }
        let rate = |line: &Line| line.rates.per_second.get(window).copied().unwrap_or(0.0);
        lines.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then_with(|| a.name.cmp(&b.name)));
        Ok(lines)
    }

    fn round(&self) -> Result<Round, StoreError> {
        Ok(read::round(&self.connection)?)
    }

    fn workers(
        &self,
        account: &str,
        after: Option<&str>,
        count: u32,
        now_ms: u64,
    ) -> Result<Vec<Line>, StoreError> {
        let mut lines = read::workers(&self.connection, account, after, count)?;
        for line in &mut lines {
            line.rates = shown(&line.total, line.rates, now_ms);
        }
        Ok(lines)
    }

    fn silent_workers(
        &self,
        from_ms: u64,
        to_ms: u64,
        count: u32,
    ) -> Result<Vec<SilentWorker>, StoreError> {
        Ok(read::silent_workers(&self.connection, from_ms, to_ms, count)?)
    }

    fn blocks(&self, after: After, count: u32) -> Result<Vec<Block>, StoreError> {
        Ok(read::blocks(&self.connection, after, count)?)
    }

    fn block_count(&self) -> Result<u64, StoreError> {
        Ok(read::block_count(&self.connection)?)
    }

    fn settlements(&self, after: After, count: u32) -> Result<Vec<Settled>, StoreError> {
        Ok(money::settlements(&self.connection, after, count)?)
    }

    fn credits(&self, account: &str, after: After, count: u32) -> Result<Vec<Credit>, StoreError> {
        let scope = scope::known_id(&self.connection, Scope::Account(account))?;
        let credits = |scope| money::credits(&self.connection, scope, after, count);
        Ok(scope.map(credits).transpose()?.unwrap_or_default())
    }

    fn payments(&self, after: After, count: u32) -> Result<Vec<Settled>, StoreError> {
        Ok(money::payments(&self.connection, after, count)?)
    }

    fn payments_of(
        &self,
        account: &str,
        after: After,
        count: u32,
    ) -> Result<Vec<Credit>, StoreError> {
        let scope = scope::known_id(&self.connection, Scope::Account(account))?;
        let payments = |scope| money::payments_of(&self.connection, scope, after, count);
        Ok(scope.map(payments).transpose()?.unwrap_or_default())
    }

    fn paid_to_all(&self) -> Result<u64, StoreError> {
        Ok(money::paid_to_all(&self.connection)?)
    }

    fn paid(&self, account: &str) -> Result<u64, StoreError> {
        let scope = scope::known_id(&self.connection, Scope::Account(account))?;
        Ok(scope.map(|scope| money::paid(&self.connection, scope)).transpose()?.unwrap_or(0))
    }
}

/// Rates as a person sees them at `now_ms`.
fn shown(total: &Total, mut rates: Rates, now_ms: u64) -> Rates {
    rates.fade_to(now_ms);
    rates.since(total.first_ms)
}

/// SQLite's integers have a sign.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn split(work: u128) -> (i64, i64) {
    let low = work & ((1 << LOW_BITS) - 1);
    (i64::try_from(work >> LOW_BITS).unwrap_or(i64::MAX), i64::try_from(low).unwrap_or(0))
}

fn joined(high: i64, low: i64) -> u128 {
    let part = |value: i64| u128::from(natural(value));
    (part(high) << LOW_BITS).saturating_add(part(low))
}

#[cfg(test)]
mod tests;
