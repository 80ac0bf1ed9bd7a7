//! The list of miners, some at a time.

use maud::{Markup, html};
use pages::figures::{ago, count, difficulty, hashrate, short};
use pages::layout::{Column, Part, card, empty};

use super::Dashboard;
use super::place::Place;
use crate::register::{MinerShown, VERDICTS_SHOWN};

/// Miners on one page.
pub(super) const ROWS_MAX: usize = 50;
/// Characters of each end of a long name: an address may stand before the worker's own.
const WORKER_ENDS: usize = 10;

impl Dashboard {
    pub(super) fn miners(&self, after: Option<u64>, find: &str, now_ms: u64) -> Part {
        let page = self.register.page(after, find, ROWS_MAX);
        let next = page.next.map(|last| next(last, find));
        let body = html! {
            @match page.miners.as_slice() {
                [] => (nobody(find)),
                miners => (table(miners, now_ms)),
            }
            @if after.is_some() || !find.is_empty() || next.is_some() {
                nav.pages aria-label="Further miners" {
                    @if after.is_some() || !find.is_empty() { a href="/miners" { "All miners" } }
                    @if let Some(next) = next { a href=(next) { "Next " (ROWS_MAX) } }
                }
            }
        };
        let note = match find {
            "" => "in the order in which they connected".to_owned(),
            text => format!("with “{text}” in worker, address or software"),
        };
        card("miners", Column::Both, ("Miners", &note), &body)
    }
}

fn next(last: u64, find: &str) -> String {
    Place::Miners { after: Some(last), find: find.to_owned() }.path()
}

fn nobody(find: &str) -> Markup {
    match find {
        "" => empty(
            "Nobody here",
            &html! { p { "Point a miner's Stratum V1 address at this translator." } },
        ),
        _ => empty("Nobody found", &html! { p { "No miner that is connected has that name." } }),
    }
}

fn table(miners: &[MinerShown], now_ms: u64) -> Markup {
    let verdict = format!("Verdict (last {VERDICTS_SHOWN})");
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                th scope="col" { "Worker" }
                th scope="col" { "Software" }
                th scope="col" { "Address" }
                th.num scope="col" { "Difficulty" }
                th.num scope="col" { "Hashrate (5 min)" }
                th.num scope="col" { "Accepted" }
                th.num scope="col" { "Refused" }
                th.num scope="col" { (verdict) }
                th.num scope="col" { "Last share" }
                th.num scope="col" { "Connected" }
            } }
            tbody { @for it in miners { (row(it, now_ms)) } }
        } }
    }
}

fn row(it: &MinerShown, now_ms: u64) -> Markup {
    html! {
        tr {
            td {
                @if it.workers.is_empty() { span.worker { "not logged in" } }
                @else { (short(&it.workers.join(", "), WORKER_ENDS)) }
                @if let Some(bytes) = it.coinbase_too_long {
                    span.bad { " × cannot hold the coinbase of " (bytes) " bytes" }
                }
            }
            td { @if it.agent.is_empty() { span.worker { "unnamed" } } @else { (it.agent) } }
            td.mono { (it.address) }
            td.num { @if it.difficulty > 0.0 { (difficulty(it.difficulty)) } @else { "none" } }
            td.num {
                @if let Some(measured) = it.measured_hashrate() { (hashrate(measured)) }
                @else { span.worker { "not known yet" } }
            }
            td.num { (count(it.accepted)) }
            td.num { (count(it.refused())) }
            td.num { @if let Some(mean) = it.verdict_ms { (milliseconds(mean)) } @else { "none" } }
            td.num { (since(it.last_share_at, now_ms)) }
            td.num { (since(Some(it.connected_at), now_ms)) }
        }
    }
}

fn since(seconds: Option<u64>, now_ms: u64) -> Markup {
    html! {
        @match seconds {
            Some(seconds) => (ago(seconds.saturating_mul(1_000), now_ms)),
            None => "none",
        }
    }
}

/// A short time.
pub(super) fn milliseconds(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.1}\u{a0}ms"),
        ..10_000.0 => format!("{value:.0}\u{a0}ms"),
        _ => format!("{:.0}\u{a0}s", value / 1_000.0),
    }
}
