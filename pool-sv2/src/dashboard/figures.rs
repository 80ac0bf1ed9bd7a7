//! Money, and numbers that may be missing, as people read them; what others show as well is in
//! `pages::figures`.

pub(super) use pages::figures::{ago, clock, count, difficulty, hash, hashrate, short, span, utc};

use crate::coin::UNITS;

/// The difficulty of a best share, if there is one.
pub(super) fn best(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), difficulty)
}

/// Of a block, if its template told it.
pub(super) fn height(value: Option<u32>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| count(value.into()))
}

/// Smallest units as coins, all that they have after the point, and at least two digits.
pub(super) fn coins(smallest: u64, symbol: &str) -> String {
    let rest = format!("{:08}", smallest % UNITS);
    let rest = rest.trim_end_matches('0');
    format!("{}.{rest:0<2}\u{a0}{symbol}", count(smallest / UNITS))
}

/// The same for what may be below zero.
pub(super) fn signed_coins(smallest: i64, symbol: &str) -> String {
    let sign = if smallest < 0 { "\u{2212}" } else { "" };
    format!("{sign}{}", coins(smallest.unsigned_abs(), symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn coins_lose_no_smallest_unit() {
        assert_eq!(plain(&coins(5_000_002_110, "BTC")), "50.0000211 BTC");
        assert_eq!(plain(&coins(312_500_000_000, "XYZ")), "3 125.00 XYZ");
        assert_eq!(plain(&coins(1, "BTC")), "0.00000001 BTC");
        assert_eq!(plain(&signed_coins(-50_000_000, "XYZ")), "\u{2212}0.50 XYZ");
    }
}
