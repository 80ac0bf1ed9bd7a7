//! Found blocks on disk, from the moment they are found until the nodes have judged them, each with
//! the parcels that must be delivered once it is in the chain.
//!
//! One file a block, `HASH.hex`, made whole or not at all: a line of JSON (height and parcels),
//! then the block as hex, last, so that a block that is there whole has its parcels too. Files of
//! earlier versions are the hex alone. One file that cannot be used never hides the others. It
//! knows no node and delivers nothing: who reads the vault does. All calls block, so they run off
//! the async threads.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use mining::{hash, target::Target};
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use crate::durable::{self, PARTIAL};
use crate::extension::Parcel;
use service::advice;

const PENDING: &str = "hex";
const REFUSED: &str = "refused";
/// A record whose parcels cannot be read, kept for people beside the block, which is submitted.
const DAMAGED: &str = "damaged";

/// The directory of found blocks.
#[derive(Debug, Clone)]
pub struct Vault {
    directory: PathBuf,
}

/// A block that was found and is not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its hash, in display order.
    pub hash: String,
    /// Its height; unknown for files of earlier versions.
    pub height: Option<u32>,
    /// The block, as hex.
    pub block_hex: String,
    /// What to deliver once it is in the chain.
    pub parcels: Vec<Parcel>,
}

/// What stands in a file before the block.
#[derive(Serialize, Deserialize, Default)]
struct Attached {
    height: Option<u32>,
    parcels: Vec<Parcel>,
}

/// What is known of a kept block, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its hash, in display order, as its file is called.
    pub hash: String,
    /// Whether it waits for a verdict or was refused.
    pub state: State,
    /// Its height, if it can be read.
    pub height: Option<u32>,
    /// Parcels that go out once it is in the chain.
    pub parcels: usize,
    /// Time since it was written.
    pub age: Duration,
    /// Bytes of its file.
    pub bytes: u64,
}

/// How far a kept block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No node has judged it yet.
    Pending,
    /// The nodes refused it.
    Refused,
}

impl Vault {
    /// Makes the directory if it is not there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        durable::make_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The directory as it is, for a person's command; `None` if there is none.
    pub fn existing(directory: &Path) -> Option<Self> {
        directory.is_dir().then(|| Self { directory: directory.to_owned() })
    }

    /// Writes a block and its parcels so that they survive a loss of power. What is there already
    /// is not written again: a crash would leave a part of it beside the whole.
    pub fn keep(&self, record: &Record) -> io::Result<()> {
        if self.read(&record.hash).is_ok_and(|kept| kept == *record) {
            return durable::sync_directory_of(&self.path(&record.hash, PENDING));
        }
        let attached = Attached { height: record.height, parcels: record.parcels.clone() };
        let line = serde_json::to_string(&attached)?;
        let parts = [line.as_bytes(), b"\n", record.block_hex.as_bytes(), b"\n"];
        durable::write(&self.path(&record.hash, PENDING), &parts)
    }

    /// A node has the block in its chain and its parcels are kept elsewhere: nothing more to keep.
    pub fn settle_accepted(&self, hash: &str) -> io::Result<()> {
        durable::remove(&self.path(hash, PARTIAL))?;
        durable::remove(&self.path(hash, PENDING))
    }

    /// The nodes refused the block: it is kept for people, but not submitted again by itself.
    pub fn settle_refused(&self, hash: &str) -> io::Result<()> {
        durable::remove(&self.path(hash, PARTIAL))?;
        durable::rename(&self.path(hash, PENDING), &self.path(hash, REFUSED))
    }

