//! The `.env` files of both Python servers, as their documents describe them.

use std::path::Path;

use secrecy::ExposeSecret;
use service::config::{Source, parse_with_env_file};
use service::env_file::EnvFile;
use service::program::Server;

use super::*;
use crate::app::{Config, TemplateProvider};
use crate::coinbase::bmm::config::{ByteOrder, SourceKind};
use crate::node::chain::Network;

const EXAMPLE: &str = include_str!("../../../../config/template-provider.toml");
const PUBKEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

/// As the Drivechain server's documents give it.
const DRIVECHAIN: &str = "\
    NETWORK=regtest     # mainnet | testnet | regtest\n\
    RPC_HOST=127.0.0.1\nRPC_PORT=18443\nRPC_USER=rpcuser\nRPC_PASSWORD=rpcpassword\n\
    ENABLE_SIDECHAIN=1\n\
    SC_RPC_HOST=127.0.0.1\nSC_RPC_PORT=18554\nSC_RPC_USER=scrpcuser\n\
    SC_RPC_PASSWORD=scrpcpassword\nSIDECHAIN_NUMBER=7     # 0-255\n\
    MINER_PKH_HEX=\n\
    STRATUM_HOST=0.0.0.0\nSTRATUM_PORT=3333\nPOOL_DIFFICULTY=1.0\nJOB_REFRESH_INTERVAL=10\n";

fn read_beside(directory: &Path, env_file: &str) -> Result<(Config, Vec<Remark>), ConfigError> {
    read_over(EXAMPLE, directory, env_file)
}

fn read_over(
    text: &str,
    directory: &Path,
    env_file: &str,
) -> Result<(Config, Vec<Remark>), ConfigError> {
    let path = Path::new("template-provider.toml");
    let (program, prefix) = (TemplateProvider::NAME, TemplateProvider::PREFIX);
    let source = Source { path, text, program, prefix };
    let env_file = EnvFile::parse(&directory.join(".env"), env_file);
    let read: (Config, _) = parse_with_env_file(source, env_file, take_over, [])?;
    TemplateProvider::check(&read.0)?;
    Ok(read)
}

fn read(env_file: &str) -> Result<(Config, Vec<Remark>), ConfigError> {
    read_beside(Path::new(""), env_file)
}

fn refusal(env_file: &str) -> String {
    read(env_file).unwrap_err().to_string()
}

#[test]
fn a_drivechain_file_names_node_network_and_slot() {
    let (config, remarks) = read(DRIVECHAIN).unwrap();
    assert_eq!(config.node.rpc_url, "http://127.0.0.1:18443");
    assert_eq!(config.node.user.as_deref(), Some("rpcuser"));
    assert_eq!(config.node.password.unwrap().expose_secret(), "rpcpassword");
    assert_eq!(config.node.network, Some(Network::Regtest));
    assert_eq!(config.node.template_refresh_seconds, 10);
    let [slot] = &config.bmm[..] else { panic!("{:?}", config.bmm) };
    assert_eq!((slot.slot, slot.url.as_deref()), (7, Some("http://127.0.0.1:18554")));
    assert_eq!(slot.user.as_deref(), Some("scrpcuser"));
    assert!(config.shielded.is_none());
    let expected = ".env: for other programs: MINER_PKH_HEX (pool-sv2); \
                    POOL_DIFFICULTY (pool-sv2, translator-v1); \
                    STRATUM_HOST, STRATUM_PORT (translator-v1)";
    assert_eq!(remarks, [Remark::Note(expected.to_owned())]);
}

#[test]
fn a_slot_of_the_settings_keeps_what_the_file_does_not_name() {
    let slot = "\n[[bmm]]\nslot = 7\nsource = \"file\"\npath = \"h\"\nrequired = true\n\
                byte_order = \"reversed\"\n";
    let (config, _) = read_over(&format!("{EXAMPLE}{slot}"), Path::new(""), DRIVECHAIN).unwrap();
    let [slot] = &config.bmm[..] else { panic!("{:?}", config.bmm) };
    assert_eq!((slot.required, slot.byte_order), (true, ByteOrder::Reversed));
    assert_eq!((slot.source, slot.path.as_ref()), (Some(SourceKind::SidechainRpc), None));
    let wrong = "\n[[bmm]]\nslot = 7\npoll_ms = 0\n";
    let refused = read_over(&format!("{EXAMPLE}{wrong}"), Path::new(""), DRIVECHAIN).unwrap_err();
    assert!(refused.to_string().contains("poll_ms"), "{refused}");
}

