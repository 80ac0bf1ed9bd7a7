//! The records of the log and their bytes.
//!
//! A record is its kind (one byte), the length of its fields, and the fields. A reader skips kinds
//! that it does not know, and fields behind those that it knows: later versions may add both.
//! *Numbers* are LEB128; *compact* numbers of up to 128 bits are a length in bytes and so many
//! bytes, little-endian; texts and bytes have their length before them. Hashes are in internal
//! byte order.
//!
//! | kind | fields |
//! |---|---|
//! | 1 earner | number within the segment, listener, payout mode, account, worker |
//! | 2 share | time, earner, work (compact), upper half of the header hash (compact) |
//! | 3 rejects | time, earner, reason, how many |
//! | 4 block found | time, finder, hash, height + 1 (0: unknown), prev hash, nBits, value |
//! | 5 block state | time, hash, state |
//! | 6 payout | time, version of its bytes, bytes |
//!
//! Times are zigzag numbers of milliseconds after the frame's.

use crate::shares::{BlockFound, BlockState, Earner, PayoutRecord, Reason};

/// The bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot be read although its checksum is right")]
pub struct RecordError;

const EARNER: u8 = 1;
const SHARE: u8 = 2;
const REJECTS: u8 = 3;
const BLOCK_FOUND: u8 = 4;
const BLOCK_STATE: u8 = 5;
const PAYOUT: u8 = 6;

/// A share as the log keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedShare {
    /// When it was handed to the ledger, milliseconds since 1970.
    pub time_ms: u64,
    /// Who is credited: a number within the segment.
    pub earner: u32,
    /// With what, in expected hashes.
    pub work: u128,
    /// The more significant half of the header hash as a number: how good the share was, and by
    /// what it is known.
    pub hash_high: u128,
}

/// What a record says. Earners are numbers within the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// From here on `number` stands for `earner`.
    Earner {
        /// Within the segment.
        number: u32,
        /// Who.
        earner: Earner,
    },
    /// An accepted share.
    Share(LoggedShare),
    /// Rejected shares since the last such record.
    Rejects {
        /// When they were counted, milliseconds since 1970.
        time_ms: u64,
        /// Whose.
        earner: u32,
        /// Why.
        reason: Reason,
        /// How many.
        count: u64,
    },
    /// A block.
    BlockFound {
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// Who found it.
        finder: u32,
        /// The block.
        block: BlockFound,
    },
    /// What became of a block.
    BlockState {
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// Which one and what.
        state: BlockState,
    },
    /// Something about payouts.
    Payout {
        /// When, milliseconds since 1970.
        time_ms: u64,
        /// What.
        payout: PayoutRecord,
    },
    /// A kind of a later version.
    Unknown {
        /// Its kind.
        kind: u8,
    },
}

/// Appends records to a frame; all times are relative to `time_ms`.
#[derive(Debug, Default)]
pub struct Encoder {
    fields: Vec<u8>,
}

impl Encoder {
    /// Appends a share.
    pub fn share(&mut self, out: &mut Vec<u8>, base_ms: u64, share: &LoggedShare) {
        self.fields.clear();
        put_time(&mut self.fields, base_ms, share.time_ms);
        put_number(&mut self.fields, share.earner.into());
        put_compact(&mut self.fields, share.work);
        put_compact(&mut self.fields, share.hash_high);
        self.finish(out, SHARE);
    }

