//! A segment's name and header. What follows the header is told by `frame`.

use std::fmt;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// The same, as an offset in the file.
pub const FIRST_FRAME: u64 = 64;

/// Where a record stands, among all records of one node: they are read in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The start of the pool.
    pub epoch: u64,
    /// The number within it.
    pub sequence: u64,
}

/// The end of the durable part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableEnd {
    /// The segment that is written.
    pub segment: SegmentId,
    /// Durable bytes of it.
    pub offset: u64,
    /// The number of the next record.
    pub sequence: u64,
}

/// What an epoch, or a segment, goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// An earlier version wrote it, which did not say.
    Unknown,
    /// There was no log.
    Nothing,
    /// All records before this place.
    Place(Place),
}

impl Follows {
    fn to_numbers(self) -> [u64; 2] {
        match self {
            Self::Unknown => [0, 0],
            Self::Nothing => [0, 1],
            Self::Place(Place { epoch, sequence }) => [epoch, sequence],
        }
    }

    fn from_numbers(numbers: [u64; 2]) -> Self {
        match numbers {
            [0, 0] => Self::Unknown,
            [0, _] => Self::Nothing,
            [epoch, sequence] => Self::Place(Place { epoch, sequence }),
        }
    }
}

const MAGIC: [u8; 8] = *b"ADITLOG\n";
const VERSION: u16 = 1;
const CHECKED_BYTES: usize = 60;
const ENDING: &str = ".seg";

/// Where a segment stands among the others: by epoch, then by its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The start of the pool that wrote it.
    pub epoch: u64,
    /// The number of its first record within the epoch.
    pub first_sequence: u64,
}

impl SegmentId {
    /// Reads a file's name; `None` if it is no segment's.
    pub fn from_name(name: &str) -> Option<Self> {
        let (epoch, first_sequence) = name.strip_suffix(ENDING)?.split_once('-')?;
        let id = Self { epoch: epoch.parse().ok()?, first_sequence: first_sequence.parse().ok()? };
        (id.to_string() == name).then_some(id)
    }
}

/// The file's name; names sort as the segments do.
impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:016}{ENDING}", self.epoch, self.first_sequence)
    }
}

/// What stands at the start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The pool that wrote it, among those that share a store.
    pub node: u32,
    /// Where it stands.
    pub id: SegmentId,
    /// When it was begun, milliseconds since 1970.
    pub begun_ms: u64,
    /// What the frames' checksums begin with.
    pub salt: u32,
    /// What its epoch goes on from.
    pub epoch_follows: Follows,
}

impl Header {
    /// What the segment itself goes on from.
    pub fn follows(&self) -> Follows {
        match self.id {
            SegmentId { first_sequence: 0, .. } => self.epoch_follows,
            SegmentId { epoch, first_sequence: sequence } => {
                Follows::Place(Place { epoch, sequence })
            }
        }
    }

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(HEADER_BYTES).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.node.to_le_bytes());
        bytes.extend_from_slice(&self.id.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.id.first_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.begun_ms.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        for number in self.epoch_follows.to_numbers() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }

    /// Reads it; the error says what is wrong.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let mut fields = super::frame::Numbers(bytes);
        if fields.take::<8>() != MAGIC {
            return Err("it does not begin as a segment of the log does");
        }
        let (version, _) = (u16::from_le_bytes(fields.take()), fields.take::<2>());
        if version != VERSION {
            return Err("it is in the format of another version of this program");
        }
        let (checked, checksum) = bytes.split_at(CHECKED_BYTES);
        if crc32c::crc32c(checked).to_le_bytes() != checksum {
            return Err("the header's checksum is wrong");
        }
        Ok(Self {
            node: u32::from_le_bytes(fields.take()),
            id: SegmentId {
                epoch: u64::from_le_bytes(fields.take()),
                first_sequence: u64::from_le_bytes(fields.take()),
            },
            begun_ms: u64::from_le_bytes(fields.take()),
            salt: u32::from_le_bytes(fields.take()),
            epoch_follows: Follows::from_numbers([
                u64::from_le_bytes(fields.take()),
                u64::from_le_bytes(fields.take()),
            ]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_changed_byte_goes_unnoticed() {
        let id = SegmentId { epoch: 7, first_sequence: 1 << 40 };
        let epoch_follows = Follows::Place(Place { epoch: 6, sequence: 1 << 33 });
        let (begun_ms, salt) = (1_700_000_000_123, 0xdead_beef);
        let header = Header { node: 3, id, begun_ms, salt, epoch_follows };
        let bytes = header.to_bytes();
        assert_eq!(Header::from_bytes(&bytes), Ok(header));
        for epoch_follows in [Follows::Unknown, Follows::Nothing] {
            let header = Header { epoch_follows, ..header };
            assert_eq!(Header::from_bytes(&header.to_bytes()), Ok(header));
        }
        for index in 0..HEADER_BYTES {
            let mut changed = bytes;
            changed[index] ^= 1;
            assert!(Header::from_bytes(&changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn names_sort_as_segments_do_and_other_files_are_none() {
        let early = SegmentId { epoch: 9, first_sequence: 5 };
        let late = SegmentId { epoch: 10, first_sequence: 0 };
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(SegmentId::from_name(&early.to_string()), Some(early));
        for other in ["lock", "9-5.seg", "0000000009-0000000000000005.seg.bak", "x-y.seg"] {
            assert_eq!(SegmentId::from_name(other), None, "{other}");
        }
    }
}
