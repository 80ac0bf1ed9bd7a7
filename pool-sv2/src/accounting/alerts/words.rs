//! Names, amounts and spans of time as they stand in alerts.
//!
//! Names of workers are the miners' own words: they are shortened, and signs that a service could
//! take for something else are left out.

use crate::coin::UNITS;

/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 24;

/// `3.125 BTC`: no digit more than it needs.
pub(super) fn coins(smallest: u64, symbol: &str) -> String {
    let text = format!("{}.{:08}", smallest / UNITS, smallest % UNITS);
    format!("{} {symbol}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `account.worker`, short enough for a phone.
pub(super) fn miner(account: &str, worker: &str) -> String {
    let account = short(account);
    match worker.is_empty() {
        true => account,
        false => format!("{account}.{}", short(worker)),
    }
}

fn short(name: &str) -> String {
    let is_plain = |one: char| one.is_alphanumeric() || "-_.+".contains(one);
    let plain: Vec<_> = name.chars().map(|one| if is_plain(one) { one } else { '?' }).collect();
    if plain.len() <= NAME_CHARACTERS_MAX {
        return plain.into_iter().collect();
    }
    let half = NAME_CHARACTERS_MAX / 3;
    let (start, rest) = plain.split_at(half);
    let end = rest.split_at(rest.len().saturating_sub(half)).1;
    start.iter().chain(&['…']).chain(end).collect()
}

/// `3 hours`, `12 minutes`.
pub(super) fn span(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..=119 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miners_name_is_nothing_but_a_name() {
        assert_eq!(miner("@everyone", "[x](http://y)\n"), "?everyone.?x??http???y??");
        assert_eq!(miner("alice", ""), "alice");
    }

    #[test]
    fn amounts_and_spans_have_no_digit_more_than_they_need() {
        let texts = [0, 1, 312_500_000, 500_000_000].map(|value| coins(value, "BTC"));
        assert_eq!(texts, ["0 BTC", "0.00000001 BTC", "3.125 BTC", "5 BTC"]);
        let texts = [0, 600_000, 7_200_000].map(span);
        assert_eq!(texts, ["a minute", "10 minutes", "2 hours"]);
    }
}