    /// Makes a refused block pending again. One that is pending already stays so.
    pub fn reopen(&self, hash: &str) -> io::Result<()> {
        let (pending, refused) = (self.path(hash, PENDING), self.path(hash, REFUSED));
        match durable::rename(&refused, &pending) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && pending.exists() => Ok(()),
            other => other,
        }
    }

    /// One block that is not judged yet.
    pub fn read(&self, hash: &str) -> io::Result<Record> {
        self.read_record(&self.path(hash, PENDING))
    }

    /// The blocks that are not judged yet, for a program that starts: those whose writing was cut
    /// short after the last byte are among them.
    pub fn pending(&self) -> io::Result<Vec<Record>> {
        let mut blocks = Vec::new();
        for path in self.files(PARTIAL)? {
            if fs::metadata(&path).is_ok_and(|it| it.is_file() && it.len() == 0) {
                // Its writer was killed before the first byte.
                durable::remove(&path)?;
                continue;
            }
            match self.adopt(&path) {
                Ok(()) => info!(file = %path.display(), "block not renamed before adopted"),
                Err(error) => error!(code = advice::VAULT_BROKEN,
                    file = %path.display(), %error, "part of a block not adopted"),
            }
        }
        for path in self.files(PENDING)? {
            match self.read_record(&path) {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    error!(code = advice::VAULT_BROKEN,
                        file = %path.display(), %error, "block of an earlier run not read");
                }
            }
        }
        Ok(blocks)
    }

    /// All that is kept, in the order of the hashes.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (ending, state) in [(PENDING, State::Pending), (REFUSED, State::Refused)] {
            for path in self.files(ending)? {
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let (attached, bytes) = read_file(&path)
                    .map_or_else(|_| Default::default(), |file| (file.attached, file.bytes));
                entries.push(Entry {
                    hash: name(&path).unwrap_or_default().to_owned(),
                    state,
                    height: attached.height.or_else(|| coinbase_height(&bytes)),
                    parcels: attached.parcels.len(),
                    age: written.elapsed().unwrap_or_default(),
                    bytes: metadata.len(),
                });
            }
        }
        entries.sort_by(|a, b| a.hash.cmp(&b.hash));
        Ok(entries)
    }

    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|of_path| of_path == extension) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    /// Takes what was written whole and not renamed, whatever it is called.
    fn adopt(&self, partial: &Path) -> io::Result<()> {
        let file = read_file(partial)?;
        let hash = whole_block_hash(&file.bytes).ok_or_else(|| invalid("it is no whole block"))?;
        File::open(partial)?.sync_all()?;
        durable::rename(partial, &self.path(&hash, PENDING))
    }

    fn read_record(&self, path: &Path) -> io::Result<Record> {
        let hash = name(path).ok_or_else(|| invalid("its name is no hash"))?.to_owned();
        let FileRead { attached: Attached { height, parcels }, is_damaged, block_hex, .. } =
            read_file(path)?;
        if is_damaged {
            let copy = self.path(&hash, DAMAGED);
            error!(code = advice::VAULT_BROKEN,
                copy = %copy.display(), "parcels of a found block cannot be read: see its copy");
            fs::copy(path, copy)?;
        }
        Ok(Record { hash, height, block_hex, parcels })
    }

    fn path(&self, hash: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{hash}.{extension}"))
    }
}

/// A file of the vault, read.
struct FileRead {
    attached: Attached,
    /// True if something stands before the block that cannot be read.
    is_damaged: bool,
    block_hex: String,
    bytes: Vec<u8>,
}

/// What the hex means is the node's to judge.
fn read_file(path: &Path) -> io::Result<FileRead> {
    let text = fs::read_to_string(path)?;
    let (attached, block_hex) = match text.trim_end().rsplit_once('\n') {
        Some((line, block_hex)) => (serde_json::from_str(line).ok(), block_hex),
        None => (Some(Attached::default()), text.trim_end()),
    };
    let bytes = Vec::from_hex(block_hex).map_err(|_| invalid("it is not hex"))?;
    if bytes.is_empty() {
        return Err(invalid("it is empty"));
    }
    let is_damaged = attached.is_none();
    let (attached, block_hex) = (attached.unwrap_or_default(), block_hex.to_owned());
    Ok(FileRead { attached, is_damaged, block_hex, bytes })
}

fn name(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

fn coinbase_height(bytes: &[u8]) -> Option<u32> {
    let block: bitcoin::Block = deserialize(bytes).ok()?;
    block.bip34_block_height().ok()?.try_into().ok()
}

/// The hash of a whole block that meets its own nBits, in display order. A part of one never is
/// whole: its count of transactions comes first.
fn whole_block_hash(bytes: &[u8]) -> Option<String> {
    let block: bitcoin::Block = deserialize(bytes).ok()?;
    let hash = block.block_hash().to_byte_array();
    let target = Target::from_nbits(block.header.bits.to_consensus())?;
    target.is_met_by(&hash).then(|| hash::display(&hash))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
