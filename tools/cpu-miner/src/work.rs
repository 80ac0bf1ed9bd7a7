//! What the hashing threads work on, whatever protocol it came by, and what they find.
//!
//! A `Work` is a job with everything that a header needs. The threads divide its nonces among
//! themselves; when a thread has used up its nonces it rolls the extranonce, then the version, then
//! the time. So no two threads ever hash the same header.

use std::ops::Range;
use std::time::{Duration, Instant};

use mining::hash::double_sha256;
use mining::header::Header;
use mining::merkle::root_from_path;
use mining::target::Target;

/// Names a `Work` within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkId {
    /// Counts the connections of this process.
    pub connection: u32,
    /// Counts the works of that connection.
    pub number: u32,
}

/// A job to hash on.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its name, for the shares.
    pub id: WorkId,
    /// The header's version before rolling.
    pub version: u32,
    /// The bits of the version that may be rolled; 0 if none.
    pub rolling_mask: u32,
    /// Hash of the tip, internal byte order.
    pub prev_hash: [u8; 32],
    /// nBits of the header.
    pub nbits: u32,
    /// Smallest nTime.
    pub min_ntime: u32,
    /// When the work came, for nTime.
    pub received: Instant,
    /// The highest hash that is a share.
    pub target: Target,
    /// Where the merkle root comes from.
    pub merkle: MerkleSource,
}

/// Where a merkle root comes from.
#[derive(Debug, Clone)]
pub enum MerkleSource {
    /// The job names the root (a standard channel).
    Fixed([u8; 32]),
    /// The coinbase has room for an extranonce (an extended channel, or V1).
    Rolled(CoinbaseParts),
}

/// A coinbase without its BIP141 fields, with a gap for the extranonce.
#[derive(Debug, Clone)]
pub struct CoinbaseParts {
    /// Everything before the rolled bytes, fixed extranonce included.
    pub prefix: Vec<u8>,
    /// Rolled bytes.
    pub extranonce_bytes: usize,
    /// Everything after them.
    pub suffix: Vec<u8>,
    /// Merkle path, deepest first.
    pub path: Vec<[u8; 32]>,
}

/// A header that meets the target of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What it was found on.
    pub work: WorkId,
    /// The rolled extranonce; empty where there is none.
    pub extranonce: Vec<u8>,
    /// The whole version.
    pub version: u32,
    /// nTime.
    pub ntime: u32,
    /// nNonce.
    pub nonce: u32,
    /// The header's hash, internal byte order.
    pub hash: [u8; 32],
}

/// Longest extranonce that is rolled, in bytes: what SV2 allows.
pub const EXTRANONCE_BYTES_MAX: usize = 32;

/// One thread's way through the headers of a work.
#[derive(Debug, Clone)]
pub struct Rolls {
    extranonce: u64,
    /// Starts at 1, so that every share shows a pool that version bits are rolled where it allows
    /// it: a pool that judges them wrongly is found at once, not after 2^32 hashes.
    version_counter: u32,
    ntime_extra: u32,
}

impl Rolls {
    /// The first header.
    pub fn start() -> Self {
        Self { extranonce: 0, version_counter: 1, ntime_extra: 0 }
    }

    /// The header at this place, `elapsed` after the work came, with nonce 0.
    pub fn header(&self, work: &Work, elapsed: Duration) -> Header {
        let seconds = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
        let rolled = deposit(self.version_counter, work.rolling_mask);
        Header {
            version: (work.version & !work.rolling_mask) | rolled,
            prev_hash: work.prev_hash,
            merkle_root: self.merkle_root(&work.merkle),
            ntime: work.min_ntime.saturating_add(seconds).saturating_add(self.ntime_extra),
            nbits: work.nbits,
            nonce: 0,
        }
    }

    /// The rolled extranonce, big-endian.
    pub fn extranonce(&self, merkle: &MerkleSource) -> Vec<u8> {
        let MerkleSource::Rolled(parts) = merkle else {
            return Vec::new();
        };
        let counter = self.extranonce.to_be_bytes();
        let zeros = parts.extranonce_bytes.saturating_sub(counter.len());
        let skipped = counter.len().saturating_sub(parts.extranonce_bytes);
        let mut bytes = vec![0; zeros];
        bytes.extend(counter.iter().skip(skipped));
        bytes
    }

    fn merkle_root(&self, merkle: &MerkleSource) -> [u8; 32] {
        match merkle {
            MerkleSource::Fixed(root) => *root,
            MerkleSource::Rolled(parts) => {
                let extranonce = self.extranonce(merkle);
                let coinbase = [parts.prefix.as_slice(), &extranonce, &parts.suffix].concat();
                root_from_path(double_sha256(&coinbase), &parts.path)
            }
        }
    }

