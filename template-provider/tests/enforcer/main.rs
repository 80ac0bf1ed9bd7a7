//! The program behind a drivechain's enforcer: from its template to a block in the real node's
//! chain, one test for each of the enforcer's ways.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may say what they mean"
)]

#[path = "../real_node/client.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod client;
mod server;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::hex::{DisplayHex, FromHex};
use client::{Client, mine};
use serde_json::{Value, json};
use server::{Enforcer, Ways};
use tempfile::TempDir;
use testkit::log::Event;
use testkit::node::Node;
use testkit::program::{Launch, Program};
use wire::sv2::keys::Sv2Url;

/// How long anything may take that somebody has to notice first.
const SOON: Duration = Duration::from_secs(20);
/// Room for a payout, as a pool asks for it.
const ROOM: (u32, u16) = (43, 4);
/// An accepted sidechain block (BIP301's M7) of slot 1.
const M7: &str = "6a25d1617368011200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
/// Votes for withdrawals (BIP300's M4).
const M4: &str = "6a06d77d17760101";
/// Whom the enforcer pays.
const RECIPIENT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";

fn usual() -> Ways {
    Ways {
        messages: vec![M4.into(), M7.into()],
        recipient: RECIPIENT.into(),
        too_much: 0,
        commits: true,
        states_value: false,
        is_synced: true,
        is_away: false,
    }
}

/// True if some field of it holds `text`.
fn says(event: &Event, text: &str) -> bool {
    event.fields.values().any(|value| value.to_string().contains(text))
}

/// A node with transactions, its enforcer, and the program behind both.
struct World {
    node: Arc<Node>,
    enforcer: Enforcer,
    program: Program,
    url: Sv2Url,
    _directory: TempDir,
}

impl World {
    fn start(ways: Ways) -> Self {
        Self::with_transactions(2, ways)
    }

    fn with_transactions(count: usize, ways: Ways) -> Self {
        let node = Arc::new(Node::start_funded().unwrap());
        for _ in 0..count {
            // Spends the change of the one before, which a busy wallet may see a moment later.
            let pay = || Ok(node.pay_itself(20).ok());
            testkit::wait::until("a payment", SOON, pay).unwrap();
        }
        let enforcer = Enforcer::start(&node, ways);
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("template-provider.toml");
        let settings = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n\
             [authority]\nsecret_key_file = \"{}\"\n\
             [node]\nrpc_url = \"{}\"\ncookie_file = \"{}\"\nfee_delta_sats = 1\n\
             [enforcer]\nrpc_url = \"{}\"\ncoinbase_recipient = \"{RECIPIENT}\"\npoll_ms = 200\n",
            directory.path().join("authority.key").display(),
            node.rpc_url(),
            node.cookie_file().display(),
            enforcer.url(),
        );
        std::fs::write(&config, settings).unwrap();
        let path = env!("CARGO_BIN_EXE_template-provider");
        let launch = Launch::server("template-provider", path, config, "debug");
        let mut program = Program::start(launch).unwrap();
        let url = program.wait_said("templates at ").unwrap().parse().unwrap();
        Self { node, enforcer, program, url, _directory: directory }
    }

    /// The first event that is as described.
    fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let start = testkit::log::Mark::default();
        self.program.wait_for_log(start, SOON, what, is_it).unwrap()
    }

    /// Mines the first template of a client with this room; the outputs of the coinbase in the
    /// node's chain, as satoshis and script in hex.
    fn mine_one(&mut self, room: (u32, u16)) -> Vec<(u64, String)> {
        let mut client = Client::connect(&self.url, room);
        let (template, tip) = client.next_tip();
        client.submit(&mine(&template, &tip, 1));
        let accepted = self.wait_for("block accepted", |event| {
            assert!(!event.is("solution is no block"), "{event:?}");
            event.is("block accepted")
        });
        let hash = accepted.text("hash");
        assert_eq!(hash, self.node.tip().unwrap());
        let hex = self.node.rpc("getblock", &json!([hash, 0])).unwrap();
        let block = Vec::from_hex(hex.as_str().unwrap()).unwrap();
        let block: bitcoin::Block = deserialize(&block).unwrap();
        assert!(block.txdata.len() > 1, "transactions are mined too");
        assert!(block.check_witness_commitment());
        let output = |output: &bitcoin::TxOut| {
            (output.value.to_sat(), output.script_pubkey.as_bytes().to_lower_hex_string())
        };
        block.txdata[0].output.iter().map(output).collect()
    }

    /// Waits until the enforcer was given a block.
    fn wait_for_block(&self) -> Value {
        let look = || Ok(self.enforcer.asked("submitblock").pop());
        testkit::wait::until("a block at the enforcer", SOON, look).unwrap().call
    }
}

#[test]
fn its_messages_stand_in_the_block_byte_for_byte_before_our_commitment() {
    let mut world = World::start(usual());
    let outputs = world.mine_one(ROOM);
    let scripts: Vec<_> = outputs.iter().map(|(_, script)| script.as_str()).collect();
    assert_eq!(scripts[..3], ["51", M4, M7], "the miners' output comes first");
    assert!(scripts[3].starts_with("6a24aa21a9ed") && scripts.len() == 4, "{scripts:?}");
    // 50 coins and the fees of two transactions.
    assert!(outputs[0].0 > 5_000_000_000);
    assert_eq!(outputs[1].0 + outputs[2].0 + outputs[3].0, 0);
}

