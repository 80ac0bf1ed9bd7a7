//! The built program: what it refuses, in which words and with which exit code, and that it
//! measures the real pool.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may say what it means")]

use std::process::{Command, Output};

use serde_json::Value;
use testkit::program::Programs;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).arg("pool").args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn no_pool_is_a_usage_error_that_says_how_to_name_one() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(complaint(&output).contains("--start adit"), "{}", complaint(&output));
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    let output = run(&["--address", "nowhere", "--tips", "0"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(complaint(&output).contains("--address"), "{}", complaint(&output));
}

#[test]
fn more_connections_than_open_files_are_a_usage_error_with_the_remedy() {
    let output = run(&["--start", "adit", "--connections", "1000000"]);
    // Where there is no limit, there is nothing to refuse.
    if output.status.code() == Some(64) {
        assert!(complaint(&output).contains("ulimit"), "{}", complaint(&output));
    }
}

#[test]
fn a_pool_that_cannot_be_started_is_named() {
    let output = run(&["--start", "sri", "--sri-path", "/nowhere/pool_sv2"]);
    assert_eq!(output.status.code(), Some(70));
    assert!(complaint(&output).contains("/nowhere/pool_sv2"), "{}", complaint(&output));
}

/// Measures our pool with more `arguments`: what is printed, and the report.
fn measured(arguments: &str) -> (Output, Value) {
    let pool = Programs::built().unwrap().path("pool-sv2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let (pool, json) = (pool.to_str().unwrap(), json.to_str().unwrap());
    let mut all = vec!["--start", "adit", "--adit-path", pool, "--json", json];
    all.extend(arguments.split_whitespace());
    let output = run(&all);
    assert!(output.status.success(), "{}", complaint(&output));
    let report = std::fs::read_to_string(json).unwrap();
    (output, serde_json::from_str(&report).unwrap())
}

/// The figure `name` of the only pool in `report`.
fn figure(report: &Value, name: &str) -> f64 {
    let figures = report["pools"][0]["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report:#}"))["value"].as_f64().unwrap()
}

#[test]
fn the_real_pool_is_measured_with_every_share_tip_and_visitor_accounted_for() {
    let (output, report) = measured(
        "--connections 6 --kind mixed --tips 2 --window 4 --seconds 4 --visitors 2 --tip-every 2 \
         --wrong-every 0",
    );
    for fault in [
        "connections lost",
        "new tips missing",
        "shares: connections without an answer",
        "shares: shares held back",
        "shares: visitors turned away",
        "shares: new tips missing",
    ] {
        assert_eq!(figure(&report, fault), 0.0, "{fault}: {report:#}");
    }
    for some in [
        "channels opened",
        "new tip, last",
        "shares: acknowledged",
        "shares: acknowledgement, p99",
        "shares: visitors",
        "memory of a connection, in the end",
    ] {
        assert!(figure(&report, some) > 0.0, "{some}: {report:#}");
    }
    let figures = report["pools"][0]["figures"].as_array().unwrap();
    let mut names = figures.iter().filter_map(|figure| figure["name"].as_str());
    // But one that was on its way when a tip came.
    let is_wrong = |name: &str| name.contains("rejected, ") && !name.ends_with(", stale-share");
    assert!(!names.any(is_wrong), "a share was rejected: {report:#}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("new tip, last (ms)"), "{table}");
}

#[test]
fn wrong_shares_are_counted_by_the_pools_own_code() {
    let (_, report) = measured("--connections 2 --tips 0 --rate 50 --seconds 2 --wrong-every 10");
    let rejected = figure(&report, "shares: rejected, invalid-job-id");
    assert!((5.0..=15.0).contains(&rejected), "{rejected} of about 10: {report:#}");
    assert!(figure(&report, "shares: rejection, p99") > 0.0);
}

#[test]
fn our_translator_is_measured_with_our_pool_behind_it() {
    let built = Programs::built().unwrap();
    let program = |name| built.path(name).unwrap().display().to_string();
    let (translator, pool) = (program("translator-v1"), program("pool-sv2"));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json").display().to_string();
    let mut all = vec!["--start", "adit", "--adit-path", &translator, "--pool-path", &pool];
    all.extend(["--json", &json, "--connections", "6", "--tips", "2"]);
    all.extend(["--rate", "200", "--seconds", "2", "--wrong-every", "10"]);
    let output = Command::new(env!("CARGO_BIN_EXE_load")).arg("v1").args(all).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let report = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    for fault in ["connections lost", "new tips missing", "shares: shares held back"] {
        assert_eq!(figure(&report, fault), 0.0, "{fault}: {report:#}");
    }
    assert!(figure(&report, "shares: acknowledged") > 50.0, "{report:#}");
    assert!(figure(&report, "shares: rejection, p50") > 0.0, "{report:#}");
}

#[test]
fn the_machine_itself_is_measured_by_plain_sends() {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["floor", "--connections", "5", "--tips", "2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("CPU of a send (us)") && text.contains("last read (ms)"), "{text}");
}
