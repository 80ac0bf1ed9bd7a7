//! Appends to the log: gathers records in memory, and writes and syncs them in one commit.
//!
//! It waits for the disk, and decides nothing about when to commit, nor who is told.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use super::LogError;
use super::disk::{Disk, DiskFile};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use super::record::{Encoder, LoggedShare, Record};
use super::recover::{Recovered, recover};
use super::segment::{DurableEnd, FIRST_FRAME, Header, SegmentId};
use crate::shares::{Earner, Entry, ShareRecord};

/// A frame of more bytes than this gets no further record.
const FRAME_BYTES_FULL: usize = 1 << 18;
/// Earners of one segment; with more a new segment is begun.
const EARNERS_MAX: usize = 1 << 20;

/// How a log is written.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// Who writes it, among pools that share a store.
    pub node: u32,
    /// A segment of so many bytes is followed by a new one.
    pub segment_bytes: u64,
}

/// The only writer of a log: whoever makes one holds the lock of its folder.
#[derive(Debug)]
pub struct LogWriter<D: Disk> {
    disk: D,
    settings: LogSettings,
    file: D::File,
    header: Header,
    /// Durable bytes of the segment, and where the next commit begins.
    length: u64,
    /// The number of the next record.
    sequence: u64,
    earners: HashMap<Arc<Earner>, u32>,
    /// The earner of the last share: most often the next one's too.
    last: Option<(Arc<Earner>, u32)>,
    encoder: Encoder,
    /// Frames of the next commit; the last one is open if `open` is some.
    pending: Vec<u8>,
    open: Option<OpenFrame>,
    pending_records: usize,
}

/// A frame whose header is still to be written.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    /// Where it begins in `pending`.
    start: usize,
    first_sequence: u64,
    time_ms: u64,
}

impl<D: Disk> LogWriter<D> {
    /// Recovers the log and begins a segment for a new epoch: the clock's seconds, or one more than
    /// the last, so that it is new even if the log is not the one that was there before.
    pub fn open(
        disk: D,
        settings: LogSettings,
        now_ms: u64,
        salt: u32,
    ) -> Result<(Self, Recovered), LogError> {
        let recovered = recover(&disk)?;
        let writer = Self::begin(disk, settings, &recovered, now_ms, salt)?;
        Ok((writer, recovered))
    }

    /// The same for a log that was recovered just now.
    pub fn begin(
        disk: D,
        settings: LogSettings,
        recovered: &Recovered,
        now_ms: u64,
        salt: u32,
    ) -> Result<Self, LogError> {
        let epoch = recovered.last_epoch.saturating_add(1).max(now_ms / 1_000);
        let id = SegmentId { epoch, first_sequence: 0 };
        let epoch_follows = recovered.follows;
        let header = Header { node: settings.node, id, begun_ms: now_ms, salt, epoch_follows };
        let file = begin(&disk, &header).map_err(|error| LogError::disk(&id.to_string(), error))?;
        Ok(Self {
            disk,
            settings,
            file,
            header,
            length: FIRST_FRAME,
            sequence: 0,
            earners: HashMap::new(),
            last: None,
            encoder: Encoder::default(),
            pending: Vec::new(),
            open: None,
            pending_records: 0,
        })
    }

    /// Gathers a share for the next commit.
    pub fn push_share(&mut self, time_ms: u64, share: &ShareRecord) {
        let earner = self.number_of(time_ms, &share.earner);
        let high = share.hash.last_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        let share = LoggedShare { time_ms, earner, work: share.work.0, hash_high: high };
        let base_ms = self.open_frame(time_ms);
        self.encoder.share(&mut self.pending, base_ms, &share);
        self.count_record();
    }

    /// Gathers anything else.
    pub fn push_entry(&mut self, time_ms: u64, entry: Entry) {
        let record = match entry {
            Entry::Rejects { earner, reason, count } => {
                let earner = self.number_of(time_ms, &earner);
                Record::Rejects { time_ms, earner, reason, count }
            }
            Entry::BlockFound { finder, block } => {
                let finder = self.number_of(time_ms, &finder);
                Record::BlockFound { time_ms, finder, block: *block }
            }
            Entry::BlockState(state) => Record::BlockState { time_ms, state },
            Entry::Payout(payout) => Record::Payout { time_ms, payout },
        };
        self.push(time_ms, &record);
    }

