//! The outbox's directory: a file for each parcel, in `pending`, `done` or `dead`.
//!
//! The directory is the truth: who changes it, this program or a person's command, is noticed by
//! the worker at its next look. Every change is durable when it returns, and a crash between two of
//! them repeats a delivery at most. It delivers nothing. All calls block, so they run off the async
//! threads.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::warn;

use crate::durable::{self, Lock};
use crate::extension::{AcceptedBlock, Parcel};

/// How long it is remembered what was delivered. A parcel comes twice when a block is submitted
/// again, after a crash or by a person, within days. Past it the parcel would be delivered again,
/// which extensions must bear.
const DONE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const FILE_ENDING: &str = "json";
/// Locked by whoever changes files.
const LOCK_FILE: &str = "changes.lock";
/// How long it is waited for another program's change. Past it the change fails: the worker and who
/// puts parcels in try again, a person's command says so.
const LOCK_MAX: Duration = Duration::from_secs(5);

/// The directory. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    /// Held while files change: two writers of one parcel would meet in its partial file.
    writing: Arc<Mutex<()>>,
    /// Wakes the worker.
    put: Arc<Notify>,
}

/// While it lives, nobody else changes files.
struct Writing<'a> {
    _programs: Lock,
    _threads: MutexGuard<'a, ()>,
}

/// A parcel that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The block that was accepted.
    pub block: AcceptedBlock,
    /// What to deliver.
    pub parcel: Parcel,
    /// When it was put in, seconds since 1970.
    pub since: u64,
}

/// A parcel that its neighbour will never take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Why, in the extension's words.
    pub reason: String,
    /// What was to be delivered.
    pub pending: Pending,
}

/// What is remembered of a delivered parcel: nothing that would be secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The block that was accepted.
    pub block: AcceptedBlock,
    /// Who delivered.
    pub extension: String,
    /// The parcel's key.
    pub key: String,
    /// When, seconds since 1970.
    pub delivered_at: u64,
}

/// What came of putting a parcel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It waits for its delivery from now on.
    New,
    /// It waits already.
    Waiting,
    /// It was delivered before, and is not put in.
    Delivered {
        /// When, seconds since 1970, if that can be read.
        delivered_at: Option<u64>,
    },
    /// It was refused before, and waits for a person.
    Refused,
}

/// How many parcels there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Those that wait.
    pub pending: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
    /// Those that will never be taken.
    pub dead: u64,
}

/// Where a parcel stands, as its folder is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    Pending,
    Done,
    Dead,
}

const FOLDERS: [Folder; 3] = [Folder::Pending, Folder::Done, Folder::Dead];

impl Folder {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl Pending {
    /// A parcel that waits from now on.
    pub fn new(block: AcceptedBlock, parcel: Parcel) -> Self {
        Self { block, parcel, since: unix_now() }
    }

    /// How long it has waited by now, by the system's clock.
    pub fn waited(&self) -> Duration {
        Duration::from_secs(unix_now().saturating_sub(self.since))
    }

    /// The name of its file: the same for the same parcel.
    pub fn name(&self) -> String {
        file_name(&self.parcel.extension, &self.parcel.key)
    }
}

impl Store {
    /// Makes the directory if it is not there, and forgets what was delivered long ago.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let store = Self::at(directory);
        for folder in FOLDERS {
            durable::make_directory(&directory.join(folder.name()))?;
        }
        store.forget_delivered(DONE_KEPT)?;
        Ok(store)
    }

    /// The directory as it is, for a person's command; `None` if it is no outbox.
    pub fn existing(directory: &Path) -> Option<Self> {
        let is_there = FOLDERS.iter().all(|folder| directory.join(folder.name()).is_dir());
        is_there.then(|| Self::at(directory))
    }

    fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), writing: Arc::default(), put: Arc::default() }
    }

    /// Puts a parcel in, unless it was delivered or is there already.
    pub fn put(&self, pending: &Pending) -> io::Result<Put> {
        let _writing = self.write_lock()?;
        self.put_in(pending)
    }

    /// Puts a parcel in though it was delivered before.
    pub fn put_again(&self, pending: &Pending) -> io::Result<Put> {
        let _writing = self.write_lock()?;
        durable::remove(&self.path(Folder::Done, &pending.name()))?;
        self.put_in(pending)
    }

    fn put_in(&self, pending: &Pending) -> io::Result<Put> {
        let name = pending.name();
        let path = |folder| self.path(folder, &name);
        if path(Folder::Done).exists() {
            // What cannot be read was delivered all the same.
            let tombstone = read_json::<Tombstone>(&path(Folder::Done));
            let delivered_at = tombstone.ok().map(|tombstone| tombstone.delivered_at);
            return Ok(Put::Delivered { delivered_at });
        }
        if path(Folder::Dead).exists() {
            return Ok(Put::Refused);
        }
        if path(Folder::Pending).exists() {
            // Perhaps its writer was killed before the name was durable.
            durable::sync_directory_of(&path(Folder::Pending))?;
            return Ok(Put::Waiting);
        }
        self.write(Folder::Pending, &name, pending)?;
        self.put.notify_one();
        Ok(Put::New)
    }

    /// Waits until something was put in since the last call.
    pub async fn wait_put(&self) {
        self.put.notified().await;
    }

    /// Notes that a parcel arrived.
    pub fn delivered(&self, pending: &Pending) -> io::Result<()> {
        let name = pending.name();
        let Pending { block, parcel: Parcel { extension, key, .. }, .. } = pending.clone();
        let tombstone = Tombstone { block, extension, key, delivered_at: unix_now() };
        let _writing = self.write_lock()?;
        self.write(Folder::Done, &name, &tombstone)?;
        durable::remove(&self.path(Folder::Pending, &name))
    }

    /// Puts a parcel aside that will never be taken.
    pub fn bury(&self, dead: &Dead) -> io::Result<()> {
        let name = dead.pending.name();
        let _writing = self.write_lock()?;
        self.write(Folder::Dead, &name, dead)?;
        durable::remove(&self.path(Folder::Pending, &name))
    }

    /// Makes a dead parcel pending again; false if there is none of this name.
    pub fn revive(&self, name: &str) -> io::Result<bool> {
        let _writing = self.write_lock()?;
        let path = self.path(Folder::Dead, name);
        if !path.exists() {
            return Ok(false);
        }
        let dead: Dead = read_json(&path)?;
        self.write(Folder::Pending, name, &dead.pending)?;
        durable::remove(&path)?;
        Ok(true)
    }

    /// Names of at most `most` parcels that wait, those with the longest wait first as far as their
    /// files tell. What was delivered before its file could go is cleared away.
    pub fn waiting(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = self.names(Folder::Pending)?;
        let is_done = |name: &str| self.path(Folder::Done, name).exists();
        if names.iter().any(|(_, name)| is_done(name)) {
            let _writing = self.write_lock()?;
            for (_, name) in names.extract_if(.., |(_, name)| is_done(name)) {
                durable::remove(&self.path(Folder::Pending, &name))?;
            }
        }
        names.truncate(most);
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    /// A parcel that waits; `None` if it does no more.
    pub fn read(&self, name: &str) -> io::Result<Option<Pending>> {
        let path = self.path(Folder::Pending, name);
        match read_json(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// All that wait and can be read.
    pub fn all_pending(&self) -> io::Result<Vec<Pending>> {
        self.all(Folder::Pending)
    }

    /// All that will never be taken and can be read.
    pub fn all_dead(&self) -> io::Result<Vec<Dead>> {
        self.all(Folder::Dead)
    }

    /// How many there are.
    pub fn counts(&self) -> io::Result<Counts> {
        let pending = self.names(Folder::Pending)?;
        let oldest = pending.first().map(|(written, _)| written.elapsed().unwrap_or_default());
        let count = |names: usize| u64::try_from(names).unwrap_or(u64::MAX);
        Ok(Counts {
            pending: count(pending.len()),
            oldest: oldest.unwrap_or_default(),
            dead: count(self.names(Folder::Dead)?.len()),
        })
    }

    /// Forgets what was delivered longer ago than `age`.
    fn forget_delivered(&self, age: Duration) -> io::Result<()> {
        for (written, name) in self.names(Folder::Done)? {
            if written.elapsed().unwrap_or_default() >= age {
                durable::remove(&self.path(Folder::Done, &name))?;
            }
        }
        Ok(())
    }

    /// Names in a folder, the oldest first.
    fn names(&self, folder: Folder) -> io::Result<Vec<(SystemTime, String)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory.join(folder.name()))? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let is_whole = path.extension().is_some_and(|ending| ending == FILE_ENDING);
            // It may be gone by now.
            let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
            if let (Some(name), Ok(written), true) = (name, written, is_whole) {
                names.push((written, name.to_owned()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn all<T: DeserializeOwned>(&self, folder: Folder) -> io::Result<Vec<T>> {
        let mut all = Vec::new();
        for (_, name) in self.names(folder)? {
            match read_json(&self.path(folder, &name)) {
                Ok(one) => all.push(one),
                Err(error) => warn!(%name, %error, "file of the outbox not read"),
            }
        }
        Ok(all)
    }

    fn write(&self, folder: Folder, name: &str, content: &impl Serialize) -> io::Result<()> {
        durable::write(&self.path(folder, name), &[&serde_json::to_vec(content)?])
    }

    fn path(&self, folder: Folder, name: &str) -> PathBuf {
        self.directory.join(folder.name()).join(format!("{name}.{FILE_ENDING}"))
    }

    /// For a change of files: of all threads and all programs, only one changes some.
    fn write_lock(&self) -> io::Result<Writing<'_>> {
        let threads = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let programs = durable::lock(&self.directory.join(LOCK_FILE), LOCK_MAX)?;
        Ok(Writing { _threads: threads, _programs: programs })
    }
}

/// The name of the file of a parcel: its extension and key, with what no name should hold in hex.
/// Never cut, for two parcels would meet; a key that no file system takes is an error of its put.
pub fn file_name(extension: &str, key: &str) -> String {
    let mut name = String::new();
    for byte in format!("{extension}-{key}").bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'-' | b'_' => name.push(char::from(byte)),
            // Writing to a String cannot fail.
            other => drop(write!(name, "%{other:02x}")),
        }
    }
    name
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
