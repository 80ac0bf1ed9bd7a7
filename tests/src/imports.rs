//! Who may use whom inside a program: its rooms meet only in its `app`.
//!
//! A room is a top-level module with a folder. A room may use a leaf, which is a top-level module
//! that uses no other one: the words that rooms share. `app`, `config`, `main` and `lib` put the
//! rooms together and may use them all. This looks at paths that begin with `crate::`, outside of
//! tests; it is an approximation that finds what people write.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::sources::Source;

/// Modules whose work it is to know several rooms.
const WIRING: [&str; 4] = ["app", "config", "lib", "main"];

/// Modules of a program, each with the other ones that it names and where.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// Rooms of the program in folder `program` that meet outside of its app.
pub fn meetings(program: &str, sources: &[Source]) -> Vec<String> {
    let uses = uses_of(program, sources);
    let is_leaf = |module: &str| uses.get(module).is_none_or(BTreeMap::is_empty);
    let mut violations = Vec::new();
    for (module, used) in uses.iter().filter(|(module, _)| !WIRING.contains(&module.as_str())) {
        for (other, place) in used.iter().filter(|(other, _)| !is_leaf(other)) {
            let what = format!("`{module}` uses `{other}`, which uses further modules");
            violations.push(format!("{place}: {what}; let them meet in app.rs"));
        }
    }
    violations
}

fn uses_of(program: &str, sources: &[Source]) -> Uses {
    let start = format!("{program}/src/");
    let own = sources.iter().filter(|source| source.path.starts_with(&start) && !source.is_test());
    let mut uses = Uses::new();
    for source in own {
        let inner = source.path.strip_prefix(&start).unwrap_or_default();
        let module = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let used = uses.entry(module.to_owned()).or_default();
        for other in named_modules(source).into_iter().filter(|other| other != module) {
            used.entry(other).or_insert_with(|| source.path.clone());
        }
    }
    // What is named and is no module of the program, a type at its root for instance, does not
    // count.
    let modules: BTreeSet<_> = uses.keys().cloned().collect();
    for used in uses.values_mut() {
        used.retain(|other, _| modules.contains(other));
    }
    uses
}

/// The `x` of every `crate::x` in the file, tests left out.
fn named_modules(source: &Source) -> BTreeSet<String> {
    #[derive(Default)]
    struct Named(BTreeSet<String>);

    impl Named {
        fn take_tree(&mut self, tree: &syn::UseTree) {
            match tree {
                syn::UseTree::Path(path) => drop(self.0.insert(path.ident.to_string())),
                syn::UseTree::Name(name) => drop(self.0.insert(name.ident.to_string())),
                syn::UseTree::Rename(name) => drop(self.0.insert(name.ident.to_string())),
                syn::UseTree::Group(group) => {
                    group.items.iter().for_each(|tree| self.take_tree(tree));
                }
                syn::UseTree::Glob(_) => {}
            }
        }
    }

    impl<'ast> Visit<'ast> for Named {
        fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
            if !is_test_only(&item.attrs) {
                visit::visit_item_mod(self, item);
            }
        }
        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            if let syn::UseTree::Path(path) = &item.tree
                && path.ident == "crate"
                && !is_test_only(&item.attrs)
            {
                self.take_tree(&path.tree);
            }
        }
        fn visit_path(&mut self, path: &'ast syn::Path) {
            let mut segments = path.segments.iter();
            if segments.next().is_some_and(|first| first.ident == "crate") {
                self.0.extend(segments.next().map(|second| second.ident.to_string()));
            }
            visit::visit_path(self, path);
        }
    }

    let mut named = Named::default();
    if let Ok(file) = syn::parse_file(&source.text) {
        named.visit_file(&file);
    }
    named.0
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = |path: &syn::Path| path.is_ident("test");
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| is_test(&path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source::new(format!("p/src/{path}"), *text);
        meetings("p", &files.iter().map(source).collect::<Vec<_>>())
    }

    const UPSTREAM: (&str, &str) = ("upstream.rs", "use crate::words::Word;");
    const WORDS: (&str, &str) = ("words.rs", "pub struct Word;");

    #[test]
    fn rooms_that_share_words_and_meet_in_app_are_fine() {
        let downstream = ("downstream/session.rs", "use crate::words::Word; use crate::Root;");
        let app = ("app.rs", "use crate::{downstream, upstream::Upstream};");
        let found = program(&[UPSTREAM, WORDS, downstream, app]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn rooms_that_meet_outside_of_app_are_found_however_they_name_each_other() {
        for meeting in [
            "use crate::upstream::Upstream;",
            "use crate::{words::Word, upstream};",
            "fn f() -> crate::upstream::Upstream { todo() }",
            "fn f() { crate::upstream::start(); }",
        ] {
            let found = program(&[UPSTREAM, WORDS, ("downstream/session.rs", meeting)]);
            assert_eq!(found.len(), 1, "{meeting}");
            assert!(
                found[0].starts_with("p/src/downstream/session.rs: `downstream` uses `upstream`")
            );
        }
    }

    #[test]
    fn two_modules_that_use_each_other_are_found() {
        let there = ("a.rs", "use crate::b::B;");
        let back = ("b.rs", "use crate::a::A;");
        assert_eq!(program(&[there, back]).len(), 2);
    }

    #[test]
    fn tests_may_use_what_they_want() {
        let tests = "#[cfg(test)] mod tests { use crate::upstream::Upstream; }";
        let found = program(&[UPSTREAM, WORDS, ("downstream.rs", tests)]);
        assert_eq!(found, Vec::<String>::new());
    }
}
