//! Which settings are taken, and what the others are told.

use super::*;

const KEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
const ANSWER: &str = "[known_answer]\nvalue = 10000000012345\n\
    pubkey = \"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20\"\n\
    randomness = \"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\"\n\
    commitment = \"3510b6b132bfd3266bd975c0478859e3436d88d4d2e07d7845a16e61b5cd5ffb\"\n";

fn config(toml: &str) -> ShieldedConfig {
    let url = "sidecar_url = \"http://127.0.0.1:3030\"";
    toml::from_str(&format!("{url}\n{toml}")).unwrap()
}

fn refusal(toml: &str) -> String {
    config(toml).settings().unwrap_err().to_string()
}

#[test]
fn a_chain_with_worth_needs_a_named_hash_and_a_known_note() {
    let key = format!("pubkey = \"{KEY}\"\n");
    let error = refusal(&key);
    assert!(error.starts_with("shielded.note_hash: "), "{error}");
    assert!(error.contains("note-hash detect"), "{error}");
    let error = refusal(&format!("{key}note_hash = \"nul\""));
    assert!(error.starts_with("shielded.known_answer: "), "{error}");
    let settings = config(&format!("{key}note_hash = \"nul\"\n{ANSWER}")).settings().unwrap();
    assert_eq!((settings.hash, settings.is_test_network), (NoteHash::Nul, false));
    let settings = config(&format!("{key}test_network = true")).settings().unwrap();
    assert_eq!((settings.hash, settings.is_test_network), (NoteHash::Concat, true));
}

#[test]
fn a_hash_that_a_known_note_disproves_is_refused_everywhere_and_the_right_one_named() {
    let key = format!("pubkey = \"{KEY}\"\n");
    for more in ["note_hash = \"concat\"\n", "test_network = true\n"] {
        let error = refusal(&format!("{key}{more}{ANSWER}"));
        assert!(error.contains("shielded.note_hash = \"nul\""), "{error}");
    }
    let other = ANSWER.replace("12345", "12346");
    let error = refusal(&format!("{key}note_hash = \"nul\"\n{other}"));
    assert!(error.contains("check the four values"), "{error}");
}

#[test]
fn no_key_two_keys_and_bad_keys_are_refused_without_being_shown() {
    let both = format!("pubkey = \"{KEY}\"\npubkey_file = \"x\"\n");
    for toml in ["", &both] {
        let error = refusal(&format!("test_network = true\n{toml}"));
        assert!(error.starts_with("shielded.pubkey: set it"), "{error}");
    }
    for bad in [&KEY[1..], &format!("{KEY}7"), "", &KEY.replace("0a", "zz"), &"0".repeat(64)] {
        let error = refusal(&format!("test_network = true\npubkey = \"{bad}\""));
        assert!(error.starts_with("shielded.pubkey: it "), "{error}");
        assert!(!error.contains("0203"), "{error}");
    }
}

#[test]
fn the_key_may_stand_in_a_file_and_in_upper_case() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", KEY.to_uppercase())).unwrap();
    let toml = format!("test_network = true\npubkey_file = \"{}\"", file.path().display());
    assert_eq!(config(&toml).settings().unwrap().owner, KEY.parse().unwrap());
    std::fs::remove_file(file.path()).unwrap();
    assert!(refusal(&toml).starts_with("shielded.pubkey_file: "));
}

#[test]
fn a_bad_known_note_is_told_by_its_part_and_not_shown() {
    let key = format!("pubkey = \"{KEY}\"\nnote_hash = \"nul\"\n");
    for (part, old) in [("pubkey", "0102"), ("randomness", "8081"), ("commitment", "3510")] {
        let error = refusal(&format!("{key}{}", ANSWER.replace(old, "01")));
        assert!(error.starts_with(&format!("shielded.known_answer.{part}: ")), "{error}");
        assert!(!error.contains("0304") && !error.contains("8283"), "{error}");
    }
}

#[test]
fn a_sidecar_without_a_port_or_over_tls_is_refused() {
    for url in ["https://127.0.0.1:1", "127.0.0.1"] {
        let mut config = config(&format!("pubkey = \"{KEY}\"\ntest_network = true"));
        config.sidecar_url = url.to_owned();
        let error = config.settings().unwrap_err().to_string();
        assert!(error.starts_with("shielded.sidecar_url: "), "{error}");
    }
}

#[test]
fn no_key_and_no_randomness_shows_in_debug() {
    let config = config(&format!("pubkey = \"{KEY}\"\nnote_hash = \"nul\"\n{ANSWER}"));
    let shown = format!("{config:?} {:?}", config.settings().unwrap());
    assert!(!shown.contains("0304") && !shown.contains("8283"), "{shown}");
}

#[test]
fn a_status_that_never_means_a_note_is_there_is_refused() {
    let statuses = |list: &str| {
        let key = format!("test_network = true\npubkey = \"{KEY}\"\n");
        config(&format!("{key}sidecar_done_statuses = {list}")).settings().map(drop)
    };
    for fine in ["[]", "[409]", "[400, 404, 410, 422, 499]"] {
        statuses(fine).unwrap();
    }
    for bad in [0, 200, 302, 401, 403, 408, 425, 429, 500, 503] {
        let error = statuses(&format!("[409, {bad}]")).unwrap_err().to_string();
        let start = format!("shielded.sidecar_done_statuses: {bad} never says");
        assert!(error.starts_with(&start), "{error}");
    }
}
