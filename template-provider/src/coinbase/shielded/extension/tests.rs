//! What the extension puts into a coinbase, and what it delivers.

use std::path::Path;

use bitcoin::hex::DisplayHex;

use super::*;
use crate::coinbase::shielded::settings::ShieldedConfig;

const KEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

fn shielded(directory: &Path, toml: &str) -> Shielded {
    let start = "sidecar_url = \"http://127.0.0.1:1\"\ntest_network = true";
    let config: ShieldedConfig =
        toml::from_str(&format!("{start}\npubkey = \"{KEY}\"\n{toml}")).unwrap();
    let secret = NoteSecret::open_or_create(&directory.join("notes.secret")).unwrap();
    Shielded::new(config.settings().unwrap(), secret)
}

fn facts(value: u64, fees: u64) -> Facts<'static> {
    Facts { prev_hash: [7; 32], height: 102, value, fees: Some(fees), present: &[] }
}

fn opened(shielded: &Shielded, parcel: &Parcel) -> u64 {
    let sealed: SealedNote = serde_json::from_value(parcel.body.clone()).unwrap();
    cipher::open(shielded.maker.hash, &sealed, shielded.maker.owner).unwrap().value
}

#[test]
fn the_whole_reward_goes_into_one_note_and_nothing_is_left_for_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let shielded = shielded(directory.path(), "");
    let added = shielded.outputs(facts(5_000_001_000, 1_000)).unwrap();
    let [note, anchor] = added.outputs.as_slice() else { panic!("{:?}", added.outputs) };
    let [parcel] = added.parcels.as_slice() else { panic!() };
    assert_eq!(note.script.to_lower_hex_string(), format!("5220{}", parcel.key));
    assert_eq!(anchor.script.to_lower_hex_string(), format!("6a22bb00{}", parcel.key));
    assert_eq!((note.value, anchor.value, added.value_left), (0, 0, 0));
    assert_eq!(parcel.extension, shielded.name());
    assert_eq!(opened(&shielded, parcel), 5_000_001_000);
    let bytes: usize = added.outputs.iter().map(|output| 8 + 1 + output.script.len()).sum();
    assert_eq!(bytes, usize::try_from(shielded.output_bytes_max()).unwrap());
    assert!(shielded.is_mandatory());
}

#[test]
fn the_note_may_be_worth_the_subsidy_and_the_output_as_much_as_the_note() {
    let directory = tempfile::tempdir().unwrap();
    let toml = "note_value = \"subsidy\"\noutput_value = \"full\"";
    let shielded = shielded(directory.path(), toml);
    let added = shielded.outputs(facts(5_000_001_000, 1_000)).unwrap();
    assert_eq!(opened(&shielded, &added.parcels[0]), 5_000_000_000);
    assert_eq!(added.outputs[0].value, 5_000_000_000);
    assert_eq!((added.outputs[1].value, added.value_left), (0, 0));
    assert!(shielded.outputs(facts(10, 11)).is_err());
    let unknown = Facts { fees: None, ..facts(5_000_001_000, 1_000) };
    assert!(shielded.outputs(unknown).unwrap_err().contains("does not state all fees"));
}

#[test]
fn a_note_is_the_same_after_a_restart_and_another_one_with_other_fees() {
    let directory = tempfile::tempdir().unwrap();
    let first = shielded(directory.path(), "").outputs(facts(5_000_001_000, 1_000)).unwrap();
    let restarted = shielded(directory.path(), "");
    assert_eq!(restarted.outputs(facts(5_000_001_000, 1_000)).unwrap(), first);
    let bumped = restarted.outputs(facts(5_000_001_001, 1_001)).unwrap();
    assert_ne!(bumped.parcels[0].key, first.parcels[0].key);
}

#[test]
fn a_lost_note_is_made_again_from_its_block() {
    let directory = tempfile::tempdir().unwrap();
    let shielded = shielded(directory.path(), "");
    let added = shielded.outputs(facts(5_000_001_000, 1_000)).unwrap();
    let scripts: Vec<_> = added.outputs.iter().map(|output| output.script.to_vec()).collect();
    let values = [1, 5_000_001_000];
    let recovered = shielded.maker.recover([7; 32], 102, &values, &scripts).unwrap();
    assert_eq!(parcel(&recovered), added.parcels[0]);
    assert_eq!(shielded.maker.recover([8; 32], 102, &values, &scripts), None);
    assert_eq!(shielded.maker.recover([7; 32], 102, &[1], &scripts), None);
}

#[tokio::test]
async fn an_accepted_note_is_in_the_notes_file_even_while_the_sidecar_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.jsonl");
    let toml = format!("notes_file = \"{}\"", file.display());
    let shielded = shielded(directory.path(), &toml);
    let added = shielded.outputs(facts(5_000_000_000, 0)).unwrap();
    assert!(!file.exists(), "nothing is written for a template");
    let block = AcceptedBlock { hash: "00".repeat(32), height: 102 };
    for _ in 0..2 {
        let delivery = shielded.on_accepted(&block, &added.parcels[0]).await;
        assert!(matches!(delivery, Delivery::Failed(_)), "{delivery:?}");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(&added.parcels[0].key));
}
