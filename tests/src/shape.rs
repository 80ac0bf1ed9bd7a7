//! How a source file looks: its limits, its first line, its name, and words that must not be there.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::sources::Source;

/// Lines of a file, its tests left out.
pub const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from its `fn` to its last brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Characters of a line.
pub const LINE_CHARS_MAX: usize = 100;

/// Names that say nothing about what is inside, and the second way to name a module.
const BANNED_FILES: [&str; 6] =
    ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs", "types.rs"];

/// Words and what to do instead. They are cut in two, so that this file holds none of them.
const BANNED_WORDS: [((&str, &str), &str); 8] = [
    (("TO", "DO"), "do it, or open an issue"),
    (("FIX", "ME"), "fix it, or open an issue"),
    (("todo", "!("), "write it"),
    (("unimplemented", "!("), "write it"),
    (("dbg", "!("), "log it, or leave it out"),
    (("#[ig", "nore"), "a test that does not run is no test: mend it or delete it"),
    (("/wo", "rk/"), "name no path of one machine"),
    (("/ro", "ot/"), "name no path of one machine"),
];

/// The one file of the tests that may put a thread to sleep: it asks again until a deadline.
const SLEEPER: &str = "shared/testkit/src/wait.rs";

/// A file that is too long, its tests left out.
pub fn long_file(source: &Source) -> Vec<String> {
    let lines = match source.is_test() {
        true => 0,
        false => lines_before_tests(&source.text),
    };
    let too_long = (lines > FILE_LINES_MAX).then(|| {
        source
            .violation(1, format!("{lines} lines; cut the file in two (at most {FILE_LINES_MAX})"))
    });
    too_long.into_iter().collect()
}

/// The test module is the last thing in a file.
fn lines_before_tests(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

/// Lines that are too long; the formatter leaves texts and comments alone.
pub fn long_lines(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let long = lines.filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX);
    long.map(|(index, line)| {
        let length = line.chars().count();
        source.violation(index + 1, format!("{length} characters (at most {LINE_CHARS_MAX})"))
    })
    .collect()
}

/// Functions that are too long.
pub fn long_functions(source: &Source) -> Vec<String> {
    struct Functions<'a>(&'a Source, Vec<String>);

    impl Functions<'_> {
        fn look_at(&mut self, signature: &syn::Signature, block: &syn::Block) {
            let (start, end) = (signature.span().start().line, block.span().end().line);
            let lines = end - start + 1;
            if lines > FUNCTION_LINES_MAX {
                let what = format!("fn {} has {lines} lines", signature.ident);
                let what = format!("{what} (at most {FUNCTION_LINES_MAX})");
                self.1.push(self.0.violation(start, what));
            }
        }
    }

    impl<'ast> Visit<'ast> for Functions<'_> {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.look_at(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.look_at(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
        fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
            if let Some(block) = &item.default {
                self.look_at(&item.sig, block);
            }
            visit::visit_trait_item_fn(self, item);
        }
    }

    match syn::parse_file(&source.text) {
        Ok(file) => {
            let mut functions = Functions(source, Vec::new());
            functions.visit_file(&file);
            functions.1
        }
        Err(error) => vec![source.violation(1, format!("no Rust: {error}"))],
    }
}

/// A file that does not say why it exists.
pub fn missing_purpose(source: &Source) -> Vec<String> {
    let says = source.text.starts_with("//! ");
    let placeholder = source.text.starts_with("//! Placeholder");
    let silent = !says || placeholder;
    let what = "begin with `//!`: why the file exists and what it must not do";
    silent.then(|| source.violation(1, what)).into_iter().collect()
}

/// A file whose name says nothing.
pub fn banned_name(source: &Source) -> Vec<String> {
    let banned = BANNED_FILES.contains(&source.file_name());
    let what = "name the file after what it is about (modules are name.rs beside name/)";
    banned.then(|| source.violation(1, what)).into_iter().collect()
}

/// Words that must not be left in any file.
pub fn banned_words(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for ((start, end), remedy) in BANNED_WORDS {
            let word = format!("{start}{end}");
            if line.contains(&word) {
                violations.push(source.violation(index + 1, format!("`{word}`: {remedy}")));
            }
        }
    }
    violations
}

