//! Work that is paid for when it is done, at a fixed rate (FPPS): the pool bears the luck.
//!
//! A share is credited with what its work is worth on average, less the fee, in parts of a satoshi
//! so small that rounding is nothing. Whole satoshis are owed, and paid from the wallet. Pure, and
//! integers only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mining::target::Hashes;
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};

use super::WHOLE_BASIS_POINTS;
use super::names::Names;
use super::proof::text;

/// Earnings are counted in satoshis over 2^64: 21 million bitcoins take 115 bits.
const FRACTION_BITS: usize = 64;
/// So long after the last share less than a satoshi is kept.
const DUST_MINUTES: u64 = 24 * 60;

/// What work is worth. It stands in the log, and counts for the shares behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Satoshis of a block that count: the subsidy, and what is credited of the fees.
    pub value: u64,
    /// Hashes that a block takes on average.
    #[serde(with = "text")]
    pub work: Hashes,
    /// The pool's part, in hundredths of a percent; at most 10,000.
    pub fee_basis_points: u16,
}

impl Rate {
    /// What a share is worth. One whose target is harder than the block's is a block and no more:
    /// it finds no two of them.
    fn worth_of_share(&self, work: Hashes) -> u128 {
        self.worth(Hashes(work.0.min(self.work.0.max(1))))
    }

    /// What `work` is worth, in satoshis over 2^64, rounded down.
    fn worth(&self, work: Hashes) -> u128 {
        let kept = WHOLE_BASIS_POINTS.saturating_sub(self.fee_basis_points);
        let value = U256::from(self.value) * U256::from(kept);
        let whole = U256::from(self.work.0.max(1)) * U256::from(WHOLE_BASIS_POINTS);
        // 51 bits of satoshis, 14 of basis points and 128 of work are below 256 with 63 to spare:
        // the fraction takes two steps.
        let (satoshis, rest) = (value * U256::from(work.0)).div_rem(whole);
        if satoshis > U256::from(u64::MAX) {
            return u128::MAX;
        }
        let half = FRACTION_BITS / 2;
        let (high, rest) = (rest << half).div_rem(whole);
        let (low, _) = (rest << half).div_rem(whole);
        let worth = (satoshis << FRACTION_BITS) + (high << half) + low;
        worth.saturating_to()
    }
}

/// What everybody has earned and was not paid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FixedRate {
    rate: Option<Rate>,
    earned: BTreeMap<Arc<str>, Earned>,
    /// Work from before the first rate: it counts at that.
    waiting: BTreeMap<Arc<str>, Hashes>,
}

/// One account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Earned {
    /// In satoshis over 2^64.
    parts: u128,
    /// The minute since 1970 of its last share.
    worked_at: u64,
}

/// All that [`FixedRate`] knows, with numbers for names, and text for what is no JSON number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedFixedRate {
    rate: Option<Rate>,
    earned: Vec<(u32, String)>,
    waiting: Vec<(u32, String)>,
    /// When they worked last, in the order of `earned`.
    #[serde(default)]
    worked_at: Vec<u64>,
}

impl FixedRate {
    /// Credits a share's work at the present rate, at `minute` since 1970.
    pub fn credit(&mut self, minute: u64, account: &Arc<str>, work: Hashes) {
        match self.rate {
            Some(rate) => {
                let earned = self.add(account, rate.worth_of_share(work));
                earned.worked_at = earned.worked_at.max(minute);
            }
            None => {
                let sum = self.waiting.entry(Arc::clone(account)).or_default();
                *sum = sum.plus(work);
            }
        }
    }

