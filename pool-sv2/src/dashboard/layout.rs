//! What all pages of the pool have in common: its frame, and its words for states and miners.

use maud::{Markup, html};
use pages::frame::{self, Find};
use pages::layout::{self, Tone};
pub(super) use pages::layout::{Column, Part, card, empty, figure, notice, sentence, together};

use super::Frame;
use super::place::Place;

/// The state of a block or of a payment.
pub(super) fn state(name: &str) -> Markup {
    let tone = match name {
        "mature" | "confirmed" => Tone::Done,
        "accepted" => Tone::Good,
        "orphaned" => Tone::Bad,
        _ => Tone::Wait,
    };
    layout::state(tone, name)
}

/// A link to a miner's page.
pub(super) fn miner(account: &str, worker: &str) -> Markup {
    let place = Place::Miner { account: account.to_owned() };
    html! {
        a.mono href=(place.path()) { (super::figures::short(account, 8)) }
        @if !worker.is_empty() { span.worker { "." (worker) } }
    }
}

/// The whole page; its foot names the API where there is one.
pub(super) fn page(frame: &Frame, place: &Place, title: &str, body: &Markup) -> String {
    let foot = html! {
        p {
            "Shares are acknowledged when they are on disk. "
            @if frame.has_api {
                "All of this, as JSON: " a href="/api/v1/openapi.json" { "API" } " · "
            }
            a href="/health" { "health" } " · " a href="/metrics" { "metrics" }
        }
    };
    let name = "Your address";
    let find = Find {
        page: "/miners",
        name: "account",
        label: name,
        hint: "Your address or name",
        value: "",
    };
    let frame = frame::Frame {
        description: "A mining pool that shows what it does.",
        pages: &[("/", "Overview"), ("/blocks", "Blocks")],
        find,
        foot: &foot,
    };
    let path = place.path();
    frame.page((&path, &path), title, body)
}
