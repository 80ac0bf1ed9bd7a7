//! What must not be lost: the program is killed again and again between finding a block and
//! delivering what hangs on it, with a real node and a sidecar that keeps count.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may say what they mean"
)]

#[path = "../real_node/client.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod client;
mod kills;
mod provider;
mod sidecar;

use std::time::{Duration, Instant};

use bitcoin::hex::DisplayHex;
use client::{Client, mine};
use provider::{PAYOUT, Provider, commitment, hash_of, header_of};
use serde_json::json;
use sidecar::Sidecar;
use testkit::node::Node;

#[test]
fn a_sidecar_that_hangs_delays_neither_templates_nor_blocks() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    sidecar.hang();
    let mut provider = Provider::start(&node, Some(&sidecar));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let mut work = client.next_tip();
    let mut notes = Vec::new();
    for number in 0..3 {
        let from = provider.end();
        let solution = mine(&work.0, &work.1, number);
        let submitted = Instant::now();
        client.submit(&solution);
        provider.wait_for(from, "block accepted");
        let accepted = submitted.elapsed();
        work = client.next_tip();
        let renewed = submitted.elapsed();
        notes.push(commitment(&work.0));
        println!("POSTs hang: accepted after {accepted:?}, next template after {renewed:?}");
        assert!(renewed < Duration::from_secs(5), "{renewed:?}");
        sidecar.wait_for_posts(usize::from(number) + 1);
    }
    assert_eq!(sidecar.taken().len(), 0, "no POST was answered yet");
    sidecar.go_on();
    provider.wait_until(|| sidecar.taken().len() == 3 && provider.waiting().is_empty());
    assert!(!sidecar.taken().contains(&notes[2]), "the last template's block was never found");
}

#[test]
fn a_block_found_on_a_template_of_a_killed_provider_is_in_the_chain() {
    let node = Node::start_funded().unwrap();
    let txid = node.pay_itself(20).unwrap();
    let mut provider = Provider::start(&node, None);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    provider.wait_until_spooled(template.template_id);
    provider.program.kill();
    let from = provider.end();
    provider.restart();
    let mut client = Client::connect(&provider.url, PAYOUT);
    assert!(client.next_tip().0.template_id > template.template_id);
    let solution = mine(&template, &tip, 1);
    client.submit(&solution);
    provider.wait_for(from, "template found on disk");
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
    assert_eq!(accepted.text("hash"), hash_of(&template, &tip, &solution));
    let block = testkit::block::MinedBlock::read(&node, &node.tip().unwrap()).unwrap();
    assert!(block.contains(&txid).unwrap());
}

#[test]
fn a_refused_block_is_listed_and_goes_out_again_when_a_person_wants_it() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    let mut provider = Provider::start(&node, Some(&sidecar));
    let none = format!("no blocks are kept in {}", provider.folder("blocks"));
    assert_eq!(provider.command(&["vault", "list"]), [none]);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let solution = mine(&template, &tip, 1);
    let hash = hash_of(&template, &tip, &solution);
    // The node takes the block for a bad one, until it is told to look again.
    let header = header_of(&template, &tip, &solution).to_bytes().to_lower_hex_string();
    node.rpc("submitheader", &json!([header])).unwrap();
    node.rpc("invalidateblock", &json!([hash])).unwrap();
    let from = provider.end();
    client.submit(&solution);
    let refused = provider.wait_for(from, "block refused");
    assert_eq!(refused.text("reason"), "duplicate-invalid");
    provider.wait_until(|| provider.blocks() == [format!("{hash}.refused")]);
    let listed = provider.command(&["vault", "list"]);
    assert!(listed[0].starts_with(&format!("{hash} refused height 102, ")), "{listed:?}");
    assert!(listed[0].contains("1 parcels"), "{listed:?}");
    assert_eq!(sidecar.posts(), Vec::<String>::new(), "a refused block's note goes nowhere");

    let said = provider.command(&["vault", "resubmit", &hash]);
    assert_eq!(said, [format!("{hash} refused: duplicate-invalid")]);
    node.rpc("reconsiderblock", &json!([hash])).unwrap();
    let said = provider.command(&["vault", "resubmit", "--all"]);
    assert_eq!(said, [format!("{hash} accepted")]);
    assert!(provider.blocks().is_empty());
    provider.wait_until(|| sidecar.taken() == [commitment(&template)]);
    let missing = provider.command_fails(&["vault", "resubmit", &hash]);
    assert!(missing.contains("is kept"), "{missing}");
}

