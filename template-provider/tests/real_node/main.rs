//! The program against a real node on regtest, with a client that speaks the Template Distribution
//! Protocol and mines for itself. What happens behind the pool is tested elsewhere.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may say what they mean"
)]

mod bmm;
mod client;
mod provider;
mod proxy;
mod shielded;
mod sidecar;
mod thunder;
mod tips;

use std::time::Duration;

use client::{Client, mine};
use provider::Provider;
use serde_json::json;
use testkit::block::MinedBlock;
use testkit::log::{Event, Mark};
use testkit::node::Node;
use wire::sv2::template::{
    ERROR_STALE_TEMPLATE_ID, ERROR_TEMPLATE_ID_NOT_FOUND, NewTemplate, RequestTransactionData,
    SetNewPrevHash, TemplateDistribution,
};

/// How long anything may take that the node has to notice first.
const SOON: Duration = Duration::from_secs(20);
/// Room for a payout, as a pool asks for it.
const PAYOUT: (u32, u16) = (43, 4);

#[test]
fn a_block_with_a_paying_transaction_is_mined_and_stands_in_the_chain() {
    let node = Node::start_funded().unwrap();
    let mut provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (empty, tip) = client.next_tip();
    assert_eq!(tip.template_id, empty.template_id);
    assert_eq!(empty.coinbase_tx_value_remaining, 5_000_000_000);

    let txid = node.pay_itself(20).unwrap();
    let paying = client.next_template();
    assert!(!paying.future_template, "the tip is the same");
    assert!(paying.template_id > empty.template_id);
    assert!(paying.coinbase_tx_value_remaining > 5_000_000_000);

    let from = provider.end();
    let solution = mine(&paying, &tip, 1);
    client.submit(&solution);
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.number("height"), Some(102));
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
    let block = MinedBlock::read(&node, &node.tip().unwrap()).unwrap();
    assert!(block.contains(&txid).unwrap());
    block.check_witness_commitment().unwrap();

    let (next, next_tip) = client.next_tip();
    assert!(next.future_template && next.template_id > paying.template_id);
    assert_ne!(next_tip.prev_hash, tip.prev_hash);
    provider.wait_for(from, "template sent");
    provider.wait_until_kept((0, 0));
}

#[test]
fn a_tip_from_outside_reaches_every_client_with_a_future_template() {
    let node = Node::start_funded().unwrap();
    let provider = Provider::start(&node);
    let mut clients =
        [Client::connect(&provider.url, PAYOUT), Client::connect(&provider.url, (20_000, 400))];
    for client in &mut clients {
        client.next_tip();
    }
    let hash = node.generate(1).unwrap().remove(0);
    for client in &mut clients {
        let (template, tip) = client.next_tip();
        assert!(template.future_template);
        assert_eq!(mining::hash::display(&tip.prev_hash), hash);
    }
}

#[test]
fn transactions_are_given_for_templates_that_are_kept() {
    let node = Node::start_funded().unwrap();
    node.pay_itself(20).unwrap();
    let provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, _) = client.next_tip();
    client.send(&RequestTransactionData { template_id: template.template_id });
    match client.next() {
        TemplateDistribution::RequestTransactionDataSuccess(data) => {
            assert_eq!(data.excess_data.as_slice(), [0; 32]);
            assert_eq!(data.transaction_list.as_slice().len(), 1);
        }
        other => panic!("{other:?}"),
    }
    client.send(&RequestTransactionData { template_id: template.template_id + 1000 });
    assert_eq!(client.next_refusal(), ERROR_TEMPLATE_ID_NOT_FOUND);
    assert_ne!(ERROR_TEMPLATE_ID_NOT_FOUND, ERROR_STALE_TEMPLATE_ID);
}

#[test]
fn a_client_that_needs_nearly_a_whole_block_gets_a_template_that_fits() {
    let node = Node::start_funded().unwrap();
    // Each spends the change of the one before, as a wallet with one coin does.
    for _ in 0..20 {
        node.pay_itself(20).unwrap();
    }
    let mut provider = Provider::start(&node);
    let mut small = Client::connect(&provider.url, PAYOUT);
    let (whole, _) = small.next_tip();
    // About 6,800 weight units are left of 4,000,000: room for some twelve of the twenty.
    let bytes = 998_000;
    let mut wide = Client::connect(&provider.url, (bytes, 0));
    let (trimmed, tip) = wide.next_tip();
    assert!(trimmed.coinbase_tx_value_remaining < whole.coinbase_tx_value_remaining);
    assert!(trimmed.coinbase_tx_value_remaining > 5_000_000_000, "something stays");

    let from = provider.end();
    wide.submit(&client::mine_with_outputs(&trimmed, &tip, bytes));
    let judged = |event: &Event| event.is("block accepted") || event.is("solution is no block");
    let event = provider.program.wait_for_log(from, SOON, "a verdict", judged).unwrap();
    // A coinbase of that size fits no SubmitSolution (64 KiB); as large as one can be, it must do.
    assert!(event.is("block accepted"), "{event:?}");
    let block = MinedBlock::read(&node, &node.tip().unwrap()).unwrap();
    block.check_witness_commitment().unwrap();
}

