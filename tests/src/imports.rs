//! Who may use whom inside a program: its rooms meet only in its `app`.
//!
//! A room is a top-level module with a folder. No way leads from one room to another, not through
//! further modules either, unless the other is a leaf, which uses no module of the program: such
//! are the words that rooms share. `app`, `config`, `main` and `lib` put the rooms together and may
//! use them all. This looks at paths that begin with `crate::`, outside of tests: an approximation
//! that finds what people write.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::sources::Source;

/// Modules whose work it is to know several rooms.
const WIRING: [&str; 4] = ["app", "config", "lib", "main"];

/// A program's modules.
#[derive(Debug, Default)]
struct Modules {
    /// Those with a folder.
    rooms: BTreeSet<String>,
    /// Each with the other ones that it names.
    uses: BTreeMap<String, BTreeSet<String>>,
}

/// Rooms of the program in folder `program` that meet outside of its app.
pub fn meetings(program: &str, sources: &[Source]) -> Vec<String> {
    let modules = modules_of(program, sources);
    let mut violations = Vec::new();
    for room in modules.rooms.iter().filter(|room| !is_wiring(room)) {
        for (other, way) in ways_from(room, &modules) {
            let is_leaf = modules.uses.get(&other).is_none_or(BTreeSet::is_empty);
            if modules.rooms.contains(&other) && !is_leaf {
                let what = format!("{program}: the room `{room}` uses the room `{other}`");
                violations.push(format!("{what} ({way}); let them meet in app.rs"));
            }
        }
    }
    violations
}

fn is_wiring(module: &str) -> bool {
    WIRING.contains(&module)
}

/// Every module that `start` uses, straight or through others, with the way to it.
fn ways_from(start: &str, modules: &Modules) -> BTreeMap<String, String> {
    let mut ways = BTreeMap::new();
    let mut open = vec![(start.to_owned(), start.to_owned())];
    while let Some((module, way)) = open.pop() {
        for next in modules.uses.get(&module).into_iter().flatten() {
            let known = next == start || ways.contains_key(next);
            if !known && !is_wiring(next) {
                let way = format!("{way} -> {next}");
                ways.insert(next.clone(), way.clone());
                open.push((next.clone(), way));
            }
        }
    }
    ways
}

fn modules_of(program: &str, sources: &[Source]) -> Modules {
    let start = format!("{program}/src/");
    let own = sources.iter().filter(|source| source.path.starts_with(&start) && !source.is_test());
    let mut modules = Modules::default();
    for source in own {
        let inner = source.path.strip_prefix(&start).unwrap_or_default();
        let (module, in_folder) = match inner.split_once('/') {
            Some((module, _)) => (module, true),
            None => (inner.trim_end_matches(".rs"), false),
        };
        if in_folder {
            modules.rooms.insert(module.to_owned());
        }
        let used = modules.uses.entry(module.to_owned()).or_default();
        used.extend(named_modules(source).into_iter().filter(|other| other != module));
    }
    // What is named and is no module, a type at the program's root for instance, does not count.
    let known: BTreeSet<_> = modules.uses.keys().cloned().collect();
    for used in modules.uses.values_mut() {
        used.retain(|other| known.contains(other));
    }
    modules
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

    const UPSTREAM: (&str, &str) = ("upstream/session.rs", "use crate::words::Word;");
    const WORDS: (&str, &str) = ("words.rs", "pub struct Word;");

    #[test]
    fn rooms_that_share_words_and_meet_in_app_are_fine() {
        let downstream = ("downstream/session.rs", "use crate::words::Word; use crate::Root;");
        let app = ("app.rs", "use crate::{downstream, upstream::Upstream};");
        let inner_app = ("app/wires.rs", "use crate::{downstream, upstream::Upstream};");
        let found = program(&[UPSTREAM, WORDS, downstream, app, inner_app]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn rooms_that_meet_outside_of_app_are_found_however_they_name_each_other() {
        for meeting in [
            "use crate::upstream::Upstream;",
            "use crate::{words::Word, upstream};",
            "fn f() -> crate::upstream::Upstream { g() }",
            "fn f() { crate::upstream::start(); }",
        ] {
            let found = program(&[UPSTREAM, WORDS, ("downstream/session.rs", meeting)]);
            assert_eq!(found.len(), 1, "{meeting}");
            assert!(found[0].contains("(downstream -> upstream)"), "{}", found[0]);
        }
    }

    #[test]
    fn rooms_that_meet_in_a_third_module_are_found() {
        let between = ("between.rs", "use crate::upstream::Upstream;");
        let found =
            program(&[UPSTREAM, WORDS, between, ("downstream/a.rs", "use crate::between;")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("(downstream -> between -> upstream)"), "{}", found[0]);
    }

    #[test]
    fn tests_may_use_what_they_want() {
        let tests = "#[cfg(test)] mod tests { use crate::upstream::Upstream; }";
        let found = program(&[UPSTREAM, WORDS, ("downstream/session.rs", tests)]);
        assert_eq!(found, Vec::<String>::new());
    }
}
