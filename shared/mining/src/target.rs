//! Targets, difficulty and work.
//!
//! A share's credit is its job's work, an integer count of expected hashes. Difficulty and hashrate
//! are floats because people and devices speak them; they are turned into an exact target once, and
//! no float goes back.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The highest hash that counts, a 256-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Most significant first, so that the derived order is the numeric one.
    limbs: [u64; 4],
}

/// Expected number of hashes for a share, saturating at `u128::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hashes(pub u128);

impl Hashes {
    /// The sum, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Whole units of difficulty 1 (2^32 hashes each).
    pub fn difficulty_floor(self) -> u64 {
        u64::try_from(self.0 >> 32).unwrap_or(u64::MAX)
    }

    /// Rounded to what a float holds: for graphs, never for accounts.
    pub fn to_f64(self) -> f64 {
        self.0.to_be_bytes().iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
    }
}

/// Decimal digits.
impl fmt::Display for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Hashes {
    type Err = ParseIntError;

    fn from_str(digits: &str) -> Result<Self, ParseIntError> {
        digits.parse().map(Self)
    }
}

impl Target {
    /// The easiest target: every hash counts.
    pub const MAX: Self = Self { limbs: [u64::MAX; 4] };

    /// The hardest target: zero would be met by no hash but zero, and divides badly.
    pub const MIN: Self = Self { limbs: [0, 0, 0, 1] };

    /// Reads nBits; `None` if they are negative, overflow, or no hash could meet them.
    pub fn from_nbits(nbits: u32) -> Option<Self> {
        let [exponent, high, ..] = nbits.to_be_bytes();
        let negative = high & 0x80 != 0;
        let mantissa = nbits & 0x007f_ffff;
        let overflows = match exponent {
            0..=32 => false,
            33 => mantissa > 0xffff,
            34 => mantissa > 0xff,
            _ => true,
        };
        let target = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
        let usable = !negative && !overflows && target != bitcoin::Target::ZERO;
        usable.then(|| Self::from_le_bytes(target.to_le_bytes()))
    }

    /// Little-endian bytes, as SV2 sends targets.
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let mut rest = bytes.as_slice();
        let mut limbs = [0; 4];
        for limb in limbs.iter_mut().rev() {
            let Some((eight, after)) = rest.split_first_chunk::<8>() else {
                break;
            };
            *limb = u64::from_le_bytes(*eight);
            rest = after;
        }
        Self { limbs }
    }

    /// Little-endian bytes, as SV2 sends targets.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let flat = self.limbs.iter().rev().flat_map(|limb| limb.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(flat) {
            *to = from;
        }
        bytes
    }

    /// True if `hash` (internal byte order) is at or below the target.
    pub fn is_met_by(self, hash: &[u8; 32]) -> bool {
        Self::from_le_bytes(*hash) <= self
    }

    /// The target of `difficulty` by the pool convention (difficulty 1 is 0xffff * 2^208). What is
    /// not a positive number is as easy as can be.
    pub fn from_difficulty(difficulty: f64) -> Self {
        quotient(0xffff, 208, difficulty)
    }

    /// Difficulty by the pool convention, for people and devices.
    pub fn difficulty(self) -> f64 {
        let target = self.to_f64();
        f64::from(0xffff_u16) * 2_f64.powi(208) / target.max(f64::MIN_POSITIVE)
    }

    /// Hashes that a share at this target takes on average: 2^256 / (target + 1).
    pub fn work(self) -> Hashes {
        let target = bitcoin::Target::from_le_bytes(self.to_le_bytes());
        let bytes = target.to_work().to_be_bytes();
        let (high, low) = bytes.split_at(16);
        if high.iter().any(|byte| *byte != 0) {
            return Hashes(u128::MAX);
        }
        Hashes(low.try_into().map_or(u128::MAX, u128::from_be_bytes))
    }

    fn to_f64(self) -> f64 {
        self.to_le_bytes().iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limbs.iter().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

/// Limbs of an intermediate of 448 bits, least significant first.
type Limbs = [u64; 7];

/// floor(mantissa * 2^exponent / by), exact for the value that `by` has, saturating at
/// `Target::MAX`.
fn quotient(mantissa: u64, exponent: u32, by: f64) -> Target {
    if !by.is_finite() || by <= 0.0 {
        return if by == f64::INFINITY { Target::MIN } else { Target::MAX };
    }
    let (divisor, scale) = decompose(by);
    // mantissa * 2^exponent / (divisor * 2^scale): a scale below zero is a shift of the numerator.
    // 64 bits of it fit; a further one can only matter where the result saturates.
    let up = u32::try_from(-scale.min(0)).unwrap_or(0);
    if up > 120 {
        return Target::MAX;
    }
    let mut limbs = shifted_left(mantissa, exponent + up);
    divide(&mut limbs, divisor);
    shift_right(&mut limbs, u32::try_from(scale.max(0)).unwrap_or(0));
    to_target(&limbs)
}

/// `value` as `divisor * 2^scale`, exactly. `value` is finite and positive.
fn decompose(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let biased = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    match biased {
        0 => (fraction.max(1), -1074),
        _ => (fraction | (1 << 52), biased - 1075),
    }
}

fn shifted_left(value: u64, bits: u32) -> Limbs {
    let wide = u128::from(value) << (bits % 64);
    let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
    let high = u64::try_from(wide >> 64).unwrap_or(0);
    let first = usize::try_from(bits / 64).unwrap_or(usize::MAX);
    std::array::from_fn(|index| match index.checked_sub(first) {
        Some(0) => low,
        Some(1) => high,
        _ => 0,
    })
}

fn divide(limbs: &mut Limbs, divisor: u64) {
    let mut remainder = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let part = (remainder << 64) | u128::from(*limb);
        *limb = u64::try_from(part / u128::from(divisor)).unwrap_or(u64::MAX);
        remainder = part % u128::from(divisor);
    }
}

