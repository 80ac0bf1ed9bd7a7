//! Every way in which a node is known to fail or to differ, one test each: the program says what is
//! wrong, goes on asking without hammering, and serves its client once the node is well.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid};
use client::Client;
use serde_json::{Value, json};
use server::{Asked, FakeNode, Fault};
use tempfile::TempDir;
use testkit::log::{Event, Mark};
use testkit::program::{Launch, Program};
use wire::sv2::keys::Sv2Url;
use wire::sv2::template::NewTemplate;

/// How long anything may take: the longest wait between two attempts is ten seconds.
const SOON: Duration = Duration::from_secs(30);
/// Room for a payout, as a pool asks for it.
const ROOM: (u32, u16) = (43, 4);

/// As small as bitcoind makes them on regtest.
fn template() -> Value {
    json!({
        "capabilities": ["proposal"], "version": 536_870_912, "rules": ["csv", "!segwit"],
        "vbavailable": {}, "vbrequired": 0, "transactions": [], "coinbaseaux": {},
        "coinbasevalue": 5_000_000_000_u64, "longpollid": "filled in", "mintime": 1_700_000_001,
        "mutable": ["time", "transactions", "prevblock"], "noncerange": "00000000ffffffff",
        "sigoplimit": 80_000, "sizelimit": 4_000_000, "weightlimit": 4_000_000,
        "curtime": 1_700_000_000, "bits": "207fffff", "height": 1,
    })
}

/// The program in front of such a node.
struct World {
    node: FakeNode,
    program: Program,
    url: Sv2Url,
    directory: TempDir,
}

impl World {
    fn start(node: FakeNode) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("cookie"), "__cookie__:first").unwrap();
        let config = directory.path().join("template-provider.toml");
        let settings = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n\
             [authority]\nsecret_key_file = \"{}\"\n\
             [node]\nrpc_url = \"{}\"\ncookie_file = \"{}\"\ntip_poll_ms = 20\n",
            directory.path().join("authority.key").display(),
            node.url(),
            directory.path().join("cookie").display(),
        );
        std::fs::write(&config, settings).unwrap();
        let path = env!("CARGO_BIN_EXE_template-provider");
        let launch = Launch::server("template-provider", path, config, "debug");
        let mut program = Program::start(launch).unwrap();
        let url = program.wait_said("templates at ").unwrap().parse().unwrap();
        Self { node, program, url, directory }
    }

    /// With a node that does something else in answer to some questions.
    fn with_fault(script: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) -> Self {
        Self::start(FakeNode::start(template(), script))
    }

    /// With a node whose templates differ in one key.
    fn with_key(key: &str, value: Value) -> Self {
        let mut template = template();
        template[key] = value;
        Self::start(FakeNode::start(template, |_| None))
    }

    /// Waits until the program gives `reason` for something.
    fn wait_for_reason(&mut self, reason: &str) -> Event {
        let says = |event: &Event| event.fields.values().any(|it| it.to_string().contains(reason));
        self.program.wait_for_log(Mark::default(), SOON, reason, says).unwrap()
    }

    /// The template that a new client gets first.
    fn template(&self) -> NewTemplate {
        Client::connect(&self.url, ROOM).next_tip().0
    }

    /// Waits until a client that has been served is served the tip `tip`.
    fn assert_served_on(&self, client: &mut Client, tip: u8) {
        while client.next_tip().1.prev_hash[31] != tip {}
    }

    /// The program gives `reason`, and serves a client once the node is well.
    fn assert_recovers_from(mut self, reason: &str) {
        self.wait_for_reason(reason);
        let mut client = Client::connect(&self.url, ROOM);
        let tip = self.node.heal();
        self.assert_served_on(&mut client, tip);
    }

    /// Waits until the tip was asked for `count` times.
    fn wait_for_polls(&self, count: usize) {
        let is_poll = |asked: &Asked| asked.method == "getbestblockhash";
        let look = || Ok((self.node.count(is_poll) >= count).then_some(()));
        testkit::wait::until("polls of the tip", SOON, look).unwrap();
    }
}

/// The same fault for each question for a template.
fn on_templates(fault: Fault) -> impl FnMut(&Asked) -> Option<Fault> + Send {
    move |asked| asked.is_template().then(|| fault.clone())
}

