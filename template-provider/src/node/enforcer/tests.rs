//! The line to an enforcer, against a stub that has its ways.

use std::sync::Mutex as StdMutex;

use bitcoin::hex::DisplayHex;
use tokio::time::timeout;

use super::*;
use crate::node::coinbasetxn::tests::{COMMITMENT, M7, PAYOUT, coinbase};
use crate::node::stub::{Reply, Request, StubNode, error, result};
use crate::node::template_source::TemplateSource;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(10);
const REGTEST: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";

fn template(payout: u64) -> Reply {
    let data = coinbase(&[(0, M7), (payout, PAYOUT), (0, COMMITMENT)]).to_lower_hex_string();
    result(&json!({
        "version": 1, "previousblockhash": "00".repeat(32), "bits": "207fffff", "height": 1,
        "curtime": 1, "signet_challenge": null, "default_witness_commitment": null,
        "coinbasetxn": { "data": data, "depends": [], "fee": -5, "sigops": null, "weight": 400 },
    }))
}

fn config(toml: &str) -> Result<Enforcer, String> {
    let config = format!("rpc_url = \"http://127.0.0.1:8122\"\n{toml}");
    Enforcer::from_config(&toml::from_str(&config).unwrap()).map_err(|error| error.to_string())
}

/// Waits until the stub was asked `count` times.
async fn asked(stub: &StubNode, count: usize) -> Vec<Request> {
    let enough = async {
        while stub.requests().len() < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, enough).await.unwrap();
    stub.requests()
}

#[test]
fn the_recipient_is_an_address_or_a_script() {
    let address = "coinbase_recipient = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"";
    let script = "coinbase_recipient = \"0014751e76e8199196d454941c45d1b3a323f1433bd6\"";
    let enforcer = config(address).unwrap();
    assert_eq!(enforcer.recipient(), config(script).unwrap().recipient());
    assert_eq!(enforcer.recipient().unwrap().len(), 22);
    assert_eq!(config("").unwrap().recipient(), None);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    for (toml, field) in [
        ("coinbase_recipient = \"me\"", "enforcer.coinbase_recipient"),
        ("coinbase_recipient = \"\"", "enforcer.coinbase_recipient"),
        ("poll_ms = 0", "enforcer.poll_ms"),
    ] {
        let error = config(toml).unwrap_err();
        assert!(error.contains(field), "{toml}: {error}");
    }
}

#[tokio::test]
async fn it_is_asked_as_it_wants_to_be() {
    let stub = StubNode::start([template(5)]).await;
    let node = stub.node("user = \"a\"\npassword = \"b\"").behind(Some(stub.enforcer("")));
    TemplateSource::of(&node).ask(Some("a long poll")).await.unwrap();
    let asked = &stub.requests()[0];
    assert_eq!(asked.version, "2.0");
    assert_eq!(asked.authorization, None, "the node's password is not for it");
    let capabilities = asked.params[0]["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("coinbasetxn")));
    assert_eq!(asked.params[0].get("longpollid"), None, "nothing may wait in it");
}

#[tokio::test]
async fn its_answer_comes_with_what_is_known_of_its_coinbase() {
    let enforcer = StubNode::start([template(5)]).await;
    let node = StubNode::start([result(&json!(REGTEST))]).await;
    let behind = node.node("").behind(Some(enforcer.enforcer("coinbase_recipient = \"51\"")));
    let mut source = TemplateSource::of(&behind);
    for _ in 0..2 {
        let expected = source.ask(None).await.unwrap().expected;
        assert_eq!(expected.recipient.as_deref(), Some(&[0x51][..]));
        assert_eq!(expected.schedule.unwrap().subsidy(1), 5_000_000_000);
    }
    let asked: Vec<_> = node.requests().into_iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["getblockhash"], "once, and the node alone");
}

#[tokio::test]
async fn a_node_that_does_not_tell_its_chain_is_asked_again() {
    let enforcer = StubNode::start([template(5)]).await;
    let node = StubNode::start([error(-28, "Loading"), result(&json!(REGTEST))]).await;
    let mut source = TemplateSource::of(&node.node("").behind(Some(enforcer.enforcer(""))));
    assert_eq!(source.ask(None).await.unwrap().expected.schedule, None);
    assert!(source.ask(None).await.unwrap().expected.schedule.is_some());
}

#[tokio::test]
async fn an_enforcer_that_syncs_is_named_in_the_reason() {
    let stub = StubNode::start([error(-10, "Enforcer is syncing")]).await;
    let node = stub.node("").behind(Some(stub.enforcer("")));
    let failed = TemplateSource::of(&node).ask(None).await.unwrap_err().to_string();
    assert!(failed.contains("the enforcer at 127.0.0.1"), "{failed}");
    assert!(failed.contains("syncing"), "{failed}");
}

#[tokio::test]
async fn questions_wait_for_each_other_whoever_asks() {
    let gate = Arc::new(StdMutex::new(false));
    let open = Arc::clone(&gate);
    let stub = StubNode::scripted(move |_| match *open.lock().unwrap() {
        true => template(5),
        false => Reply::Wait,
    });
    let stub = stub.await;
    let node = StubNode::start([result(&json!(REGTEST))]).await;
    let node = node.node("").behind(Some(stub.enforcer("")));
    let questions: Vec<_> = (0..3)
        .map(|_| {
            let mut source = TemplateSource::of(&node);
            tokio::spawn(async move { source.ask(None).await.map(drop).unwrap() })
        })
        .collect();
    asked(&stub, 1).await;
    // The others have had their time.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stub.requests().len(), 1);
    *gate.lock().unwrap() = true;
    for question in questions {
        timeout(SOON, question).await.unwrap().unwrap();
    }
    let connections: Vec<_> = stub.requests().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 0, 0], "over the one line");
}

#[tokio::test]
async fn a_block_breaks_off_the_question_that_holds_the_line() {
    let stub = StubNode::scripted(|request| match request.method.as_str() {
        "submitblock" => result(&Value::Null),
        _ if request.connection == 0 => Reply::Hang,
        _ => template(5),
    });
    let stub = stub.await;
    let enforcer = stub.enforcer("");
    let asking = enforcer.clone();
    let question = tokio::spawn(async move { asking.template(&json!([{}])).await.map(drop) });
    asked(&stub, 1).await;
    timeout(SOON, enforcer.take_block("00aa".into(), "0123".into())).await.unwrap();
    timeout(SOON, question).await.unwrap().unwrap().unwrap();
    let asked: Vec<_> = stub.requests().into_iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["getblocktemplate", "submitblock", "getblocktemplate"]);
}

#[tokio::test]
async fn a_block_is_given_again_until_the_enforcer_answers() {
    let stub = StubNode::start([
        Reply::Drop,
        error(-10, "syncing"),
        Reply::Http(503, String::new()),
        result(&Value::Null),
    ]);
    let stub = stub.await;
    timeout(SOON, stub.enforcer("").take_block("00aa".into(), "0123".into())).await.unwrap();
    let requests = stub.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|asked| asked.params == json!(["0123"])));
    assert!(requests.iter().all(|asked| asked.version == "2.0"));
}

#[tokio::test]
async fn a_block_that_the_enforcer_judged_is_given_once() {
    for reason in ["duplicate", "inconclusive", "bad-bmm-accept"] {
        let stub = StubNode::start([result(&json!(reason))]).await;
        timeout(SOON, stub.enforcer("").take_block("00aa".into(), "0123".into())).await.unwrap();
        assert_eq!(stub.requests().len(), 1, "{reason}");
    }
}
