//! What is done to a log before it is written again: a torn tail is cut off, damage is refused.
//!
//! Only the last segment may have a torn tail, for each start begins a new one and a segment is
//! left only when all of it is durable. A frame says where its commit begins: a valid frame behind
//! an invalid one proves that the invalid one was durable, unless both belong to one commit.
//!
//! A segment that could not be begun may have left a file without any frame, while the one before
//! it went on: such a file says only that all records before its number were durable.

use std::io;

use tracing::{info, warn};

use super::LogError;
use super::disk::{Disk, DiskFile};
use super::reader::{ReadError, SegmentReader};
use super::segment::{DurableEnd, FIRST_FRAME, Follows, Place, SegmentId};

/// Bytes that are read through at a start, newest segments first. `ledger verify` reads all.
const CHECKED_BYTES_MAX: u64 = 512 << 20;

/// What a log was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The highest epoch in it; 0 without any.
    pub last_epoch: u64,
    /// Bytes that a crash had left unfinished, and that are gone.
    pub cut_bytes: u64,
    /// What the next epoch goes on from.
    pub follows: Follows,
    /// The time of the last frame, milliseconds since 1970; 0 without any.
    pub last_ms: u64,
}

/// Cuts off what was never acknowledged, and refuses a log that has lost what was.
pub fn recover<D: Disk>(disk: &D) -> Result<Recovered, LogError> {
    let mut segments = segments(disk).map_err(|error| LogError::disk("the log's folder", error))?;
    let unbegun = take_unbegun(disk, &mut segments)?;
    let mut recovered =
        Recovered { last_epoch: 0, cut_bytes: 0, follows: Follows::Nothing, last_ms: 0 };
    if let Some((last, earlier)) = segments.split_last() {
        let (cut_bytes, bytes) = cut_torn_tail(disk, *last, unbegun.first().copied())?;
        let (follows, last_ms) = end_of(disk, &segments)?;
        recovered = Recovered { last_epoch: last.epoch, cut_bytes, follows, last_ms };
        check_earlier(disk, earlier, *last, bytes)?;
    }
    for id in unbegun {
        let name = id.to_string();
        let removed = disk.remove(&name).and_then(|()| disk.sync_names());
        removed.map_err(|error| LogError::disk(&name, error))?;
        info!(file = name, "segment removed that was never begun");
    }
    Ok(recovered)
}

/// The place behind the last record of a log whose end is whole, and the time of its frame.
fn end_of<D: Disk>(disk: &D, segments: &[SegmentId]) -> Result<(Follows, u64), LogError> {
    for id in segments.iter().rev() {
        if !holds_no_frame(disk, *id)? {
            let mut reader = SegmentReader::open(disk, *id).map_err(|error| damaged(*id, error))?;
            let (length, mut last_ms) = (reader.len()?, 0);
            while let Some(frame) =
                reader.next_frame(length).map_err(|error| damaged(*id, error))?
            {
                last_ms = frame.header.time_ms;
            }
            let place = Place { epoch: id.epoch, sequence: reader.next_sequence() };
            return Ok((Follows::Place(place), last_ms));
        }
    }
    Ok((begins_after(disk)?, 0))
}

/// What the first segment of a log goes on from: if it is a place, the log's beginning is not
/// there. Nothing where there is no segment.
pub fn begins_after<D: Disk>(disk: &D) -> Result<Follows, LogError> {
    let all = segments(disk).map_err(|error| LogError::disk("the log's folder", error))?;
    all.first().map_or(Ok(Follows::Nothing), |id| follows(disk, *id))
}

/// What a segment says that it goes on from.
pub fn follows<D: Disk>(disk: &D, id: SegmentId) -> Result<Follows, LogError> {
    let reader = SegmentReader::open(disk, id).map_err(|error| damaged(id, error))?;
    Ok(reader.header().follows())
}

/// The record that comes next, by the writer's word on where the log ends. An epoch that has no
/// record yet is no place that a later start could ask the log for: it stands for the end of the
/// one before.
pub fn end_place<D: Disk>(disk: &D, end: DurableEnd) -> Result<Place, LogError> {
    let DurableEnd { segment, sequence, .. } = end;
    if sequence > 0 {
        return Ok(Place { epoch: segment.epoch, sequence });
    }
    match follows(disk, segment)? {
        Follows::Place(place) => Ok(place),
        // There is no record at all.
        Follows::Nothing | Follows::Unknown => Ok(Place::default()),
    }
}

/// Reads what was left for the segment `last`, the newest first; `bytes` were read already.
fn check_earlier<D: Disk>(
    disk: &D,
    earlier: &[SegmentId],
    last: SegmentId,
    bytes: u64,
) -> Result<(), LogError> {
    let (mut after, mut checked_bytes) = (last, bytes);
    let mut frameless: Option<SegmentId> = None;
    for id in earlier.iter().rev() {
        if checked_bytes > CHECKED_BYTES_MAX {
            break;
        }
        if holds_no_frame(disk, *id)? {
            frameless = frameless.filter(|later| later.epoch == id.epoch).or(Some(*id));
            continue;
        }
        checked_bytes = checked_bytes.saturating_add(check_whole(disk, *id, after, frameless)?);
        (after, frameless) = (*id, None);
    }
    Ok(())
}

