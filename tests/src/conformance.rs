//! The table of docs/conformance.md: which rule is held by which test, read from the tests.
//!
//! A test names its rule in its doc comment: `Spec 5.3.15: ...`, `Extension 0x0002, 1.3: ...`,
//! `Firmware: ...` or `Flaw 7: ...`; or in its name, where that begins with `rule_7_`: so all V1
//! clients together ask of a server. What stands in the document around the table is written by
//! hand.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};

use crate::sources::Source;

/// The document, from the root of the checkout.
pub const DOCUMENT: &str = "docs/conformance.md";
/// How the table is made anew.
pub const COMMAND: &str = "cargo run -p tests --bin conformance";

const BEGIN: &str = "<!-- begin of the table -->\n";
const END: &str = "<!-- end of the table -->\n";
/// Where a rule can come from.
const ORIGINS: [&str; 5] = ["Spec ", "Extension ", "Firmware", V1_RULE, FLAW];
/// What is wrong with other pools, by number.
const FLAW: &str = "Flaw ";
/// What V1 clients ask for, by number.
const V1_RULE: &str = "V1 rule ";
/// Their numbers: each must have a test.
const V1_RULES: std::ops::RangeInclusive<u32> = 1..=31;
/// The flaws of other pools, by their numbers in the document, that one of ours could have: each
/// must have a test, and one of the translator's. Withholding of blocks (26) can only be seen in
/// statistics.
const FLAWS: [std::ops::RangeInclusive<u32>; 2] = [1..=25, 27..=29];

/// A rule and the test that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `Spec 5.3.15`, say.
    pub section: String,
    /// What must be so, as a sentence.
    pub text: String,
    /// The test's name.
    pub test: String,
    /// The test's file, from the root of the checkout.
    pub file: String,
}

/// The rules that the tests of `sources` name, in the order of the specification.
pub fn rules(sources: &[Source]) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for source in sources {
        let file = syn::parse_file(&source.text).with_context(|| source.path.clone())?;
        let mut tests = Tests { file: &source.path, rules: &mut rules };
        tests.visit_file(&file);
    }
    rules.sort_by(|a, b| {
        by_section(&a.section, &b.section).then_with(|| (&a.text, &a.test).cmp(&(&b.text, &b.test)))
    });
    Ok(rules)
}

/// The flaws that no rule names whose test is in `folder`, which is empty for all of them.
pub fn untested_flaws(rules: &[Rule], folder: &str) -> Vec<u32> {
    let rules = rules.iter().filter(|rule| rule.file.starts_with(folder));
    untested(rules, FLAW, FLAWS.into_iter().flatten())
}

/// What V1 clients ask for and no test is named after.
pub fn untested_v1_rules(rules: &[Rule]) -> Vec<u32> {
    untested(rules.iter(), V1_RULE, V1_RULES)
}

/// Those of `numbers` that no rule from `origin` has.
fn untested<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    origin: &str,
    numbers: impl Iterator<Item = u32>,
) -> Vec<u32> {
    let tested: BTreeSet<_> = rules.map(|rule| &*rule.section).collect();
    numbers.filter(|number| !tested.contains(&*format!("{origin}{number}"))).collect()
}

/// `document` with its table made of `rules`.
pub fn with_table(document: &str, rules: &[Rule]) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("no line that begins the table")?;
    let (_, after) = rest.split_once(END).context("no line that ends the table")?;
    Ok([before, BEGIN, &table(rules), END, after].concat())
}

fn table(rules: &[Rule]) -> String {
    let mut text = "| section | rule | test |\n|---|---|---|\n".to_owned();
    for Rule { section, text: rule, test, file } in rules {
        let rule = rule.replace('|', "\\|");
        text.push_str(&format!("| {section} | {rule} | [`{test}`](../{file}) |\n"));
    }
    text
}

/// Specification first, then extensions, then devices; numbers as numbers.
fn by_section(a: &str, b: &str) -> Ordering {
    let origin = |section: &str| ORIGINS.iter().position(|origin| section.starts_with(origin));
    let numbers = |section: &str| -> Vec<u32> {
        let digits = section.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|number| number.parse().ok()).collect()
    };
    origin(a).cmp(&origin(b)).then_with(|| numbers(a).cmp(&numbers(b))).then_with(|| a.cmp(b))
}

struct Tests<'a> {
    file: &'a str,
    rules: &'a mut Vec<Rule>,
}

impl<'ast> Visit<'ast> for Tests<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|last| last.ident == "test")
        };
        if item.attrs.iter().any(is_test) {
            self.read(&item.attrs, &item.sig.ident.to_string());
        }
        visit::visit_item_fn(self, item);
    }
}

