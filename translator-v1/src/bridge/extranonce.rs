//! Splits the extranonce of one SV2 channel among many V1 miners.
//!
//! The whole extranonce is `prefix | zeros | seat | extranonce2`: the upstream's fixed part, what
//! it leaves more than is of use, the two bytes that tell miners apart, and what the miner rolls.
//! A miner sees the first two as the end of its job's coinbase1, and only its seat as extranonce1.
//! So it stays what it is when the channel or the pool changes, whatever room that leaves, and
//! nobody has to be told of another (rule 29).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::sv2::codec::Bytes32;

/// Bytes of a seat, and so of extranonce1. They are enough: miners take any length, for p2pool's
/// had none at all.
const SEAT_BYTES: usize = size_of::<u16>();
/// What NiceHash and large farms want to roll (rule 17).
const EXTRANONCE_2_BYTES_WANTED: usize = 8;
/// What every miner can roll (rule 17).
const EXTRANONCE_2_BYTES_ENOUGH: usize = 4;

/// Rollable bytes to ask the upstream for, best first, for a channel that all miners share.
pub const ROLLABLE_BYTES_WANTED: [u16; 3] = [10, 8, 6];
/// The same where there are many channels: a pool has room for more of them if each rolls less. Of
/// 7 to 9 a miner would roll no more than of 6.
pub const ROLLABLE_BYTES_OF_MANY: [u16; 1] = [6];

/// A channel without room for miners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the upstream leaves {rollable} extranonce bytes; a translator needs at least 6: \
     2 to tell miners apart and 4 for each to roll"
)]
pub struct NoRoom {
    /// Bytes that the channel may roll.
    pub rollable: u16,
}

/// What a miner has to know of its extranonce, and is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtranonceShape {
    /// Bytes of extranonce2: 4 or 8, for no other sizes work with every miner.
    pub extranonce_2_bytes: usize,
}

impl ExtranonceShape {
    /// The extranonce1 of the miner in `seat`: its number, big-endian.
    pub fn extranonce_1(&self, seat: u16) -> Vec<u8> {
        seat.to_be_bytes().to_vec()
    }
}

/// How one channel's extranonce is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtranonceSplit {
    prefix: Bytes32,
    /// Bytes between the prefix and extranonce2, the seat the last of them; at least `SEAT_BYTES`.
    local_bytes: usize,
    /// 4 or 8: no other sizes work with every miner.
    extranonce_2_bytes: usize,
}

impl ExtranonceSplit {
    /// Splits a channel with `prefix` fixed and `rollable` bytes to roll.
    pub fn new(prefix: Bytes32, rollable: u16) -> Result<Self, NoRoom> {
        let bytes = usize::from(rollable);
        [EXTRANONCE_2_BYTES_WANTED, EXTRANONCE_2_BYTES_ENOUGH]
            .into_iter()
            .find(|extranonce_2| extranonce_2 + SEAT_BYTES <= bytes && bytes <= 32)
            .map(|extranonce_2_bytes| Self {
                prefix,
                local_bytes: bytes - extranonce_2_bytes,
                extranonce_2_bytes,
            })
            .ok_or(NoRoom { rollable })
    }

    /// The same split behind another prefix (SetExtranoncePrefix, spec 5.3.10).
    #[must_use]
    pub fn with_prefix(self, prefix: Bytes32) -> Self {
        Self { prefix, ..self }
    }

    /// What miners see of it.
    pub fn shape(&self) -> ExtranonceShape {
        ExtranonceShape { extranonce_2_bytes: self.extranonce_2_bytes }
    }

    /// What stands in each coinbase before extranonce1: the prefix, and zeros if the channel leaves
    /// more than is of use.
    pub fn start(&self) -> Vec<u8> {
        let zeros = self.local_bytes.saturating_sub(SEAT_BYTES);
        let mut bytes = self.prefix.as_slice().to_vec();
        bytes.resize(bytes.len() + zeros, 0);
        bytes
    }

    /// Bytes of the whole extranonce in the coinbase.
    pub fn whole_bytes(&self) -> usize {
        self.prefix.as_slice().len() + self.local_bytes + self.extranonce_2_bytes
    }

    /// What the channel rolled, for the upstream: the seat and the miner's extranonce2. `None` if
    /// the latter has the wrong length.
    pub fn rolled(&self, seat: u16, extranonce_2: &[u8]) -> Option<Bytes32> {
        if extranonce_2.len() != self.extranonce_2_bytes {
            return None;
        }
        let mut bytes: Vec<u8> = self.local(seat).collect();
        bytes.extend_from_slice(extranonce_2);
        Bytes32::new(&bytes)
    }

    /// Bytes that another channel has to roll for miners to see the same of it.
    pub fn needed(&self) -> u16 {
        u16::try_from(SEAT_BYTES + self.extranonce_2_bytes).unwrap_or(u16::MAX)
    }

