//! The window holds what a slow and simple one holds.

use proptest::prelude::*;

use super::*;

fn accounts() -> [Arc<str>; 3] {
    ["ann", "bob", "cy"].map(Arc::from)
}

/// What was credited, kept as it came.
type Credits = Vec<(u64, usize, u64)>;

fn window_of(credits: &Credits) -> Window {
    let accounts = accounts();
    let mut window = Window::default();
    for (minute, account, work) in credits {
        window.credit(*minute, &accounts[*account], Hashes(u128::from(*work)));
    }
    window
}

/// The reference: where a credit stands in time is reckoned anew from the whole history.
fn slow_newest_work(credits: &Credits, size: u128) -> BTreeMap<Arc<str>, u128> {
    let accounts = accounts();
    let now = credits.iter().map(|credit| credit.0).max().unwrap_or(0);
    let mut spans: BTreeMap<u64, BTreeMap<usize, u128>> = BTreeMap::new();
    let mut newest = 0;
    for (minute, account, work) in credits {
        newest = newest.max(*minute);
        let start = span_start(newest, now);
        *spans.entry(start).or_default().entry(*account).or_default() += u128::from(*work);
    }
    let (mut left, mut found) = (size, BTreeMap::new());
    for span in spans.values().rev() {
        let total: u128 = span.values().sum();
        for (account, work) in span {
            let part = if total > left { work * left / total } else { *work };
            if part > 0 {
                *found.entry(Arc::clone(&accounts[*account])).or_default() += part;
            }
        }
        if total > left {
            break;
        }
        left -= total;
    }
    found
}

/// Where the slice begins that `minute` is in by the time of `now`. Slices become longer one tier
/// after the other, each by its own start.
fn span_start(minute: u64, now: u64) -> u64 {
    let mut start = minute;
    for (tier, next) in TIERS.iter().zip(&TIERS[1..]) {
        if start + tier.minutes + tier.kept > now {
            break;
        }
        start -= start % next.minutes;
    }
    start
}

fn sums(window: &Window, size: u128) -> BTreeMap<Arc<str>, u128> {
    window.newest_work(Hashes(size)).into_iter().map(|(who, work)| (who, work.0)).collect()
}

#[test]
fn the_newest_work_counts_and_the_oldest_slice_in_part() {
    let window = window_of(&vec![(1, 0, 60), (1, 1, 40), (2, 1, 50), (3, 2, 30)]);
    let [ann, bob, cy] = accounts();
    assert_eq!(sums(&window, 30), BTreeMap::from([(cy.clone(), 30)]));
    assert_eq!(sums(&window, 100), BTreeMap::from([(ann, 12), (bob, 58), (cy, 30)]));
    assert_eq!(sums(&window, u128::MAX).values().sum::<u128>(), 180);
}

#[test]
fn a_clock_that_goes_back_counts_for_the_newest_minute() {
    let (back, on) = (vec![(5, 0, 1), (3, 1, 1)], vec![(5, 0, 1), (5, 1, 1)]);
    assert_eq!(window_of(&back), window_of(&on));
}

/// Without that, all work of ten years to come would be in one slice.
#[test]
fn what_a_clock_dated_ahead_counts_as_of_the_time_when_it_was_set_right() {
    let ahead = 1_000 + 10 * 365 * DAY;
    let mut window =
        window_of(&vec![(900, 2, 7), (1_000, 0, 5), (ahead, 0, 50), (ahead + 90, 0, 1)]);
    let [ann, bob, cy] = accounts();
    for minute in 1_010..1_020 {
        window.credit(minute, &bob, Hashes(10));
    }
    assert_eq!(sums(&window, 30), BTreeMap::from([(bob.clone(), 30)]), "the newest work counts");
    let all = BTreeMap::from([(ann.clone(), 56), (bob, 100), (cy, 7)]);
    assert_eq!(sums(&window, u128::MAX), all, "and none is lost");
    assert_eq!(sums(&window, 151).get(&ann), Some(&51), "it is older than what came after");
}

#[test]
fn ten_years_take_few_slices() {
    let credits = (0..10 * 365).map(|day| (day * 1_440, 0, 1)).collect();
    let slices: usize = window_of(&credits).tiers.iter().map(VecDeque::len).sum();
    assert!(slices < 3_700, "{slices}");
    let busy = (0..30 * 1_440).map(|minute| (minute, 0, 1)).collect();
    let slices: usize = window_of(&busy).tiers.iter().map(VecDeque::len).sum();
    assert!(slices < 120 + 150 + 170 + 30, "{slices}");
}

fn credits() -> impl Strategy<Value = Credits> {
    let step = prop_oneof![Just(0), 0..5_u64, 0..2_000_u64];
    prop::collection::vec((step, 0..3_usize, 0..1_000_u64, any::<bool>()), 0..200).prop_map(
        |steps| {
            let mut now = 1_000_000;
            let credit = |(step, account, work, back)| {
                now += step;
                // Now and then a clock goes back.
                (if back && step > 4 { now - 3 } else { now }, account, work)
            };
            steps.into_iter().map(credit).collect()
        },
    )
}

proptest! {
    #[test]
    fn it_holds_what_the_slow_one_holds(credits in credits(), size in 0..100_000_u128) {
        prop_assert_eq!(sums(&window_of(&credits), size), slow_newest_work(&credits, size));
    }

    #[test]
    fn it_is_as_large_as_asked_but_for_what_is_rounded(
        credits in credits(),
        size in 1..100_000_u128,
    ) {
        let all: u128 = credits.iter().map(|credit| u128::from(credit.2)).sum();
        let sum: u128 = sums(&window_of(&credits), size).values().sum();
        prop_assert!(sum <= size.min(all) && sum + 3 > size.min(all), "{sum}");
    }

    #[test]
    fn what_is_forgotten_was_beyond_it(
        credits in credits(),
        more in credits(),
        size in 0..50_000_u128,
    ) {
        let mut window = window_of(&credits);
        window.forget_beyond(Hashes(size));
        let accounts = accounts();
        for (minute, account, work) in &more {
            window.credit(minute + 100_000, &accounts[*account], Hashes(u128::from(*work)));
        }
        let more = more.iter().map(|credit| (credit.0 + 100_000, credit.1, credit.2));
        let all: Credits = credits.iter().copied().chain(more).collect();
        prop_assert_eq!(sums(&window, size), sums(&window_of(&all), size));
    }
}

/// A pool that finds no block for years trims nothing otherwise.
#[test]
fn days_of_too_many_accounts_are_given_up_oldest_first_and_the_newest_work_is_not() {
    let mut window = Window { day_accounts_max: 30, ..Window::default() };
    let names: Vec<Arc<str>> = (0..10).map(|it| format!("{it}").into()).collect();
    for day in 0..400 {
        for name in &names {
            window.credit(day * DAY, name, Hashes(1));
        }
    }
    let [.., days] = &window.tiers;
    assert_eq!(days.len(), 3);
    let all: u128 = window.newest_work(Hashes(u128::MAX)).values().map(|it| it.0).sum();
    let finer: u128 = window.tiers[..3].iter().flatten().map(|slice| slice.total.0).sum();
    assert!(finer >= 70, "a week and more is in finer slices: {finer}");
    assert_eq!(all, 30 + finer);
}
