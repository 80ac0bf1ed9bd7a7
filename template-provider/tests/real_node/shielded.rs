//! Shielded coinbases: the note in the chain, and the one in the sidecar.

use std::process::{Command, Output};

use bitcoin::hex::{DisplayHex, FromHex};
use serde_json::{Value, json};
use template_provider::coinbase::shielded::cipher::{self, SealedNote};
use template_provider::coinbase::shielded::hash::NoteHash;
use template_provider::coinbase::shielded::note::OwnerKey;
use testkit::block::MinedBlock;
use testkit::node::Node;
use wire::sv2::template::NewTemplate;

use crate::PAYOUT;
use crate::client::{Client, mine};
use crate::provider::{Provider, settings};
use crate::sidecar::Sidecar;

const KEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

pub(crate) fn shielded(sidecar: &Sidecar, more: &str) -> String {
    format!(
        "[shielded]\npubkey = \"{KEY}\"\ntest_network = true\nnote_hash = \"len32\"\n\
         sidecar_url = \"{}\"\n{more}",
        sidecar.url()
    )
}

/// Subsidy and fees of a block.
fn value(node: &Node, hash: &str) -> u64 {
    let stats = node.rpc("getblockstats", &json!([hash, ["subsidy", "totalfee"]])).unwrap();
    stats["subsidy"].as_u64().unwrap() + stats["totalfee"].as_u64().unwrap()
}

fn sealed(post: &Value) -> SealedNote {
    serde_json::from_value(post.clone()).unwrap()
}

/// What the note is worth to its owner.
fn opened(post: &Value) -> Option<u64> {
    let owner: OwnerKey = KEY.parse().unwrap();
    cipher::open(NoteHash::Len32, &sealed(post), owner).map(|note| note.value)
}

/// The commitment that a template's first output holds, in hex.
fn commitment(template: &NewTemplate) -> String {
    assert_eq!(template.coinbase_tx_value_remaining, 0);
    assert_eq!(template.coinbase_tx_outputs_count, 3, "note, anchor, witness commitment");
    commitment_of_first(template)
}

/// The same, whatever else is there.
pub(crate) fn commitment_of_first(template: &NewTemplate) -> String {
    template.coinbase_tx_outputs.as_slice()[8 + 1 + 2..][..32].to_lower_hex_string()
}

#[test]
fn a_block_with_a_shielded_reward_and_segwit_payments_stands_in_the_chain_and_its_note_arrives() {
    let node = Node::start_funded().unwrap();
    let txid = node.pay_itself(20).unwrap();
    let sidecar = Sidecar::start();
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let committed = commitment(&template);

    let from = provider.end();
    client.submit(&mine(&template, &tip, 1));
    let accepted = provider.wait_for(from, "block accepted");
    let block = MinedBlock::read(&node, &accepted.text("hash")).unwrap();
    assert!(block.contains(&txid).unwrap());
    block.check_witness_commitment().unwrap();
    let coinbase = block.block.coinbase().unwrap();
    let scripts = coinbase.output.iter().map(|output| output.script_pubkey.to_hex_string());
    let scripts: Vec<_> = scripts.collect();
    assert_eq!(scripts[0], format!("5220{committed}"));
    assert_eq!(scripts[1], format!("6a22bb00{committed}"));
    assert!(scripts[2].starts_with("6a24aa21a9ed") && scripts.len() == 3, "{scripts:?}");
    assert!(coinbase.output.iter().all(|output| output.value.to_sat() == 0));

    let posts = sidecar.wait_until_taken(1);
    assert_eq!(sealed(&posts[0]).commitment.to_lower_hex_string(), committed);
    assert_eq!(opened(&posts[0]), Some(value(&node, &accepted.text("hash"))));
    provider.wait_for(from, "parcel delivered");

    let secret = provider.directory.path().join("notes.secret");
    let secret = std::fs::read_to_string(secret).unwrap();
    let log = format!("{:?}", provider.program.log().events(from));
    assert!(log.contains(&committed), "the log names the note by its commitment");
    assert!(!log.contains(KEY) && !log.contains(secret.trim()), "no secret in the log");
}

