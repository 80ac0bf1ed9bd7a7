//! Splits money in proportion to work, to the last satoshi.
//!
//! Integers only: nothing here rounds twice, and what goes in comes out.

use ruint::aliases::U256;

/// Splits `value` satoshis in proportion to `weights`: each gets its exact part rounded down, and
/// the satoshis that are left go one by one to the largest fractions, the earlier weight first
/// where they are equal (the method of largest remainders). `None` if all weights are zero.
pub(super) fn apportion(value: u64, weights: &[u128]) -> Option<Vec<u64>> {
    let total = weights.iter().fold(U256::ZERO, |sum, weight| sum + U256::from(*weight));
    if total.is_zero() {
        return None;
    }
    let (mut parts, fractions): (Vec<u64>, Vec<U256>) =
        weights.iter().map(|weight| part(value, *weight, total)).unzip();
    let given = parts.iter().sum::<u64>();
    let mut by_fraction: Vec<_> = (0..weights.len()).collect();
    // A stable sort: of equal fractions the earlier weight stays first.
    by_fraction.sort_by(|a, b| fractions.get(*b).cmp(&fractions.get(*a)));
    let left = usize::try_from(value - given).unwrap_or(usize::MAX);
    for index in by_fraction.into_iter().take(left) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    Some(parts)
}

/// floor(value * weight / total), and what that leaves of the product.
fn part(value: u64, weight: u128, total: U256) -> (u64, U256) {
    let (part, fraction) = (U256::from(value) * U256::from(weight)).div_rem(total);
    // No weight is above the total, so that no part is above the value.
    (part.saturating_to(), fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_gets_anything_for_no_work() {
        assert_eq!(apportion(5, &[]), None);
        assert_eq!(apportion(5, &[0, 0]), None);
    }

    #[test]
    fn what_does_not_divide_goes_to_the_largest_fractions() {
        assert_eq!(apportion(10, &[1, 1, 1]), Some(vec![4, 3, 3]));
        assert_eq!(apportion(100, &[2, 3, 1]), Some(vec![33, 50, 17]));
        assert_eq!(apportion(1, &[1, 2]), Some(vec![0, 1]));
    }

    #[test]
    fn no_number_is_too_large() {
        let parts = apportion(u64::MAX, &[u128::MAX, u128::MAX, u128::MAX]).unwrap();
        assert_eq!(parts, [u64::MAX / 3; 3]);
        assert_eq!(apportion(u64::MAX, &[u128::MAX]), Some(vec![u64::MAX]));
    }

    fn weights() -> impl Strategy<Value = Vec<u128>> {
        prop::collection::vec(prop_oneof![Just(0), 0..1_000_u128, any::<u128>()], 1..60)
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole_and_each_is_within_a_satoshi_of_exact(
            value in any::<u64>(),
            weights in weights(),
        ) {
            let Some(parts) = apportion(value, &weights) else {
                prop_assert!(weights.iter().all(|weight| *weight == 0));
                return Ok(());
            };
            let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
            prop_assert_eq!(sum, u128::from(value));
            let total = weights.iter().fold(U256::ZERO, |sum, weight| sum + U256::from(*weight));
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = U256::from(value) * U256::from(*weight);
                let low = U256::from(*part).saturating_sub(U256::from(1)) * total;
                let high = (U256::from(*part) + U256::from(1)) * total;
                prop_assert!(low <= exact && exact < high, "{part} for {weight}");
            }
        }

        #[test]
        fn more_work_never_pays_less(value in any::<u64>(), weights in weights()) {
            let Some(parts) = apportion(value, &weights) else { return Ok(()) };
            for (a, part_a) in weights.iter().zip(&parts) {
                for (b, part_b) in weights.iter().zip(&parts) {
                    // Equal work may differ by the one satoshi that does not divide.
                    prop_assert!(a <= b || part_a >= part_b, "{a} got {part_a}, {b} {part_b}");
                }
            }
        }
    }
}
