//! The checkout, held against the rules of the house. Each rule is in `tests/src`, with samples
//! that prove it able to fail.

#![allow(clippy::expect_used, reason = "a test may say what it means")]

use std::process::Command;

use tests::sources::{Source, all, all_paths, root};
use tests::{codes, commands, conformance, documents, imports, packages, shape};

const PROGRAMS: [&str; 3] = ["pool-sv2", "template-provider", "translator-v1"];

/// Fails with all violations at once.
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn hold(endings: &[&str], rule: impl FnMut(&Source) -> Vec<String>) {
    let sources = all(endings).expect("the checkout can be read");
    assert!(!sources.is_empty(), "no file ends with {endings:?}");
    assert_none(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

fn metadata() -> cargo_metadata::Metadata {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().expect("cargo knows the workspace")
}

#[test]
fn packages_depend_in_one_direction() {
    let packages = packages::of_workspace(&metadata());
    assert!(packages.len() > 5, "cargo gave only {packages:?}");
    assert_none(&packages::wrong_dependencies(&packages));
    assert_none(&packages::wrong_folders(&packages));
}

#[test]
fn the_image_is_built_with_every_manifest() {
    let image = std::fs::read_to_string(root().join("Dockerfile")).expect("there is a Dockerfile");
    let is_copied = |manifest: &str| {
        let folder = manifest.trim_end_matches("Cargo.toml");
        image.contains(&format!("COPY {manifest} {folder}\n"))
    };
    let sources = all(&["/Cargo.toml"]).expect("the checkout can be read");
    let members = sources.iter().map(|source| source.path.as_str());
    let members = members.filter(|path| path.contains('/') && !path.starts_with("fuzz/"));
    let missing: Vec<_> = members.filter(|path| !is_copied(path)).map(str::to_owned).collect();
    assert_none(&missing);
}

#[test]
fn manifests_take_lints_and_versions_from_the_root() {
    hold(&["Cargo.toml"], |manifest| packages::own_rules(&manifest.path, &manifest.text));
}

#[test]
fn rooms_of_a_program_meet_in_its_app() {
    let sources = all(&[".rs"]).expect("the checkout can be read");
    let programs = PROGRAMS.into_iter().chain(["tools/cpu-miner"]);
    assert_none(&programs.flat_map(|it| imports::meetings(it, &sources)).collect::<Vec<_>>());
}

#[test]
fn what_asks_a_person_to_act_has_a_code_and_each_code_a_text() {
    assert_none(&codes::violations(&all(&[".rs"]).expect("the checkout can be read")));
}

#[test]
fn files_are_short() {
    hold(&[".rs"], shape::long_file);
}

#[test]
fn functions_are_short() {
    hold(&[".rs"], shape::long_functions);
}

#[test]
fn lines_are_short() {
    hold(&[".rs"], shape::long_lines);
}

#[test]
fn every_file_says_why_it_exists() {
    hold(&[".rs"], shape::missing_purpose);
}

#[test]
fn file_names_say_something() {
    hold(&[".rs"], shape::banned_name);
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let endings =
        [".rs", ".toml", ".md", ".yaml", ".yml", "Dockerfile", ".example", "scripts/demo"];
    hold(&endings, shape::banned_words);
}

#[test]
fn no_test_sleeps_to_let_something_happen() {
    hold(&[".rs"], shape::sleeping_tests);
}

#[test]
fn links_and_file_names_in_documents_lead_somewhere() {
    let paths = all_paths().expect("the checkout can be read");
    hold(&[".md"], |document| {
        let links = documents::dead_links(document, &paths);
        links.into_iter().chain(documents::missing_files(document, &paths)).collect()
    });
}

#[test]
fn the_table_of_rules_and_tests_is_up_to_date() {
    let sources = all(&[".rs"]).expect("the checkout can be read");
    let rules = conformance::rules(&sources).expect("the sources are Rust");
    assert!(rules.len() > 50, "only {} rules were found", rules.len());
    for folder in ["", "translator-v1/"] {
        let untested = conformance::untested_flaws(&rules, folder);
        assert!(untested.is_empty(), "no test in {folder:?} names the flaws {untested:?}");
    }
    let untested = conformance::untested_v1_rules(&rules);
    assert!(untested.is_empty(), "no test is named after the V1 rules {untested:?}");
    let document = std::fs::read_to_string(root().join(conformance::DOCUMENT));
    let document = document.expect("the document is there");
    let expected = conformance::with_table(&document, &rules).expect("it has a table");
    assert!(
        document == expected,
        "{} is out of date: run `{}`",
        conformance::DOCUMENT,
        conformance::COMMAND
    );
}

#[test]
fn every_example_of_settings_is_read_by_its_program() {
    let programs = testkit::program::Programs::built().expect("the programs build");
    let examples = all(&[".toml"]).expect("the checkout can be read");
    let examples = examples.iter().filter(|source| source.path.starts_with("config/"));
    let mut checked = 0;
    for example in examples {
        let name = example.file_name().trim_end_matches(".toml");
        let name = PROGRAMS.into_iter().find(|program| *program == name);
        let name = name.unwrap_or_else(|| panic!("no program reads {}", example.path));
        let output = Command::new(programs.path(name).expect("the program is built"))
            .args(["check-config", "--config", &example.path])
            .current_dir(root())
            .envs(what_no_example_can_know(&example.text))
            .output()
            .expect("the program starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", example.path);
        checked += 1;
    }
    assert!(checked >= PROGRAMS.len(), "only {checked} examples were found");
}

#[test]
fn every_page_of_commands_says_which_are_run_by_a_test() {
    hold(&[".md"], |document| commands::unmarked(document, &PROGRAMS).into_iter().collect());
}

#[test]
fn every_command_in_a_document_is_one_that_its_program_knows() {
    let programs = testkit::program::Programs::built().expect("the programs build");
    let help = |program: &str, path: &[String]| {
        let mut command = Command::new(programs.path(program).expect("the program is built"));
        let output = command.args(path).arg("--help").output().expect("the program starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut checked = 0;
    hold(&[".md"], |document| {
        let told = commands::told(document, &PROGRAMS);
        checked += told.len();
        let complaints = told.iter().flat_map(|told| {
            let unknown = commands::unknown(told, |path| help(&told.program, path));
            unknown.into_iter().map(|what| document.violation(told.line, what))
        });
        complaints.collect()
    });
    assert!(checked > 20, "only {checked} commands were found");
}

/// Whom to pay, as environment variables for a program that reads `example`.
fn what_no_example_can_know(example: &str) -> Vec<(&'static str, &'static str)> {
    let sets = |line: &str| example.lines().any(|one| one == line);
    let mut variables = Vec::new();
    if sets("[shielded]") {
        let owner = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
        variables.push(("TEMPLATE_PROVIDER__SHIELDED__PUBKEY", owner));
        variables.push(("TEMPLATE_PROVIDER__SHIELDED__TEST_NETWORK", "true"));
    }
    if !sets("by_template = true") {
        let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        variables.push(("POOL_SV2__PAYOUT__NETWORK", "regtest"));
        variables.push(("POOL_SV2__PAYOUT__ADDRESS", address));
    }
    variables
}