fn shift_right(limbs: &mut Limbs, bits: u32) {
    let whole = usize::try_from(bits / 64).unwrap_or(usize::MAX);
    let part = bits % 64;
    let old = *limbs;
    let at = |index: usize| old.get(index).copied().unwrap_or(0);
    for (index, limb) in limbs.iter_mut().enumerate() {
        let index = index.saturating_add(whole);
        let high = at(index.saturating_add(1)).checked_shl(64 - part).unwrap_or(0);
        *limb = (at(index) >> part) | high;
    }
}

fn to_target(limbs: &Limbs) -> Target {
    let [a, b, c, d, high @ ..] = limbs;
    if high.iter().any(|limb| *limb != 0) {
        return Target::MAX;
    }
    Target { limbs: [*d, *c, *b, *a] }.max(Target::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Difficulty 1: 0xffff * 2^208.
    const DIFFICULTY_ONE_NBITS: u32 = 0x1d00_ffff;

    #[test]
    fn difficulty_one_is_the_target_of_the_genesis_block() {
        let genesis = Target::from_nbits(DIFFICULTY_ONE_NBITS).unwrap();
        assert_eq!(Target::from_difficulty(1.0), genesis);
        assert_eq!(genesis.difficulty(), 1.0);
        assert_eq!(genesis.work(), Hashes(0x1_0001_0001));
        assert_eq!(genesis.work().difficulty_floor(), 1);
    }

    #[test]
    fn a_power_of_two_halves_the_target_exactly() {
        let one = Target::from_difficulty(1.0).to_f64();
        assert_eq!(Target::from_difficulty(1024.0).to_f64(), one / 1024.0);
        assert_eq!(Target::from_difficulty(0.25).to_f64(), one * 4.0);
    }

    /// Flaw 8: hashes are compared with targets as integers, to the last bit.
    #[test]
    fn a_hash_that_is_its_target_counts_and_one_above_it_does_not() {
        let target = Target::from_nbits(DIFFICULTY_ONE_NBITS).unwrap();
        let equal = target.to_le_bytes();
        assert!(target.is_met_by(&equal));
        let mut above = equal;
        above[0] += 1;
        assert!(!target.is_met_by(&above));
        let mut below = equal;
        below[26] -= 1;
        assert!(target.is_met_by(&below));
    }

    #[test]
    fn unusable_nbits_are_refused() {
        assert_eq!(Target::from_nbits(0), None);
        assert_eq!(Target::from_nbits(0x1d80_ffff), None, "negative");
        assert_eq!(Target::from_nbits(0x2300_0001), None, "overflow");
        assert!(Target::from_nbits(0x207f_ffff).is_some(), "regtest");
    }

    #[test]
    fn absurd_difficulties_saturate() {
        assert_eq!(Target::from_difficulty(f64::NAN), Target::MAX);
        assert_eq!(Target::from_difficulty(0.0), Target::MAX);
        assert_eq!(Target::from_difficulty(-1.0), Target::MAX);
        assert_eq!(Target::from_difficulty(f64::INFINITY), Target::MIN);
        assert_eq!(Target::from_difficulty(1e300), Target::MIN);
        assert_eq!(Target::from_difficulty(1e-300), Target::MAX);
    }

    proptest! {
        #[test]
        fn difficulty_survives_the_way_to_a_target_and_back(exponent in -9.0..30.0_f64) {
            let difficulty = 10_f64.powf(exponent);
            let back = Target::from_difficulty(difficulty).difficulty();
            prop_assert!((back / difficulty - 1.0).abs() < 1e-9, "{difficulty} became {back}");
        }

        #[test]
        fn targets_compare_as_numbers(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
            let mut reversed = (a, b);
            reversed.0.reverse();
            reversed.1.reverse();
            let targets = Target::from_le_bytes(a).cmp(&Target::from_le_bytes(b));
            prop_assert_eq!(targets, reversed.0.cmp(&reversed.1));
        }
    }
}
