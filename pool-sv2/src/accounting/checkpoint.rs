//! The checkpoint: the books in one file, as they were at a place in the log, so that a start reads
//! the log from there on, and what is before may be moved away.
//!
//! It is written whole beside the one before, synced, and put in its place. One line says what it
//! is: its version, the CRC32C of the rest, and how many bytes that has. The rest is JSON.

use std::fs;
use std::io;
use std::path::Path;

use bitcoin::Network;
use serde::{Deserialize, Serialize};

use super::books::Books;
use super::books::saved::SavedBooks;
use super::log::cursor::Place;
use super::whole_file::replace;

/// What the file begins with, the version of its form among it.
const MAGIC: &str = "ADITBOOKS 1";
/// No file that is read or written is larger: this is a hundred thousand accounts that work all the
/// time.
const BYTES_MAX: u64 = 4 << 30;

/// Why a checkpoint is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refused it.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: String,
        /// The cause.
        error: io::Error,
    },
    /// Damaged, of a later version, or of another network.
    #[error("{path} is no checkpoint that can be used: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The books, and where the log goes on behind them.
#[derive(Debug)]
pub struct Checkpoint {
    /// The first record that is not in them.
    pub next: Place,
    /// The books.
    pub books: Books,
}

#[derive(Serialize, Deserialize)]
struct Body {
    epoch: u64,
    sequence: u64,
    books: SavedBooks,
}

/// Writes the books as they are before `next`; returns when they are durable. Larger ones than can
/// be read again are refused, and the file that is there stays.
pub fn write(path: &Path, next: Place, books: &Books) -> io::Result<()> {
    write_up_to(BYTES_MAX, path, next, books)
}

fn write_up_to(bytes_max: u64, path: &Path, next: Place, books: &Books) -> io::Result<()> {
    let Place { epoch, sequence } = next;
    let body = serde_json::to_vec(&Body { epoch, sequence, books: books.saved() })?;
    let head = format!("{MAGIC} {:08x} {}\n", crc32c::crc32c(&body), body.len());
    let bytes = u64::try_from(head.len().saturating_add(body.len())).unwrap_or(u64::MAX);
    if bytes > bytes_max {
        let reason = format!("the books take {bytes} bytes, and no more than {bytes_max} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    replace(path, &[head.as_bytes(), &body])
}

/// Reads it; `None` if there is none.
pub fn read(path: &Path, network: Network) -> Result<Option<Checkpoint>, CheckpointError> {
    let disk = |error| CheckpointError::Disk { path: path.display().to_string(), error };
    let bytes = match fs::metadata(path).map(|it| it.len()) {
        Ok(bytes) if bytes <= BYTES_MAX => fs::read(path).map_err(disk)?,
        Ok(_) => return Err(unusable(path, "it is too large")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(error)),
    };
    let body = checked(&bytes).map_err(|reason| unusable(path, reason))?;
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| unusable(path, "a later version of the pool has written it"))?;
    let books = Books::restored(body.books, network)
        .ok_or_else(|| unusable(path, "it is of another network than payout.network"))?;
    let next = Place { epoch: body.epoch, sequence: body.sequence };
    Ok(Some(Checkpoint { next, books }))
}

/// What follows the first line, if it is what was written.
fn checked(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let damaged = "it is damaged";
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(damaged)?;
    let (head, body) = bytes.split_at(end);
    let body = body.get(1..).ok_or(damaged)?;
    let head = std::str::from_utf8(head).map_err(|_| damaged)?;
    let sum = head.strip_prefix(MAGIC).ok_or("it is of another version of the pool, or damaged")?;
    let expected = format!(" {:08x} {}", crc32c::crc32c(body), body.len());
    if sum == expected { Ok(body) } else { Err(damaged) }
}

fn unusable(path: &Path, reason: &'static str) -> CheckpointError {
    CheckpointError::Unusable { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_too_large_to_read_is_not_written_and_the_one_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.checkpoint");
        let (books, next) = (Books::new(Network::Regtest), Place { epoch: 7, sequence: 9 });
        write(&path, next, &books).unwrap();
        let bytes = fs::metadata(&path).unwrap().len();
        let later = Place { epoch: 8, sequence: 9 };
        let error = write_up_to(bytes - 1, &path, later, &books).unwrap_err().to_string();
        assert!(error.contains(&format!("{bytes} bytes")), "{error}");
        assert_eq!(read(&path, Network::Regtest).unwrap().unwrap().next, next);
        write_up_to(bytes, &path, later, &books).unwrap();
        assert_eq!(read(&path, Network::Regtest).unwrap().unwrap().next, later);
    }

    #[test]
    fn it_comes_back_and_no_changed_byte_goes_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.checkpoint");
        assert!(read(&path, Network::Regtest).unwrap().is_none());
        let next = Place { epoch: 7, sequence: 9 };
        write(&path, next, &Books::new(Network::Regtest)).unwrap();
        let back = read(&path, Network::Regtest).unwrap().unwrap();
        assert_eq!((back.next, back.books), (next, Books::new(Network::Regtest)));
        let error = read(&path, Network::Bitcoin).unwrap_err().to_string();
        assert!(error.contains("another network"), "{error}");
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(read(&path, Network::Regtest).is_err(), "byte {index}");
            fs::write(&path, &whole[..index]).unwrap();
            assert!(read(&path, Network::Regtest).is_err(), "cut at {index}");
        }
    }
}
