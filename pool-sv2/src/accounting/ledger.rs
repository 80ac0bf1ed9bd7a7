//! An append-only file of accepted shares with group commit.
//!
//! The writer appends what has gathered, syncs the file once, and says so for all of it. A disk
//! that fails stops acknowledgements, loudly, and nothing else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use service::config::ConfigError;
use tracing::{error, info, warn};

use crate::shares::{Batch, ShareQueue, ShareRecord};

/// How long the writer waits before it tries a failing disk again.
const RETRY: Duration = Duration::from_secs(1);

/// `[shares]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharesConfig {
    /// The share log.
    pub ledger_file: PathBuf,
    /// Shares gather for so long before they are written, synced and acknowledged together.
    #[serde(default = "default_ack_interval_ms")]
    pub ack_interval_ms: u64,
}

fn default_ack_interval_ms() -> u64 {
    100
}

/// The writer. It runs on a thread of its own, for it waits for the disk.
pub struct Ledger {
    file: File,
    path: PathBuf,
    /// Bytes that are durable: where a failed write starts over.
    length: u64,
    interval: Duration,
}

impl Ledger {
    /// Opens the file, or makes it, and cuts off a line that a crash left unfinished.
    pub fn open(config: &SharesConfig) -> Result<Self, ConfigError> {
        let path = config.ledger_file.clone();
        let (file, length) = open_log(&path).map_err(|error| {
            let remedy = format!("cannot open {}: {error}", path.display());
            ConfigError::unusable("shares.ledger_file", remedy)
        })?;
        info!(file = %path.display(), bytes = length, "share log opened");
        let interval = Duration::from_millis(config.ack_interval_ms);
        Ok(Self { file, path, length, interval })
    }

    /// Writes until every sender is gone; what was handed over by then is durable.
    ///
    /// `report` hears when the file cannot be written, and when it can again.
    pub fn run(mut self, mut queue: ShareQueue, report: &dyn Fn(Result<(), String>)) {
        report(Ok(()));
        while let Some(first) = queue.wait() {
            std::thread::sleep(self.interval);
            let mut batches = vec![first];
            batches.extend(std::iter::from_fn(|| queue.take()));
            self.commit(&lines(&batches), report);
            queue.publish(&batches);
        }
    }

    /// Returns when `text` is on the disk, however long that takes.
    fn commit(&mut self, text: &[u8], report: &dyn Fn(Result<(), String>)) {
        let mut failures = 0_u64;
        while let Err(error) = self.try_commit(text) {
            failures += 1;
            report(Err(error.to_string()));
            error!(file = %self.path.display(), %error, failures,
                "share log not written: no share is acknowledged until it can be");
            std::thread::sleep(RETRY);
        }
        if failures > 0 {
            info!(file = %self.path.display(), "share log written again");
            report(Ok(()));
        }
    }

    fn try_commit(&mut self, text: &[u8]) -> io::Result<()> {
        // Where an attempt before got half-way, it is written over.
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(text)?;
        self.file.sync_data()?;
        self.length += u64::try_from(text.len()).unwrap_or(0);
        Ok(())
    }
}

/// One line a share: `milliseconds hash work user`, user last because it may hold spaces.
fn lines(batches: &[Batch]) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    for ShareRecord { user, work, hash } in batches.iter().flat_map(|batch| &batch.shares) {
        let hash = mining::hash::display(hash);
        let line = format!("{} {hash} {} {user}\n", since.as_millis(), work.0);
        text.extend_from_slice(line.as_bytes());
    }
    text
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    // Two writers would cut off each other's lines.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another pool has it open"),
        TryLockError::Error(error) => error,
    })?;
    // A file that was just made is durable when its folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    let length = whole_lines(&mut file)?;
    let found = file.metadata()?.len();
    if found > length {
        let bytes = found - length;
        warn!(file = %path.display(), bytes, "unfinished line cut off the share log");
        file.set_len(length)?;
        file.sync_all()?;
    }
    Ok((file, length))
}

/// Bytes up to the end of the last whole line, found by reading from the end.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 4_096;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + u64::try_from(last).unwrap_or(0) + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use mining::target::Hashes;

    use super::*;
    use crate::shares::queue;

    fn share(user: &str) -> ShareRecord {
        ShareRecord { user: user.into(), work: Hashes(7), hash: [1; 32] }
    }

    fn config(folder: &Path) -> SharesConfig {
        SharesConfig { ledger_file: folder.join("a/shares.log"), ack_interval_ms: 1 }
    }

    #[test]
    fn what_is_acknowledged_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (sender, queue) = queue();
        let mut watermark = sender.watermark();
        let ledger = Ledger::open(&config).unwrap();
        let writer = std::thread::spawn(move || ledger.run(queue, &drop));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = runtime.block_on(async {
            let ticket = sender.send(&mut vec![share("a b"), share("c")]).await.unwrap();
            while watermark.durable() <= ticket {
                watermark.moved().await;
            }
            fs::read_to_string(&config.ledger_file).unwrap()
        });
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().next().unwrap().ends_with(" 7 a b"), "{text}");
        drop(sender);
        writer.join().unwrap();
    }

    #[test]
    fn a_log_that_another_pool_has_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let _first = Ledger::open(&config).unwrap();
        let error = Ledger::open(&config).err().unwrap().to_string();
        assert!(error.contains("another pool"), "{error}");
    }

    #[test]
    fn an_unfinished_line_is_cut_off_and_whole_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::create_dir_all(config.ledger_file.parent().unwrap()).unwrap();
        let long = "x".repeat(10_000);
        fs::write(&config.ledger_file, format!("whole\n{long}")).unwrap();
        drop(Ledger::open(&config).unwrap());
        assert_eq!(fs::read_to_string(&config.ledger_file).unwrap(), "whole\n");
        drop(Ledger::open(&config).unwrap());
        assert_eq!(fs::read_to_string(&config.ledger_file).unwrap(), "whole\n");
    }
}
