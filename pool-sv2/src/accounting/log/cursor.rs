//! Reads a log from one record on, over all segments, with the earners in place of their numbers.
//!
//! It never writes, so that it may read beside the writer; how far it may read then, the writer
//! says with its durable end.

use std::sync::Arc;

use super::LogError;
use super::disk::Disk;
use super::reader::{ReadError, SegmentReader};
use super::record::Record;
use super::recover::{check_continues, check_follows, damaged, holds_no_frame, segments};
pub use super::segment::{DurableEnd, Place};
use super::segment::{Follows, SegmentId};
use crate::shares::Earner;

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub place: Place,
    /// Whom it is about, if it is about anybody.
    pub earner: Option<Arc<Earner>>,
    /// What it says.
    pub record: Record,
}

/// Reads on and on.
#[derive(Debug)]
pub struct Cursor<D: Disk> {
    disk: D,
    /// The first record that was not given yet.
    next: Place,
    segment: Option<(SegmentId, SegmentReader<D::File>)>,
    /// Of the present segment, by their number.
    earners: Vec<Arc<Earner>>,
}

impl<D: Disk> Cursor<D> {
    /// Begins with the record at `first`, which must be there or the next one to be written. The
    /// default place means whatever is there first.
    pub fn new(disk: D, first: Place) -> Self {
        Self { disk, next: first, segment: None, earners: Vec::new() }
    }

    /// The first record that was not given yet.
    pub fn next_place(&self) -> Place {
        self.next
    }