#[test]
fn the_note_of_an_earlier_template_stands_for_a_block_of_that_template() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (empty, tip) = client.next_tip();
    node.pay_itself(20).unwrap();
    let paying = client.next_template();
    assert_ne!(commitment(&paying), commitment(&empty), "it is worth more");

    let from = provider.end();
    client.submit(&mine(&empty, &tip, 1));
    provider.wait_for(from, "block accepted");
    let posts = sidecar.wait_until_taken(1);
    assert_eq!(sealed(&posts[0]).commitment.to_lower_hex_string(), commitment(&empty));
    assert_eq!(opened(&posts[0]), Some(5_000_000_000));
}

#[test]
fn nothing_is_posted_for_a_template_or_for_a_refused_block() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    node.pay_itself(20).unwrap();
    let paying = client.next_template();
    let from = provider.end();
    let greedy = NewTemplate { coinbase_tx_value_remaining: 6_000_000_000, ..template };
    client.submit(&mine(&greedy, &tip, 1));
    let refused = provider.wait_for(from, "block refused");
    assert_eq!(refused.text("reason"), "bad-cb-amount");

    // What comes first is the note of the block that is accepted.
    client.submit(&mine(&paying, &tip, 2));
    provider.wait_for(from, "block accepted");
    let posts = sidecar.wait_until_taken(1);
    provider.wait_for(from, "parcel delivered");
    assert_eq!(sealed(&posts[0]).commitment.to_lower_hex_string(), commitment(&paying));
    assert_eq!(sidecar.posts(), 1);
}

#[test]
fn a_note_reaches_a_sidecar_in_trouble_once_over_a_restart_of_the_provider() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    sidecar.answer(503);
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    client.submit(&mine(&template, &tip, 1));
    provider.wait_for(from, "block accepted");
    provider.wait_for(from, "parcel not delivered yet");
    // The next template does not wait for the sidecar.
    let (next, next_tip) = client.next_tip();
    provider.restart();
    sidecar.answer(200);
    let posts = sidecar.wait_until_taken(1);
    assert_eq!(sealed(&posts[0]).commitment.to_lower_hex_string(), commitment(&template));

    let from = provider.end();
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (again, _) = client.next_tip();
    assert_eq!(commitment(&again), commitment(&next), "the same note, made again");
    client.submit(&mine(&again, &next_tip, 1));
    provider.wait_for(from, "parcel delivered");
    let taken = sidecar.wait_until_taken(2);
    let commitments = taken.iter().map(|post| sealed(post).commitment.to_lower_hex_string());
    assert_eq!(commitments.collect::<Vec<_>>(), [commitment(&template), commitment(&next)]);
}

fn run(provider: &Provider, arguments: &[&str]) -> Output {
    let config = provider.directory.path().join("template-provider.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_template-provider"));
    command.args(arguments).arg("--config").arg(config).output().unwrap()
}