/// The same fault for every question.
fn on_all(fault: Fault) -> impl FnMut(&Asked) -> Option<Fault> + Send {
    move |_| Some(fault.clone())
}

#[test]
fn warmup_minus_28() {
    let fault = Fault::error(-28, "Loading block index...");
    World::with_fault(on_all(fault)).assert_recovers_from("Loading block index... (-28)");
}

#[test]
fn initial_download_minus_10() {
    let fault = Fault::error(-10, "Bitcoin is in initial sync and waiting");
    World::with_fault(on_templates(fault)).assert_recovers_from("initial sync and waiting");
}

#[test]
fn no_peers_minus_9() {
    let fault = Fault::error(-9, "Bitcoin is not connected!");
    World::with_fault(on_templates(fault)).assert_recovers_from("not connected! (-9)");
}

#[test]
fn missing_rule_minus_8() {
    let fault = Fault::error(-8, "getblocktemplate must be called with the x rule set");
    World::with_fault(on_templates(fault)).assert_recovers_from("the x rule set (-8)");
}

#[test]
fn unknown_method_minus_32601() {
    let fault = Fault::error(-32601, "Method not found");
    World::with_fault(on_templates(fault)).assert_recovers_from("Method not found (-32601)");
}

#[test]
fn status_401_after_a_restart_of_the_node_is_healed_by_its_new_cookie() {
    // base64 of __cookie__:second.
    let second = "Basic X19jb29raWVfXzpzZWNvbmQ=";
    let restarted = Arc::new(AtomicBool::new(false));
    let is_restarted = Arc::clone(&restarted);
    let world = World::with_fault(move |asked| {
        let is_refused =
            is_restarted.load(Ordering::SeqCst) && asked.authorization.as_deref() != Some(second);
        is_refused.then(|| Fault::Http(401, String::new()))
    });
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    std::fs::write(world.directory.path().join("cookie"), "__cookie__:second").unwrap();
    restarted.store(true, Ordering::SeqCst);
    let tip = world.node.move_tip();
    world.assert_served_on(&mut client, tip);
    let lost = |event: &&Event| event.is("node lost");
    assert_eq!(world.program.log().events(Mark::default()).iter().find(lost), None);
}

#[test]
fn status_401_with_the_cookie_of_another_node_is_told_as_what_it_is() {
    let fault = Fault::Http(401, String::new());
    World::with_fault(on_all(fault)).assert_recovers_from("the node refuses our credentials");
}

#[test]
fn status_403_is_told_and_the_node_left_alone() {
    let mut world = World::with_fault(on_all(Fault::Http(403, String::new())));
    world.wait_for_reason("rpcallowip");
    // One question on each connection, and none again for half a minute.
    let asked = world.node.count(|_| true);
    let look = || Ok((world.node.count(|_| true) > 8).then_some(()));
    let hammered = testkit::wait::until("a hammering", Duration::from_secs(2), look);
    assert!(hammered.is_err(), "asked {asked} times, and then more than 8 times");
}

#[test]
fn status_500_with_an_error_of_the_node_is_the_nodes_error() {
    let fault = Fault::error(-1, "Internal bug detected");
    World::with_fault(on_templates(fault)).assert_recovers_from("Internal bug detected (-1)");
}

#[test]
fn status_500_without_json() {
    let fault = Fault::Http(500, "<html>proxy</html>".into());
    World::with_fault(on_all(fault)).assert_recovers_from("HTTP 500: <html>proxy</html>");
}

#[test]
fn status_503_work_queue_exceeded() {
    let fault = Fault::Http(503, "Work queue depth exceeded".into());
    World::with_fault(on_all(fault)).assert_recovers_from("HTTP 503: Work queue depth exceeded");
}

#[test]
fn a_connection_that_is_not_kept_alive() {
    let world = World::with_fault(on_all(Fault::CloseAfter));
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    let tip = world.node.move_tip();
    world.assert_served_on(&mut client, tip);
    world.wait_for_polls(20);
    let lost = |event: &&Event| event.is("node lost");
    assert_eq!(world.program.log().events(Mark::default()).iter().find(lost), None);
}

#[test]
fn a_connection_that_ends_without_an_answer() {
    World::with_fault(on_all(Fault::dropped())).assert_recovers_from("the connection broke");
}