    /// Gives `take` the records of the next frame with records that were not given yet. False if
    /// there is none before `durable`, or none at all without it.
    pub fn read_frame(
        &mut self,
        durable: Option<DurableEnd>,
        take: &mut dyn FnMut(Located),
    ) -> Result<bool, LogError> {
        loop {
            let Some((id, reader)) = &mut self.segment else {
                if !self.open_segment(durable)? {
                    return Ok(false);
                }
                continue;
            };
            let id = *id;
            let end = match durable {
                Some(durable) if durable.segment == id => durable.offset,
                _ => reader.len()?,
            };
            let frame = match reader.next_frame(end) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    let next_sequence = reader.next_sequence();
                    match self.turn_to_next(id, next_sequence, durable)? {
                        true => continue,
                        false => return Ok(false),
                    }
                }
                // Beside a writer that is not ours to ask, the end may be half-written.
                Err(ReadError::Invalid { .. }) if durable.is_none() && self.is_last(id)? => {
                    return Ok(false);
                }
                Err(error) => return Err(damaged(id, error)),
            };
            let next = Place { epoch: id.epoch, sequence: frame.next_sequence() };
            let records: Result<Vec<_>, _> = frame.records().collect();
            let Ok(records) = records else {
                // The reader is past it: whoever tries again is to meet it again, and to be given
                // nothing behind it, for the earners' numbers would be others'.
                self.segment = None;
                return Err(LogError::Damaged {
                    name: id.to_string(),
                    offset: frame.offset,
                    reason: "a record cannot be read although its checksum is right",
                });
            };
            for (sequence, record) in records {
                let place = Place { epoch: id.epoch, sequence };
                let located = self.locate(place, record);
                if place >= self.next && !matches!(located.record, Record::Earner { .. }) {
                    take(located);
                }
            }
            if next > self.next {
                self.next = next;
                return Ok(true);
            }
        }
    }

    fn locate(&mut self, place: Place, record: Record) -> Located {
        let number = match &record {
            Record::Earner { earner, .. } => {
                // They are numbered in the order in which they come.
                self.earners.push(Arc::new(Earner::clone(earner)));
                None
            }
            Record::Share(share) => Some(share.earner),
            Record::Rejects { earner, .. } => Some(*earner),
            Record::BlockFound { finder, .. } => Some(*finder),
            _ => None,
        };
        let number = number.and_then(|number| usize::try_from(number).ok());
        let earner = number.and_then(|number| self.earners.get(number).map(Arc::clone));
        Located { place, earner, record }
    }

    /// Opens the segment that holds the next record, or the first one behind it.
    fn open_segment(&mut self, durable: Option<DurableEnd>) -> Result<bool, LogError> {
        let all = self.list()?;
        let next = SegmentId { epoch: self.next.epoch, first_sequence: self.next.sequence };
        let (before, after) = all.split_at(all.partition_point(|id| *id <= next));
        let Some(id) = self.first_begun(before.iter().rev().chain(after), durable)? else {
            return Ok(false);
        };
        if !self.open(id, durable)? {
            return Ok(false);
        }
        if id <= next || self.next == Place::default() {
            return Ok(true);
        }
        // What comes next was moved away, or it was the last of its epoch.
        match self.follows() {
            Some(Follows::Place(place)) if place == self.next => Ok(true),
            _ => {
                self.segment = None;
                Err(LogError::gap(id, self.next))
            }
        }
    }

    /// Goes on to the segment after `id`, which was read to its end. False if `id` may still grow.
    fn turn_to_next(
        &mut self,
        id: SegmentId,
        next_sequence: u64,
        durable: Option<DurableEnd>,
    ) -> Result<bool, LogError> {
        if durable.is_some_and(|durable| durable.segment <= id) {
            return Ok(false);
        }
        let all = self.list()?;
        let after = self.first_begun(all.iter().filter(|other| **other > id), durable)?;
        let Some(next) = after else {
            return Ok(false);
        };
        let turned = match self.open(next, durable) {
            Ok(true) => {
                // Somebody may have read records that are gone since.
                let end = Place { epoch: id.epoch, sequence: next_sequence }.max(self.next);
                let follows = self.follows().unwrap_or(Follows::Unknown);
                check_continues(id, next_sequence, next)
                    .and_then(|()| check_follows(next, follows, end))
                    .map(|()| true)
            }
            other => other,
        };
        if turned.is_err() {
            // Who tries again begins with the segment before, and meets the same.
            self.segment = None;
        }
        turned
    }

    /// What the present segment goes on from.
    fn follows(&self) -> Option<Follows> {
        self.segment.as_ref().map(|(_, reader)| reader.header().follows())
    }

    /// The first of `ids` that holds a frame or will: one that could not be begun may have left a
    /// file, while the one before it went on.
    fn first_begun<'a>(
        &self,
        ids: impl Iterator<Item = &'a SegmentId>,
        durable: Option<DurableEnd>,
    ) -> Result<Option<SegmentId>, LogError> {
        for id in ids {
            let is_written = durable.is_some_and(|durable| durable.segment == *id);
            if is_written || !holds_no_frame(&self.disk, *id)? {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    fn open(&mut self, id: SegmentId, durable: Option<DurableEnd>) -> Result<bool, LogError> {
        let reader = match SegmentReader::open(&self.disk, id) {
            Ok(reader) => reader,
            // It is being begun.
            Err(ReadError::Invalid { .. }) if durable.is_none() && self.is_last(id)? => {
                return Ok(false);
            }
            Err(error) => return Err(damaged(id, error)),
        };
        self.segment = Some((id, reader));
        self.earners.clear();
        Ok(true)
    }

    fn is_last(&self, id: SegmentId) -> Result<bool, LogError> {
        Ok(self.first_begun(self.list()?.iter().rev(), None)? == Some(id))
    }

    fn list(&self) -> Result<Vec<SegmentId>, LogError> {
        segments(&self.disk).map_err(|error| LogError::disk("the log's folder", error))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mining::target::Hashes;

    use super::super::disk::Folder;
    use super::super::writer::{LogSettings, LogWriter};
    use super::*;
    use crate::shares::ShareRecord;

    const NOW_MS: u64 = 1_700_000_000_000;

    /// Each share is a commit, and each third one begins a segment.
    fn write(folder: &Path, works: std::ops::Range<u64>) -> LogWriter<Folder> {
        let settings = LogSettings { node: 1, segment_bytes: 350 };
        let (mut writer, _) =
            LogWriter::open(Folder(folder.to_owned()), settings, NOW_MS, 7).unwrap();
        for work in works {
            let earner = Arc::new(Earner::named(&format!("user{}", work % 2), ""));
            let share = ShareRecord { earner, work: Hashes(work.into()), hash: [1; 32] };
            writer.push_share(NOW_MS, &share);
            writer.commit().unwrap();
        }
        writer
    }

    /// The works of the shares that `cursor` gives, each with its earner's name.
    fn read(cursor: &mut Cursor<Folder>, durable: Option<DurableEnd>) -> Vec<u128> {
        let mut works = Vec::new();
        let mut take = |located: Located| {
            let Record::Share(share) = located.record else { panic!("{located:?}") };
            assert_eq!(&*located.earner.unwrap().account, format!("user{}", share.work % 2));
            works.push(share.work);
        };
        while cursor.read_frame(durable, &mut take).unwrap() {}
        works
    }

    #[test]
    fn it_goes_on_over_segments_and_starts_from_wherever_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        drop(write(folder.path(), 0..20));
        let writer = write(folder.path(), 20..40);
        assert!(segments(&Folder(folder.path().to_owned())).unwrap().len() > 6);
        let cursor_at = |place| Cursor::new(Folder(folder.path().to_owned()), place);
        let mut cursor = cursor_at(Place::default());
        assert_eq!(read(&mut cursor, Some(writer.durable_end())), (0..40).collect::<Vec<_>>());
        // Left after each frame in turn, and begun there by another one.
        let mut cursor = cursor_at(Place::default());
        for next in 1..40 {
            assert!(cursor.read_frame(None, &mut drop).unwrap());
            let mut other = cursor_at(cursor.next_place());
            assert_eq!(read(&mut other, None), (next..40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_waits_at_the_durable_end_and_goes_on_when_that_has_moved() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = write(folder.path(), 0..2);
        let before = writer.durable_end();
        let mut cursor = Cursor::new(Folder(folder.path().to_owned()), Place::default());
        for work in 2..9 {
            let earner = Arc::new(Earner::named(&format!("user{}", work % 2), ""));
            let share = ShareRecord { earner, work: Hashes(work), hash: [1; 32] };
            writer.push_share(NOW_MS, &share);
            writer.commit().unwrap();
        }
        assert_eq!(read(&mut cursor, Some(before)), [0, 1]);
        assert_eq!(read(&mut cursor, Some(before)), [], "nothing is given twice");
        assert_eq!(read(&mut cursor, Some(writer.durable_end())), (2..9).collect::<Vec<_>>());
    }

    #[test]
    fn an_end_that_is_being_written_is_waited_for_and_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let writer = write(folder.path(), 0..11);
        let last = folder.path().join(writer.durable_end().segment.to_string());
        let whole = std::fs::read(&last).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&last, &whole[..length]).unwrap();
            let mut cursor = Cursor::new(Folder(folder.path().to_owned()), Place::default());
            let mut works = read(&mut cursor, None);
            assert!((7..11).contains(&works.len()), "{works:?} of {length} bytes");
            std::fs::write(&last, &whole).unwrap();
            works.extend(read(&mut cursor, None));
            assert_eq!(works, (0..11).collect::<Vec<_>>(), "after {length} bytes");
        }

        let first = *segments(&Folder(folder.path().to_owned())).unwrap().first().unwrap();
        let first = folder.path().join(first.to_string());
        let mut bytes = std::fs::read(&first).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&first, bytes).unwrap();
        let mut cursor = Cursor::new(Folder(folder.path().to_owned()), Place::default());
        let mut error = None;
        while error.is_none() {
            error = cursor.read_frame(None, &mut drop).err();
        }
        assert!(matches!(error, Some(LogError::Damaged { .. })), "{error:?}");
    }

    /// What reading from `place` on comes to.
    fn outcome(folder: &Path, place: Place) -> Result<usize, LogError> {
        let mut cursor = Cursor::new(Folder(folder.to_owned()), place);
        let mut records = 0;
        while cursor.read_frame(None, &mut |_| records += 1)? {}
        Ok(records)
    }

    #[test]
    fn a_segment_that_is_missing_in_the_middle_is_damage_and_one_at_the_beginning_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let whole = |folder: &Path| {
            drop(write(folder, 0..20));
            // An epoch without any record.
            drop(write(folder, 0..0));
            drop(write(folder, 20..40));
        };
        whole(folder.path());
        let disk = Folder(folder.path().to_owned());
        let all = segments(&disk).unwrap();
        let with_frames: Vec<_> =
            all.iter().filter(|id| !holds_no_frame(&disk, **id).unwrap()).collect();
        for (index, missing) in with_frames.iter().enumerate() {
            let file = folder.path().join(missing.to_string());
            let bytes = std::fs::read(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            let read = outcome(folder.path(), Place::default());
            let is_at_an_end = index == 0 || index + 1 == with_frames.len();
            assert_eq!(read.is_ok(), is_at_an_end, "without {missing}: {read:?}");
            std::fs::write(&file, bytes).unwrap();
        }
        assert_eq!(outcome(folder.path(), Place::default()).unwrap(), 40);
    }

    #[test]
    fn who_goes_on_from_a_place_is_told_when_the_log_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut places = Vec::new();
        for works in [0..20, 20..40] {
            drop(write(folder.path(), works));
            let mut cursor = Cursor::new(Folder(folder.path().to_owned()), Place::default());
            while cursor.read_frame(None, &mut drop).unwrap() {}
            places.push(cursor.next_place());
        }
        let all = segments(&Folder(folder.path().to_owned())).unwrap();
        let first_epoch = all.iter().filter(|id| id.epoch == places[0].epoch);
        for id in first_epoch {
            std::fs::remove_file(folder.path().join(id.to_string())).unwrap();
        }
        assert_eq!(outcome(folder.path(), places[0]).unwrap(), 20, "it had read all of it");
        let earlier = Place { sequence: places[0].sequence - 1, ..places[0] };
        let error = outcome(folder.path(), earlier).unwrap_err();
        assert!(matches!(error, LogError::Gap { .. }), "{error}");
        // The log that was there before has gone further than this one.
        drop(write(folder.path(), 40..50));
        let later = Place { sequence: places[1].sequence + 1, ..places[1] };
        let error = outcome(folder.path(), later).unwrap_err();
        assert!(matches!(error, LogError::Gap { .. }), "{error}");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_met_again_and_nothing_behind_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let settings = LogSettings { node: 1, segment_bytes: 1 << 20 };
        let disk = Folder(folder.path().to_owned());
        let (mut writer, _) = LogWriter::open(disk.clone(), settings, NOW_MS, 7).unwrap();
        for work in 0..3 {
            let earner = Arc::new(Earner::named(&format!("user{}", work % 2), ""));
            writer.push_share(NOW_MS, &ShareRecord { earner, work: Hashes(work), hash: [1; 32] });
            writer.commit().unwrap();
        }
        let id = writer.durable_end().segment;
        let mut reader = SegmentReader::open(&disk, id).unwrap();
        reader.next_frame(u64::MAX).unwrap().unwrap();
        let frame = reader.next_frame(u64::MAX).unwrap().unwrap();
        let (file, offset) =
            (folder.path().join(id.to_string()), usize::try_from(frame.offset).unwrap());
        let whole = std::fs::read(&file).unwrap();
        // It holds more than it says, under a checksum that is right.
        let (mut header, payload) = (frame.header, frame.payload);
        header.records -= 1;
        header.checksum = header.checksum_of(reader.header().salt, &payload);
        let mut bytes = whole.clone();
        let changed = [&header.to_bytes()[..], &payload].concat();
        bytes[offset..offset + changed.len()].copy_from_slice(&changed);
        std::fs::write(&file, bytes).unwrap();
        let mut cursor = Cursor::new(disk, Place::default());
        assert!(cursor.read_frame(None, &mut drop).unwrap());
        for _ in 0..3 {
            let error = cursor.read_frame(None, &mut |located| panic!("{located:?}"));
            assert!(matches!(error, Err(LogError::Damaged { .. })), "{error:?}");
        }
        std::fs::write(&file, whole).unwrap();
        assert_eq!(read(&mut cursor, None), [1, 2]);
    }
}
