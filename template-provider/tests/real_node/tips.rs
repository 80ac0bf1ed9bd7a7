//! Who tells of a new tip, which node gives the templates of it, and what is mined until it does.

use std::io::{Read, Write};
use std::net::TcpStream;

use testkit::log::Mark;
use testkit::node::Node;

use super::client::{Client, mine};
use super::provider::Provider;
use super::proxy::{Held, Proxy};
use super::{PAYOUT, SOON};

const SOON_AND_OFTEN: &str = "empty_template_after_ms = 50\ntemplate_refresh_seconds = 1\n";
const HEALTH: &str = "[health]\naddress = \"127.0.0.1:0\"\n";

/// What the program answers to GET `path`, head and body.
fn get(provider: &mut Provider, path: &str) -> String {
    let said = provider.program.wait_said("health at http://").unwrap();
    let address = said.trim_end_matches("/health").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A metric's value; 0 while it is not shown.
fn number(provider: &mut Provider, name: &str) -> u64 {
    let text = get(provider, "/metrics");
    let name = format!("template_provider_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_tip_comes_over_zmq_when_nothing_else_tells_of_it() {
    let node = Node::start_funded().unwrap();
    // No long poll wakes, and the tip is asked for once a minute.
    let proxy = Proxy::start(&node);
    let zmq = node.zmq_hashblock();
    let more = format!(
        "template_refresh_seconds = 3600\ntip_poll_ms = 60000\nzmq_hashblock = \"{zmq}\"\n{HEALTH}"
    );
    let mut provider = Provider::start_at(&node, &proxy.url(), &more);
    let mut client = Client::connect(&provider.url, PAYOUT);
    client.next_tip();
    provider.wait_for(Mark::default(), "zmq connected");
    // The node takes a moment to hear who subscribed, and what is asked at the start may be first.
    wait_until("zmq to tell of a block", || {
        node.generate(1).unwrap();
        told_by_zmq(&mut provider) > 0
    });
    while mining::hash::display(&client.next_tip().1.prev_hash) != node.tip().unwrap() {}
    assert!(number(&mut provider, "tip_to_set_new_prev_hash_seconds_count") > 0);
}

#[test]
fn the_zmq_of_a_restarted_node_is_heard_again() {
    let mut node = Node::start_funded().unwrap();
    node.flush().unwrap();
    let proxy = Proxy::start(&node);
    let zmq = node.zmq_hashblock();
    // The tip is polled so seldom that ZMQ is first, and often enough for the outage to be noticed.
    let more = format!(
        "template_refresh_seconds = 3600\ntip_poll_ms = 1000\nzmq_hashblock = \"{zmq}\"\n{HEALTH}"
    );
    let mut provider = Provider::start_at(&node, &proxy.url(), &more);
    provider.wait_for(Mark::default(), "zmq connected");
    provider.wait_for(Mark::default(), "node found");
    let from = provider.end();
    node.kill();
    provider.wait_for(from, "node lost");
    node.restart().unwrap();
    provider.wait_for(from, "zmq connected");
    let before = told_by_zmq(&mut provider);
    wait_until("zmq to tell of a block again", || {
        node.generate(1).unwrap();
        told_by_zmq(&mut provider) > before
    });
}

fn told_by_zmq(provider: &mut Provider) -> u64 {
    number(provider, "tip_signals_first_total{signal=\"zmq\"}")
}

#[test]
fn an_empty_template_that_the_node_accepts_fills_the_time_until_its_own_is_there() {
    let node = Node::start_funded().unwrap();
    let proxy = Proxy::start(&node);
    let mut provider = Provider::start_at(&node, &proxy.url(), SOON_AND_OFTEN);
    let mut client = Client::connect(&provider.url, PAYOUT);
    client.next_tip();
    proxy.hold(Held::Templates);
    let hash = node.generate(1).unwrap().remove(0);
    node.pay_itself(20).unwrap();
    let (empty, tip) = client.next_tip();
    assert_eq!(mining::hash::display(&tip.prev_hash), hash);
    assert!(empty.merkle_path.as_slice().is_empty());
    assert_eq!(empty.coinbase_tx_value_remaining, 5_000_000_000);

    // The node's own comes late, and follows under the same tip.
    proxy.hold(Held::LongPolls);
    let full = client.next_template();
    assert!(!full.future_template);
    assert!(full.coinbase_tx_value_remaining > 5_000_000_000);

    let from = provider.end();
    client.submit(&mine(&empty, &tip, 1));
    let accepted = provider.wait_for(from, "block accepted");
    assert_eq!(accepted.text("hash"), node.tip().unwrap());
}

#[test]
fn a_backup_node_takes_over_when_the_first_is_killed_and_gives_back() {
    let mut first = Node::start_funded().unwrap();
    first.flush().unwrap();
    let second = Node::start().unwrap();
    copy_chain(&first, &second);
    let backup = format!(
        "{HEALTH}[[backup_node]]\nrpc_url = \"{}\"\ncookie_file = \"{}\"\n",
        second.rpc_url(),
        second.cookie_file().display()
    );
    let mut provider = Provider::start_at(&first, &first.rpc_url(), &backup);
    let mut client = Client::connect(&provider.url, PAYOUT);
    client.next_tip();
    let up = |provider: &mut Provider| get(provider, "/health").starts_with("HTTP/1.0 200");
    // The state of all is good without the second.
    let knows_both = |provider: &mut Provider| {
        let health = get(provider, "/health");
        health.starts_with("HTTP/1.0 200") && health.contains("stands by")
    };
    wait_until("both nodes", || knows_both(&mut provider));
    let from = provider.end();
    first.kill();
    let chosen = provider.wait_for(from, "node chosen");
    assert_eq!(chosen.text("node"), "node 2");
    let hash = second.generate(1).unwrap().remove(0);
    let (_, tip) = client.next_tip();
    assert_eq!(mining::hash::display(&tip.prev_hash), hash);
    wait_until("the backup's health", || up(&mut provider));

    // It comes back a block behind: work goes back to it only when it has caught up.
    let from = provider.end();
    first.restart().unwrap();
    provider.wait_for(from, "node found");
    copy_chain(&second, &first);
    let chosen = provider.wait_for(from, "node chosen");
    assert_eq!(chosen.text("node"), "node");
    let hash = first.generate(1).unwrap().remove(0);
    let (_, tip) = client.next_tip();
    assert_eq!(mining::hash::display(&tip.prev_hash), hash);
}

/// Gives `to` all blocks of `from` that it has not.
fn copy_chain(from: &Node, to: &Node) {
    for height in to.height().unwrap() + 1..=from.height().unwrap() {
        let hash = from.hash_at(height).unwrap();
        let block = from.rpc("getblock", &serde_json::json!([hash, 0])).unwrap();
        to.rpc("submitblock", &serde_json::json!([block])).unwrap();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    testkit::wait::until(what, SOON, || Ok(is_so().then_some(()))).unwrap();
}