    /// From here on work is worth this.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = Some(rate);
        for (account, work) in std::mem::take(&mut self.waiting) {
            self.add(&account, rate.worth(work));
        }
    }

    /// What work is worth now; none before the first rate.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Whole satoshis that are owed to an account.
    pub fn owed(&self, account: &str) -> u64 {
        self.earned.get(account).map_or(0, |earned| whole(earned.parts))
    }

    /// All accounts that are owed at least a satoshi.
    pub fn open(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let all = self.earned.iter().map(|(account, earned)| (account, whole(earned.parts)));
        all.filter(|(_, owed)| *owed > 0)
    }

    /// Takes off what is paid; false, and nothing is changed, if so much is not owed.
    #[must_use]
    pub fn pay(&mut self, account: &str, satoshis: u64) -> bool {
        let paid = u128::from(satoshis) << FRACTION_BITS;
        let Some(earned) = self.earned.get_mut(account) else {
            return satoshis == 0;
        };
        let left = earned.parts.checked_sub(paid);
        earned.parts = left.unwrap_or(earned.parts);
        left.is_some()
    }

    /// What was paid was not: it is owed again.
    pub fn take_back(&mut self, account: &Arc<str>, satoshis: u64) {
        self.add(account, u128::from(satoshis) << FRACTION_BITS);
    }

    /// Gives up less than a satoshi of who has sent no share for a day before `minute`, for it
    /// would keep an account for ever; who works on may need longer for his first one.
    pub fn forget_dust(&mut self, minute: u64) {
        let is_kept = |earned: &Earned| {
            whole(earned.parts) > 0 || earned.worked_at.saturating_add(DUST_MINUTES) >= minute
        };
        self.earned.retain(|_, earned| is_kept(earned));
    }

    /// What an account has earned beside whole satoshis, in satoshis over 2^64.
    pub fn dust(&self, account: &str) -> u128 {
        let fraction = u128::from(u64::MAX);
        self.earned.get(account).map_or(0, |earned| earned.parts & fraction)
    }

    /// Gives up what some accounts have earned, and work that waits for a rate.
    pub fn forget(&mut self, accounts: &BTreeSet<Arc<str>>) {
        self.earned.retain(|account, _| !accounts.contains(account));
        self.waiting.retain(|account, _| !accounts.contains(account));
    }

    /// All of it, for the disk.
    pub fn saved(&self, names: &mut Names) -> SavedFixedRate {
        let worked_at = self.earned.values().map(|it| it.worked_at).collect();
        let earned = self.earned.iter();
        let earned = earned.map(|(name, it)| (names.number(name), it.parts.to_string())).collect();
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|(name, it)| (names.number(name), it.0.to_string())).collect();
        SavedFixedRate { rate: self.rate, earned, waiting, worked_at }
    }

    /// The same again; `None` if it names somebody whom `names` do not know.
    pub fn restored(saved: SavedFixedRate, names: &Names) -> Option<Self> {
        let read = |(name, number): (u32, String)| {
            Some((Arc::clone(names.name(name)?), number.parse::<u128>().ok()?))
        };
        // One that was written before says nothing of when they worked.
        let worked_at = saved.worked_at.into_iter().chain(std::iter::repeat(0));
        let earned = saved.earned.into_iter().map(read).collect::<Option<Vec<_>>>()?;
        let earned = earned.into_iter().zip(worked_at);
        let earned = earned.map(|((name, parts), worked_at)| (name, Earned { parts, worked_at }));
        let earned = earned.collect();
        let waiting = saved.waiting.into_iter().map(read).collect::<Option<Vec<_>>>()?;
        let waiting = waiting.into_iter().map(|(name, work)| (name, Hashes(work))).collect();
        Some(Self { rate: saved.rate, earned, waiting })
    }

    fn add(&mut self, account: &Arc<str>, parts: u128) -> &mut Earned {
        let earned = self.earned.entry(Arc::clone(account)).or_default();
        earned.parts = earned.parts.saturating_add(parts);
        earned
    }
}

