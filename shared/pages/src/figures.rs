//! Numbers and times as people read them.

use maud::{Markup, html};
use service::calendar::date;

/// Three digits, a letter and the unit.
fn scaled(value: f64, unit: &str) -> String {
    let letters = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let mut value = value.max(0.0);
    let mut letters = letters.into_iter();
    let mut letter = letters.next().unwrap_or_default();
    while value >= 999.5 {
        let Some(next) = letters.next() else { break };
        (value, letter) = (value / 1_000.0, next);
    }
    let digits = match value {
        ..9.995 if letter.is_empty() && value.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}\u{a0}{letter}{unit}")
}

/// `1.23 MH/s`.
pub fn hashrate(value: f64) -> String {
    scaled(value, "H/s")
}

/// A difficulty: large ones with a letter, small ones with all that they have.
pub fn difficulty(value: f64) -> String {
    match value {
        1.0.. => scaled(value, "").trim_end().to_owned(),
        0.0 => "0".to_owned(),
        _ => {
            let text = format!("{value:.2e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{digits}\u{a0}×\u{a0}10{}", raised(exponent))
        }
    }
}

/// A whole number as an exponent.
fn raised(number: &str) -> String {
    let letter = |it: char| match it {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        it => it.to_digit(10).and_then(|it| char::from_u32(0x2070 + it)).unwrap_or(it),
    };
    number.chars().map(letter).collect()
}

/// Thousands apart.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// How long ago, so coarse that it seldom changes; with the time itself for who wants to know.
pub fn ago(time_ms: u64, now_ms: u64) -> Markup {
    html! {
        time datetime=(utc(time_ms)) title=(utc(time_ms)) {
            @match now_ms.saturating_sub(time_ms) / 1_000 {
                0..5 => "just now",
                seconds => { (span(seconds)) " ago" },
            }
        }
    }
}

/// A length of time in words.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..5 => "a moment".to_owned(),
        5..60 => format!("{}\u{a0}s", seconds / 5 * 5),
        60..3_600 => format!("{}\u{a0}min", seconds / 60),
        3_600..172_800 => format!("{}\u{a0}h", seconds / 3_600),
        _ => format!("{}\u{a0}days", seconds / 86_400),
    }
}

/// `2026-11-21 17:48 UTC`.
pub fn utc(time_ms: u64) -> String {
    let (year, month, day) = date(time_ms / 86_400_000);
    let minutes = time_ms / 60_000 % 1_440;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// `17:48`.
pub fn clock(time_s: u64) -> String {
    let minutes = time_s / 60 % 1_440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A long name: its start and its end, the whole of it for who asks.
pub fn short(text: &str, ends: usize) -> Markup {
    let count = text.chars().count();
    let start: String = text.chars().take(ends).collect();
    let end: String = text.chars().skip(count.saturating_sub(ends)).collect();
    html! {
        @if count <= ends * 2 + 1 { (text) }
        @else { span title=(text) { (start) "…" (end) } }
    }
}

/// A hash: its zeros say nothing, its end says which one it is.
pub fn hash(text: &str) -> Markup {
    let end: String = text.chars().skip(text.chars().count().saturating_sub(10)).collect();
    html! { span.mono title=(text) { "…" (end) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn hashrates_have_three_digits() {
        let cases = [
            (0.0, "0 H/s"),
            (12.34, "12.3 H/s"),
            (999.6, "1.00 kH/s"),
            (1_234_567.0, "1.23 MH/s"),
            (3.97e15, "3.97 PH/s"),
        ];
        for (value, expected) in cases {
            assert_eq!(plain(&hashrate(value)), expected);
        }
    }

    #[test]
    fn difficulties_below_one_keep_their_digits() {
        assert_eq!(plain(&difficulty(110.4e12)), "110 T");
        assert_eq!(plain(&difficulty(1.0)), "1");
        assert_eq!(plain(&difficulty(4.656_5e-10)), "4.66 × 10⁻¹⁰");
    }

    #[test]
    fn times_are_coarse() {
        let spans = [0, 7, 61, 7_199, 172_800].map(|it| plain(&span(it)));
        assert_eq!(spans, ["a moment", "5 s", "1 min", "1 h", "2 days"]);
        assert_eq!(utc(1_700_000_000_123), "2023-11-14 22:13 UTC");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