#[test]
fn a_long_poll_that_is_dropped_is_not_repeated_without_a_pause() {
    let dropped = |asked: &Asked| asked.is_long_poll().then(Fault::dropped);
    let world = World::with_fault(dropped);
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    world.wait_for_polls(100);
    let asked = world.node.count(Asked::is_long_poll);
    // Two a try: a kept connection that broke is replaced at once.
    assert!((1..=12).contains(&asked), "{asked} long polls in 100 polls of the tip");
    let tip = world.node.move_tip();
    world.assert_served_on(&mut client, tip);
}

#[test]
fn a_long_poll_that_is_answered_at_once_is_not_repeated_in_a_busy_loop() {
    let at_once = |asked: &Asked| asked.is_long_poll().then_some(Fault::AtOnce);
    let mut world = World::with_fault(at_once);
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    world.wait_for_polls(100);
    let asked = world.node.count(Asked::is_long_poll);
    assert!((1..=6).contains(&asked), "{asked} long polls in 100 polls of the tip");
    let warning = |event: &Event| event.message.contains("answered at once");
    world.program.wait_for_log(Mark::default(), SOON, "a warning", warning).unwrap();
    let tip = world.node.move_tip();
    world.assert_served_on(&mut client, tip);
}

#[test]
fn no_longpollid() {
    let world = World::with_key("longpollid", Value::Null);
    let mut client = Client::connect(&world.url, ROOM);
    client.next_tip();
    let tip = world.node.move_tip();
    world.assert_served_on(&mut client, tip);
    assert_eq!(world.node.count(Asked::is_long_poll), 0);
}

#[test]
fn submitold_absent_present_or_null() {
    for submitold in [None, Some(json!(false)), Some(json!(true)), Some(Value::Null)] {
        let world = match submitold {
            None => World::with_fault(|_| None),
            Some(submitold) => World::with_key("submitold", submitold),
        };
        let mut client = Client::connect(&world.url, ROOM);
        client.next_tip();
        let tip = world.node.move_tip();
        world.assert_served_on(&mut client, tip);
    }
}

#[test]
fn an_unknown_rule_that_must_be_understood() {
    let mut world = World::with_key("rules", json!(["csv", "!blake2b"]));
    world.wait_for_reason("it follows the rule blake2b");
}

#[test]
fn a_signet_whose_blocks_are_signed() {
    let challenge = json!("00141551188e5153533b4fdd555449e640d9cc129456");
    let mut world = World::with_key("signet_challenge", challenge);
    world.wait_for_reason("blocks of this signet must be signed");
}

#[test]
fn a_signet_of_ones_own_that_takes_no_signature() {
    let mut template = template();
    template["signet_challenge"] = json!("51");
    template["rules"] = json!(["!segwit", "!signet"]);
    let world = World::start(FakeNode::start(template, |asked| {
        // As bitcoind: a signet refuses who does not name its rule.
        let rules = asked.params[0]["rules"].to_string();
        let is_refused = asked.is_template() && !rules.contains("signet");
        is_refused.then(|| Fault::error(-8, "must be called with the signet rule set"))
    }));
    assert_eq!(world.template().coinbase_tx_value_remaining, 5_000_000_000);
}

#[test]
fn nulls_in_place_of_all_that_may_be_missing() {
    let mut template = template();
    for key in [
        "capabilities",
        "vbavailable",
        "vbrequired",
        "coinbaseaux",
        "mintime",
        "mutable",
        "noncerange",
        "sigoplimit",
        "sizelimit",
        "weightlimit",
        "transactions",
        "default_witness_commitment",
        "signet_challenge",
        "coinbasetxn",
        "workid",
        "submitold",
    ] {
        template[key] = Value::Null;
    }
    let world = World::start(FakeNode::start(template, |_| None));
    let template = world.template();
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000);
    assert!(template.merkle_path.as_slice().is_empty());
}

#[test]
fn required_version_bits_that_miners_change() {
    World::with_key("vbrequired", json!(0x2000)).wait_for_reason("version bits 0x00002000");
}