fn whole(earned: u128) -> u64 {
    u64::try_from(earned >> FRACTION_BITS).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { value: 312_500_000, work: Hashes(1 << 40), fee_basis_points: 200 };

    fn ann() -> Arc<str> {
        "ann".into()
    }

    #[test]
    fn the_work_of_a_block_is_worth_its_value_less_the_fee_however_it_is_cut() {
        let (mut fixed, parts) = (FixedRate::default(), 1 << 20);
        fixed.set_rate(RATE);
        for _ in 0..parts {
            fixed.credit(1, &ann(), Hashes((1 << 40) / parts));
        }
        assert_eq!(fixed.owed("ann"), 306_250_000);
    }

    #[test]
    fn work_counts_at_the_rate_of_its_time_and_the_first_of_all_at_the_first_rate() {
        let mut fixed = FixedRate::default();
        fixed.credit(1, &ann(), Hashes(1 << 39));
        assert_eq!(fixed.open().count(), 0, "nobody knows what it is worth");
        fixed.set_rate(RATE);
        assert_eq!(fixed.owed("ann"), 153_125_000);
        fixed.set_rate(Rate { value: 1_000_000, fee_basis_points: 0, ..RATE });
        fixed.credit(1, &ann(), Hashes(1 << 39));
        assert_eq!(fixed.owed("ann"), 153_125_000 + 500_000);
    }

    #[test]
    fn a_share_is_worth_one_block_at_most_however_much_work_it_says() {
        let mut fixed = FixedRate::default();
        fixed.set_rate(RATE);
        fixed.credit(1, &ann(), Hashes((1 << 40) + 1));
        assert_eq!(fixed.owed("ann"), 306_250_000);
        fixed.credit(1, &ann(), Hashes(u128::MAX));
        assert_eq!(fixed.owed("ann"), 2 * 306_250_000);
    }

    #[test]
    fn what_is_paid_is_owed_no_more_and_no_more_than_is_owed_is_paid() {
        let mut fixed = FixedRate::default();
        fixed.set_rate(RATE);
        fixed.credit(1, &ann(), Hashes(1 << 40));
        assert!(fixed.pay("ann", 306_000_000));
        assert!(!fixed.pay("ann", 250_001) && !fixed.pay("bob", 1));
        assert_eq!(fixed.owed("ann"), 250_000);
        fixed.take_back(&ann(), 306_000_000);
        assert_eq!(fixed.owed("ann"), 306_250_000);
    }

    #[test]
    fn less_than_a_satoshi_is_kept_for_who_works_on_and_given_up_a_day_after_the_last_share() {
        let mut fixed = FixedRate::default();
        fixed.set_rate(RATE);
        // A third of a satoshi each ten hours, and the table is full all the time.
        let work = Hashes((1 << 40) / 306_250_000 / 3 + 1);
        for share in 1..=3 {
            fixed.credit(share * 600, &ann(), work);
            fixed.forget_dust(share * 600 + 599);
        }
        assert_eq!(fixed.owed("ann"), 1);
        fixed.credit(1_800, &"bob".into(), work);
        fixed.forget_dust(1_800 + DUST_MINUTES);
        assert_eq!(fixed.earned.len(), 2);
        fixed.forget_dust(1_801 + DUST_MINUTES);
        assert_eq!((fixed.earned.len(), fixed.owed("ann")), (1, 1));
    }

    proptest! {
        /// The reference: exact to the last part, in numbers that cannot overflow.
        #[test]
        fn no_part_of_a_satoshi_is_credited_that_was_not_earned(
            value in 0..=2_100_000_000_000_000_u64,
            network in 1..=u128::MAX,
            work in any::<u64>(),
            fee_basis_points in 0..=10_000_u16,
        ) {
            use ruint::Uint;
            type U512 = Uint<512, 8>;
            let rate = Rate { value, work: Hashes(network), fee_basis_points };
            let kept = U512::from(10_000 - fee_basis_points);
            let product = U512::from(value) * kept * U512::from(work);
            let exact: U512 = (product << 64) / (U512::from(network) * U512::from(10_000));
            let worth = U512::from(rate.worth(Hashes(work.into())));
            prop_assert_eq!(worth, exact.min(U512::from(u128::MAX)));
        }
    }
}