#[test]
fn without_a_sidechain_there_is_no_slot() {
    let env_file = DRIVECHAIN.replace("ENABLE_SIDECHAIN=1", "ENABLE_SIDECHAIN=0");
    assert!(read(&env_file).unwrap().0.bmm.is_empty());
}

#[test]
fn a_vanta_file_names_owner_sidecar_and_what_is_left_to_deliver() {
    let directory = tempfile::tempdir().unwrap();
    let queue = directory.path().join("pending_l2_submissions.json");
    let env_file = format!(
        "export SHIELDED_PUBKEY=\"{}\"\r\nSHIELDED_NOTES_FILE=notes.json\r\n\
         SIDECAR_URL=http://127.0.0.1:9876\r\nNETWORK=regtest\r\n",
        PUBKEY.to_uppercase()
    );
    let (config, remarks) = read_beside(directory.path(), &env_file).unwrap();
    let shielded = config.shielded.unwrap();
    assert_eq!(shielded.pubkey.unwrap().expose_secret(), PUBKEY);
    assert_eq!(shielded.sidecar_url, "http://127.0.0.1:9876");
    assert_eq!(shielded.notes_file.as_deref(), Some(Path::new("notes.json")));
    assert!(shielded.test_network);
    assert_eq!((config.outbox.import_file, remarks), (None, vec![]));
    std::fs::write(&queue, "[]").unwrap();
    let (config, _) = read_beside(directory.path(), &env_file).unwrap();
    assert_eq!(config.outbox.import_file, Some(queue));
}

#[test]
fn a_bad_value_is_refused_by_its_key_and_not_shown() {
    let pubkey = format!("SHIELDED_PUBKEY={PUBKEY}\n");
    let with_sidechain = |line: &str| format!("{DRIVECHAIN}{line}\n");
    for (env_file, key) in [
        (format!("SHIELDED_PUBKEY={}", &PUBKEY[1..]), "SHIELDED_PUBKEY"),
        (format!("SHIELDED_PUBKEY={}g", &PUBKEY[1..]), "SHIELDED_PUBKEY"),
        ("SHIELDED_PUBKEY=".to_owned(), "SHIELDED_PUBKEY"),
        (pubkey, "SIDECAR_URL"),
        (with_sidechain("SIDECHAIN_NUMBER=256"), "SIDECHAIN_NUMBER"),
        (with_sidechain("SIDECHAIN_NUMBER=-1"), "SIDECHAIN_NUMBER"),
        (with_sidechain("ENABLE_SIDECHAIN=perhaps"), "ENABLE_SIDECHAIN"),
        (with_sidechain("SC_RPC_PORT=0"), "SC_RPC_PORT"),
        (with_sidechain("SC_RPC_PASSWORD="), "SC_RPC_PASSWORD"),
        (with_sidechain("RPC_PORT=http"), "RPC_PORT"),
        (with_sidechain("RPC_USER="), "RPC_USER"),
        (with_sidechain("NETWORK=bitcoin"), "NETWORK"),
        (with_sidechain("JOB_REFRESH_INTERVAL=0"), "JOB_REFRESH_INTERVAL"),
        ("ENABLE_SIDECHAIN=1\n".to_owned(), "SC_RPC_PORT"),
    ] {
        let error = refusal(&env_file);
        assert!(error.starts_with(&format!("{key} in .env: write")), "{env_file}: {error}");
        for secret in [&PUBKEY[1..], "rpcpassword"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn keys_that_need_another_one_are_named_without_it() {
    let (_, remarks) = read("SIDECAR_URL=http://127.0.0.1:1\nSHIELDED_NOTES_FILE=n\n").unwrap();
    let warning =
        |key: &str| Remark::Warning(format!(".env: {key} has no effect without SHIELDED_PUBKEY"));
    assert_eq!(remarks, [warning("SHIELDED_NOTES_FILE"), warning("SIDECAR_URL")]);
}
