//! What all pages have in common: the frame, cards, tables and what stands where nothing is yet.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Frame;
use super::place::{Place, encoded};

/// One part of a page. Its element has `id`, so that it can be replaced alone.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) column: Column,
    pub(super) html: Markup,
}

/// Where a part stands if there is room for two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Both,
    Main,
    Side,
}

/// All parts; those between two wide ones stand in two columns, each as high as it is.
pub(super) fn together(parts: &[Part]) -> Markup {
    let is_wide = |part: &Part| part.column == Column::Both;
    html! {
        @for run in parts.chunk_by(|a, b| is_wide(a) == is_wide(b)) {
            @if run.first().is_some_and(is_wide) {
                @for part in run { (part.html) }
            } @else {
                div.columns {
                    @for column in [Column::Main, Column::Side] {
                        div.column {
                            @for part in run.iter().filter(|it| it.column == column) { (part.html) }
                        }
                    }
                }
            }
        }
    }
}

/// A part with a heading, and a note beside it.
pub(super) fn card(
    id: &'static str,
    column: Column,
    (title, note): (&str, &str),
    body: &Markup,
) -> Part {
    let heading = format!("{id}-title");
    let html = html! {
        section.card id=(id) aria-labelledby=(heading) {
            header.card-head {
                h2 id=(heading) { (title) }
                @if !note.is_empty() { p.note { (note) } }
            }
            (body)
        }
    };
    Part { id, column, html }
}

/// What stands where nothing is yet.
pub(super) fn empty(title: &str, body: &Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } div.empty-body { (body) } } }
}

/// A page with one sentence.
pub(super) fn notice(title: &str, what: &str) -> Markup {
    html! {
        section.card {
            div.empty {
                h1.empty-title { (title) }
                p.empty-body { (sentence(what)) }
                p { a href="/" { "Back to the overview" } }
            }
        }
    }
}

/// Begins with a capital letter and ends with a full stop.
pub(super) fn sentence(what: &str) -> String {
    let mut letters = what.chars();
    let first: String = letters.next().map(|it| it.to_uppercase().collect()).unwrap_or_default();
    let end = if what.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// One number with what it is and the time that it is about.
pub(super) fn figure(name: &str, value: &str, window: &str) -> Markup {
    html! {
        div.figure { dt { (name) } dd { span.value { (value) } span.window { (window) } } }
    }
}

/// A state in a word, with a mark that does not rest on colour alone.
pub(super) fn state(name: &str) -> Markup {
    let (class, mark) = match name {
        "mature" | "confirmed" => ("good", "✓"),
        "accepted" => ("good", "●"),
        "orphaned" => ("bad", "×"),
        _ => ("wait", "○"),
    };
    html! { span.state.(class) { span aria-hidden="true" { (mark) } " " (name) } }
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
    let live = format!("/live?page={}", encoded(&place.path()));
    let here = |other: &Place| (place == other).then_some("page");
    let (overview, blocks) = (Place::Overview, Place::Blocks { after: None });
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="description" content="A mining pool that shows what it does.";
                title { (title) " · Adit" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/live.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/" aria-label="Adit, overview" { (mark()) span { "Adit" } }
                    nav aria-label="Pages" {
                        a href="/" aria-current=[here(&overview)] { "Overview" }
                        a href="/blocks" aria-current=[here(&blocks)] { "Blocks" }
                    }
                    form.find action="/miners" method="get" role="search" {
                        label for="account" { "Your address" }
                        input #account name="account" placeholder="Your address or name" required
                            maxlength="255" autocomplete="off" spellcheck="false";
                        button type="submit" { "Show" }
                    }
                    p #live-state .live-state role="status" data-state="still" {
                        span.dot aria-hidden="true" {} span.word { "As of now" }
                    }
                }
                main #content data-live=(live) { (body) }
                footer.foot {
                    p {
                        "Shares are acknowledged when they are on disk. "
                        @if frame.has_api {
                            "All of this, as JSON: " a href="/api/v1/openapi.json" { "API" } " · "
                        }
                        a href="/health" { "health" } " · " a href="/metrics" { "metrics" }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A hill and the level way into it.
fn mark() -> Markup {
    PreEscaped(
        "<svg class=\"mark\" viewBox=\"0 0 32 32\" aria-hidden=\"true\">\
         <path class=\"hill\" d=\"M2 27 14 6q2-3 4 0l12 21z\"/>\
         <path class=\"way\" d=\"M11 27v-5a5 5 0 0 1 10 0v5z\"/></svg>"
            .to_owned(),
    )
}
