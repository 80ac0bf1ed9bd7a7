//! Reads one segment, frame by frame. It never writes.

use super::LogError;
use super::disk::{Disk, DiskFile};
use super::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, MAGIC};
use super::segment::{FIRST_FRAME, HEADER_BYTES, Header, SegmentId};

/// Bytes that are looked through at a time for a frame behind a damaged one.
const SCAN_BYTES: usize = 1 << 20;

/// Why a segment's header or frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bytes are not what was written.
    #[error("byte {offset}: {reason}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A segment that is being read.
#[derive(Debug)]
pub struct SegmentReader<F> {
    name: String,
    file: F,
    header: Header,
    /// Where the next frame begins.
    offset: u64,
    /// The number of its first record.
    next_sequence: u64,
}

impl<F: DiskFile> SegmentReader<F> {
    /// Opens a segment at its first frame.
    pub fn open<D: Disk<File = F>>(disk: &D, id: SegmentId) -> Result<Self, ReadError> {
        let name = id.to_string();
        let file = disk.open_to_read(&name).map_err(|error| LogError::disk(&name, error))?;
        Self::from_file(file, id)
    }

    /// The same for a file that is open.
    pub fn from_file(file: F, id: SegmentId) -> Result<Self, ReadError> {
        let name = id.to_string();
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(0, &mut bytes).map_err(|error| LogError::disk(&name, error))?;
        let invalid = |reason| ReadError::Invalid { offset: 0, reason };
        if read < HEADER_BYTES {
            return Err(invalid("the header is cut off"));
        }
        let header = Header::from_bytes(&bytes).map_err(invalid)?;
        if header.id != id {
            return Err(invalid("the header belongs to another file's name"));
        }
        Ok(Self { name, file, header, offset: FIRST_FRAME, next_sequence: id.first_sequence })
    }

    /// The next frame of those that end before byte `end`; `None` if there is none.
    pub fn next_frame(&mut self, end: u64) -> Result<Option<Frame>, ReadError> {
        if self.offset >= end {
            return Ok(None);
        }
        let frame = self.frame_at(self.offset)?;
        let invalid = |reason| Err(ReadError::Invalid { offset: self.offset, reason });
        if frame.header.first_sequence != self.next_sequence {
            return invalid("the records before this frame are missing");
        }
        if frame.end() > end {
            return invalid("the frame is longer than what was written");
        }
        (self.offset, self.next_sequence) = (frame.end(), frame.next_sequence());
        Ok(Some(frame))
    }

    /// After an invalid frame at the present offset: the next valid one behind it.
    pub fn find_frame_behind(&self) -> Result<Option<Frame>, ReadError> {
        let mut start = self.offset.saturating_add(1);
        let mut block = vec![0; SCAN_BYTES];
        loop {
            let read = self.read(start, &mut block)?;
            let bytes = block.get(..read).unwrap_or_default();
            for (index, window) in bytes.windows(MAGIC.len()).enumerate() {
                let at = start.saturating_add(u64::try_from(index).unwrap_or(0));
                if *window == MAGIC
                    && let Ok(frame) = self.frame_at(at)
                {
                    return Ok(Some(frame));
                }
            }
            if read < SCAN_BYTES {
                return Ok(None);
            }
            // A magic across two blocks is found in the second.
            let step = SCAN_BYTES.saturating_sub(MAGIC.len() - 1);
            start = start.saturating_add(u64::try_from(step).unwrap_or(0));
        }
    }

    fn frame_at(&self, offset: u64) -> Result<Frame, ReadError> {
        let invalid = |reason| ReadError::Invalid { offset, reason };
        let mut bytes = [0; FRAME_HEADER_BYTES];
        if self.read(offset, &mut bytes)? < FRAME_HEADER_BYTES {
            return Err(invalid("a frame is cut off"));
        }
        let header =
            FrameHeader::from_bytes(&bytes).ok_or_else(|| invalid("no frame begins there"))?;
        let mut payload = vec![0; header.payload_len()];
        let behind = offset.saturating_add(FRAME_HEADER_BYTES.try_into().unwrap_or(0));
        if self.read(behind, &mut payload)? < payload.len() {
            return Err(invalid("a frame is cut off"));
        }
        if header.checksum_of(self.header.salt, &payload) != header.checksum {
            return Err(invalid("a frame's checksum is wrong"));
        }
        Ok(Frame { header, offset, payload })
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, LogError> {
        self.file.read_at(offset, into).map_err(|error| LogError::disk(&self.name, error))
    }

    /// Bytes in the file.
    pub fn len(&self) -> Result<u64, LogError> {
        self.file.len().map_err(|error| LogError::disk(&self.name, error))
    }

    /// True without any frame.
    pub fn is_empty(&self) -> Result<bool, LogError> {
        self.len().map(|bytes| bytes <= FIRST_FRAME)
    }

    /// What stands at its start.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the next record.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }
}
