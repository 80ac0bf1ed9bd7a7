//! The accepted shares of the last few tips: none of them is paid twice, even if the chain goes
//! back to an earlier tip, or the same tip is announced again.
//!
//! Only shares that met their target may get here, so that the memory holds nothing but work.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::room::Room;
use crate::share::Rejection;

/// Accepted shares that are remembered for one tip. A channel that reaches it is rejected until the
/// tip moves: to forget a share would let it be paid twice.
const SEEN_SHARES_MAX: usize = 1 << 18;
/// Tips whose shares are remembered: a reorganisation that goes further back than this is a
/// headline.
const SEEN_TIPS_MAX: usize = 3;

/// What one channel has been credited with.
#[derive(Debug)]
pub(super) struct SeenShares {
    /// By the hash of the tip, the present one last. Of each share the first eight bytes of its
    /// hash.
    tips: VecDeque<([u8; 32], HashSet<u64, Spread>)>,
    /// What the other channels of the same owner leave.
    room: Room,
}

impl SeenShares {
    pub(super) fn new(room: Room) -> Self {
        Self { tips: VecDeque::new(), room }
    }

    /// Shares to come are for `tip`.
    pub(super) fn turn_to(&mut self, tip: &[u8; 32]) {
        if self.tips.back().is_some_and(|(hash, _)| hash == tip) {
            return;
        }
        let known = self.tips.iter().position(|(hash, _)| hash == tip);
        let turned = known.and_then(|index| self.tips.remove(index));
        self.tips.push_back(turned.unwrap_or_else(|| (*tip, HashSet::default())));
        if self.tips.len() > SEEN_TIPS_MAX
            && let Some((_, forgotten)) = self.tips.pop_front()
        {
            self.room.give_back(forgotten.len());
        }
    }

    /// Notes the share with this header hash; says so if it was noted before.
    pub(super) fn insert(&mut self, hash: &[u8; 32]) -> Result<(), Rejection> {
        let fingerprint = hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let Some((_, seen)) = self.tips.back_mut() else {
            return Err(Rejection::UnknownJob);
        };
        let is_full = seen.len() >= SEEN_SHARES_MAX || self.room.left() == 0;
        if is_full && !seen.contains(&fingerprint) {
            return Err(Rejection::TooManyShares);
        }
        if !seen.insert(fingerprint) {
            return Err(Rejection::Duplicate);
        }
        self.room.take();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tips.iter().all(|(_, seen)| seen.is_empty())
    }
}

impl Drop for SeenShares {
    fn drop(&mut self) {
        self.room.give_back(self.tips.iter().map(|(_, seen)| seen.len()).sum());
    }
}

/// Where a fingerprint stands in its table: the folded product with a factor that no miner knows.
///
/// Fingerprints are bytes of a hash already, and need no SipHash. But a miner at an easy target can
/// choose among his hashes: if they were taken as they are, he could pile thousands of them up in
/// one place of the table, and make each further share walk past them all.
#[derive(Debug, Clone, Copy)]
struct Spread {
    /// Odd, so that no bit is lost.
    factor: u64,
}

impl Default for Spread {
    /// With the randomness that the standard library has for its tables.
    fn default() -> Self {
        Self { factor: RandomState::new().hash_one(()) | 1 }
    }
}

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading { factor: self.factor, value: 0 }
    }
}

struct Spreading {
    factor: u64,
    value: u64,
}

impl Hasher for Spreading {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let (low, high) = (self.value ^ number).carrying_mul(self.factor, 0);
        self.value = low ^ high;
    }

    fn finish(&self) -> u64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hash(fingerprint: u64) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&fingerprint.to_le_bytes());
        hash
    }

    #[test]
    fn a_full_memory_refuses_what_is_new_and_still_knows_what_is_not() {
        let mut seen = SeenShares::new(Room::new(usize::MAX));
        seen.turn_to(&[1; 32]);
        let full = u64::try_from(SEEN_SHARES_MAX).unwrap();
        assert!((0..full).all(|fingerprint| seen.insert(&hash(fingerprint)).is_ok()));
        assert_eq!(seen.insert(&hash(full)), Err(Rejection::TooManyShares));
        assert_eq!(seen.insert(&hash(7)), Err(Rejection::Duplicate));
        seen.turn_to(&[2; 32]);
        assert_eq!(seen.insert(&hash(full)), Ok(()));
    }

    #[test]
    fn what_is_forgotten_leaves_room_for_the_other_channels_of_the_same_owner() {
        let room = Room::new(3);
        let (mut one, mut other) = (SeenShares::new(room.clone()), SeenShares::new(room.clone()));
        one.turn_to(&[1; 32]);
        other.turn_to(&[1; 32]);
        assert!((0..3).all(|fingerprint| one.insert(&hash(fingerprint)).is_ok()));
        assert_eq!(other.insert(&hash(9)), Err(Rejection::TooManyShares));
        assert_eq!(one.insert(&hash(1)), Err(Rejection::Duplicate));
        for tip in 2..=4 {
            assert_eq!(room.left(), 0);
            one.turn_to(&[tip; 32]);
        }
        assert_eq!(other.insert(&hash(9)), Ok(()));
        drop(other);
        assert_eq!(room.left(), 3);
    }

    /// What a miner can choose, the low bits or the high ones, does not choose the place.
    #[test]
    fn fingerprints_that_agree_in_half_of_their_bits_get_places_of_their_own() {
        let spread = Spread { factor: 0x5851_f42d_4c95_7f2d };
        for shift in [0, 32] {
            let numbers = (0..4_096_u64).map(|number| number << shift);
            let hashes: Vec<_> = numbers.map(|number| spread.hash_one(number)).collect();
            let places: BTreeSet<_> = hashes.iter().map(|hash| hash & 0xffff).collect();
            let marks: BTreeSet<_> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(places.len() > 2_048, "{} places for 4,096", places.len());
            assert!(marks.len() > 64, "{} marks of 128", marks.len());
        }
    }
}
