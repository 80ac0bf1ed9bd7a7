//! The frame of a page: head, the way to other pages, what the site is, and where its parts are
//! asked for while it is open.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::path::encoded;

/// What the pages of one site have in common.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What the site is, for search engines and who has it read aloud.
    pub description: &'a str,
    /// Its pages: path and name. The first one is the overview.
    pub pages: &'a [(&'a str, &'a str)],
    /// What is typed to find a miner.
    pub find: Find<'a>,
    /// What stands below every page.
    pub foot: &'a Markup,
}

/// A field by which something is found: a form that asks a page.
#[derive(Debug, Clone, Copy)]
pub struct Find<'a> {
    /// The path of the page.
    pub page: &'a str,
    /// The parameter.
    pub name: &'a str,
    /// For who has the page read aloud.
    pub label: &'a str,
    /// In the empty field.
    pub hint: &'a str,
    /// What it finds now.
    pub value: &'a str,
}

/// The longest text that is looked for, in bytes.
pub const FIND_BYTES_MAX: usize = 255;

impl Frame<'_> {
    /// The whole page at `path`, of which `here` is the one in the list of pages.
    pub fn page(&self, (path, here): (&str, &str), title: &str, body: &Markup) -> String {
        let live = format!("/live?page={}", encoded(path));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="description" content=(self.description);
                    title { (title) " · Adit" }
                    link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                    link rel="stylesheet" href="/assets/style.css";
                    script src="/assets/live.js" defer {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    (self.top(here))
                    main #content data-live=(live) { (body) }
                    footer.foot { (self.foot) }
                }
            }
        };
        page.into_string()
    }

    fn top(&self, here: &str) -> Markup {
        let Find { page, name, label, hint, value } = self.find;
        html! {
            header.top {
                a.brand href="/" aria-label="Adit, overview" { (mark()) span { "Adit" } }
                nav aria-label="Pages" {
                    @for (path, name) in self.pages {
                        a href=(path) aria-current=[(*path == here).then_some("page")] { (name) }
                    }
                }
                form.find action=(page) method="get" role="search" {
                    label for=(name) { (label) }
                    input id=(name) name=(name) placeholder=(hint) value=[some(value)] required
                        maxlength=(FIND_BYTES_MAX) autocomplete="off" spellcheck="false";
                    button type="submit" { "Show" }
                }
                p #live-state .live-state role="status" data-state="still" {
                    span.dot aria-hidden="true" {} span.word { "As of now" }
                }
            }
        }
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
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
