//! What is done to a log before it is written again: a torn tail is cut off, damage is refused.
//!
//! Only the last segment may have a torn tail, for each start begins a new one and a segment is
//! left only when all of it is durable. A frame says where its commit begins: a valid frame behind
//! an invalid one proves that the invalid one was durable, unless both belong to one commit.

use std::io;

use tracing::{info, warn};

use super::LogError;
use super::disk::{Disk, DiskFile};
use super::reader::{ReadError, SegmentReader};
use super::segment::{HEADER_BYTES, SegmentId};

/// Bytes that are read through at a start, newest segments first. `ledger verify` reads all.
const CHECKED_BYTES_MAX: u64 = 512 << 20;

/// What a log was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The highest epoch in it; 0 without any.
    pub last_epoch: u64,
    /// Bytes that a crash had left unfinished, and that are gone.
    pub cut_bytes: u64,
}

/// Cuts off what was never acknowledged, and refuses a log that has lost what was.
pub fn recover<D: Disk>(disk: &D) -> Result<Recovered, LogError> {
    let mut segments = segments(disk).map_err(|error| LogError::disk("the log's folder", error))?;
    while let Some(last) = segments.last().copied() {
        if !remove_unbegun(disk, last)? {
            break;
        }
        segments.pop();
    }
    let Some((last, earlier)) = segments.split_last() else {
        return Ok(Recovered { last_epoch: 0, cut_bytes: 0 });
    };
    let (cut_bytes, mut checked_bytes) = cut_torn_tail(disk, *last)?;
    let mut after = *last;
    for id in earlier.iter().rev() {
        if checked_bytes > CHECKED_BYTES_MAX {
            break;
        }
        checked_bytes = checked_bytes.saturating_add(check_whole(disk, *id, after)?);
        after = *id;
    }
    Ok(Recovered { last_epoch: last.epoch, cut_bytes })
}

/// The segments of a log, oldest first.
pub fn segments<D: Disk>(disk: &D) -> io::Result<Vec<SegmentId>> {
    let names = disk.list()?;
    let mut segments: Vec<_> = names.iter().filter_map(|it| SegmentId::from_name(it)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// A segment whose header was never durable holds nothing: it goes, and with it its name.
fn remove_unbegun<D: Disk>(disk: &D, id: SegmentId) -> Result<bool, LogError> {
    let name = id.to_string();
    let on_disk = |error| LogError::disk(&name, error);
    let file = disk.open_to_read(&name).map_err(on_disk)?;
    let bytes = file.len().map_err(on_disk)?;
    let is_short = bytes <= u64::try_from(HEADER_BYTES).unwrap_or(0);
    match SegmentReader::from_file(file, id) {
        Err(ReadError::Invalid { .. }) if is_short => {
            disk.remove(&name).and_then(|()| disk.sync_names()).map_err(on_disk)?;
            info!(file = name, bytes, "segment removed that a crash left without a header");
            Ok(true)
        }
        Err(ReadError::Log(error)) => Err(error),
        _ => Ok(false),
    }
}

/// Reads the last segment; gives the bytes cut off and the bytes read.
fn cut_torn_tail<D: Disk>(disk: &D, id: SegmentId) -> Result<(u64, u64), LogError> {
    let name = id.to_string();
    let on_disk = |error| LogError::disk(&name, error);
    let mut reader = SegmentReader::open(disk, id).map_err(|error| damaged(id, error))?;
    let length = reader.len()?;
    let Err(error) = read_through(&mut reader, length) else {
        return Ok((0, length));
    };
    let ReadError::Invalid { offset, .. } = error else {
        return Err(damaged(id, error));
    };
    let behind = reader.find_frame_behind().map_err(|error| damaged(id, error))?;
    if behind.is_some_and(|frame| frame.header.commit_start > offset) {
        return Err(damaged(id, error));
    }
    let mut file = disk.open(&name).map_err(on_disk)?;
    file.set_len(offset).and_then(|()| file.sync()).map_err(on_disk)?;
    let bytes = length.saturating_sub(offset);
    warn!(file = name, bytes, "unfinished commit cut off the log: none of it was acknowledged");
    Ok((bytes, length))
}

/// Reads a segment that was left for `next`; gives its bytes.
fn check_whole<D: Disk>(disk: &D, id: SegmentId, next: SegmentId) -> Result<u64, LogError> {
    let mut reader = SegmentReader::open(disk, id).map_err(|error| damaged(id, error))?;
    let length = reader.len()?;
    read_through(&mut reader, length).map_err(|error| damaged(id, error))?;
    check_continues(id, reader.next_sequence(), next)?;
    Ok(length)
}

/// Refuses a `next` segment of the same epoch that begins elsewhere than `id` ends.
pub(super) fn check_continues(
    id: SegmentId,
    next_sequence: u64,
    next: SegmentId,
) -> Result<(), LogError> {
    if id.epoch == next.epoch && next_sequence != next.first_sequence {
        let (name, found) = (next.to_string(), next.first_sequence);
        return Err(LogError::Missing { name, expected: next_sequence, found });
    }
    Ok(())
}

fn read_through<F: DiskFile>(reader: &mut SegmentReader<F>, length: u64) -> Result<(), ReadError> {
    while reader.next_frame(length)?.is_some() {}
    Ok(())
}

pub(super) fn damaged(id: SegmentId, error: ReadError) -> LogError {
    match error {
        ReadError::Log(error) => error,
        ReadError::Invalid { offset, reason } => {
            LogError::Damaged { name: id.to_string(), offset, reason }
        }
    }
}
