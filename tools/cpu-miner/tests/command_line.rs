//! The built program: what it refuses, in which words, and with which exit code.

#![allow(clippy::unwrap_used, reason = "a test may say what it means")]

use std::net::TcpListener;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_cpu-miner");
    Command::new(program).args(["--user", "me"]).args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_pool_without_a_key_is_a_usage_error_with_both_remedies() {
    let output = run(&["stratum2+tcp://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(64));
    let complaint = complaint(&output);
    assert!(complaint.contains("/KEY") && complaint.contains("--insecure"), "{complaint}");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    assert_eq!(run(&["stratum+tcp://127.0.0.1:1", "--turbo"]).status.code(), Some(64));
}

#[test]
fn with_once_a_pool_that_is_not_there_ends_the_program_with_its_address() {
    // A port that was free a moment ago.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let output = run(&[&format!("stratum+tcp://{address}"), "--once", "--threads", "1"]);
    assert_eq!(output.status.code(), Some(70));
    assert!(complaint(&output).contains(&address), "{}", complaint(&output));
}

#[test]
fn help_is_no_failure() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("stratum2+tcp://HOST:PORT/KEY"));
}
