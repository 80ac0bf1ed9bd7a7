//! The first page: how much is mined and for whom, what is wrong, what is refused.

use maud::{Markup, html};
use pages::figures::{ago, count, hashrate};
use pages::layout::{Column, Part, Tone, card, empty, figure, sentence, state};

use super::Dashboard;
use super::miners::milliseconds;
use crate::pools::{self, PoolShown, PoolState};
use crate::register::{Sums, TooLong};

impl Dashboard {
    /// What stands above the miners.
    pub(super) fn overview(&self, now_ms: u64) -> Vec<Part> {
        let (sums, pools) = (self.register.sums(), self.pools.shown());
        vec![
            glance(&sums),
            warnings(&sums, &pools),
            self.pools_part(&pools, now_ms),
            self.rejects(&sums, now_ms),
        ]
    }

    fn pools_part(&self, pools: &[PoolShown], now_ms: u64) -> Part {
        let body = html! { ul.neighbours { @for it in pools { (pool(it, now_ms)) } } };
        card("upstreams", Column::Main, ("Upstreams", self.channels), &body)
    }

    fn rejects(&self, sums: &Sums, now_ms: u64) -> Part {
        let shares = &sums.shares;
        let body = match shares.accepted + shares.refused() {
            0 => empty("No share yet", &html! { p { "Miners have sent none." } }),
            all => html! {
                dl.pairs {
                    div { dt { "Counted by the upstream" } dd { (count(shares.by_upstream)) } }
                    div {
                        dt { "Easier ones, answered here" }
                        dd { (count(shares.accepted.saturating_sub(shares.by_upstream))) }
                    }
                    div {
                        dt { "Refused" }
                        dd { (count(shares.refused())) " " span.part {
                            (percent(shares.refused(), all)) } }
                    }
                    @for (reason, number) in &shares.rejected {
                        div.sub { dt { (in_words(reason)) } dd { (count(*number)) } }
                    }
                }
                p.hint { "Since the translator began, " (ago(self.began_ms, now_ms)) "." }
            },
        };
        card("rejects", Column::Side, ("Shares", "by verdict"), &body)
    }
}

/// All of it in four numbers.
fn glance(sums: &Sums) -> Part {
    let shares = &sums.shares;
    let refused = percent(shares.refused(), shares.accepted + shares.refused());
    let html = html! {
        section #glance.glance aria-label="The translator at a glance" {
            dl.figures-row {
                (figure("Hashrate", &hashrate(sums.hashrate), "over 5 minutes or so"))
                (figure("Miners", &count(number(sums.miners)), "logged in now"))
                (figure("Shares accepted", &count(shares.accepted), "since the start"))
                (figure("Refused", &refused, "of the shares since the start"))
            }
        }
    };
    Part { id: "glance", column: Column::Both, html }
}

/// What a person should do something about. The element is there in any case: it may be needed
/// while somebody looks.
fn warnings(sums: &Sums, pools: &[PoolShown]) -> Part {
    let mut lines = Vec::new();
    if pools.iter().all(|pool| pool.state != PoolState::MinedOn) {
        lines.push("No upstream gives work: shares are refused until one does".to_owned());
    }
    for (kind, TooLong { miners, bytes, bytes_max }) in &sums.too_long {
        let (who, their) = match miners {
            1 => (format!("1 miner of the kind {kind} was"), "its"),
            _ => (format!("{miners} miners of the kind {kind} were"), "their"),
        };
        lines.push(format!(
            "{who} sent a coinbase of {bytes} bytes, longer than the kind can hold ({bytes_max} \
             bytes): {their} shares may all be wrong. Ask the pool for a shorter one, or use \
             another pool"
        ));
    }
    let html = html! {
        section #warnings.card.alarm[!lines.is_empty()] hidden[lines.is_empty()]
            aria-label="Warnings" role="status" {
            ul { @for line in &lines { li { (sentence(line)) } } }
        }
    };
    Part { id: "warnings", column: Column::Both, html }
}

fn pool(it: &PoolShown, now_ms: u64) -> Markup {
    let (tone, word) = match it.state {
        PoolState::MinedOn => (Tone::Good, "mined on"),
        PoolState::Ready => (Tone::Wait, "ready"),
        PoolState::Gone => (Tone::Bad, "gone"),
    };
    html! {
        li {
            (state(tone, word))
            span.who { (it.address) }
            span.detail {
                "for " (age(it.since_ms, now_ms))
                @if !it.detail.is_empty() { " · " (it.detail) }
                @if let Some(verdict_ms) = it.verdict_ms {
                    " · verdicts after " (milliseconds(verdict_ms)) " (mean of the last "
                    (pools::VERDICTS_SHOWN) ")"
                }
                @if it.lost > 0 { " · connection lost or refused " (count(it.lost)) " times" }
            }
        }
    }
}

fn age(since_ms: u64, now_ms: u64) -> String {
    pages::figures::span(now_ms.saturating_sub(since_ms) / 1_000)
}

/// A part of all, in hundredths of a percent.
fn percent(part: u64, all: u64) -> String {
    match part.saturating_mul(10_000).checked_div(all) {
        None => "none".to_owned(),
        Some(0) if part > 0 => "below 0.01\u{a0}%".to_owned(),
        Some(hundredths) => format!("{}.{:02}\u{a0}%", hundredths / 100, hundredths % 100),
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Why shares are refused, for people.
fn in_words(reason: &str) -> &str {
    match reason {
        "stale" => "Stale: found before a new block",
        "duplicate" => "Duplicate: sent before",
        "low_difficulty" => "Above the target",
        "unauthorized" => "Worker not logged in",
        "not_subscribed" => "Not subscribed",
        "upstream_lost" => "No upstream",
        "unanswered" => "No answer from the upstream",
        "too_many_waiting" => "Too many wait for the upstream",
        "other" => "Malformed, or out of bounds",
        reason => reason,
    }
}