#[test]
fn a_note_that_the_sidecar_refuses_is_kept_and_retried_when_a_person_wants_it() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    sidecar.refuse();
    let mut provider = Provider::start(&node, Some(&sidecar));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    client.submit(&mine(&template, &tip, 1));
    provider.wait_for(from, "parcel refused: kept among the dead letters");
    let note = commitment(&template);
    provider.wait_until(|| provider.waiting().is_empty());
    let listed = provider.command(&["outbox", "list"]);
    assert!(listed[0].starts_with(&note) && listed[0].contains("HTTP 400"), "{listed:?}");
    let from_retry = provider.end();
    assert_eq!(provider.command(&["outbox", "retry", &note]).len(), 1);
    provider.wait_for(from_retry, "parcel refused: kept among the dead letters");
    sidecar.go_on();
    assert_eq!(provider.command(&["outbox", "retry", "--all-dead"]).len(), 1);
    provider.wait_for(from, "parcel delivered");
    assert_eq!(sidecar.taken(), [note]);
    let empty = format!("the outbox in {} is empty", provider.folder("outbox"));
    assert_eq!(provider.command(&["outbox", "list"]), [empty]);
}

#[test]
fn a_second_server_on_the_same_directories_touches_nothing() {
    let node = Node::start_funded().unwrap();
    let mut provider = Provider::start(&node, None);
    // By then it has cleared away what an earlier run left.
    let (template, _) = Client::connect(&provider.url, PAYOUT).next_tip();
    provider.wait_until_spooled(template.template_id);
    let partial = provider.directory.path().join("templates/1.partial");
    std::fs::write(&partial, "of the first server").unwrap();
    let said = provider.command_fails(&["run"]);
    assert!(said.contains("another template-provider uses"), "{said}");
    assert!(partial.exists(), "what the first one writes is still there");
    provider.program.kill();
    provider.restart();
}

#[test]
fn the_lists_make_no_directories_and_read_an_env_file() {
    let node = Node::start_funded().unwrap();
    let provider = Provider::start(&node, None);
    let elsewhere = tempfile::tempdir().unwrap();
    let env_file = elsewhere.path().join(".env");
    let [blocks, outbox] = ["blocks", "outbox"].map(|name| elsewhere.path().join(name));
    let lines = format!(
        "TEMPLATE_PROVIDER__VAULT__BLOCKS_DIR={}\nTEMPLATE_PROVIDER__OUTBOX__DIR={}\n",
        blocks.display(),
        outbox.display()
    );
    std::fs::write(&env_file, lines).unwrap();
    let env_file = env_file.to_str().unwrap();
    for (list, directory) in [("vault", &blocks), ("outbox", &outbox)] {
        let said = provider.command_fails(&[list, "list", "--env-file", env_file]);
        assert!(said.contains(&format!("{} is not there", directory.display())), "{said}");
        assert!(!directory.exists());
    }
    let said = provider.command_fails(&["notes", "recover", "--env-file", env_file]);
    assert!(said.contains("shielded"), "{said}");
}

#[test]
fn the_queue_of_a_python_server_is_delivered() {
    let node = Node::start_funded().unwrap();
    let sidecar = Sidecar::start();
    let mut provider = Provider::start(&node, Some(&sidecar));
    let note = json!({
        "ephemeral_pubkey": vec![1; 32], "ciphertext": vec![2; 44], "commitment": vec![3; 32],
    });
    provider.program.kill();
    let file = provider.directory.path().join("pending_l2_submissions.json");
    std::fs::write(&file, json!([note]).to_string()).unwrap();
    provider.program.set_variable("TEMPLATE_PROVIDER__OUTBOX__IMPORT_FILE", file.to_str().unwrap());
    let from = provider.end();
    provider.restart();
    provider.wait_for(from, "parcel delivered");
    assert_eq!(sidecar.taken(), ["03".repeat(32)]);
    assert!(!file.exists());
}