/// The segments of a log, oldest first.
pub fn segments<D: Disk>(disk: &D) -> io::Result<Vec<SegmentId>> {
    let names = disk.list()?;
    let mut segments: Vec<_> = names.iter().filter_map(|it| SegmentId::from_name(it)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// True if nothing stands behind the header, or not even that is whole.
pub(in crate::accounting) fn holds_no_frame<D: Disk>(
    disk: &D,
    id: SegmentId,
) -> Result<bool, LogError> {
    let name = id.to_string();
    match disk.open_to_read(&name).and_then(|file| file.len()) {
        Ok(bytes) => Ok(bytes <= FIRST_FRAME),
        // Its writer took it away again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(LogError::disk(&name, error)),
    }
}

/// Takes the newest segments that hold no frame out of `segments`, the newest first; but not one
/// that begins an epoch and has a header, for by it the epoch is known.
fn take_unbegun<D: Disk>(
    disk: &D,
    segments: &mut Vec<SegmentId>,
) -> Result<Vec<SegmentId>, LogError> {
    let mut unbegun = Vec::new();
    while let Some((last, earlier)) = segments.split_last() {
        let last = *last;
        let goes_on = earlier.last().is_some_and(|before| before.epoch == last.epoch);
        if !holds_no_frame(disk, last)? || !(goes_on || has_no_header(disk, last)?) {
            break;
        }
        unbegun.push(last);
        segments.pop();
    }
    Ok(unbegun)
}

fn has_no_header<D: Disk>(disk: &D, id: SegmentId) -> Result<bool, LogError> {
    match SegmentReader::open(disk, id) {
        Ok(_) => Ok(false),
        Err(ReadError::Invalid { .. }) => Ok(true),
        Err(ReadError::Log(error)) => Err(error),
    }
}

/// Reads the last segment; gives the bytes cut off and the bytes read. What stands before
/// `frameless` was durable, and is never cut off.
fn cut_torn_tail<D: Disk>(
    disk: &D,
    id: SegmentId,
    frameless: Option<SegmentId>,
) -> Result<(u64, u64), LogError> {
    let name = id.to_string();
    let on_disk = |error| LogError::disk(&name, error);
    let mut reader = SegmentReader::open(disk, id).map_err(|error| damaged(id, error))?;
    let length = reader.len()?;
    let Err(error) = read_through(&mut reader, length) else {
        check_reaches(id, reader.next_sequence(), frameless)?;
        return Ok((0, length));
    };
    let ReadError::Invalid { offset, .. } = error else {
        return Err(damaged(id, error));
    };
    let behind = reader.find_frame_behind().map_err(|error| damaged(id, error))?;
    let was_durable = behind.is_some_and(|frame| frame.header.commit_start > offset);
    if was_durable || check_reaches(id, reader.next_sequence(), frameless).is_err() {
        return Err(damaged(id, error));
    }
    let mut file = disk.open(&name).map_err(on_disk)?;
    file.set_len(offset).and_then(|()| file.sync()).map_err(on_disk)?;
    let bytes = length.saturating_sub(offset);
    warn!(file = name, bytes, "unfinished commit cut off the log: none of it was acknowledged");
    Ok((bytes, length))
}

/// Reads a segment that was left for `next`, maybe past `frameless`; gives its bytes.
fn check_whole<D: Disk>(
    disk: &D,
    id: SegmentId,
    next: SegmentId,
    frameless: Option<SegmentId>,
) -> Result<u64, LogError> {
    let mut reader = SegmentReader::open(disk, id).map_err(|error| damaged(id, error))?;
    let length = reader.len()?;
    read_through(&mut reader, length).map_err(|error| damaged(id, error))?;
    check_reaches(id, reader.next_sequence(), frameless)?;
    check_continues(id, reader.next_sequence(), next)?;
    Ok(length)
}

/// Refuses a `frameless` segment of the same epoch if records before its number are missing.
pub(super) fn check_reaches(
    id: SegmentId,
    next_sequence: u64,
    frameless: Option<SegmentId>,
) -> Result<(), LogError> {
    let beyond = frameless.filter(|begun| begun.first_sequence > next_sequence);
    beyond.map_or(Ok(()), |begun| check_continues(id, next_sequence, begun))
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

/// Refuses a segment that goes on from another place than `end`, where the one before it ended. One
/// that says nothing was written by an earlier version, or before older segments were put back.
pub(super) fn check_follows(id: SegmentId, follows: Follows, end: Place) -> Result<(), LogError> {
    match follows {
        Follows::Place(place) if place != end => Err(LogError::gap(id, end)),
        _ => Ok(()),
    }
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
