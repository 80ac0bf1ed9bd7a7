//! Targets against rust-bitcoin, against SRI's hashrate conversion, and against long division.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget};
use channels_sv2::target::{hash_rate_from_target, hash_rate_to_target};
use mining::target::Target;
use proptest::prelude::*;

use crate::property;

/// Shares a minute that pools ask for.
fn shares_per_minute() -> impl Strategy<Value = f64> {
    1.0..60.0_f64
}

/// From one processor to more than all of the network, in hashes per second.
fn hashrate() -> impl Strategy<Value = f64> {
    (3.0..22.0_f64).prop_map(|exponent| 10_f64.powf(exponent))
}

/// nBits with every size of mantissa and exponent, and the odd signs.
fn nbits() -> impl Strategy<Value = u32> {
    let usual = (0..=0xff_u32, 0..=0x00ff_ffff_u32, 0..24_u32)
        .prop_map(|(exponent, mantissa, less)| (exponent << 24) | (mantissa >> less));
    let near = (30..=36_u32, 0..=0x00ff_ffff_u32, 0..24_u32)
        .prop_map(|(exponent, mantissa, less)| (exponent << 24) | (mantissa >> less));
    prop_oneof![usual, near, any::<u32>()]
}

/// What nBits say, digit by digit as consensus code does, big-endian; `None` for what it calls
/// negative, overflowing or zero.
fn expanded(nbits: u32) -> Option<[u8; 32]> {
    let [exponent, mantissa @ ..] = nbits.to_be_bytes();
    if mantissa[0] & 0x80 != 0 {
        return None;
    }
    let mut target = [0; 32];
    for (at, digit) in mantissa.into_iter().enumerate() {
        // The first of the three bytes has `exponent - 1` bytes after it.
        let after = i32::from(exponent) - 1 - i32::try_from(at).unwrap();
        match usize::try_from(after) {
            Err(_) => {}
            Ok(after) if after < 32 => target[31 - after] = digit,
            Ok(_) if digit != 0 => return None,
            Ok(_) => {}
        }
    }
    (target != [0; 32]).then_some(target)
}

/// floor(`numerator` / `divisor`) in long division, most significant byte first.
fn divided(numerator: &[u8], divisor: u64) -> Vec<u8> {
    let mut remainder = 0_u128;
    let digits = numerator.iter().map(|byte| {
        let part = (remainder << 8) | u128::from(*byte);
        remainder = part % u128::from(divisor);
        u8::try_from(part / u128::from(divisor)).unwrap()
    });
    digits.collect()
}

fn big_endian(target: Target) -> [u8; 32] {
    let mut bytes = target.to_le_bytes();
    bytes.reverse();
    bytes
}

fn as_f64(target: &[u8]) -> f64 {
    target.iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
}

#[test]
fn nbits_are_read_as_rust_bitcoin_and_consensus_do() {
    property(proptest::collection::vec(nbits(), 100), |samples| {
        for nbits in samples {
            let ours = Target::from_nbits(nbits);
            prop_assert_eq!(ours.map(big_endian), expanded(nbits), "{:#010x}", nbits);
            if let Some(ours) = ours {
                let theirs = bitcoin::Target::from_compact(CompactTarget::from_consensus(nbits));
                prop_assert_eq!(ours.to_le_bytes(), theirs.to_le_bytes(), "{:#010x}", nbits);
            }
        }
        Ok(())
    });
}

#[test]
fn a_hash_meets_a_target_as_in_rust_bitcoin() {
    let near = (any::<[u8; 32]>(), 0..32_usize, any::<u8>()).prop_map(|(target, at, digit)| {
        let mut hash = target;
        hash[at] = digit;
        (target, hash)
    });
    let pair = prop_oneof![near, any::<([u8; 32], [u8; 32])>()];
    property(proptest::collection::vec(pair, 20), |pairs| {
        for (target, hash) in pairs {
            let theirs = bitcoin::Target::from_le_bytes(target);
            let met = theirs.is_met_by(BlockHash::from_byte_array(hash));
            prop_assert_eq!(Target::from_le_bytes(target).is_met_by(&hash), met);
            prop_assert!(Target::from_le_bytes(target).is_met_by(&target));
        }
        Ok(())
    });
}

#[test]
fn difficulty_is_that_of_rust_bitcoin() {
    property((any::<[u8; 32]>(), 0..28_usize), |(mut target, zeros)| {
        target[32 - zeros..].fill(0);
        let ours = Target::from_le_bytes(target).difficulty();
        let theirs = bitcoin::Target::from_le_bytes(target).difficulty_float();
        prop_assert!((ours / theirs - 1.0).abs() < 1e-12, "{ours} and {theirs}");
        Ok(())
    });
}

#[test]
fn work_is_that_of_rust_bitcoin_up_to_128_bits() {
    property((any::<[u8; 32]>(), 0..30_usize), |(mut target, zeros)| {
        target[32 - zeros..].fill(0);
        let theirs = bitcoin::Target::from_le_bytes(target).to_work().to_be_bytes();
        let low = u128::from_be_bytes(theirs[16..].try_into().unwrap());
        let expected = if theirs[..16] == [0; 16] { low } else { u128::MAX };
        prop_assert_eq!(Target::from_le_bytes(target).work().0, expected);
        Ok(())
    });
}

#[test]
fn the_target_of_a_whole_difficulty_is_exact() {
    let one = big_endian(Target::from_nbits(0x1d00_ffff).unwrap());
    let difficulty =
        (0..53_u32, any::<u64>()).prop_map(|(bits, any)| 1 + (any & ((1 << bits) - 1)));
    property(difficulty, |difficulty| {
        // Every whole number below 2^53 is a float.
        let float: f64 = difficulty.to_string().parse().unwrap();
        let ours = big_endian(Target::from_difficulty(float));
        prop_assert_eq!(ours.to_vec(), divided(&one, difficulty));
        Ok(())
    });
}

/// Hashes of a share of difficulty 1, as vardiff reckons them: 15 millionths fewer than SRI.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// SRI divides 2^256 - 1 - n by n + 1, with n cut to a whole number: for n expected hashes that
/// makes a difference of up to 3 / n.
#[test]
fn the_target_for_a_hashrate_is_that_of_sri_within_rounding() {
    property((hashrate(), shares_per_minute()), |(hashrate, shares)| {
        let expected_hashes = hashrate * 60.0 / shares;
        let ours = Target::from_difficulty(expected_hashes / HASHES_PER_DIFFICULTY);
        let theirs = hash_rate_to_target(hashrate, shares).unwrap().to_be_bytes();
        let apart = (as_f64(&big_endian(ours)) / as_f64(&theirs) - 1.0).abs();
        prop_assert!(apart < 3.0 / expected_hashes + 2e-5, "{apart} at {hashrate} / {shares}");
        Ok(())
    });
}

/// SRI cuts the seconds for a share to hundredths and the hashrate to a whole number.
#[test]
fn sri_reads_the_hashrate_from_our_target_within_rounding() {
    property((hashrate(), shares_per_minute()), |(hashrate, shares)| {
        let expected_hashes = hashrate * 60.0 / shares;
        let target = Target::from_difficulty(expected_hashes / HASHES_PER_DIFFICULTY);
        let read = hash_rate_from_target(target.to_le_bytes().into(), shares).unwrap();
        let apart = (read / hashrate - 1.0).abs();
        let rounding = shares / 5_900.0 + 1.0 / hashrate + 3.0 / expected_hashes + 2e-5;
        prop_assert!(apart < rounding, "{hashrate} became {read}");
        Ok(())
    });
}
