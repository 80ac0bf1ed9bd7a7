//! Reads a whole log and says what is in it; what a person asks with `ledger verify`.
//!
//! It reads beside a running pool: what that one is writing at the moment may look torn at the end
//! of the last segment, and is no damage.

use super::LogError;
use super::disk::Disk;
use super::reader::{ReadError, SegmentReader};
use super::record::Record;
use super::recover::{
    begins_after, check_continues, check_follows, check_reaches, damaged, holds_no_frame, segments,
};
use super::segment::{Follows, Place, SegmentId};

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files.
    pub segments: u64,
    /// Records of any kind.
    pub records: u64,
    /// Shares among them.
    pub shares: u64,
    /// Their work in expected hashes, saturating.
    pub work: u128,
    /// Blocks found.
    pub blocks: u64,
    /// Bytes at the end of the last segment that are no whole commit.
    pub unfinished_bytes: u64,
    /// Where the log goes on from, if what was before is not in its folder.
    pub begins_after: Option<Place>,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}

/// Reads everything.
pub fn verify<D: Disk>(disk: &D) -> Result<Contents, LogError> {
    let mut contents = Contents::default();
    let all = segments(disk).map_err(|error| LogError::disk("the log's folder", error))?;
    if let Ok(Follows::Place(place)) = begins_after(disk) {
        contents.begins_after = Some(place);
    }
    let mut before: Option<(SegmentId, u64)> = None;
    for id in &all {
        contents.segments += 1;
        let is_last = all.last() == Some(id);
        // The one before it may have gone on, if this one could not be begun.
        if holds_no_frame(disk, *id)? {
            if let Some((before, next_sequence)) = before
                && let Err(error) = check_reaches(before, next_sequence, Some(*id))
            {
                contents.faults.push(error.to_string());
            }
            continue;
        }
        if let Some((before, next_sequence)) = before
            && let Err(error) = check_continues(before, next_sequence, *id)
                .and_then(|()| check_epochs(disk, before, next_sequence, *id))
        {
            contents.faults.push(error.to_string());
        }
        match read_segment(disk, *id, is_last, &mut contents) {
            Ok(next_sequence) => before = Some((*id, next_sequence)),
            Err(ReadError::Log(error)) => return Err(error),
            Err(error) => {
                contents.faults.push(damaged(*id, error).to_string());
                before = None;
            }
        }
    }
    Ok(contents)
}

/// Refuses the first segment of an epoch that does not go on from where `before` ends. One that
/// cannot be read is a fault of its own.
fn check_epochs<D: Disk>(
    disk: &D,
    before: SegmentId,
    next_sequence: u64,
    id: SegmentId,
) -> Result<(), LogError> {
    let follows = SegmentReader::open(disk, id).map(|reader| reader.header().follows());
    let end = Place { epoch: before.epoch, sequence: next_sequence };
    check_follows(id, follows.unwrap_or(Follows::Unknown), end)
}

/// Gives the number after the segment's last record.
fn read_segment<D: Disk>(
    disk: &D,
    id: SegmentId,
    is_last: bool,
    contents: &mut Contents,
) -> Result<u64, ReadError> {
    let mut reader = SegmentReader::open(disk, id)?;
    let length = reader.len()?;
    loop {
        let frame = match reader.next_frame(length) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(reader.next_sequence()),
            Err(error @ ReadError::Log(_)) => return Err(error),
            Err(error) => {
                let ReadError::Invalid { offset, .. } = error else {
                    return Err(error);
                };
                let behind = reader.find_frame_behind()?;
                let was_durable = behind.is_some_and(|frame| frame.header.commit_start > offset);
                if was_durable || !is_last {
                    return Err(error);
                }
                contents.unfinished_bytes = length.saturating_sub(offset);
                return Ok(reader.next_sequence());
            }
        };
        for record in frame.records() {
            let (_, record) = record.map_err(|_| ReadError::Invalid {
                offset: frame.offset,
                reason: "a record cannot be read although its checksum is right",
            })?;
            count(contents, &record);
        }
    }
}

fn count(contents: &mut Contents, record: &Record) {
    contents.records += 1;
    match record {
        Record::Share(share) => {
            contents.shares += 1;
            contents.work = contents.work.saturating_add(share.work);
        }
        Record::BlockFound { .. } => contents.blocks += 1,
        _ => {}
    }
}