impl Tests<'_> {
    fn read(&mut self, attributes: &[syn::Attribute], test: &str) {
        let mut rule: Option<Rule> = None;
        for line in attributes.iter().filter_map(doc_line) {
            let line = line.trim();
            let begin = line.split_once(": ").filter(|(section, _)| is_section(section));
            match (begin, &mut rule) {
                (Some((section, text)), _) => {
                    self.rules.extend(rule.take());
                    rule = Some(Rule {
                        section: section.to_owned(),
                        text: text.to_owned(),
                        test: test.to_owned(),
                        file: self.file.to_owned(),
                    });
                }
                // A rule goes on until an empty line.
                (None, Some(open)) if !line.is_empty() => {
                    open.text.push(' ');
                    open.text.push_str(line);
                }
                (None, _) => self.rules.extend(rule.take()),
            }
        }
        self.rules.extend(rule);
        self.rules.extend(self.named_in(test));
    }

    /// The rule of V1 clients that the test is named after.
    fn named_in(&self, test: &str) -> Option<Rule> {
        let (number, text) = test.strip_prefix("rule_")?.split_once('_')?;
        let number: u32 = number.parse().ok()?;
        Some(Rule {
            section: format!("{V1_RULE}{number}"),
            text: format!("{}.", text.replace('_', " ")),
            test: test.to_owned(),
            file: self.file.to_owned(),
        })
    }
}

fn is_section(text: &str) -> bool {
    ORIGINS.iter().any(|origin| text.starts_with(origin))
}

fn doc_line(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(literal) = &pair.value else { return None };
    match &literal.lit {
        syn::Lit::Str(text) if pair.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
/// Firmware: nobody is kept waiting.
///
/// Not of the rule.
#[tokio::test]
async fn c() {}
/// Spec 5.3.16: a rule that is too
/// long for a line.
/// Spec 5.3.2: another one.
#[test]
fn a() {}
/// Spec 5.3.3: no test, so no rule.
fn b() {}
";

    #[test]
    fn rules_are_read_from_the_comments_of_tests_and_sorted_by_number() {
        let rules = rules(&[Source::new("x.rs", SAMPLE)]).unwrap();
        let read: Vec<_> = rules.iter().map(|rule| (&*rule.section, &*rule.text)).collect();
        let expected = [
            ("Spec 5.3.2", "another one."),
            ("Spec 5.3.16", "a rule that is too long for a line."),
            ("Firmware", "nobody is kept waiting."),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_flaw_without_a_test_is_found() {
        let sample = "/// Flaw 7: never again.\n#[test]\nfn a() {}\n";
        let rules = rules(&[Source::new("pool/x.rs", sample)]).unwrap();
        for folder in ["", "pool/"] {
            let flaws = untested_flaws(&rules, folder);
            assert_eq!(flaws.len(), 27);
            assert!(!flaws.contains(&7) && flaws.contains(&8) && !flaws.contains(&26));
        }
        assert_eq!(untested_flaws(&rules, "translator/").len(), 28, "not a test of the translator");
    }

    #[test]
    fn a_rule_of_v1_clients_is_read_from_the_name_of_its_test() {
        let sample = "\
#[test]
fn rule_12_each_job_is_new() {}
/// Flaw 7: never again.
#[test]
fn rule_3_nobody_waits() {}
fn rule_4_no_test_so_no_rule() {}
#[test]
fn rule_of_thumb() {}
";
        let rules = rules(&[Source::new("x.rs", sample)]).unwrap();
        let read: Vec<_> = rules.iter().map(|rule| (&*rule.section, &*rule.text)).collect();
        let expected = [
            ("V1 rule 3", "nobody waits."),
            ("V1 rule 12", "each job is new."),
            ("Flaw 7", "never again."),
        ];
        assert_eq!(read, expected);
        let untested = untested_v1_rules(&rules);
        assert_eq!((untested.len(), untested.first()), (29, Some(&1)));
        assert!(!untested.contains(&3) && !untested.contains(&12) && untested.contains(&4));
    }

    #[test]
    fn only_the_table_of_a_document_is_replaced() {
        let rules = rules(&[Source::new("x.rs", SAMPLE)]).unwrap();
        let old = format!("before\n{BEGIN}old\n{END}after\n");
        let new = with_table(&old, &rules).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with("after\n") && !new.contains("old"));
        assert!(new.contains("| Spec 5.3.2 | another one. | [`a`](../x.rs) |\n"), "{new}");
        assert_eq!(with_table(&new, &rules).unwrap(), new);
        assert!(with_table("no table", &rules).is_err());
    }
}