/// Pays 50 coins to OP_TRUE, after a message.
fn coinbasetxn() -> Value {
    let output = |value, hex: &str| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(Vec::from_hex(hex).unwrap()),
    };
    let script_sig = ScriptBuf::from_bytes(vec![0x51, 0x00]);
    let coinbase = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { script_sig, ..TxIn::default() }],
        output: vec![output(0, "6a0401020304"), output(5_000_000_000, "51")],
    };
    json!({ "data": serialize(&coinbase).to_lower_hex_string() })
}

#[test]
fn coinbasevalue_alone() {
    let world = World::with_fault(|_| None);
    let template = world.template();
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000);
    assert_eq!(template.coinbase_tx_outputs_count, 1);
}

#[test]
fn coinbasetxn_alone() {
    let mut template = template();
    template["coinbasetxn"] = coinbasetxn();
    template.as_object_mut().unwrap().remove("coinbasevalue");
    let template = World::start(FakeNode::start(template, |_| None)).template();
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000);
    assert_eq!(template.coinbase_tx_outputs_count, 2, "the message and our commitment");
}

#[test]
fn coinbasetxn_beside_coinbasevalue() {
    let template = World::with_key("coinbasetxn", coinbasetxn()).template();
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000);
    assert_eq!(template.coinbase_tx_outputs_count, 2);
}

#[test]
fn neither_coinbasevalue_nor_coinbasetxn() {
    let mut world = World::with_key("coinbasevalue", Value::Null);
    world.wait_for_reason("neither coinbasevalue nor coinbasetxn");
}

/// Spends the first output of `parent`.
fn child_of(parent: Txid) -> Transaction {
    let input = TxIn { previous_output: OutPoint { txid: parent, vout: 0 }, ..TxIn::default() };
    let output =
        TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
    let (version, lock_time) = (Version::TWO, LockTime::ZERO);
    Transaction { version, lock_time, input: vec![input], output: vec![output] }
}

#[test]
fn depends_counted_from_1_from_0_or_left_out() {
    let parent = child_of("11".repeat(32).parse().unwrap());
    let child = child_of(parent.compute_txid());
    let entry = |transaction: &Transaction, depends: &Value| {
        json!({
            "data": serialize(transaction).to_lower_hex_string(), "fee": 1000, "sigops": 0,
            "txid": transaction.compute_txid().to_string(),
            "hash": transaction.compute_wtxid().to_string(),
            "depends": depends, "weight": 1_000_000,
        })
    };
    let mut paths = Vec::new();
    for depends in [json!([1]), json!([0]), Value::Null] {
        let transactions = json!([entry(&parent, &json!([])), entry(&child, &depends)]);
        let world = World::with_key("transactions", transactions);
        // Leaves 3 of 4 million weight units, and then half of it: the child must go first.
        let both = Client::connect(&world.url, (250_000, 0)).next_tip().0;
        let one = Client::connect(&world.url, (600_000, 0)).next_tip().0;
        assert_eq!(both.merkle_path.as_slice().len(), 2);
        assert_eq!(one.coinbase_tx_value_remaining, 5_000_000_000 - 1000);
        assert_eq!(one.merkle_path.as_slice(), [parent.compute_txid().to_byte_array()]);
        paths.push(both.merkle_path.as_slice().to_vec());
    }
    assert!(paths.iter().all(|path| *path == paths[0]));
}

#[test]
fn a_body_that_is_too_large() {
    let length = 40 * 1024 * 1024;
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    // Whole, so that its size alone is wrong.
    bytes.resize(bytes.len() + length, b' ');
    World::with_fault(on_templates(Fault::Bytes(bytes)))
        .assert_recovers_from("length limit exceeded");
}

#[test]
fn half_a_body() {
    let bytes =
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"result\": {\"version\"".to_vec();
    World::with_fault(on_templates(Fault::Bytes(bytes)))
        .assert_recovers_from("the answer cannot be read");
}

#[test]
fn a_body_that_is_no_json() {
    let fault = Fault::Http(200, "<html>hello</html>".into());
    World::with_fault(on_templates(fault))
        .assert_recovers_from("the answer to getblocktemplate makes no sense");
}

#[test]
fn a_server_that_speaks_no_http() {
    let fault = Fault::Bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    World::with_fault(on_all(fault)).assert_recovers_from("the connection broke");
}

#[test]
fn an_answer_that_lacks_what_is_needed() {
    let mut world = World::with_key("bits", Value::Null);
    world.wait_for_reason("the answer to getblocktemplate makes no sense");
}