/// Tests that sleep: a guess how long something takes. Programs may have their reasons.
pub fn sleeping_tests(source: &Source) -> Vec<String> {
    let all_test = source.is_test()
        || source.path.starts_with("tests/")
        || source.path.starts_with("shared/testkit/");
    let first = if all_test { 0 } else { lines_before_tests(&source.text) };
    let word = concat!("thread::", "sleep");
    let lines = source.text.lines().enumerate().skip(first);
    let sleeping = lines.filter(|(_, line)| line.contains(word) && source.path != SLEEPER);
    let what = "wait for what happens, with a deadline (testkit::wait, paused time)";
    sleeping.map(|(index, _)| source.violation(index + 1, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("room/src/file.rs", text)
    }

    #[test]
    fn a_file_over_the_limit_is_found_and_its_tests_do_not_count() {
        let code = "let x = 1;\n".repeat(FILE_LINES_MAX);
        assert_eq!(long_file(&source(&code)), Vec::<String>::new());
        let with_tests = format!("{code}#[cfg(test)]\nmod tests {{}}\n");
        assert_eq!(long_file(&source(&with_tests)), Vec::<String>::new());
        assert_eq!(long_file(&source(&format!("{code}let y = 2;\n"))).len(), 1);
    }

    #[test]
    fn a_long_line_is_found_and_umlauts_count_once() {
        let fits = "ü".repeat(LINE_CHARS_MAX);
        assert_eq!(long_lines(&source(&fits)), Vec::<String>::new());
        let found = long_lines(&source(&format!("short\n{fits}!\n")));
        assert_eq!(found, ["room/src/file.rs:2: 101 characters (at most 100)"]);
    }

    #[test]
    fn a_long_function_is_found_wherever_it_stands() {
        let function = |name: &str, lines: usize| {
            format!("fn {name}() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
        };
        let fits = function("fits", FUNCTION_LINES_MAX);
        assert_eq!(long_functions(&source(&fits)), Vec::<String>::new());
        let long = function("long", FUNCTION_LINES_MAX + 1);
        let places = [
            long.clone(),
            format!("impl X {{\n{long}}}\n"),
            format!("trait X {{\n{long}}}\n"),
            format!("mod inner {{\n{long}}}\n"),
        ];
        for place in places {
            assert_eq!(long_functions(&source(&place)).len(), 1, "{place}");
        }
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        for silent in ["use std::fs;\n", "// about\n", "//! Placeholder.\n", ""] {
            assert_eq!(missing_purpose(&source(silent)).len(), 1, "{silent}");
        }
        assert_eq!(missing_purpose(&source("//! Why.\n")), Vec::<String>::new());
    }

    #[test]
    fn a_file_name_that_says_nothing_is_found() {
        for name in ["room/src/utils.rs", "room/src/inner/mod.rs"] {
            assert_eq!(banned_name(&Source::new(name, "")).len(), 1, "{name}");
        }
        assert_eq!(banned_name(&Source::new("room/src/model.rs", "")), Vec::<String>::new());
    }

    #[test]
    fn every_banned_word_is_found() {
        for ((start, end), _) in BANNED_WORDS {
            let found = banned_words(&source(&format!("fine\n// {start}{end} later\n")));
            assert_eq!(found.len(), 1, "{start}{end}");
        }
        assert_eq!(banned_words(&source("workshop root todos")), Vec::<String>::new());
    }

    #[test]
    fn a_sleeping_test_is_found_and_a_sleeping_program_is_not() {
        let sleep = format!("std::{}(second);", concat!("thread::", "sleep"));
        let program = format!("{sleep}\n#[cfg(test)]\nmod tests {{}}\n");
        assert_eq!(sleeping_tests(&source(&program)), Vec::<String>::new());
        let test = format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}\n");
        assert_eq!(sleeping_tests(&source(&test)).len(), 1);
        assert_eq!(sleeping_tests(&Source::new("pool/tests/x.rs", &sleep)).len(), 1);
        assert_eq!(sleeping_tests(&Source::new(SLEEPER, &sleep)), Vec::<String>::new());
    }
}