/// What a person is told.
fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn notes(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_note_that_was_lost_with_all_state_is_made_again_from_the_chain_and_delivered() {
    let node = Node::start_funded().unwrap();
    node.pay_itself(20).unwrap();
    let sidecar = Sidecar::start();
    sidecar.answer(503);
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    client.submit(&mine(&template, &tip, 1));
    let hash = provider.wait_for(from, "block accepted").text("hash");
    provider.wait_for(from, "parcel not delivered yet");
    provider.program.kill();
    for folder in ["outbox", "blocks"] {
        std::fs::remove_dir_all(provider.directory.path().join(folder)).unwrap();
    }

    let of_chain = notes(&run(&provider, &["notes", "recover", "--from-height", "100"]));
    let [note] = of_chain.as_slice() else { panic!("{of_chain:?}") };
    assert_eq!((&note["block"], &note["height"]), (&json!(hash), &json!(102)));
    assert_eq!(note["commitment"], commitment(&template));
    assert_eq!(note["value"], value(&node, &hash));
    assert_eq!(opened(&note["submit"]), Some(value(&node, &hash)));
    let randomness = <[u8; 32]>::from_hex(note["randomness"].as_str().unwrap()).unwrap();
    let owner = KEY.parse().unwrap();
    let sealed = cipher::open(NoteHash::Len32, &sealed(&note["submit"]), owner).unwrap();
    assert_eq!(sealed.randomness.0, randomness);

    let other = node.hash_at(101).unwrap();
    let output = run(&provider, &["notes", "recover", "--block", &other]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");

    sidecar.answer(200);
    let submitted = run(&provider, &["notes", "recover", "--block", &hash, "--submit"]);
    assert_eq!(notes(&submitted), of_chain);
    assert!(said(&submitted).contains("waits for its delivery"), "{submitted:?}");
    let from = provider.end();
    provider.restart();
    assert_eq!(sidecar.wait_until_taken(1), [note["submit"].clone()]);
    provider.wait_for(from, "parcel delivered");

    let known = run(&provider, &["notes", "recover", "--block", &hash, "--submit"]);
    assert_eq!(notes(&known), of_chain);
    assert!(said(&known).contains("was delivered already, "), "{known:?}");
    let again = run(&provider, &["notes", "recover", "--block", &hash, "--submit", "--again"]);
    assert!(said(&again).contains("waits for its delivery"), "{again:?}");
    assert_eq!(sidecar.wait_until_taken(2)[1], note["submit"]);
}

#[test]
fn a_note_waits_while_its_block_is_off_the_chain_and_arrives_when_it_is_back() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    sidecar.answer(503);
    let mut provider = Provider::start_with(&node, &shielded(&sidecar, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    client.submit(&mine(&template, &tip, 1));
    let hash = provider.wait_for(from, "block accepted").text("hash");
    provider.wait_for(from, "parcel not delivered yet");
    node.rpc("invalidateblock", &json!([hash])).unwrap();
    node.generate(1).unwrap();
    let left = provider.wait_for(from, "block left the chain: its parcel waits");
    assert_eq!(left.text("hash"), hash);
    sidecar.answer(200);
    let posts = sidecar.posts();
    // Attempts go on, and none reaches the sidecar.
    provider.restart();
    provider.wait_for(from, "block left the chain: its parcel waits");
    assert_eq!(sidecar.posts(), posts);

    let other = node.tip().unwrap();
    node.rpc("invalidateblock", &json!([other])).unwrap();
    node.rpc("reconsiderblock", &json!([hash])).unwrap();
    let taken = sidecar.wait_until_taken(1);
    assert_eq!(sealed(&taken[0]).commitment.to_lower_hex_string(), commitment(&template));
}

#[test]
fn nothing_is_served_without_a_key_or_against_a_known_note() {
    let node = Node::start().unwrap();
    let sidecar = Sidecar::start();
    let answer = format!(
        "known_answer = {{ value = 1, pubkey = \"{KEY}\", randomness = \"{KEY}\", \
         commitment = \"{KEY}\" }}\n"
    );
    let whole = shielded(&sidecar, "");
    for (toml, field) in [
        (whole.replace(KEY, &KEY[1..]), "shielded.pubkey:"),
        (whole.replace(&format!("pubkey = \"{KEY}\""), ""), "shielded.pubkey:"),
        (whole.replace("test_network = true", ""), "shielded.known_answer:"),
        (format!("{whole}{answer}"), "shielded.known_answer:"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("x.toml");
        std::fs::write(&config, settings(&node, directory.path()) + &toml).unwrap();
        for verb in ["run", "check-config"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_template-provider"));
            let output = command.args([verb, "--config"]).arg(&config).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(64), "{said}");
            assert!(said.contains(field) && !said.contains("0405"), "{said}");
            assert!(output.stdout.is_empty(), "no port was announced");
        }
    }
}

#[test]
fn a_known_note_is_told_by_its_hash_or_refused_with_a_sentence() {
    let detect = |commitment: &str| {
        let randomness = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
        let mut command = Command::new(env!("CARGO_BIN_EXE_template-provider"));
        command.args(["note-hash", "detect", "--value", "10000000012345", "--pubkey", KEY]);
        command.args(["--randomness", randomness, "--commitment", commitment]).output().unwrap()
    };
    let right = detect("9c73aa068aad2767a5118e9c97c8ce6d05b1483a65b388c245fd92382bb5c2b6");
    assert_eq!(String::from_utf8(right.stdout).unwrap(), "note_hash = \"len8\"\n");
    let wrong = detect(KEY);
    assert_eq!(wrong.status.code(), Some(64));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("no note_hash makes this commitment"), "{said}");
}
