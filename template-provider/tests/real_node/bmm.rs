//! Blind merged mining: side blocks in the chain, from sources and from bids.

use std::collections::HashMap;
use std::path::Path;

use bitcoin::hex::{DisplayHex, FromHex};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::block::MinedBlock;
use testkit::node::Node;
use wire::sv2::template::{NewTemplate, SetNewPrevHash};

use crate::PAYOUT;
use crate::client::{Client, mine};
use crate::provider::Provider;
use crate::shielded::{commitment_of_first, shielded};
use crate::sidecar::Sidecar;
use crate::thunder::{Thunder, h_star, side_block};

/// Files that sources read.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, slot: u8, text: &str) {
        let path = self.path(slot);
        let new = Path::new(&path).with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn path(&self, slot: u8) -> String {
        self.0.path().join(slot.to_string()).display().to_string()
    }

    /// A slot whose h* is in a file.
    fn slot(&self, slot: u8, more: &str) -> String {
        let path = self.path(slot);
        format!(
            "[[bmm]]\nslot = {slot}\nsource = \"file\"\npath = \"{path}\"\npoll_ms = 50\n{more}"
        )
    }
}

/// M7 as the enforcer reads it, in hex.
fn m7(slot: u8, h_star: &str) -> String {
    format!("6a25d1617368{slot:02x}{h_star}")
}

/// The scripts of a template's outputs, in hex.
fn scripts(template: &NewTemplate) -> Vec<String> {
    let mut rest = template.coinbase_tx_outputs.as_slice();
    let mut scripts = Vec::new();
    while let [_, _, _, _, _, _, _, _, length, more @ ..] = rest {
        let (script, more) = more.split_at(usize::from(*length));
        scripts.push(script.to_lower_hex_string());
        rest = more;
    }
    scripts
}

/// The M7s of a template in the layout of a push.
fn accepted(template: &NewTemplate) -> Vec<String> {
    scripts(template).into_iter().filter(|script| script.starts_with("6a25d1617368")).collect()
}

/// The first template of the next tip, or one after it, that has `wanted` before its commitment.
fn template_with(client: &mut Client, wanted: &[String]) -> (NewTemplate, SetNewPrevHash) {
    let (mut template, tip) = client.next_tip();
    loop {
        let mut scripts = scripts(&template);
        assert!(scripts.pop().unwrap().starts_with("6a24aa21a9ed"));
        if scripts == wanted {
            return (template, tip);
        }
        template = client.next_template();
    }
}

/// Mines it; the block in the chain.
fn mined(
    node: &Node,
    provider: &mut Provider,
    client: &mut Client,
    (template, tip): (&NewTemplate, &SetNewPrevHash),
) -> MinedBlock {
    let from = provider.end();
    client.submit(&mine(template, tip, 1));
    let accepted = provider.wait_for(from, "block accepted");
    let block = MinedBlock::read(node, &accepted.text("hash")).unwrap();
    block.check_witness_commitment().unwrap();
    block
}

/// The scripts of a block's coinbase without value, in hex.
fn messages(block: &MinedBlock) -> Vec<String> {
    let outputs = block.block.coinbase().unwrap().output.iter();
    let messages = outputs.filter(|output| output.value.to_sat() == 0);
    messages.map(|output| output.script_pubkey.to_hex_string()).collect()
}

