//! A frame: records that were written together, and their checksum.
//!
//! Pure: bytes in, bytes out. What the records say is `record`'s.

use super::record::{Record, RecordError, read_record};

/// Bytes before a frame's records.
pub const FRAME_HEADER_BYTES: usize = 40;
/// Bytes of records in one frame; a longer one is no frame of ours. One record may be as long.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 1 << 24;

/// What a frame begins with.
pub const MAGIC: [u8; 4] = *b"FRAM";
/// What the checksum leaves out: the magic and itself.
const UNCHECKED_BYTES: usize = 8;

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// CRC32C of all that follows it, begun with the segment's salt.
    pub checksum: u32,
    /// Bytes of the records.
    pub payload_bytes: u32,
    /// How many records.
    pub records: u32,
    /// The number of the first one within the epoch.
    pub first_sequence: u64,
    /// What the records' times are relative to, milliseconds since 1970.
    pub time_ms: u64,
    /// Where its commit begins in the file.
    pub commit_start: u64,
}

impl FrameHeader {
    /// Reads it; `None` if no frame begins so.
    pub fn from_bytes(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let mut numbers = Numbers(bytes);
        let magic = numbers.take::<4>();
        let header = Self {
            checksum: u32::from_le_bytes(numbers.take()),
            payload_bytes: u32::from_le_bytes(numbers.take()),
            records: u32::from_le_bytes(numbers.take()),
            first_sequence: u64::from_le_bytes(numbers.take()),
            time_ms: u64::from_le_bytes(numbers.take()),
            commit_start: u64::from_le_bytes(numbers.take()),
        };
        (magic == MAGIC && header.payload_len() <= FRAME_PAYLOAD_BYTES_MAX).then_some(header)
    }

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes.extend_from_slice(&self.payload_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.first_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        bytes.extend_from_slice(&self.commit_start.to_le_bytes());
        bytes.try_into().unwrap_or([0; FRAME_HEADER_BYTES])
    }

    /// Bytes of the records.
    pub fn payload_len(&self) -> usize {
        usize::try_from(self.payload_bytes).unwrap_or(usize::MAX)
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        u64::from(self.payload_bytes).saturating_add(FRAME_HEADER_BYTES.try_into().unwrap_or(0))
    }

    /// The checksum that this header and its records must have.
    pub fn checksum_of(&self, salt: u32, payload: &[u8]) -> u32 {
        let header = self.to_bytes();
        let checked = header.get(UNCHECKED_BYTES..).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c_append(salt, checked), payload)
    }
}

/// A frame whose checksum was right.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its fixed part.
    pub header: FrameHeader,
    /// Where it begins in its file.
    pub offset: u64,
    /// The records' bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The records with their numbers, in order. After an error comes nothing more.
    pub fn records(&self) -> impl Iterator<Item = Result<(u64, Record), RecordError>> {
        let mut rest = self.payload.as_slice();
        let count = u64::from(self.header.records);
        let mut index = 0;
        std::iter::from_fn(move || {
            if index >= count {
                // A frame that holds more than it says is not one of ours.
                return (!std::mem::take(&mut rest).is_empty()).then_some(Err(RecordError));
            }
            let sequence = self.header.first_sequence.saturating_add(index);
            match read_record(&mut rest, self.header.time_ms) {
                Ok(record) => {
                    index += 1;
                    Some(Ok((sequence, record)))
                }
                Err(error) => {
                    (index, rest) = (count, &[]);
                    Some(Err(error))
                }
            }
        })
    }

    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.header.frame_bytes())
    }

    /// The number of the record after its last one.
    pub fn next_sequence(&self) -> u64 {
        self.header.first_sequence.saturating_add(self.header.records.into())
    }
}

/// Takes fixed-size fields off bytes that are long enough; beyond their end there are zeros.
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl Numbers<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}