    /// The prefix that the upstream fixed.
    pub fn prefix(&self) -> &[u8] {
        self.prefix.as_slice()
    }

    /// The seat as the last local bytes, big-endian.
    fn local(&self, seat: u16) -> impl Iterator<Item = u8> {
        let padding = self.local_bytes.saturating_sub(SEAT_BYTES);
        std::iter::repeat_n(0, padding).chain(seat.to_be_bytes())
    }
}

/// The seats of all miners. Cheap to clone; all clones are one.
///
/// Seats are given out in turn, so that the next miner does not repeat the work of the one that has
/// just left.
#[derive(Debug, Clone, Default)]
pub struct Seats {
    state: Arc<Mutex<SeatState>>,
}

#[derive(Debug, Default)]
struct SeatState {
    taken: HashSet<u16>,
    next: u16,
}

/// A place of one miner in the search space; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    state: Arc<Mutex<SeatState>>,
    number: u16,
}

impl Seats {
    /// Takes a seat; `None` if all 65,536 are taken.
    pub fn take(&self) -> Option<Seat> {
        let mut state = lock(&self.state);
        let start = state.next;
        let number = (0..=u16::MAX)
            .map(|step| start.wrapping_add(step))
            .find(|number| !state.taken.contains(number))?;
        state.taken.insert(number);
        state.next = number.wrapping_add(1);
        Some(Seat { state: Arc::clone(&self.state), number })
    }
}

impl Seat {
    /// The seat's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.state).taken.remove(&self.number);
    }
}

/// A panic while it was held would leave whole values behind: the lock is taken all the same.
fn lock(state: &Mutex<SeatState>) -> MutexGuard<'_, SeatState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(prefix: &[u8], rollable: u16) -> Result<ExtranonceSplit, NoRoom> {
        ExtranonceSplit::new(Bytes32::new(prefix).unwrap(), rollable)
    }

    #[test]
    fn rule_17_extranonce2_is_8_where_the_channel_allows_and_else_4() {
        let sizes =
            |rollable| split(&[1, 2], rollable).map(|split| split.shape().extranonce_2_bytes);
        assert_eq!(sizes(32), Ok(8));
        assert_eq!(sizes(16), Ok(8));
        assert_eq!(sizes(10), Ok(8));
        assert_eq!(sizes(9), Ok(4));
        assert_eq!(sizes(8), Ok(4));
        assert_eq!(sizes(6), Ok(4));
        for refused in [0, 5, 33, u16::MAX] {
            assert_eq!(sizes(refused), Err(NoRoom { rollable: refused }));
        }
    }

    #[test]
    fn both_sides_see_the_same_extranonce_in_the_coinbase() {
        for rollable in [6, 7, 8, 9, 10, 11, 16, 32] {
            let split = split(&[0xaa, 0xbb], rollable).unwrap();
            let extranonce_2 = vec![7; split.shape().extranonce_2_bytes];
            let extranonce_1 = split.shape().extranonce_1(0x0102);
            let seen_by_miner = [split.start(), extranonce_1, extranonce_2.clone()].concat();
            let rolled = split.rolled(0x0102, &extranonce_2).unwrap();
            let seen_by_pool = [split.prefix(), rolled.as_slice()].concat();
            assert_eq!(seen_by_miner, seen_by_pool);
            assert_eq!(rolled.as_slice().len(), usize::from(rollable));
            assert_eq!(seen_by_miner.len(), split.whole_bytes());
        }
    }

    #[test]
    fn an_extranonce2_of_another_length_is_refused() {
        let split = split(&[], 10).unwrap();
        assert_eq!(split.rolled(0, &[0; 4]), None);
        assert_eq!(split.rolled(0, &[0; 9]), None);
    }

    #[test]
    fn a_miner_has_its_seat_as_extranonce1_whatever_room_the_channel_leaves() {
        for (prefix, rollable) in [(&[0, 1][..], 10), (&[9, 9, 9], 10), (&[7], 12), (&[7], 8)] {
            let split = split(prefix, rollable).unwrap();
            assert_eq!(split.shape().extranonce_1(5), [0, 5], "{prefix:?} {rollable}");
        }
        let shape = |rollable| split(&[7], rollable).unwrap().shape();
        assert!((10..=32).all(|rollable| shape(rollable) == shape(10)), "nobody is told");
        assert!((6..10).all(|rollable| shape(rollable) == shape(6)));
    }

    #[test]
    fn a_seat_is_not_taken_again_at_once_but_is_when_all_others_were() {
        let seats = Seats::default();
        let first = seats.take().unwrap().number();
        let second = seats.take().unwrap().number();
        assert_ne!(first, second);
        let all: Vec<_> = std::iter::from_fn(|| seats.take()).collect();
        assert_eq!(all.len(), 65_536);
        drop(all);
        assert!(seats.take().is_some());
    }
}