#[test]
fn blocks_go_to_it_and_to_the_node() {
    let mut world = World::start(usual());
    world.mine_one(ROOM);
    let call = world.wait_for_block();
    let tip = world.node.tip().unwrap();
    let block = world.node.rpc("getblock", &json!([tip, 0])).unwrap();
    assert_eq!(call["params"], json!([block]));
}

#[test]
fn a_block_reaches_the_chain_while_it_is_away() {
    let mut world = World::start(usual());
    let mut client = Client::connect(&world.url, ROOM);
    let (template, tip) = client.next_tip();
    world.enforcer.change(|ways| ways.is_away = true);
    client.submit(&mine(&template, &tip, 1));
    let accepted = world.wait_for("block accepted", |event| event.is("block accepted"));
    assert_eq!(accepted.text("hash"), world.node.tip().unwrap());
    assert!(world.enforcer.asked("submitblock").is_empty());
    world.enforcer.change(|ways| ways.is_away = false);
    world.wait_for_block();
}

#[test]
fn it_takes_json_rpc_2_without_credentials() {
    let mut world = World::start(usual());
    world.mine_one(ROOM);
    world.wait_for_block();
    for method in ["getblocktemplate", "submitblock"] {
        for asked in world.enforcer.asked(method) {
            assert_eq!(asked.call["jsonrpc"], "2.0");
            assert!(!asked.head.to_lowercase().contains("authorization"), "{}", asked.head);
        }
    }
}

#[test]
fn it_is_asked_one_question_at_a_time_and_none_that_waits() {
    let mut world = World::start(usual());
    let _other = Client::connect(&world.url, ROOM);
    world.mine_one(ROOM);
    let many = || Ok((world.enforcer.asked("getblocktemplate").len() > 20).then_some(()));
    testkit::wait::until("twenty questions", SOON, many).unwrap();
    assert_eq!(world.enforcer.most_at_once(), 1);
    for asked in world.enforcer.asked("getblocktemplate") {
        assert_eq!(asked.call["params"][0].get("longpollid"), None);
    }
}

#[test]
fn its_nodes_proposals_are_not_for_it() {
    let mut world = World::start(usual());
    world.mine_one(ROOM);
    for asked in world.enforcer.asked("getblocktemplate") {
        // It ignores the mode, so that it would take a refused block for a question.
        assert_eq!(asked.call["params"][0].get("mode"), None);
    }
}

#[test]
fn depends_counted_from_0_do_not_mislead_where_transactions_are_left_out() {
    let mut world = World::with_transactions(20, usual());
    // About 6,800 weight units are left: room for some twelve of the twenty.
    world.mine_one((998_000, 0));
    let mined = world.node.rpc("getblockstats", &json!([102, ["txs"]])).unwrap();
    let mined = mined["txs"].as_u64().unwrap();
    assert!((2..20).contains(&mined), "{mined}");
}

#[test]
fn a_coinbase_without_commitment_does_not_mean_that_there_are_no_witnesses() {
    let mut world = World::start(Ways { commits: false, ..usual() });
    let outputs = world.mine_one(ROOM);
    assert!(outputs[3].1.starts_with("6a24aa21a9ed"), "{outputs:?}");
}

#[test]
fn a_coinbasevalue_beside_its_coinbase_is_no_contradiction() {
    let mut world = World::start(Ways { states_value: true, ..usual() });
    assert_eq!(world.mine_one(ROOM)[2].1, M7);
}

#[test]
fn a_new_bid_is_mined_on_though_nothing_announces_it() {
    let mut world = World::start(usual());
    let mut client = Client::connect(&world.url, ROOM);
    let (first, _) = client.next_tip();
    assert_eq!(first.coinbase_tx_outputs_count, 3);
    let bid = M7.replacen("01", "02", 1);
    world.enforcer.change(|ways| ways.messages.push(bid.clone()));
    let next = client.next_template();
    assert!(!next.future_template, "on the same tip");
    assert_eq!(next.coinbase_tx_outputs_count, 4);
    assert_eq!(next.coinbase_tx_value_remaining, first.coinbase_tx_value_remaining);
    let outputs = world.mine_one(ROOM);
    assert_eq!(outputs[3].1, bid);
}

#[test]
fn while_it_is_syncing_it_is_waited_for() {
    let mut world = World::start(Ways { is_synced: false, ..usual() });
    world.wait_for("the reason", |event| says(event, "Enforcer is not synced"));
    world.enforcer.change(|ways| ways.is_synced = true);
    assert_eq!(world.mine_one(ROOM)[1].1, M4);
}

#[test]
fn a_template_that_pays_another_is_refused_with_the_script() {
    let other = "00140000000000000000000000000000000000000000";
    let mut world = World::start(Ways { recipient: other.into(), ..usual() });
    world.wait_for("the reason", |event| {
        says(event, other) && says(event, "enforcer.coinbase_recipient")
    });
    world.enforcer.change(|ways| ways.recipient = RECIPIENT.into());
    world.mine_one(ROOM);
}

#[test]
fn a_template_that_claims_too_much_is_refused_until_it_adds_up() {
    let mut world = World::start(Ways { too_much: 1, ..usual() });
    world.wait_for("the reason", |event| says(event, "fees with the subsidy"));
    world.enforcer.change(|ways| ways.too_much = 0);
    world.mine_one(ROOM);
}

#[test]
fn a_tip_that_the_node_tells_is_asked_for_at_once() {
    let world = World::start(usual());
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    let hash = world.node.generate(1).unwrap().remove(0);
    let (template, tip) = client.next_tip();
    assert_eq!(mining::hash::display(&tip.prev_hash), hash);
    assert_eq!(template.coinbase_tx_outputs_count, 3, "with its messages, not the node's alone");
}