#[test]
fn a_block_with_one_slot_stands_in_the_chain() {
    let node = Node::start_funded().unwrap();
    let txid = node.pay_itself(20).unwrap();
    let files = Files::new();
    let h_star = "1200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
    files.write(1, h_star);
    let mut provider = Provider::start_with(&node, &files.slot(1, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let known = "6a25d1617368011200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
    let (template, tip) = template_with(&mut client, &[known.to_owned()]);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert!(block.contains(&txid).unwrap());
    assert_eq!(messages(&block)[0], known);
    assert_eq!(messages(&block).len(), 2, "and the witness commitment");
}

#[test]
fn a_block_with_three_slots_in_three_layouts_stands_in_the_chain() {
    let node = Node::start_funded().unwrap();
    let txid = node.pay_itself(20).unwrap();
    let files = Files::new();
    // As opcodes, these bytes are CHECKMULTISIG: of a layout without a push, each may count.
    let hashes = [0xaa_u8, 0xae, 0xae].map(|byte| format!("{byte:02x}").repeat(32));
    for (slot, hash) in [1, 2, 200].into_iter().zip(&hashes) {
        files.write(slot, hash);
    }
    let layouts = [(1, ""), (2, "encoding = \"raw\"\n"), (200, "encoding = \"legacy\"\n")];
    let settings: String = layouts.iter().map(|(slot, more)| files.slot(*slot, more)).collect();
    let mut provider = Provider::start_with(&node, &settings);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let tip_end = &node.tip().unwrap()[56..];
    let wanted = [
        m7(1, &hashes[0]),
        format!("6ad161736802{}", hashes[1]),
        format!("6ad1617368{}00bf00c8{tip_end}", hashes[2]),
    ];
    let (template, tip) = template_with(&mut client, &wanted);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert!(block.contains(&txid).unwrap());
    assert_eq!(messages(&block)[..3], wanted);
}

#[test]
fn a_block_with_a_shielded_reward_and_a_slot_stands_in_the_chain() {
    let node = Node::start_funded().unwrap();
    let txid = node.pay_itself(20).unwrap();
    let (files, sidecar) = (Files::new(), Sidecar::start());
    files.write(1, &"ab".repeat(32));
    let settings = shielded(&sidecar, "") + &files.slot(1, "");
    let mut provider = Provider::start_with(&node, &settings);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (mut template, tip) = client.next_tip();
    while accepted(&template).is_empty() {
        template = client.next_template();
    }
    assert_eq!(template.coinbase_tx_value_remaining, 0);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert!(block.contains(&txid).unwrap());
    let (messages, commitment) = (messages(&block), commitment_of_first(&template));
    assert_eq!(messages[0], format!("5220{commitment}"));
    assert_eq!(messages[1], format!("6a22bb00{commitment}"));
    assert_eq!(messages[2], m7(1, &"ab".repeat(32)));
    assert_eq!(messages.len(), 4, "and the witness commitment");
    sidecar.wait_until_taken(1);
}

#[test]
fn a_template_keeps_the_side_block_that_it_went_out_with() {
    let node = Node::start_funded().unwrap();
    let files = Files::new();
    let (first, second) = ("ab".repeat(32), "cd".repeat(32));
    files.write(1, &first);
    let mut provider = Provider::start_with(&node, &files.slot(1, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = template_with(&mut client, &[m7(1, &first)]);
    files.write(1, &second);
    let newer = client.next_template();
    assert_eq!(accepted(&newer), [m7(1, &second)]);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert_eq!(messages(&block)[0], m7(1, &first));
}

#[test]
fn nothing_of_a_left_tip_is_in_a_template_of_the_next() {
    let node = Node::start_funded().unwrap();
    let files = Files::new();
    let (first, second) = ("ab".repeat(32), "cd".repeat(32));
    files.write(1, &format!("{first} {}", node.tip().unwrap()));
    let mut provider = Provider::start_with(&node, &files.slot(1, ""));
    let mut client = Client::connect(&provider.url, PAYOUT);
    template_with(&mut client, &[m7(1, &first)]);

    let from = provider.end();
    let hash = node.generate(1).unwrap().remove(0);
    let (template, tip) = client.next_tip();
    assert_eq!(mining::hash::display(&tip.prev_hash), hash);
    assert!(accepted(&template).is_empty(), "the tip waits for no sidechain");
    provider.wait_for(from, "side block is for another tip; none is mined");
    files.write(1, &format!("{second} {hash}"));
    // Fees or a stopgap may bring out others before.
    let mut template = client.next_template();
    while accepted(&template).is_empty() {
        template = client.next_template();
    }
    assert_eq!(accepted(&template), [m7(1, &second)]);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert_eq!(messages(&block)[0], m7(1, &second));
}

#[test]
fn thunder_gets_its_block_back_after_the_block_is_accepted_and_not_before() {
    let node = Node::start_funded().unwrap();
    let prev = node.tip().unwrap();
    let thunder = Thunder::start(&prev);
    let settings = format!(
        "[[bmm]]\nslot = 9\nsource = \"thunder\"\nurl = \"{}\"\npoll_ms = 50\n",
        thunder.url()
    );
    let mut provider = Provider::start_with(&node, &settings);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let wanted = m7(9, &h_star(&prev).to_lower_hex_string());
    let (template, tip) = template_with(&mut client, std::slice::from_ref(&wanted));

    let from = provider.end();
    let greedy = NewTemplate { coinbase_tx_value_remaining: 6_000_000_000, ..template.clone() };
    client.submit(&mine(&greedy, &tip, 2));
    provider.wait_for(from, "block refused");
    assert!(thunder.connected().is_empty(), "neither for a template nor for a refused block");

    thunder.refuse(1);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert_eq!(messages(&block)[0], wanted);
    let connected = thunder.wait_until_connected(2);
    provider.wait_for(from, "parcel delivered");
    let expected = json!([side_block(&prev), block.hash]);
    assert_eq!(connected, [expected.clone(), expected], "again, for it was not taken");

    // Its side block is for the left tip still.
    provider.wait_for(from, "side block is for another tip; none is mined");
    let (mut template, tip) = client.next_tip();
    assert!(accepted(&template).is_empty());
    thunder.follow(&block.hash);
    while accepted(&template).is_empty() {
        template = client.next_template();
    }
    let wanted = m7(9, &h_star(&block.hash).to_lower_hex_string());
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert_eq!(messages(&block)[0], wanted);
    assert_eq!(thunder.wait_until_connected(3)[2][1], block.hash);
}

/// Sends an M8 that pays `fee` satoshis, from a coin of its own; its id.
fn bid(node: &Node, slot: u8, h_star: &str, prev: &str, fee: u64) -> String {
    let mut prev: [u8; 32] = FromHex::from_hex(prev).unwrap();
    prev.reverse();
    let data = format!("00bf00{slot:02x}{h_star}{}", prev.to_lower_hex_string());
    let coins = node.rpc("listunspent", &json!([])).unwrap();
    let coins = coins.as_array().unwrap().iter();
    let coin = coins.max_by_key(|coin| coin["confirmations"].as_u64()).unwrap();
    let change = 5_000_000_000 - fee;
    let change = format!("{}.{:08}", change / 100_000_000, change % 100_000_000);
    let outputs = json!([{ "data": data }, { node.new_address().unwrap(): change }]);
    let input = json!([{ "txid": coin["txid"], "vout": coin["vout"] }]);
    let raw = node.rpc("createrawtransaction", &json!([input, outputs])).unwrap();
    let signed = node.rpc("signrawtransactionwithwallet", &json!([raw])).unwrap();
    let txid = node.rpc("sendrawtransaction", &json!([signed["hex"]])).unwrap();
    txid.as_str().unwrap().to_owned()
}

/// The rules of BIP301, for a block in the chain: its requests, by slot.
fn requests(block: &MinedBlock) -> HashMap<u8, String> {
    let mut requests = HashMap::new();
    let messages = messages(block);
    for transaction in &block.block.txdata[1..] {
        let script = transaction.output[0].script_pubkey.to_hex_string();
        let Some(request) = script.strip_prefix("6a4400bf00") else { continue };
        let (accept, prev) = request.split_at(66);
        let mut prev: [u8; 32] = FromHex::from_hex(prev).unwrap();
        prev.reverse();
        assert_eq!(prev.to_lower_hex_string(), block.prev_hash());
        assert!(messages.contains(&format!("6a25d1617368{accept}")), "its M7 is there");
        let slot = u8::from_str_radix(&accept[..2], 16).unwrap();
        let txid = transaction.compute_txid().to_string();
        assert!(requests.insert(slot, txid).is_none(), "one request a slot");
    }
    requests
}

#[test]
fn of_the_bids_in_a_plain_nodes_template_the_best_stand_in_the_chain_with_their_m7s() {
    let node = Node::start_funded().unwrap();
    node.generate(8).unwrap();
    let prev = node.tip().unwrap();
    let left = node.hash_at(100).unwrap();
    let hashes: Vec<String> = (1..8).map(|byte: u8| format!("{byte:02x}").repeat(32)).collect();
    bid(&node, 3, &hashes[0], &prev, 5_000);
    let best = bid(&node, 3, &hashes[1], &prev, 9_000);
    bid(&node, 3, &hashes[2], &prev, 7_000);
    let only = bid(&node, 4, &hashes[3], &prev, 2_000);
    bid(&node, 4, &hashes[4], &left, 8_000);
    bid(&node, 5, &hashes[5], &prev, 9_000);
    let files = Files::new();
    files.write(3, &hashes[6]);
    files.write(6, &hashes[6]);
    // 3 has a source as well, 4 none, 5 is not named.
    let settings = files.slot(3, "") + "[[bmm]]\nslot = 4\n" + &files.slot(6, "");
    let mut provider = Provider::start_with(&node, &settings);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let wanted = [m7(3, &hashes[1]), m7(4, &hashes[3]), m7(6, &hashes[6])];
    let (template, tip) = template_with(&mut client, &wanted);
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000 + 11_000);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert_eq!(messages(&block)[..3], wanted);
    assert_eq!(requests(&block), HashMap::from([(3, best), (4, only)]));

    // What was for the left tip stays in the node's pool, and out of the next block.
    let (template, tip) = template_with(&mut client, &[m7(3, &hashes[6]), m7(6, &hashes[6])]);
    let pool: Value = node.rpc("getrawmempool", &json!([])).unwrap();
    assert_eq!(pool.as_array().unwrap().len(), 4);
    let block = mined(&node, &mut provider, &mut client, (&template, &tip));
    assert!(requests(&block).is_empty());
    assert_eq!(block.block.txdata.len(), 1);
}

#[test]
fn with_drop_all_no_bid_is_mined_and_with_nothing_set_each_is_a_transaction_like_others() {
    let node = Node::start_funded().unwrap();
    let prev = node.tip().unwrap();
    let txid = bid(&node, 3, &"ab".repeat(32), &prev, 5_000);
    for (settings, count) in [("[bmm_guard]\nmode = \"drop_all\"\n", 0), ("", 1)] {
        let mut provider = Provider::start_with(&node, settings);
        let mut client = Client::connect(&provider.url, PAYOUT);
        let (template, tip) = template_with(&mut client, &[]);
        let block = mined(&node, &mut provider, &mut client, (&template, &tip));
        assert_eq!(block.block.txdata.len(), 1 + count);
        assert_eq!(block.contains(&txid).unwrap(), count == 1);
    }
}
