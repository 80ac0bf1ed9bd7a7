//! Codes of what asks a person to act: each that a program uses has one text, each text is used,
//! and whatever is logged as an error has a code.

use std::collections::BTreeSet;

use crate::sources::Source;

/// Where the codes and their texts are.
const TABLE: &str = "shared/service/src/advice.rs";
/// Programs that an operator keeps running, and what they are made of.
const OPERATED: [&str; 5] = [
    "pool-sv2/src/",
    "template-provider/src/",
    "translator-v1/src/",
    "shared/service/",
    "shared/rpc/",
];

/// What is wrong with the codes of all these sources.
pub fn violations(sources: &[Source]) -> Vec<String> {
    let Some(table) = sources.iter().find(|source| source.path == TABLE) else {
        return vec![format!("{TABLE} is missing")];
    };
    let names = constants(&table.text);
    let used = |name: &str, text: &str| words(text).any(|word| word == name);
    let mut violations = Vec::new();
    for name in &names {
        if !used(name, texts(&table.text)) {
            violations.push(table.violation(1, format!("{name} has no text")));
        }
        let mut others = sources.iter().filter(|it| it.path != TABLE && is_operated(it));
        if !others.any(|source| source.text.contains(&format!("advice::{name}"))) {
            violations.push(table.violation(1, format!("{name} is used by no program")));
        }
    }
    for source in sources.iter().filter(|it| is_operated(it)) {
        violations.extend(errors_without_code(source));
    }
    violations
}

fn is_operated(source: &Source) -> bool {
    !source.is_test() && OPERATED.iter().any(|start| source.path.starts_with(start))
}

/// The names of the table's codes.
fn constants(table: &str) -> BTreeSet<String> {
    let names = table.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(": Code")?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The part of the table that holds the texts.
fn texts(table: &str) -> &str {
    let (_, texts) = table.split_once("pub const ALL").unwrap_or_default();
    texts.split("#[cfg(test)]").next().unwrap_or_default()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_')
}

/// Errors in the log are for a person to act: they say by which code.
fn errors_without_code(source: &Source) -> Vec<String> {
    let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut violations = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("error!(") {
        rest = after;
        // Of another name, as compile_error!.
        let is_whole = !before.ends_with(|one: char| one.is_ascii_alphanumeric() || one == '_');
        if is_whole && !after.trim_start().starts_with("code = advice::") {
            let line = code.len() - after.len();
            let line = code.get(..line).unwrap_or_default().lines().count();
            violations.push(source.violation(line, "an error that says no code: advice.rs"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Source {
        let text = "pub const ONE: Code = \"A01\";\npub const TWO: Code = \"A02\";\n\
                    pub const ALL: [Advice; 2] = [advice(ONE), advice(TWO)];";
        Source::new(TABLE, text)
    }

    fn program(text: &str) -> Source {
        Source::new("pool-sv2/src/app.rs", text)
    }

    const FINE: &str = "error!(code = advice::ONE, %why, \"x\");\nreturn error!(\n    \
                        code = advice::TWO,\n);\n#[cfg(test)]\nmod tests { error!(\"y\"); }";

    #[test]
    fn codes_with_texts_that_are_used_are_fine() {
        assert_eq!(violations(&[table(), program(FINE)]), Vec::<String>::new());
    }

    #[test]
    fn every_gap_is_found() {
        let unused = violations(&[table(), program("error!(code = advice::ONE);")]);
        assert_eq!(unused, [format!("{TABLE}:1: TWO is used by no program")]);
        let text = table().text.replace(", advice(TWO)", "");
        let without = violations(&[Source::new(TABLE, text), program(FINE)]);
        assert_eq!(without, [format!("{TABLE}:1: TWO has no text")]);
        let bare = violations(&[table(), program(&format!("\nerror!(%why, \"x\");{FINE}"))]);
        assert_eq!(bare, ["pool-sv2/src/app.rs:2: an error that says no code: advice.rs"]);
    }
}
