//! A block gets a verdict, however long the node takes to find one.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use service::metrics::Metrics;

use super::*;
use crate::node::stub::{Reply, StubNode, error, result};

const HASH: &str = "00aa";

async fn verdict(replies: impl IntoIterator<Item = Reply>) -> (Verdict, Vec<String>) {
    verdict_within(UNSETTLED_MAX, replies).await
}

async fn verdict_within(
    unsettled_max: Duration,
    replies: impl IntoIterator<Item = Reply>,
) -> (Verdict, Vec<String>) {
    let stub = StubNode::start(replies).await;
    let hurried = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let pace = Pace { unreached: hurried.clone(), unsettled: hurried, unsettled_max };
    let verdict = submit_at(&pace, &[stub.node("")], HASH, "0123", &Dispatch::default()).await;
    (verdict, calls(&stub))
}

/// What was asked before the verdict.
fn calls(stub: &StubNode) -> Vec<String> {
    const BESIDE: [&str; 2] = ["preciousblock", "getbestblockhash"];
    let calls = stub.requests().into_iter().filter(|call| !BESIDE.contains(&call.method.as_str()));
    let calls = calls.map(|call| format!("{} {}", call.method, call.params[0].as_str().unwrap()));
    calls.collect()
}

/// What two nodes together say of a block.
async fn verdict_of(
    unsettled_max: Duration,
    first: impl IntoIterator<Item = Reply>,
    second: impl IntoIterator<Item = Reply>,
) -> (Verdict, [StubNode; 2]) {
    let stubs = [StubNode::start(first).await, StubNode::start(second).await];
    let nodes = stubs.each_ref().map(|stub| stub.node(""));
    let hurried = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let pace = Pace { unreached: hurried.clone(), unsettled: hurried, unsettled_max };
    (submit_at(&pace, &nodes, HASH, "0123", &Dispatch::default()).await, stubs)
}

