//! The parts of a page: cards, figures, states, and what stands where nothing is yet.

use maud::{Markup, html};

/// One part of a page. Its element has `id`, so that it can be replaced alone.
#[derive(Debug)]
pub struct Part {
    /// The element's id.
    pub id: &'static str,
    /// Where it stands.
    pub column: Column,
    /// The element.
    pub html: Markup,
}

/// Where a part stands if there is room for two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Across both.
    Both,
    /// In the wide one.
    Main,
    /// In the narrow one.
    Side,
}

/// How a state is to be taken. Each has a mark, so that nothing rests on colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Good, and over.
    Done,
    /// Good.
    Good,
    /// Not good.
    Bad,
    /// Neither, yet.
    Wait,
}

/// All parts; those between two wide ones stand in two columns, each as high as it is.
pub fn together(parts: &[Part]) -> Markup {
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
pub fn card(id: &'static str, column: Column, (title, note): (&str, &str), body: &Markup) -> Part {
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
pub fn empty(title: &str, body: &Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } div.empty-body { (body) } } }
}

/// A page with one sentence.
pub fn notice(title: &str, what: &str) -> Markup {
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
pub fn sentence(what: &str) -> String {
    let mut letters = what.chars();
    let first: String = letters.next().map(|it| it.to_uppercase().collect()).unwrap_or_default();
    let end = if what.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// One number with what it is and the time that it is about.
pub fn figure(name: &str, value: &str, window: &str) -> Markup {
    html! {
        div.figure { dt { (name) } dd { span.value { (value) } span.window { (window) } } }
    }
}

/// A state in a word, with its mark.
pub fn state(tone: Tone, word: &str) -> Markup {
    let (class, mark) = match tone {
        Tone::Done => ("good", "✓"),
        Tone::Good => ("good", "●"),
        Tone::Bad => ("bad", "×"),
        Tone::Wait => ("wait", "○"),
    };
    html! { span.state.(class) { span aria-hidden="true" { (mark) } " " (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: &'static str, column: Column) -> Part {
        card(id, column, (id, ""), &html! {})
    }

    #[test]
    fn parts_between_wide_ones_stand_in_two_columns() {
        let parts = [
            part("a", Column::Both),
            part("b", Column::Side),
            part("c", Column::Main),
            part("d", Column::Both),
        ];
        let page = together(&parts).into_string();
        let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what} in {page}"));
        assert_eq!(page.matches("class=\"columns\"").count(), 1);
        assert!(at("id=\"a\"") < at("class=\"columns\""));
        assert!(at("id=\"c\"") < at("id=\"b\""), "the wide column comes first");
        assert!(at("id=\"b\"") < at("id=\"d\""));
    }

    #[test]
    fn names_become_no_part_of_a_page() {
        let page = figure("<b>", "\"&", "now").into_string();
        assert!(page.contains("&lt;b&gt;") && page.contains("&quot;&amp;"), "{page}");
    }

    #[test]
    fn a_sentence_begins_large_and_ends_once() {
        assert_eq!((sentence("not yet"), sentence("Done.")), ("Not yet.".into(), "Done.".into()));
    }
}