#[test]
fn a_node_that_was_away_is_found_again_and_its_clients_stayed() {
    let mut node = Node::start_funded().unwrap();
    node.flush().unwrap();
    let mut provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    // Its first template may be out before it is said that it is there.
    provider.wait_for(Mark::default(), "node found");
    let from = provider.end();
    node.kill();
    provider.wait_for(from, "node lost");

    // Found while nobody is there to take it: it waits, and comes first when the node is back.
    client.submit(&mine(&template, &tip, 2));
    provider.wait_for(from, "block not delivered yet");
    let late = Client::connect(&provider.url, PAYOUT).next_tip();
    assert_eq!(late.1.prev_hash, tip.prev_hash, "clients are served meanwhile");

    node.restart().unwrap();
    provider.wait_for(from, "node found");
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
    let (_, next) = client.next_tip();
    assert_eq!(mining::hash::display(&next.prev_hash), node.tip().unwrap());
}

#[test]
fn a_block_that_could_not_be_delivered_survives_the_program() {
    let mut node = Node::start_funded().unwrap();
    node.flush().unwrap();
    let mut provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    node.kill();
    let from = provider.end();
    client.submit(&mine(&template, &tip, 3));
    provider.wait_for(from, "block not delivered yet");
    provider.wait_until_kept((1, 0));
    provider.restart();
    node.restart().unwrap();
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
    provider.wait_until_kept((0, 0));
}

#[test]
fn a_refused_block_is_told_and_kept_for_people() {
    let node = Node::start_funded().unwrap();
    let mut provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    let greedy = NewTemplate {
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining + 1,
        ..template
    };
    client.submit(&mine(&greedy, &tip, 4));
    let refused = provider.wait_for(from, "block refused");
    assert_eq!(refused.text("reason"), "bad-cb-amount");
    provider.wait_until_kept((0, 1));
    assert_eq!(node.rpc("getblockcount", &json!([])).unwrap(), 101);
}

#[test]
fn a_block_ahead_of_the_nodes_clock_is_delivered_when_the_clock_is_set() {
    let node = Node::start_funded().unwrap();
    let mut provider = Provider::start(&node);
    let mut client = Client::connect(&provider.url, PAYOUT);
    let (template, tip) = client.next_tip();
    let from = provider.end();
    // Three hours ahead: consensus allows two.
    let header_timestamp = tip.header_timestamp + 3 * 3600;
    client.submit(&mine(&template, &SetNewPrevHash { header_timestamp, ..tip }, 5));
    let waiting = provider.wait_for(from, "block not delivered yet");
    assert_eq!(waiting.text("reason"), "time-too-new");
    provider.wait_until_kept((1, 0));
    let restarted = provider.end();
    provider.restart();
    provider.wait_for(restarted, "block not delivered yet");
    node.rpc("setmocktime", &json!([header_timestamp])).unwrap();
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
    provider.wait_until_kept((0, 0));
}

/// Mines a block without transactions, whatever the mempool holds.
fn mine_empty(node: &Node) {
    let address = node.new_address().unwrap();
    node.rpc("generateblock", &json!([address, []])).unwrap();
}

#[test]
fn a_node_that_can_be_told_leaves_the_room_that_clients_need() {
    let mut node = Node::start_funded().unwrap();
    node.stop().unwrap();
    // A mempool soon holds more than such a block.
    let directory = node.cookie_file().parent().unwrap().parent().unwrap().to_owned();
    std::fs::write(directory.join("bitcoin.conf"), "[regtest]\nblockmaxweight=12000\n").unwrap();
    node.restart().unwrap();
    for _ in 0..24 {
        node.pay_itself(20).unwrap();
    }
    let provider = Provider::start(&node);
    let mut small = Client::connect(&provider.url, PAYOUT);
    small.next_tip();
    // What waits in the node was asked for before the client came, so only the second tip tells.
    let second_tip = |client: &mut Client| {
        mine_empty(&node);
        client.next_tip();
        mine_empty(&node);
        client.next_tip().0.coinbase_tx_value_remaining
    };
    let alone = second_tip(&mut small);
    // 1,168 + 4 * 1,500 weight units are reserved in place of the least of 2,000.
    let mut wide = Client::connect(&provider.url, (1500, 0));
    wide.next_tip();
    assert!(second_tip(&mut small) < alone);
}
