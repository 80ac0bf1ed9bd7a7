//! `pool-sv2 payout reserve`: reads the log for what the statistics need, and says what they give.

use std::collections::BTreeMap;

use anyhow::Context;
use service::program::{Failure, say};

use super::{WORST, expected_shortfall, reserve_for, ruin_probability};
use crate::accounting::bookkeeper::{KeepError, Sources};
use crate::accounting::log::LogError;
use crate::accounting::log::cursor::{Cursor, Place};
use crate::accounting::log::record::Record;
use crate::accounting::recompute::books_at;
use crate::coin::UNITS_AS_FLOAT;
use crate::payout::claims::Position;
use crate::payout::fixed::Rate;
use crate::shares::PAYS_SHARES;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// A reserve is named that is used up with this probability.
const ACCEPTED_RUIN: f64 = 0.01;

/// Says it.
pub(in crate::accounting) fn say_reserve(
    sources: &Sources,
    symbol: &str,
    reserve: u64,
    days: u16,
) -> Result<(), Failure> {
    let (books, _) = books_at(sources, Position::END).map_err(anyhow::Error::new)?;
    let rate = books.rate().context("the log has no rate: no port has paid for shares yet")?;
    let (owed, accounts) = books.earned().fold((0_u64, 0_usize), |(sum, count), (_, earned)| {
        (sum.saturating_add(earned), count + 1)
    });
    say(format_args!("owed now: {owed} sat to {accounts} accounts"));
    let Rate { value, fee_basis_points, .. } = rate;
    say(format_args!("a block is worth {value} sat; the fee is {fee_basis_points} basis points"));
    let work = worked(sources, days).map_err(KeepError::from).map_err(anyhow::Error::new)?;
    for line in lines(&rate, work, symbol, reserve, days) {
        say(line);
    }
    Ok(())
}

/// The hashes of the `days` before the log's last share at a fixed rate.
fn worked(sources: &Sources, days: u16) -> Result<u128, LogError> {
    let mut cursor = Cursor::new(sources.log.clone(), Place::default());
    let mut by_day: BTreeMap<u64, u128> = BTreeMap::new();
    let mut last_ms = 0;
    while cursor.read_frame(None, &mut |located| {
        let is_paid_for = located.earner.is_some_and(|it| it.payout_mode == PAYS_SHARES);
        if let Record::Share(share) = located.record
            && is_paid_for
        {
            last_ms = share.time_ms.max(last_ms);
            let sum = by_day.entry(share.time_ms / DAY_MS).or_default();
            *sum = sum.saturating_add(share.work);
        }
    })? {}
    let since = (last_ms / DAY_MS).saturating_sub(u64::from(days).saturating_sub(1));
    Ok(by_day.range(since..).fold(0, |sum, (_, work)| sum.saturating_add(*work)))
}

/// What the statistics give for miners who did `work` in so many days.
fn lines(rate: &Rate, work: u128, symbol: &str, reserve: u64, days: u16) -> Vec<String> {
    let fee = f64::from(rate.fee_basis_points) / 10_000.0;
    let expected = as_float(work) / as_float(rate.work.0.max(1));
    let value = as_float(rate.value.into());
    let shortfall = expected_shortfall(expected, fee) * value / UNITS_AS_FLOAT;
    let reserve_blocks = as_float(reserve.into()) / value.max(1.0);
    let gain = expected * fee * value / UNITS_AS_FLOAT;
    let mut lines = vec![
        format!("blocks expected in {days} days, by the work of the last ones: {expected:.3}"),
        format!("the fee brings {gain:.8} {symbol} in that time, on average"),
        format!("expected shortfall (the mean of the worst {WORST}): {shortfall:.8} {symbol}"),
        format!(
            "probability that a reserve of {reserve} sat ({reserve_blocks:.2} blocks) is ever used \
             up: {:.6}",
            ruin_probability(reserve_blocks, fee)
        ),
    ];
    lines.push(match reserve_for(ACCEPTED_RUIN, fee) {
        Some(blocks) => format!(
            "used up with a probability of {ACCEPTED_RUIN}: {:.8} {symbol} ({blocks:.2} blocks)",
            blocks * value / UNITS_AS_FLOAT
        ),
        None => "without a fee every reserve is used up some day".to_owned(),
    });
    lines
}

/// Near enough for statistics.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a report for people")]
fn as_float(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use mining::target::Hashes;

    use super::*;

    #[test]
    fn it_says_what_the_formulas_give() {
        let rate = Rate { value: 312_500_000, work: Hashes(1_000), fee_basis_points: 200 };
        let said = lines(&rate, 2_000, "XYZ", 3_125_000_000, 30).join("\n");
        assert_eq!(said.matches(" XYZ").count(), 3, "{said}");
        for expected in [
            "blocks expected in 30 days, by the work of the last ones: 2.000",
            "the fee brings 0.12500000 XYZ",
            "(10.00 blocks) is ever used up: 0.66",
            "used up with a probability of 0.01: 354.",
        ] {
            assert!(said.contains(expected), "{expected} in\n{said}");
        }
        let free = Rate { fee_basis_points: 0, ..rate };
        let said = lines(&free, 2_000, "XYZ", 1, 30).join("\n");
        assert!(said.contains("every reserve is used up"), "{said}");
    }
}
