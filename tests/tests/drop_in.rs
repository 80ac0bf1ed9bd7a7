//! The `.env` files of both Python servers, read by the real programs: no key falls between them.

#![allow(clippy::expect_used, reason = "a test may say what it means")]

use std::process::{Command, Output};

use testkit::program::Programs;
use tests::sources::root;

const PROGRAMS: [&str; 3] = ["template-provider", "pool-sv2", "translator-v1"];

/// Every key that the documents of the Drivechain server name.
const DRIVECHAIN: &str = "\
    NETWORK=regtest     # mainnet | testnet | regtest\n\
    RPC_HOST=127.0.0.1\nRPC_PORT=18443\nRPC_USER=rpcuser\nRPC_PASSWORD=hunter2\n\
    ENABLE_SIDECHAIN=@\nSC_RPC_HOST=127.0.0.1\nSC_RPC_PORT=18554\nSC_RPC_USER=scrpcuser\n\
    SC_RPC_PASSWORD=hunter3\nSIDECHAIN_NUMBER=0     # 0-255\n\
    MINER_PKH_HEX=751e76e8199196d454941c45d1b3a323f1433bd6\n\
    STRATUM_HOST=0.0.0.0\nSTRATUM_PORT=3333\nPOOL_DIFFICULTY=1.0\nJOB_REFRESH_INTERVAL=10\n";

/// Those of the Vanta server, and where its sidecar is.
const VANTA: &str = "\
    SHIELDED_PUBKEY=0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20\n\
    SHIELDED_NOTES_FILE=notes.jsonl\nSIDECAR_URL=http://127.0.0.1:3030\nNETWORK=regtest\n";

fn check(program: &str, env_file: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join(".env");
    std::fs::write(&path, env_file).expect("it is writable");
    let programs = Programs::built().expect("the programs build");
    Command::new(programs.path(program).expect("the program is built"))
        .args(["check-config", "--config", &format!("config/{program}.toml"), "--env-file"])
        .arg(path)
        .current_dir(root())
        .output()
        .expect("the program starts")
}

/// What each program says of a file that all of them take.
fn said_of(env_file: &str) -> Vec<String> {
    PROGRAMS
        .map(|program| {
            let output = check(program, env_file);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program}: {complaint}");
            String::from_utf8_lossy(&output.stdout).into_owned() + &complaint
        })
        .to_vec()
}

#[test]
fn no_key_of_either_server_is_left_without_a_reader() {
    for env_file in [&DRIVECHAIN.replace('@', "0"), &DRIVECHAIN.replace('@', "1"), VANTA] {
        for said in said_of(env_file) {
            assert!(!said.contains("not supported"), "{said}");
        }
    }
}

#[test]
fn a_key_that_nobody_reads_is_named_by_every_program() {
    for said in said_of("NETWORK=regtest\nFAVOURITE_COLOUR=ultraviolet\n") {
        assert!(said.contains("FAVOURITE_COLOUR is not supported"), "{said}");
        assert!(!said.contains("ultraviolet"), "{said}");
    }
}

#[test]
fn no_secret_of_the_file_is_said() {
    for env_file in [&DRIVECHAIN.replace('@', "0"), VANTA] {
        for said in said_of(env_file) {
            for secret in ["hunter2", "hunter3", "0102030405"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}

#[test]
fn a_file_that_would_pay_anyone_is_refused_with_the_exit_code_for_usage() {
    let output = check("pool-sv2", "NETWORK=mainnet\nMINER_PKH_HEX=\n");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{complaint}");
    assert!(complaint.contains("MINER_PKH_HEX"), "{complaint}");
}