    /// Moves on, once all nonces of a header were tried.
    pub fn advance(&mut self, work: &Work) {
        if let MerkleSource::Rolled(parts) = &work.merkle {
            self.extranonce =
                self.extranonce.wrapping_add(1) & counter_mask(parts.extranonce_bytes);
            if self.extranonce != 0 {
                return;
            }
        }
        // The counter ends where the mask has no more bits.
        let next = self.version_counter.wrapping_add(1);
        let values = 1_u64 << work.rolling_mask.count_ones();
        if u64::from(next) < values {
            self.version_counter = next;
            return;
        }
        self.version_counter = 0;
        self.ntime_extra = self.ntime_extra.saturating_add(1);
    }
}

/// The nonces of thread `lane` of `lanes`.
pub fn nonces_of_lane(lane: u32, lanes: u32) -> Range<u64> {
    let bound = |lane: u32| (u64::from(lane) << 32) / u64::from(lanes.max(1));
    bound(lane)..bound(lane.saturating_add(1))
}

/// All values of a counter of `bytes` bytes, at most eight.
fn counter_mask(bytes: usize) -> u64 {
    let bits = u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX);
    1_u64.checked_shl(bits).map_or(u64::MAX, |values| values - 1)
}

/// Spreads the low bits of `counter` over the set bits of `mask`.
fn deposit(mut counter: u32, mask: u32) -> u32 {
    let mut spread = 0;
    for bit in (0..32).map(|place| 1 << place).filter(|bit| mask & bit != 0) {
        if counter & 1 == 1 {
            spread |= bit;
        }
        counter >>= 1;
    }
    spread
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mining::version::{BIP323_MASK, ROLLING_MASK, is_rolled_within};

    use super::*;

    fn work(rolling_mask: u32, merkle: MerkleSource) -> Work {
        Work {
            id: WorkId { connection: 1, number: 1 },
            version: 0x3000_0000,
            rolling_mask,
            prev_hash: [1; 32],
            nbits: 0x207f_ffff,
            min_ntime: 1000,
            received: Instant::now(),
            target: Target::MAX,
            merkle,
        }
    }

    fn coinbase_with(extranonce_bytes: usize) -> MerkleSource {
        MerkleSource::Rolled(CoinbaseParts {
            prefix: vec![1, 2],
            extranonce_bytes,
            suffix: vec![3],
            path: vec![[9; 32]],
        })
    }

    #[test]
    fn the_lanes_divide_all_nonces_without_a_gap() {
        for lanes in [1, 2, 3, 7] {
            let mut next = 0;
            for lane in 0..lanes {
                let nonces = nonces_of_lane(lane, lanes);
                assert_eq!(nonces.start, next);
                next = nonces.end;
            }
            assert_eq!(next, 1 << 32);
        }
    }

    #[test]
    fn no_header_comes_twice() {
        for merkle in [MerkleSource::Fixed([7; 32]), coinbase_with(1), coinbase_with(0)] {
            let work = work(0b1010_0000, merkle);
            let mut rolls = Rolls::start();
            let mut seen = HashSet::new();
            for _ in 0..2000 {
                let header = rolls.header(&work, Duration::ZERO);
                assert!(seen.insert(header.to_bytes()), "twice: {header:?}");
                rolls.advance(&work);
            }
        }
    }

    #[test]
    fn only_allowed_version_bits_change() {
        for mask in [0, ROLLING_MASK, BIP323_MASK] {
            let work = work(mask, MerkleSource::Fixed([7; 32]));
            let mut rolls = Rolls::start();
            for _ in 0..100 {
                let header = rolls.header(&work, Duration::ZERO);
                assert!(is_rolled_within(mask, work.version, header.version));
                rolls.advance(&work);
            }
        }
    }

    #[test]
    fn the_version_is_rolled_from_the_first_header_on_where_that_is_allowed() {
        let fixed = || MerkleSource::Fixed([7; 32]);
        let first = |work: &Work| Rolls::start().header(work, Duration::ZERO).version;
        assert_eq!(first(&work(0, fixed())), 0x3000_0000);
        assert_eq!(first(&work(ROLLING_MASK, fixed())), 0x2000_2000);
    }

    #[test]
    fn the_extranonce_has_the_size_that_the_pool_wants() {
        for bytes in [0, 1, 4, 8, 32] {
            assert_eq!(Rolls::start().extranonce(&coinbase_with(bytes)).len(), bytes);
        }
    }

    #[test]
    fn the_merkle_root_is_that_of_the_coinbase_with_the_extranonce_in_its_gap() {
        let work = work(0, coinbase_with(2));
        let mut rolls = Rolls::start();
        rolls.advance(&work);
        let txid = double_sha256(&[1, 2, 0, 1, 3]);
        let header = rolls.header(&work, Duration::ZERO);
        assert_eq!(header.merkle_root, root_from_path(txid, &[[9; 32]]));
    }

    #[test]
    fn the_time_of_a_header_is_at_most_the_time_that_passed() {
        let work = work(0, coinbase_with(4));
        let header = Rolls::start().header(&work, Duration::from_millis(2900));
        assert_eq!(header.ntime, 1002);
    }
}
