//! What difficulty a miner is told, and how its shares are held to it.

use mining::target::Target;

/// bfgminer takes an integer difficulty for pdiff, whose targets are easier than ours by
/// 65536/65535 (rule 23). Its shares in between never go upstream, but they are no fault of the
/// miner.
const PDIFF_RATIO: f64 = 1.000_015_3;

/// What is wanted comes out of divisions: so little below a power of two it is one.
const ROUNDING: f64 = 1.0 + 1e-9;

/// The easiest and hardest difficulty that is ever sent: 2^-40 and 2^80.
const EXPONENT_RANGE: std::ops::RangeInclusive<i32> = -40..=80;

/// The difficulty to tell a miner that should have `wanted`, on jobs of which the hardest to tell
/// is `difficulty_max`: a power of two (rule 22), not above either.
pub fn advertised(wanted: f64, difficulty_max: f64) -> f64 {
    2_f64.powi(floor_of_log2(ROUNDING * wanted)).min(difficulty_max)
}

/// The hardest difficulty to tell a miner on jobs that the upstream gave with `upstream_target`: a
/// harder one would hold back shares that it waits for.
pub fn difficulty_max_at(upstream_target: Target) -> f64 {
    let mut exponent = floor_of_log2(ROUNDING * upstream_target.difficulty());
    // The division that made a difficulty of the target may have rounded up.
    while Target::from_difficulty(2_f64.powi(exponent)) < upstream_target
        && EXPONENT_RANGE.contains(&(exponent - 1))
    {
        exponent -= 1;
    }
    2_f64.powi(exponent)
}

/// The least difficulty to tell a miner that must not have an easier one than `least`: `advertised`
/// would round that down.
pub fn least_advertised(least: f64) -> f64 {
    let below = 2_f64.powi(floor_of_log2(least));
    if below < least { 2.0 * below } else { below }
}

/// The largest power of two at or below `value`, as an exponent: that of the number's own form
/// (IEEE 754). What is no positive number counts as the easiest. It is asked for each job of each
/// miner.
fn floor_of_log2(value: f64) -> i32 {
    let (least, most) = (*EXPONENT_RANGE.start(), *EXPONENT_RANGE.end());
    if value.is_nan() || value <= 0.0 {
        return least;
    }
    let exponent = i32::try_from((value.to_bits() >> 52) & 0x7ff).unwrap_or_default();
    (exponent - 1023).clamp(least, most)
}

/// The target that a share of a job advertised at `difficulty` has to meet.
pub fn share_target(difficulty: f64) -> Target {
    Target::from_difficulty(difficulty / PDIFF_RATIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(wanted: f64, upstream: f64) -> f64 {
        advertised(wanted, difficulty_max_at(Target::from_difficulty(upstream)))
    }

    #[test]
    fn rule_22_difficulty_is_a_power_of_two_rounded_down() {
        assert_eq!(told(1.0, 1e9), 1.0);
        assert_eq!(told(1023.9, 1e9), 512.0);
        assert_eq!(told(1024.0, 1e9), 1024.0);
        assert_eq!(told(0.3, 1e9), 0.25);
        assert_eq!(told(0.000_15, 1e9), 2_f64.powi(-13));
    }

    #[test]
    fn no_miner_is_told_more_than_the_upstream_asks() {
        assert_eq!(told(1e6, 100.0), 64.0);
        assert_eq!(told(1e6, 64.0), 64.0);
        assert_eq!(told(1e6, 63.999), 32.0);
        for nbits in [0x207f_ffff, 0x1d00_ffff, 0x1b04_04cb] {
            let upstream = Target::from_nbits(nbits).unwrap();
            let difficulty = advertised(1e20, difficulty_max_at(upstream));
            let target = Target::from_difficulty(difficulty);
            assert!(target >= upstream, "{nbits:08x}");
        }
    }

    #[test]
    fn the_least_difficulty_is_a_power_of_two_rounded_up() {
        let cases = [(1000.0, 1024.0), (1024.0, 1024.0), (1024.1, 2048.0), (0.3, 0.5), (0.5, 0.5)];
        for (least, told) in cases {
            assert_eq!(least_advertised(least), told, "{least}");
        }
        for least in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(least_advertised(least) > 0.0, "{least}");
        }
    }

    #[test]
    fn difficulty_is_never_zero_negative_or_endless() {
        for wanted in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            let told = told(wanted, 1.0);
            assert!(told > 0.0 && told <= 1.0, "{wanted}: {told}");
        }
        assert!(advertised(1.0, difficulty_max_at(Target::MAX)) > 0.0);
    }

    /// Flaw 8: a V1 share is compared with its target as an integer, whichever way its client
    /// rounds.
    #[test]
    fn rule_23_a_pdiff_share_of_bfgminer_is_taken() {
        // bfgminer's target of difficulty 1: 0x00000000ffffffff and 24 bytes of ff.
        let mut pdiff_one = [0xff; 32];
        pdiff_one[28..].fill(0);
        assert!(!Target::from_difficulty(1.0).is_met_by(&pdiff_one));
        assert!(share_target(1.0).is_met_by(&pdiff_one));
        assert!(!share_target(1.001).is_met_by(&pdiff_one));
    }
}
