//! How large a reserve a pool needs that pays at a fixed rate (FPPS): what luck alone may cost it.
//!
//! A report for people, and so with floats: nothing here is paid or kept. The pool finds blocks at
//! random (a Poisson process) and pays all the time. Times are counted in blocks that are expected,
//! money in blocks' values.

pub(super) mod report;

/// The part of cases that an expected shortfall is the mean of: the worst hundredth.
const WORST: f64 = 0.01;
/// More expected blocks are reckoned by the normal distribution, which is the same by then.
const EXACT_BLOCKS_MAX: f64 = 100_000.0;
/// The mean of the worst hundredth of a normal distribution, in standard deviations.
const NORMAL_SHORTFALL: f64 = 2.665_214_2;

/// The probability that a reserve of so many blocks is ever used up, however long the pool goes on,
/// with a fee of this part of a block; 1 without a fee.
///
/// Luck ruins by steady payment and not in jumps, so that the exponential is exact: it is the root
/// of exp(-x) = 1 - (1 - fee) x (the dual model of the theory of ruin).
fn ruin_probability(reserve_blocks: f64, fee: f64) -> f64 {
    (-exponent(fee) * reserve_blocks.max(0.0)).exp()
}

/// The reserve, in blocks, that is ever used up with this probability; none without a fee.
fn reserve_for(probability: f64, fee: f64) -> Option<f64> {
    let exponent = exponent(fee);
    (exponent > 0.0).then(|| -probability.ln() / exponent)
}

/// What the pool loses in the worst hundredth of cases on average, in blocks, while `expected` are
/// expected; below zero if it gains even then.
fn expected_shortfall(expected: f64, fee: f64) -> f64 {
    let paid = expected * (1.0 - fee);
    if expected > EXACT_BLOCKS_MAX {
        return NORMAL_SHORTFALL * expected.sqrt() - expected * fee;
    }
    // From no block on, the worst first, by logarithms: the first ones are very small.
    let (mut log_probability, mut blocks) = (-expected, 0.0);
    let (mut seen, mut loss) = (0.0, 0.0);
    while seen < WORST {
        let probability = f64::exp(log_probability).min(WORST - seen);
        loss += probability * (paid - blocks);
        seen += probability;
        blocks += 1.0;
        log_probability += f64::ln(expected.max(f64::MIN_POSITIVE)) - f64::ln(blocks);
        // No block is expected: all cases are the first one.
        if blocks > expected + 1.0 && probability == 0.0 {
            break;
        }
    }
    loss / WORST
}

/// The positive root of exp(-x) = 1 - (1 - fee) x; 0 if there is none.
fn exponent(fee: f64) -> f64 {
    if fee <= 0.0 {
        return 0.0;
    }
    let paid = (1.0 - fee).max(0.0);
    // The left side is above the right one behind the root, up to where all would be kept.
    let is_behind = |x: f64| f64::exp(-x) > 1.0 - paid * x;
    let (mut low, mut high) = (0.0, 1.0);
    while !is_behind(high) && high < 1e6 {
        (low, high) = (high, high * 2.0);
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if is_behind(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= 1e-3 * expected.abs().max(1e-9)
    }

    #[test]
    fn without_a_fee_ruin_is_certain_and_with_one_it_falls_with_the_reserve() {
        assert_eq!(ruin_probability(1_000.0, 0.0), 1.0);
        assert_eq!(reserve_for(0.01, 0.0), None);
        assert_eq!(ruin_probability(0.0, 0.02), 1.0);
        // For small fees the exponent is nearly twice the fee.
        assert!(is_near(exponent(0.001), 0.002_001_3), "{}", exponent(0.001));
        let reserve = reserve_for(0.01, 0.02).unwrap();
        assert!(is_near(ruin_probability(reserve, 0.02), 0.01));
        assert!((110.0..116.0).contains(&reserve), "{reserve}");
    }

    /// The reference: pools that live until they are ruined, or far from it.
    #[test]
    fn as_many_pools_are_ruined_as_it_says() {
        let (fee, reserve, pools) = (0.1, 5.0, 20_000);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX) + 1e-12
        };
        let mut ruined = 0;
        for _ in 0..pools {
            let mut left = reserve;
            while left > 0.0 && left < 60.0 {
                left += f64::ln(uniform()) * (1.0 - fee);
                left += if left > 0.0 { 1.0 } else { 0.0 };
            }
            ruined += i32::from(left <= 0.0);
        }
        let (seen, said) = (f64::from(ruined) / f64::from(pools), ruin_probability(reserve, fee));
        assert!((seen - said).abs() < 0.015, "{seen} of pools, not {said}");
    }

    #[test]
    fn the_worst_hundredth_is_no_block_where_few_are_expected_and_normal_where_many_are() {
        assert!(is_near(expected_shortfall(0.5, 0.02), 0.49));
        let (exact, normal) = (expected_shortfall(10_000.0, 0.0), NORMAL_SHORTFALL * 100.0);
        assert!((exact - normal).abs() < 0.02 * normal, "{exact} and {normal}");
        assert_eq!(expected_shortfall(0.0, 0.02), 0.0);
    }
}
