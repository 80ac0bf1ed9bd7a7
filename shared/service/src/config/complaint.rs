//! Says what is wrong with settings that cannot be read: where it stands and what was expected.
//!
//! Must not show what stands there: it may be a password or a key, and the sentence is logged.

/// What comes between what was found and what was expected, in serde's sentences.
const EXPECTED: &str = ", expected ";

/// One sentence on `error`, which reading `text` gave, or reading settings that were made of it.
pub(super) fn complaint(text: &str, error: &toml::de::Error) -> String {
    let cause = without_value(error.message());
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("{}: {cause}", place(text, before)),
        // Settings that a variable or a `.env` file changed have no lines, only names.
        None => match error.to_string().lines().find_map(|line| line.strip_prefix("in ")) {
            Some(key) => format!("{key}: {cause}"),
            None => cause,
        },
    }
}

/// Line, column and key of what follows `before`, the start of `text`.
fn place(text: &str, before: &str) -> String {
    let number = before.matches('\n').count();
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let place = format!("line {}, column {column}", number + 1);
    let key = text.lines().nth(number).and_then(|line| line.split_once('='));
    match key.map(|(key, _)| key.trim()).filter(|key| is_bare(key)) {
        Some(key) => match section(before) {
            Some(section) => format!("{place}, {section}.{key}"),
            None => format!("{place}, {key}"),
        },
        None => place,
    }
}

/// The name in the last header of `before`.
fn section(before: &str) -> Option<&str> {
    let header = before.lines().rev().find(|line| line.starts_with('['))?;
    Some(header.trim_start_matches('[').split(']').next()?.trim()).filter(|name| is_bare(name))
}

fn is_bare(key: &str) -> bool {
    let is_of_a_key = |one: char| one.is_ascii_alphanumeric() || "_-.".contains(one);
    !key.is_empty() && key.chars().all(is_of_a_key)
}

/// serde tells what it found: `invalid type: integer 7, expected a string`.
fn without_value(message: &str) -> String {
    let kind = ["invalid type", "invalid value"].into_iter().find(|kind| message.starts_with(kind));
    match kind.zip(message.rsplit_once(EXPECTED)) {
        Some((kind, (_, expected))) => format!("{kind}, expected {expected}"),
        None => message.trim_end().replace('\n', "; "),
    }
}