    /// Appends any record.
    pub fn record(&mut self, out: &mut Vec<u8>, base_ms: u64, record: &Record) {
        self.fields.clear();
        let fields = &mut self.fields;
        let kind = match record {
            Record::Earner { number, earner } => {
                put_number(fields, (*number).into());
                put_number(fields, earner.listener.into());
                put_number(fields, earner.payout_mode.into());
                put_bytes(fields, earner.account.as_bytes());
                put_bytes(fields, earner.worker.as_bytes());
                EARNER
            }
            Record::Share(share) => return self.share(out, base_ms, share),
            Record::Rejects { time_ms, earner, reason, count } => {
                put_time(fields, base_ms, *time_ms);
                put_number(fields, (*earner).into());
                fields.push(reason.code());
                put_number(fields, *count);
                REJECTS
            }
            Record::BlockFound { time_ms, finder, block } => {
                put_time(fields, base_ms, *time_ms);
                put_number(fields, (*finder).into());
                fields.extend_from_slice(&block.hash);
                put_number(fields, block.height.map_or(0, |height| u64::from(height) + 1));
                fields.extend_from_slice(&block.prev_hash);
                fields.extend_from_slice(&block.nbits.to_le_bytes());
                put_number(fields, block.coinbase_value);
                BLOCK_FOUND
            }
            Record::BlockState { time_ms, state } => {
                put_time(fields, base_ms, *time_ms);
                fields.extend_from_slice(&state.hash);
                fields.push(state.code);
                BLOCK_STATE
            }
            Record::Payout { time_ms, payout } => {
                put_time(fields, base_ms, *time_ms);
                put_number(fields, payout.version.into());
                put_bytes(fields, &payout.bytes);
                PAYOUT
            }
            // It was never written by this version, and is not now.
            Record::Unknown { .. } => return,
        };
        self.finish(out, kind);
    }

    fn finish(&self, out: &mut Vec<u8>, kind: u8) {
        out.push(kind);
        put_number(out, self.fields.len().try_into().unwrap_or(u64::MAX));
        out.extend_from_slice(&self.fields);
    }
}

