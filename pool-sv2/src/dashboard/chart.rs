//! Hashrate over time, as bars of ten minutes.
//!
//! Hand-written SVG: its bars take their colours from the style sheet, so that they are right by
//! day and by night and under a policy that allows no inline style, and stretch to any width while
//! the words beside them stay as large as they are. A plotting library draws fixed colours and
//! sizes, words among them.

use maud::{Markup, html};

use super::answers::History;
use super::figures::{clock, hashrate, span};

/// Bars of a day.
const BARS_MAX: u64 = 144;
/// A pool that is new has a shorter time to show.
const BARS_MIN: u64 = 18;
/// The height of the drawing in its own units.
const HEIGHT: f64 = 100.0;
/// A bar's width in the same; a tenth of it on either side stays free.
const BAR: f64 = 10.0;

/// What a chart shows: spans of time, each with its hashrate.
pub(super) struct Chart {
    bars: Vec<Bar>,
    span_s: u64,
    now_s: u64,
}

struct Bar {
    start_s: u64,
    /// Hashes a second.
    rate: f64,
    shares: u64,
    /// True for the one that is not over.
    is_open: bool,
}

impl Chart {
    /// The newest day of it, or less if the first share is younger; a rate is the work of a span
    /// divided by as much of it as has passed.
    pub(super) fn new(history: &History, first_share_ms: u64, now_ms: u64) -> Self {
        let (span_s, now_s) = (history.span_s.max(1), now_ms / 1_000);
        let open_s = now_s / span_s * span_s;
        let first_s = first_share_ms / 1_000;
        let age = open_s.saturating_sub(first_s / span_s * span_s) / span_s + 1;
        let count = age.clamp(BARS_MIN, BARS_MAX);
        let bar = |back: u64| {
            let start_s = open_s.saturating_sub(back.saturating_mul(span_s));
            let found = history.spans.iter().find(|it| it.start_s == start_s);
            let from_s = start_s.max(first_s);
            let passed = (start_s + span_s).min(now_s).saturating_sub(from_s).max(1);
            let work = found.and_then(|it| it.work.parse::<f64>().ok()).unwrap_or(0.0);
            let rate = work / u32::try_from(passed).map_or(f64::INFINITY, f64::from);
            Bar { start_s, rate, shares: found.map_or(0, |it| it.shares), is_open: back == 0 }
        };
        Self { bars: (0..count).rev().map(bar).collect(), span_s, now_s }
    }

    /// The time that it shows, in words.
    pub(super) fn window(&self) -> String {
        let shown = u64::try_from(self.bars.len()).unwrap_or(0).saturating_mul(self.span_s);
        format!("last {}, by {}", span(shown), span(self.span_s))
    }

    pub(super) fn draw(&self) -> Markup {
        let top = round_up(self.bars.iter().map(|bar| bar.rate).fold(0.0, f64::max));
        let best = self.bars.iter().max_by(|a, b| a.rate.total_cmp(&b.rate));
        let best =
            best.map(|it| format!("most {} at {} UTC", hashrate(it.rate), clock(it.start_s)));
        let summary = format!("Hashrate, {}; {}", self.window(), best.unwrap_or_default());
        let width = float(self.bars.len()) * BAR;
        html! {
            figure.chart {
                div.plot {
                    div.scale aria-hidden="true" {
                        span { (hashrate(top)) } span { (hashrate(top / 2.0)) } span { "0" }
                    }
                    svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none"
                        role="img" aria-label=(summary) {
                        @for y in [0.5, 50.0, 99.5] {
                            line.grid x1="0" x2=(width) y1=(y) y2=(y) {}
                        }
                        @for (index, bar) in self.bars.iter().enumerate() {
                            (bar.draw(index, top))
                        }
                    }
                }
                div.times aria-hidden="true" {
                    @for time in self.times() { span { (time) } }
                }
                details.figures {
                    summary { "The same as a table" }
                    (self.table())
                }
            }
        }
    }

    /// The start, the middle and the end.
    fn times(&self) -> [String; 3] {
        let start = |bar: Option<&Bar>| bar.map(|bar| clock(bar.start_s)).unwrap_or_default();
        let middle = self.bars.get(self.bars.len() / 2);
        [start(self.bars.first()), start(middle), format!("{} UTC", clock(self.now_s))]
    }

    fn table(&self) -> Markup {
        html! {
            div.scroll tabindex="0" {
                table {
                    thead { tr { th scope="col" { "From, UTC" } th.num scope="col" { "Hashrate" }
                        th.num scope="col" { "Shares" } } }
                    tbody {
                        @for bar in self.bars.iter().rev().filter(|bar| bar.shares > 0) {
                            tr {
                                td { (clock(bar.start_s)) @if bar.is_open { " (not over)" } }
                                td.num { (hashrate(bar.rate)) }
                                td.num { (bar.shares) }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Bar {
    fn draw(&self, index: usize, top: f64) -> Markup {
        let height = (self.rate / top * HEIGHT).clamp(0.0, HEIGHT);
        // What is there is seen, however little it is.
        let height = if self.shares > 0 { height.max(1.5) } else { 0.0 };
        let class = if self.is_open { "bar open" } else { "bar" };
        let (x, y) = (float(index) * BAR + BAR * 0.1, HEIGHT - height);
        html! {
            @if height > 0.0 {
                rect class=(class) x=(tenths(x)) y=(tenths(y)) width=(BAR * 0.8)
                    height=(tenths(height)) {
                    title { (clock(self.start_s)) " UTC: " (hashrate(self.rate)) }
                }
            }
        }
    }
}

/// The next one, two or five with zeros behind it.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let step = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].map(|it| it * step).into_iter().find(|it| *it >= value).unwrap_or(step * 10.0)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn float(index: usize) -> f64 {
    u32::try_from(index).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::super::answers::Span;
    use super::*;

    const NOW_MS: u64 = 1_699_999_500_000;
    /// Begins five minutes before.
    const OPEN_S: u64 = 1_699_999_200;

    fn chart(spans: &[(u64, &str)], first_share_ms: u64) -> Chart {
        let span = |(start_s, work): &(u64, &str)| Span {
            start_s: *start_s,
            shares: 3,
            work: (*work).to_owned(),
        };
        let history = History { span_s: 600, spans: spans.iter().map(span).collect() };
        Chart::new(&history, first_share_ms, NOW_MS)
    }

    #[test]
    fn a_span_that_is_not_over_is_divided_by_what_has_passed() {
        let old = chart(&[(OPEN_S - 600, "6000"), (OPEN_S, "3000")], (OPEN_S - 900) * 1_000);
        let rates: Vec<_> = old.bars.iter().rev().take(2).map(|bar| bar.rate).collect();
        assert_eq!(rates, [10.0, 10.0]);
        // Nor is the time before the first share.
        let young = chart(&[(OPEN_S, "1000")], (OPEN_S + 200) * 1_000);
        assert_eq!(young.bars.last().unwrap().rate, 10.0);
    }

    #[test]
    fn a_young_pool_shows_three_hours_and_an_old_one_a_day() {
        assert_eq!(chart(&[], NOW_MS).bars.len(), 18);
        let old = chart(&[(OPEN_S, "1")], 1_000);
        assert_eq!(old.bars.len(), 144);
        assert!(old.draw().into_string().contains("class=\"bar open\""));
    }

    #[test]
    fn scales_end_at_round_numbers() {
        let ends = [0.0, 0.9, 1.0, 3.4e6, 7e9].map(round_up);
        assert_eq!(ends, [1.0, 1.0, 1.0, 5e6, 1e10]);
    }
}