async fn wait_for_call(stub: &StubNode, method: &str) {
    let called = || stub.requests().iter().any(|call| call.method == method);
    let waiting = async {
        while !called() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(method);
}

#[tokio::test]
async fn null_means_accepted() {
    let (verdict, calls) = verdict([result(&Value::Null)]).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(calls, ["submitblock 0123"]);
}

/// What a node says of a block in its chain, or outside of it.
fn header(confirmations: i32) -> Reply {
    result(&json!({ "hash": HASH, "confirmations": confirmations }))
}

/// A node whose chain has another block, and stays with it when it is asked to build on this one.
fn lost_twice() -> Vec<Reply> {
    let [tip, done] = [result(&json!("00bb")), result(&Value::Null)];
    let lost = |reason: &str| [result(&json!(reason)), header(-1)];
    [&lost("inconclusive")[..], &[tip, done], &lost("duplicate")].concat()
}

/// A node that has a foreign block, or one of ours, in its chain, and builds on this one if asked.
fn second(tip: &str) -> Vec<Reply> {
    let (done, duplicate) = (result(&Value::Null), result(&json!("duplicate")));
    let lost = [result(&json!("inconclusive")), header(-1), result(&json!(tip))];
    lost.into_iter().chain([done, duplicate, header(1)]).collect()
}

fn methods(stub: &StubNode) -> Vec<String> {
    stub.requests().into_iter().map(|call| call.method).collect()
}

#[tokio::test]
async fn each_answer_to_submitblock_is_timed() {
    let stub = StubNode::start(second("00bb")).await;
    let metrics = Metrics::new("x");
    let node = stub.node("").timed_by(&CallTimes::new(&metrics));
    assert_eq!(submit(&[node], HASH, "0123", &Dispatch::default()).await, Verdict::Accepted);
    let answers = methods(&stub).iter().filter(|method| *method == "submitblock").count();
    let counted = format!("x_submit_block_seconds_count {answers}\n");
    assert!(metrics.text().contains(&counted), "{answers} answers");
}

#[tokio::test]
async fn a_block_that_came_second_wins_when_the_node_prefers_it() {
    let stub = StubNode::start(second("00bb")).await;
    let dispatch = Dispatch::default();
    assert_eq!(submit(&[stub.node("")], HASH, "0123", &dispatch).await, Verdict::Accepted);
    let look_up = ["submitblock", "getblockheader"];
    let prefer = ["getbestblockhash", "preciousblock"];
    assert_eq!(methods(&stub), [look_up, prefer, look_up].concat());
}

#[tokio::test]
async fn a_block_that_came_second_to_our_own_is_not_preferred() {
    let dispatch = Dispatch::default();
    dispatch.note_accepted("00bb");
    let mut replies = second("00bb");
    replies.remove(3);
    let stub = StubNode::start(replies).await;
    assert_eq!(submit(&[stub.node("")], HASH, "0123", &dispatch).await, Verdict::Accepted);
    assert!(!methods(&stub).contains(&"preciousblock".to_owned()));
    assert!(dispatch.has_accepted(HASH));
}

#[tokio::test]
async fn a_duplicate_that_is_in_the_chain_is_a_success() {
    let (verdict, calls) = verdict([result(&json!("duplicate")), header(3)]).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(calls, ["submitblock 0123", "getblockheader 00aa"]);
}

#[tokio::test]
async fn a_duplicate_that_lost_against_another_block_is_none() {
    let (verdict, _) = verdict_within(Duration::ZERO, lost_twice()).await;
    assert!(matches!(verdict, Verdict::Refused(reason) if reason.contains("was first")));
}

#[tokio::test]
async fn a_duplicate_that_cannot_be_looked_up_is_a_success() {
    let rounds = [result(&json!("duplicate")), error(-32601, "Method not found")];
    assert_eq!(verdict(rounds).await.0, Verdict::Accepted);
}

#[tokio::test]
async fn a_reason_is_a_refusal_in_the_nodes_words() {
    let (verdict, _) = verdict([result(&json!("bad-txnmrklroot"))]).await;
    assert_eq!(verdict, Verdict::Refused("bad-txnmrklroot".into()));
    let (verdict, _) = self::verdict([error(-22, "Block decode failed")]).await;
    assert_eq!(verdict, Verdict::Refused("Block decode failed".into()));
}

#[tokio::test]
async fn an_inconclusive_block_is_looked_up() {
    let header = json!({ "hash": HASH, "confirmations": 1 });
    let (verdict, calls) = verdict([result(&json!("inconclusive")), result(&header)]).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(calls, ["submitblock 0123", "getblockheader 00aa"]);
}

#[tokio::test]
async fn a_block_that_stays_outside_the_chain_is_refused_in_the_end() {
    let (verdict, calls) = verdict_within(Duration::ZERO, lost_twice()).await;
    assert!(matches!(verdict, Verdict::Refused(reason) if reason.contains("was first")));
    assert_eq!(calls.len(), 4);
}

#[tokio::test]
async fn a_block_that_lost_at_first_may_win_much_later() {
    let round = [result(&json!("duplicate")), header(-1)];
    let won = [result(&json!("duplicate")), header(1)];
    let later = round.iter().cycle().take(100).cloned().chain(won);
    let (verdict, calls) = verdict(lost_twice().into_iter().chain(later)).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(calls.len(), 106);
}

#[tokio::test]
async fn a_node_that_is_behind_is_asked_until_it_has_caught_up() {
    for reason in ["prev-blk-not-found", "time-too-new"] {
        let behind = vec![result(&json!(reason)); 100];
        let (verdict, calls) = verdict(behind.into_iter().chain([result(&Value::Null)])).await;
        assert_eq!(verdict, Verdict::Accepted, "{reason}");
        assert_eq!(calls.len(), 101);
    }
}

#[tokio::test]
async fn a_node_that_stays_behind_refuses_in_the_end() {
    let behind = [result(&json!("prev-blk-not-found"))];
    let (verdict, _) = verdict_within(Duration::from_millis(20), behind).await;
    assert_eq!(verdict, Verdict::Refused("prev-blk-not-found".into()));
}

/// Flaw 16: only a null that the node said is an acceptance; no answer is none.
#[tokio::test]
async fn time_without_an_answer_does_not_count_against_a_block() {
    let away = vec![error(-28, "Loading block index..."); 100];
    let replies = away.into_iter().chain([result(&json!("time-too-new")), result(&Value::Null)]);
    let (verdict, _) = verdict_within(Duration::from_millis(20), replies).await;
    assert_eq!(verdict, Verdict::Accepted);
}

#[tokio::test]
async fn a_node_that_cannot_answer_yet_is_asked_until_it_can() {
    let replies = [
        Reply::Drop,
        error(-28, "Loading block index..."),
        Reply::Http(503, "Work queue depth exceeded".into()),
        Reply::Http(401, String::new()),
        error(-1, "an exception"),
        result(&Value::Null),
    ];
    let (verdict, calls) = verdict(replies).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert!(calls.iter().all(|call| call == "submitblock 0123"), "{calls:?}");
    assert_eq!(calls.len(), 6);
}

#[tokio::test]
async fn one_node_that_has_the_block_is_enough() {
    for other in [Reply::Hang, Reply::Drop, result(&json!("bad-cb-amount"))] {
        let (verdict, _) = verdict_of(UNSETTLED_MAX, [other], [result(&Value::Null)]).await;
        assert_eq!(verdict, Verdict::Accepted);
    }
}

#[tokio::test]
async fn one_nodes_refusal_is_none_while_another_may_take_the_block() {
    let refusing = [result(&json!("bad-cb-amount"))];
    let late = vec![error(-28, "Loading block index..."); 100];
    let late = late.into_iter().chain([result(&Value::Null)]);
    let (verdict, [refusing, late]) = verdict_of(UNSETTLED_MAX, refusing, late).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!((calls(&refusing).len(), calls(&late).len()), (1, 101));
}

#[tokio::test]
async fn a_block_that_all_nodes_refuse_is_refused() {
    let refusing = || [result(&json!("bad-cb-amount"))];
    let (verdict, _) = verdict_of(UNSETTLED_MAX, refusing(), refusing()).await;
    assert_eq!(verdict, Verdict::Refused("bad-cb-amount".into()));
}

#[tokio::test]
async fn a_node_that_stays_away_does_not_keep_a_refused_block_open_forever() {
    let refusing = [result(&json!("bad-cb-amount"))];
    let (verdict, _) = verdict_of(Duration::from_millis(20), refusing, [Reply::Drop]).await;
    assert_eq!(verdict, Verdict::Refused("bad-cb-amount".into()));
}

#[tokio::test]
async fn a_node_with_another_block_is_asked_to_build_on_the_one_that_another_node_took() {
    // It cannot look the block up, so that it has no verdict of its own.
    let first = [result(&json!("inconclusive")), error(-5, "Block not found")];
    let first = first.iter().cycle().take(1000).cloned();
    let (verdict, [first, second]) = verdict_of(UNSETTLED_MAX, first, [result(&Value::Null)]).await;
    assert_eq!(verdict, Verdict::Accepted);
    wait_for_call(&first, "preciousblock").await;
    let preferred = first.requests().into_iter().find(|call| call.method == "preciousblock");
    assert_eq!(preferred.unwrap().params, json!([HASH]));
    assert!(second.requests().iter().all(|call| call.method != "preciousblock"));
}

#[tokio::test]
async fn a_slower_node_has_answered_when_the_couriers_are_back() {
    let (released, go) = (Arc::new(AtomicBool::new(false)), result(&Value::Null));
    let first = StubNode::start([go.clone()]).await;
    let slow = StubNode::scripted({
        let released = Arc::clone(&released);
        move |_| if released.load(Ordering::SeqCst) { go.clone() } else { Reply::Wait }
    })
    .await;
    let dispatch = Dispatch::default();
    let couriers = &dispatch.couriers;
    let nodes = [first.node(""), slow.node("")];
    assert_eq!(submit(&nodes, HASH, "0123", &dispatch).await, Verdict::Accepted);
    wait_for_call(&slow, "submitblock").await;
    couriers.close();
    let early = tokio::time::timeout(Duration::from_millis(100), couriers.wait()).await;
    assert!(early.is_err(), "the slow node was not waited for");
    released.store(true, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(10), couriers.wait()).await.unwrap();
}
