//! Reads a `.env` file: the settings of the Python servers that this stack takes over from.
//!
//! Tolerant in form, as those servers are: comments, blank lines, `export`, spaces around `=`,
//! quotes, Windows line ends. What stands in quotes is taken as it stands and nothing is replaced
//! in it, for a password may hold `$`, `\` and `#`. Values may be secrets: they are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;

/// The keys and values of a `.env` file.
#[derive(Clone)]
pub struct EnvFile {
    path: PathBuf,
    values: BTreeMap<String, String>,
    unreadable: Vec<usize>,
}

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.values.keys().collect();
        f.debug_struct("EnvFile").field("path", &self.path).field("keys", &keys).finish()
    }
}

impl EnvFile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::UnreadableEnvFile { path: path.to_owned(), error })?;
        Ok(Self::parse(path, &text))
    }

    /// As `read`, with the text given. Of a key that stands there twice the last value counts.
    pub fn parse(path: &Path, text: &str) -> Self {
        let (mut values, mut unreadable) = (BTreeMap::new(), Vec::new());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            match assignment(line) {
                Line::Nothing => {}
                Line::Set(key, value) => drop(values.insert(key.to_owned(), value.to_owned())),
                Line::Unreadable => unreadable.push(index + 1),
            }
        }
        Self { path: path.to_owned(), values, unreadable }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of `key`; a value that is left empty is none.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True if `key` stands there, be it with an empty value.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Every key, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Numbers of the lines that set nothing and are no comment, counted from 1.
    pub fn unreadable_lines(&self) -> &[usize] {
        &self.unreadable
    }
}

enum Line<'a> {
    Nothing,
    Set(&'a str, &'a str),
    Unreadable,
}

fn assignment(line: &str) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let line = exported.unwrap_or(line);
    match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
        Some((key, value)) if is_key(key) => Line::Set(key, unquoted(value)),
        _ => Line::Unreadable,
    }
}

fn is_key(word: &str) -> bool {
    let mut signs = word.chars();
    signs.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && signs.all(|sign| sign.is_ascii_alphanumeric() || sign == '_')
}

/// The value without its quotes and without the comment behind it.
fn unquoted(value: &str) -> &str {
    let quote = value.chars().next().filter(|sign| matches!(sign, '"' | '\''));
    let inside = quote.and_then(|quote| {
        let rest = value.get(1..)?;
        let mut ends = rest.match_indices(quote);
        let is_last = |after: &str| after.is_empty() || after.trim_start().starts_with('#');
        let (end, _) = ends.find(|(end, _)| rest.get(end + 1..).is_some_and(is_last))?;
        rest.get(..end)
    });
    inside.unwrap_or_else(|| without_comment(value))
}

/// A `#` begins a comment where a space stands before it; within a word it is a part of it.
fn without_comment(value: &str) -> &str {
    let is_start = |(index, _): &(usize, &str)| {
        value.get(..*index).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let start = value.match_indices('#').find(is_start).map(|(index, _)| index);
    start.and_then(|start| value.get(..start)).unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> EnvFile {
        EnvFile::parse(Path::new(".env"), text)
    }

    #[test]
    fn lines_are_read_in_every_form_that_is_in_use() {
        let text = "\u{feff}# a comment\r\n\r\nPLAIN=1\r\n  export SPACED = two words  \n\
                    NOTE=regtest     # mainnet | regtest\nEMPTY=\nBLANK=   # nothing\n\
                    exported=3\nURL=http://h:1/#part\n";
        let file = parse(text);
        let values = ["PLAIN", "SPACED", "NOTE", "EMPTY", "BLANK", "exported", "URL", "OTHER"]
            .map(|key| file.value(key));
        let expected = [
            Some("1"),
            Some("two words"),
            Some("regtest"),
            None,
            None,
            Some("3"),
            Some("http://h:1/#part"),
            None,
        ];
        assert_eq!(values, expected);
        assert!(file.has("EMPTY") && !file.has("OTHER"));
        assert_eq!(file.unreadable_lines(), [0_usize; 0]);
    }

    #[test]
    fn a_password_is_taken_as_it_stands() {
        for (written, meant) in [
            ("pa$$word", "pa$$word"),
            ("a#b", "a#b"),
            ("a=b==", "a=b=="),
            ("'a b # c'", "a b # c"),
            ("\"a$HOME\\n\"  # the node's", "a$HOME\\n"),
            ("\"a\"b\"", "a\"b"),
            ("\"half", "\"half"),
            ("''", ""),
        ] {
            let file = parse(&format!("RPC_PASSWORD={written}"));
            assert_eq!(file.value("RPC_PASSWORD").unwrap_or_default(), meant, "{written}");
        }
    }

    #[test]
    fn the_last_of_two_values_counts() {
        assert_eq!(parse("A=1\nA=2\n").value("A"), Some("2"));
    }

    #[test]
    fn a_line_that_sets_nothing_is_told_by_its_number() {
        let file = parse("A=1\nsecret\n=x\nB C=1\n");
        assert_eq!(file.unreadable_lines(), [2, 3, 4]);
    }

    #[test]
    fn no_value_shows_in_debug() {
        let shown = format!("{:?}", parse("RPC_PASSWORD=hunter2"));
        assert!(shown.contains("RPC_PASSWORD") && !shown.contains("hunter2"), "{shown}");
    }
}