    /// Writes and syncs what was gathered. After an error all of it is still gathered: the next
    /// attempt writes over what this one left, so that a page which the system dropped after a
    /// failed sync is written again.
    pub fn commit(&mut self) -> io::Result<()> {
        self.close_frame();
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.set_len(self.length)?;
        self.file.write_at(self.length, &self.pending)?;
        self.file.sync()?;
        self.length = self.length.saturating_add(self.pending.len().try_into().unwrap_or(0));
        self.pending.clear();
        self.pending_records = 0;
        self.roll_if_full();
        Ok(())
    }

    fn push(&mut self, time_ms: u64, record: &Record) {
        let base_ms = self.open_frame(time_ms);
        self.encoder.record(&mut self.pending, base_ms, record);
        self.count_record();
    }

    /// The number that stands for `earner` in this segment; given to it now if it has none.
    fn number_of(&mut self, time_ms: u64, earner: &Arc<Earner>) -> u32 {
        if let Some((last, number)) = &self.last
            && Arc::ptr_eq(last, earner)
        {
            return *number;
        }
        let number = match self.earners.get(earner) {
            Some(number) => *number,
            None => {
                let number = self.earners.len().try_into().unwrap_or(u32::MAX);
                self.earners.insert(Arc::clone(earner), number);
                let earner = Earner::clone(earner);
                self.push(time_ms, &Record::Earner { number, earner });
                number
            }
        };
        self.last = Some((Arc::clone(earner), number));
        number
    }

    /// The time of the frame that takes the next record.
    fn open_frame(&mut self, time_ms: u64) -> u64 {
        let is_full =
            |open: &OpenFrame| self.pending.len().saturating_sub(open.start) >= FRAME_BYTES_FULL;
        if self.open.as_ref().is_some_and(is_full) {
            self.close_frame();
        }
        let (start, first_sequence) = (self.pending.len(), self.sequence);
        let open = *self.open.get_or_insert_with(|| {
            self.pending.resize(start.saturating_add(FRAME_HEADER_BYTES), 0);
            OpenFrame { start, first_sequence, time_ms }
        });
        open.time_ms
    }

    fn close_frame(&mut self) {
        let Some(OpenFrame { start, first_sequence, time_ms }) = self.open.take() else {
            return;
        };
        let Some(frame) = self.pending.get_mut(start..) else {
            return;
        };
        let Some((into, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else {
            return;
        };
        let mut header = FrameHeader {
            checksum: 0,
            payload_bytes: payload.len().try_into().unwrap_or(u32::MAX),
            records: self.sequence.saturating_sub(first_sequence).try_into().unwrap_or(u32::MAX),
            first_sequence,
            time_ms,
            commit_start: self.length,
        };
        header.checksum = header.checksum_of(self.header.salt, payload);
        *into = header.to_bytes();
    }

    fn count_record(&mut self) {
        self.sequence = self.sequence.saturating_add(1);
        self.pending_records = self.pending_records.saturating_add(1);
    }

    /// A new segment that cannot be made is tried for again after the next commit: until then the
    /// present one grows.
    fn roll_if_full(&mut self) {
        let is_full = self.length >= self.settings.segment_bytes;
        if !is_full && self.earners.len() < EARNERS_MAX {
            return;
        }
        let id = SegmentId { first_sequence: self.sequence, ..self.header.id };
        let header =
            Header { id, begun_ms: service::clock::unix_now_milliseconds(), ..self.header };
        match begin(&self.disk, &header) {
            Ok(file) => {
                info!(file = %id, "segment of the log begun");
                (self.file, self.header, self.length) = (file, header, FIRST_FRAME);
                self.earners.clear();
                self.last = None;
            }
            Err(error) => warn!(file = %id, %error, "segment of the log not begun"),
        }
    }

    /// Records that wait for the next commit.
    pub fn pending_records(&self) -> usize {
        self.pending_records
    }

    /// The end of the durable part.
    pub fn durable_end(&self) -> DurableEnd {
        let pending = self.pending_records.try_into().unwrap_or(0);
        let sequence = self.sequence.saturating_sub(pending);
        DurableEnd { segment: self.header.id, offset: self.length, sequence }
    }
}

/// Makes a segment whose header and name are durable.
fn begin<D: Disk>(disk: &D, header: &Header) -> io::Result<D::File> {
    let name = header.id.to_string();
    let mut file = disk.create(&name)?;
    let written = file.write_at(0, &header.to_bytes()).and_then(|()| file.sync());
    let begun = written.and_then(|()| disk.sync_names());
    // The records that it was for go elsewhere. A file that stays in spite of this holds no frame,
    // and whoever reads the log passes over it.
    if begun.is_err()
        && let Err(error) = disk.remove(&name).and_then(|()| disk.sync_names())
    {
        warn!(file = name, %error, "segment that could not be begun not removed");
    }
    begun.map(|()| file)
}
