//! Days counted since 1970 as dates, for people and for other programs' forms. It reads no clock.

/// The date so many days after 1970-01-01, as year, month and day in UTC, reckoned in years that
/// begin in March, so that a leap day is the last one.
pub fn date(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let is_after_december = month >= 10;
    let month = if is_after_december { month - 9 } else { month + 3 };
    (year + era * 400 + u64::from(is_after_december), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_come_every_four_years_but_not_in_2100() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!((date(11_016), date(11_017)), ((2000, 2, 29), (2000, 3, 1)));
        assert_eq!((date(47_540), date(47_541)), ((2100, 2, 28), (2100, 3, 1)));
    }
}
