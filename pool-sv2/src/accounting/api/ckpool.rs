//! ckpool's files `pool/pool.status` and `users/ADDRESS`, by their shapes.
//!
//! ckpool weighs rejects by difficulty and decays rates over 15 minutes and 6 hours too; here they
//! are counted, and those rates are averages of slices of ten minutes. What was accepted and what
//! was rejected counts from the pool's last block on, as there.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{ACTIVE_MS, Asked, HASHES_OF_DIFFICULTY_1, LINES_MAX, Refusal, difficulty_of, float};
use crate::accounting::store::rates::Rates;
use crate::accounting::store::{Line, Reader, SLICE_SECONDS, Scope, Slice, Span, Total};

/// Slices of six hours.
const SIX_HOURS_SLICES: u64 = 36;

impl Asked<'_> {
    /// `/pool/pool.status`: three lines.
    pub(super) fn ckpool_status(&self) -> Result<String, Refusal> {
        let reader = self.reader;
        let active = reader.active(self.now_ms.saturating_sub(ACTIVE_MS))?;
        let rates = reader.rates(Scope::Pool, self.now_ms)?;
        let total = reader.total(Scope::Pool)?;
        let now_s = self.now_ms / 1_000;
        let six_hours_s = SIX_HOURS_SLICES * SLICE_SECONDS;
        let slices =
            reader.history(Scope::Pool, Span::Slice, now_s.saturating_sub(six_hours_s), now_s)?;
        let long = average(&slices, now_s, SIX_HOURS_SLICES);
        let short = average(&slices, now_s, 2);
        let [m1, m5, h1, d1, d7] = rates.per_second.map(suffixed);
        let (m15, h6) = (suffixed(short.hashes), suffixed(long.hashes));
        let round = reader.round()?;
        let (rejected, round) = (round.rejects, float(round.work) / HASHES_OF_DIFFICULTY_1);
        let network = self.api.mined().ok().map(|it| it.difficulty);
        let luck = network.map_or(0.0, |network| 100.0 * round / network.max(f64::MIN_POSITIVE));
        let (sps, best) = (rounded(short.shares), total.best_of_round.map_or(0.0, difficulty_of));
        let mut text = String::new();
        let lines = [
            json!({"runtime": now_s.saturating_sub(self.api.started_ms / 1_000),
                "lastupdate": now_s, "Users": active.accounts, "Workers": active.workers,
                "Idle": 0, "Disconnected": 0}),
            json!({"hashrate1m": m1, "hashrate5m": m5, "hashrate15m": m15, "hashrate1hr": h1,
                "hashrate6hr": h6, "hashrate1d": d1, "hashrate7d": d7}),
            json!({"diff": rounded(luck), "accepted": round.round(), "rejected": rejected,
                "bestshare": best.floor(), "SPS1m": sps, "SPS5m": sps, "SPS15m": sps,
                "SPS1h": rounded(average(&slices, now_s, 6).shares)}),
        ];
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        Ok(text)
    }

    /// `/users/ADDRESS`.
    pub(super) fn ckpool_user(&self, address: &str) -> Result<Value, Refusal> {
        let total = self.known_total(address)?;
        let rates = self.reader.rates(Scope::Account(address), self.now_ms)?;
        let lines = self.reader.workers(address, None, LINES_MAX, self.now_ms)?;
        let since_ms = self.now_ms.saturating_sub(ACTIVE_MS);
        let active = lines.iter().filter(|line| line.total.last_ms >= since_ms).count();
        let workers: Vec<_> = lines.iter().map(|line| worker(address, line)).collect();
        let mut user = sums(&total, &rates);
        if let Some(user) = user.as_object_mut() {
            user.insert("workers".to_owned(), active.into());
            user.insert("authorised".to_owned(), (total.first_ms / 1_000).into());
            user.insert("worker".to_owned(), workers.into());
        }
        Ok(user)
    }
}

fn worker(address: &str, line: &Line) -> Value {
    let name =
        if line.name.is_empty() { address.to_owned() } else { format!("{address}.{}", line.name) };
    let mut shown = sums(&line.total, &line.rates);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("workername".to_owned(), name.into());
    }
    shown
}

/// Shares are counted by their difficulty.
fn sums(total: &Total, rates: &Rates) -> Value {
    let [m1, m5, h1, d1, d7] = rates.per_second.map(suffixed);
    json!({
        "hashrate1m": m1,
        "hashrate5m": m5,
        "hashrate1hr": h1,
        "hashrate1d": d1,
        "hashrate7d": d7,
        "lastshare": total.last_ms / 1_000,
        "shares": (float(total.work) / HASHES_OF_DIFFICULTY_1).round(),
        "bestshare": total.best_of_round.map_or(0.0, difficulty_of),
        "bestever": total.best_ever.map_or(0.0, difficulty_of).floor(),
    })
}

/// Hashes and shares a second.
struct Average {
    hashes: f64,
    shares: f64,
}

/// Over the newest slices, of which the last one is not over yet.
fn average(slices: &[Slice], now_s: u64, count: u64) -> Average {
    let from_s = (now_s / SLICE_SECONDS).saturating_sub(count - 1) * SLICE_SECONDS;
    let seconds = float(now_s.saturating_sub(from_s).max(1).into());
    let newest = || slices.iter().filter(|it| it.start_s >= from_s);
    let hashes: f64 = newest().map(|it| float(it.work)).sum();
    let shares: f64 = newest().map(|it| float(it.shares.into())).sum();
    Average { hashes: hashes / seconds, shares: shares / seconds }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Three digits and a letter, as ckpool writes a hashrate.
fn suffixed(value: f64) -> String {
    let letters = ["", "K", "M", "G", "T", "P", "E", "Z"];
    let mut value = value;
    let mut letters = letters.into_iter();
    let mut letter = letters.next().unwrap_or_default();
    while value >= 1_000.0 {
        let Some(next) = letters.next() else { break };
        (value, letter) = (value / 1_000.0, next);
    }
    match value {
        _ if letter.is_empty() => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}{letter}"),
        ..10.0 => format!("{value:.2}{letter}"),
        _ => format!("{value:.0}{letter}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashrates_have_three_digits_and_a_letter() {
        let cases = [
            (0.0, "0"),
            (999.0, "999"),
            (1_234.0, "1.23K"),
            (98_765_432.0, "98.8M"),
            (3.97e15, "3.97P"),
            (1.14e17, "114P"),
            (5e24, "5000Z"),
        ];
        for (value, expected) in cases {
            assert_eq!(suffixed(value), expected);
        }
    }
}