/// Takes a record off `rest`; `base_ms` is the frame's time.
pub fn read_record(rest: &mut &[u8], base_ms: u64) -> Result<Record, RecordError> {
    let mut fields = Fields { rest };
    let kind = fields.byte()?;
    let bytes = fields.bytes()?;
    *rest = fields.rest;
    let mut fields = Fields { rest: bytes };
    let fields = &mut fields;
    let record = match kind {
        EARNER => Record::Earner {
            number: fields.small()?,
            earner: Earner {
                listener: fields.small()?,
                payout_mode: fields.small()?,
                account: fields.text()?.into(),
                worker: fields.text()?.into(),
            },
        },
        SHARE => Record::Share(LoggedShare {
            time_ms: fields.time(base_ms)?,
            earner: fields.small()?,
            work: fields.compact()?,
            hash_high: fields.compact()?,
        }),
        REJECTS => Record::Rejects {
            time_ms: fields.time(base_ms)?,
            earner: fields.small()?,
            reason: Reason::from_code(fields.byte()?),
            count: fields.number()?,
        },
        BLOCK_FOUND => Record::BlockFound {
            time_ms: fields.time(base_ms)?,
            finder: fields.small()?,
            block: BlockFound {
                hash: fields.array()?,
                height: fields.number()?.checked_sub(1).and_then(|it| it.try_into().ok()),
                prev_hash: fields.array()?,
                nbits: u32::from_le_bytes(fields.array()?),
                coinbase_value: fields.number()?,
            },
        },
        BLOCK_STATE => Record::BlockState {
            time_ms: fields.time(base_ms)?,
            state: BlockState { hash: fields.array()?, code: fields.byte()? },
        },
        PAYOUT => Record::Payout {
            time_ms: fields.time(base_ms)?,
            payout: PayoutRecord { version: fields.small()?, bytes: fields.bytes()?.into() },
        },
        kind => Record::Unknown { kind },
    };
    Ok(record)
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3.
fn put_time(out: &mut Vec<u8>, base_ms: u64, time_ms: u64) {
    let zigzag = match time_ms.checked_sub(base_ms) {
        Some(after) => after.saturating_mul(2),
        None => (base_ms - time_ms).saturating_mul(2) - 1,
    };
    put_number(out, zigzag);
}

fn put_compact(out: &mut Vec<u8>, value: u128) {
    let bytes = value.to_le_bytes();
    let used = (128 - value.leading_zeros()).div_ceil(8);
    out.push(u8::try_from(used).unwrap_or(16));
    let used = usize::try_from(used).unwrap_or(16);
    out.extend_from_slice(bytes.get(..used).unwrap_or(&bytes));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len().try_into().unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, RecordError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(RecordError)?;
        self.rest = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, RecordError> {
        self.number()?.try_into().map_err(|_| RecordError)
    }

    fn time(&mut self, base_ms: u64) -> Result<u64, RecordError> {
        let zigzag = self.number()?;
        Ok(match zigzag % 2 {
            0 => base_ms.saturating_add(zigzag / 2),
            _ => base_ms.saturating_sub(zigzag / 2 + 1),
        })
    }

    fn compact(&mut self) -> Result<u128, RecordError> {
        let used = usize::from(self.byte()?);
        let field = self.rest.get(..used).ok_or(RecordError)?;
        let mut bytes = [0; 16];
        bytes.get_mut(..used).ok_or(RecordError)?.copy_from_slice(field);
        self.rest = self.rest.get(used..).unwrap_or_default();
        Ok(u128::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.small()?;
        let (field, rest) = self.rest.split_at_checked(length).ok_or(RecordError)?;
        self.rest = rest;
        Ok(field)
    }

    fn text(&mut self) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let time = any::<u64>().prop_map(|time| time >> 2);
        let block =
            (any::<[u8; 32]>(), any::<Option<u32>>(), any::<[u8; 32]>(), any::<(u32, u64)>())
                .prop_map(|(hash, height, prev_hash, (nbits, coinbase_value))| BlockFound {
                    hash,
                    height,
                    prev_hash,
                    nbits,
                    coinbase_value,
                });
        let earner = (".{0,40}", ".{0,40}", any::<(u16, u8)>()).prop_map(
            |(account, worker, (listener, payout_mode))| Earner {
                account: account.into(),
                worker: worker.into(),
                listener,
                payout_mode,
            },
        );
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            (any::<u32>(), earner).prop_map(|(number, earner)| Record::Earner { number, earner }),
            (time.clone(), any::<(u32, u128, u128, u8)>()).prop_map(|(time_ms, it)| {
                let (earner, work, hash_high, shift) = it;
                let hash_high = hash_high >> (shift % 128);
                Record::Share(LoggedShare { time_ms, earner, work, hash_high })
            }),
            (time.clone(), any::<(u32, u8, u64)>()).prop_map(|(time_ms, (earner, code, count))| {
                Record::Rejects { time_ms, earner, reason: Reason::from_code(code), count }
            }),
            (time.clone(), any::<u32>(), block)
                .prop_map(|(time_ms, finder, block)| Record::BlockFound { time_ms, finder, block }),
            (time.clone(), any::<([u8; 32], u8)>()).prop_map(|(time_ms, (hash, code))| {
                Record::BlockState { time_ms, state: BlockState { hash, code } }
            }),
            (time, any::<u16>(), bytes).prop_map(|(time_ms, version, bytes)| Record::Payout {
                time_ms,
                payout: PayoutRecord { version, bytes: bytes.into() },
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_record_comes_back(record in record(), base in any::<u64>()) {
            let (mut out, base) = (Vec::new(), base >> 2);
            Encoder::default().record(&mut out, base, &record);
            let mut rest = out.as_slice();
            prop_assert_eq!(read_record(&mut rest, base), Ok(record));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_record(&mut bytes.as_slice(), 0);
        }
    }

    #[test]
    fn a_share_takes_less_than_forty_bytes() {
        let share = LoggedShare {
            time_ms: 1_700_000_000_080,
            earner: 20_000,
            work: 1 << 50,
            hash_high: u128::MAX >> 50,
        };
        let mut out = Vec::new();
        Encoder::default().share(&mut out, 1_700_000_000_000, &share);
        assert!(out.len() < 40, "{}", out.len());
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let share = LoggedShare { time_ms: 5, earner: 1, work: 2, hash_high: 3 };
        let mut out = vec![99, 2, 0, 0];
        let mut fields = Vec::new();
        Encoder::default().share(&mut fields, 0, &share);
        fields.extend_from_slice(b"new");
        fields[1] += 3;
        out.extend_from_slice(&fields);
        let mut rest = out.as_slice();
        assert_eq!(read_record(&mut rest, 0), Ok(Record::Unknown { kind: 99 }));
        assert_eq!(read_record(&mut rest, 0), Ok(Record::Share(share)));
        assert!(rest.is_empty());
    }
}
