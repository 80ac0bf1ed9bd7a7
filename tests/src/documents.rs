//! Documents must not lead astray: links and file names in them exist.

use std::path::{Component, Path, PathBuf};

use crate::sources::Source;

/// Endings by which a word in backticks is taken for a file's name.
const FILE_ENDINGS: [&str; 5] = [".md", ".rs", ".toml", ".yaml", ".yml"];
/// Folders of a person's own checkout or system, which no clone has.
const NOT_IN_THE_TREE: [&str; 3] = ["data/", "target/", "~/"];

/// Links of a document to files, or to headings of itself, that do not exist. `paths` are all
/// paths of the checkout.
pub fn dead_links(document: &Source, paths: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, link) in links(&document.text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = link.split_once('#').map_or((link, None), |(f, h)| (f, Some(h)));
        if file.is_empty() {
            if heading.is_some_and(|heading| !has_heading(&document.text, heading)) {
                violations.push(document.violation(line, format!("no heading `{link}`")));
            }
        } else if !exists(&document.path, file, paths) {
            violations.push(document.violation(line, format!("no file `{file}`")));
        }
    }
    violations
}

/// Files that a document names in backticks and that no path of the checkout ends with.
pub fn missing_files(document: &Source, paths: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_file_name(name)) {
            let ends = |path: &&String| *path == name || path.ends_with(&format!("/{name}"));
            // In a table of folders a path goes on from the package, without its `src`.
            let in_source = name.replacen('/', "/src/", 1);
            let ends_in_source = |path: &&String| path.ends_with(&in_source);
            if !paths.iter().any(|path| ends(&path) || ends_in_source(&path)) {
                violations.push(document.violation(index + 1, format!("no file `{name}`")));
            }
        }
    }
    violations
}

fn is_file_name(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    word.contains('/')
        && word.chars().all(plain)
        && FILE_ENDINGS.iter().any(|ending| word.ends_with(ending))
        && !word.starts_with('/')
        && !NOT_IN_THE_TREE.iter().any(|start| word.starts_with(start))
}

/// The targets of `[text](target)` with their lines, code left out.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        let mut rest = if in_code { "" } else { line };
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push((index + 1, target));
            rest = after;
        }
    }
    found
}

fn exists(document: &str, link: &str, paths: &[String]) -> bool {
    let folder = Path::new(document).parent().unwrap_or_else(|| Path::new(""));
    let mut target = PathBuf::new();
    for part in folder.join(link).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            Component::Normal(part) => target.push(part),
            _ => {}
        }
    }
    let target = target.to_string_lossy();
    let inside = format!("{target}/");
    paths.iter().any(|path| *path == target || path.starts_with(&inside))
}

/// Headings are linked in lower case, with `-` for spaces and without other signs.
fn has_heading(text: &str, link: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-") == link
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Vec<String> {
        let paths =
            ["README.md", "docs/a.md", "pool-sv2/src/app.rs", "shared/wire/src/sv2/link.rs"];
        paths.map(str::to_owned).to_vec()
    }

    fn dead(text: &str) -> usize {
        dead_links(&Source::new("docs/a.md", text), &paths()).len()
    }

    fn missing(text: &str) -> usize {
        missing_files(&Source::new("README.md", text), &paths()).len()
    }

    #[test]
    fn links_to_files_folders_headings_and_the_web_are_fine() {
        assert_eq!(dead("[a](../README.md) [b](../pool-sv2) [c](https://example.org/x)"), 0);
        assert_eq!(dead("# How it works!\n[a](#how-it-works)"), 0);
        assert_eq!(dead("```\n[x](nowhere.md)\n```"), 0);
    }

    #[test]
    fn a_dead_link_is_found() {
        assert_eq!(dead("fine\n[a](README.md)"), 1);
        assert_eq!(dead("[a](../README.md) [b](gone.md#part)"), 1);
        assert_eq!(dead("[a](#no-such-heading)"), 1);
    }

    #[test]
    fn files_may_be_named_from_the_root_from_a_folder_and_without_src() {
        let named =
            "`pool-sv2/src/app.rs` `sv2/link.rs` `pool-sv2/app.rs` `a.rs` `a/b` `data/x.md`";
        assert_eq!(missing(named), 0);
    }

    #[test]
    fn a_file_that_is_not_there_is_found() {
        assert_eq!(missing("see `pool-sv2/src/gone.rs`"), 1);
    }
}
