//! The write-ahead log: what is in it was acknowledged, and what was acknowledged is in it.
//!
//! Segment files of one folder, only ever appended to. A commit is one or more *frames*, written
//! and synced together; a frame holds records and their checksum. All numbers are little-endian.
//! Nothing here knows of queues, sessions or the store.
//!
//! | bytes of a segment's header | |
//! |---|---|
//! | 0..8 | `ADITLOG\n` |
//! | 8..10, 10..12 | version of the format (1), bytes of this header (64) |
//! | 12..16 | id of the node that wrote it |
//! | 16..24 | epoch: one start of the pool; later ones are higher |
//! | 24..32 | sequence of the first record: records are numbered within their epoch |
//! | 32..40 | when it was begun, milliseconds since 1970 |
//! | 40..44 | salt of the frames' checksums, so that no miner's text can pass for a frame |
//! | 44..52, 52..60 | epoch and sequence that its epoch goes on from; 0, 1: none; 0, 0: not said |
//! | 60..64 | CRC32C of bytes 0..60 |
//!
//! | bytes of a frame | |
//! |---|---|
//! | 0..4 | `FRAM` |
//! | 4..8 | CRC32C of all that follows, begun with the salt |
//! | 8..12, 12..16 | bytes of the records, and how many they are |
//! | 16..24 | sequence of the first record |
//! | 24..32 | time that the records' times are relative to, milliseconds since 1970 |
//! | 32..40 | where its commit begins in the file: all before it was durable by then |
//! | 40.. | the records, as `record` says |

pub mod cursor;
pub mod disk;
pub mod frame;
pub mod reader;
pub mod record;
pub mod recover;
pub mod segment;
pub mod verify;
pub mod writer;

use std::io;

/// Why the log cannot be read or written: a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused something.
    #[error("{name}: {error}")]
    Disk {
        /// The file.
        name: String,
        /// The cause.
        error: io::Error,
    },
    /// What was durable has changed.
    #[error(
        "{name} is damaged at byte {offset} ({reason}), and what follows was acknowledged: \
         `pool-sv2 ledger verify` says what can still be read; put a copy of the file in its place"
    )]
    Damaged {
        /// The file.
        name: String,
        /// Where the unreadable part begins.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A segment is gone.
    #[error(
        "{name} begins with record {found} of its epoch, and the segment before it ends with \
         {expected}: a segment is missing between them; put it back"
    )]
    Missing {
        /// The file after the gap.
        name: String,
        /// The number that it should begin with.
        expected: u64,
        /// The number that it begins with.
        found: u64,
    },
    /// Segments of other epochs are gone.
    #[error(
        "{name} goes on from another record than {sequence} of epoch {epoch}, which comes next: \
         segments are missing before it; put them back"
    )]
    Gap {
        /// The file after the gap.
        name: String,
        /// The epoch of the record that comes next.
        epoch: u64,
        /// Its sequence.
        sequence: u64,
    },
}

impl LogError {
    pub(super) fn gap(id: segment::SegmentId, next: segment::Place) -> Self {
        let segment::Place { epoch, sequence } = next;
        Self::Gap { name: id.to_string(), epoch, sequence }
    }

    pub(crate) fn disk(name: &str, error: io::Error) -> Self {
        Self::Disk { name: name.to_owned(), error }
    }
}

#[cfg(test)]
mod tests;
