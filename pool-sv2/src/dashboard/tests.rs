//! The pages against answers as the API gives them.

use serde_json::{Value, json};

use super::*;

const ANN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const NOW_S: u64 = 1_700_000_000;

fn sums(shares: u64) -> Value {
    let rate = json!({"1m": 1e6, "5m": 2e6, "1h": 3e6, "1d": 4e6, "7d": 5e6});
    json!({
        "name": ANN, "shares": shares, "work": "9", "first_share_ms": shares * NOW_S * 1_000,
        "last_share_ms": NOW_S * 1_000, "best_difficulty": 12.5, "best_difficulty_of_round": null,
        "hashrate": rate, "rejects": {"stale": 3},
        "balance": {"owed": -5, "spendable": 0, "paid": 7},
    })
}

fn pool(shares: u64) -> Value {
    let mut pool = sums(shares);
    let further = json!({"miners": 1, "workers": 2, "blocks": shares, "active_seconds": 3_600});
    pool.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    pool
}

fn block(worker: &str) -> Value {
    json!({"hash": "0a".repeat(32), "height": 850_001, "time_ms": NOW_S * 1_000, "account": ANN,
        "worker": worker, "coinbase_value": 312_500_000, "state": "mature"})
}

/// Who answers as a pool with so many shares does.
fn answer(shares: u64, question: &Question) -> Reply {
    let lines = |line: Value| if shares > 0 { json!([line]) } else { json!([]) };
    let value = match question.path.strip_prefix("api/v1/").unwrap_or_default() {
        "pool" => pool(shares),
        "history" => json!({"span_s": 600, "spans": []}),
        "miners" => json!({"miners": lines(sums(shares)), "next": null}),
        "blocks" => json!({"blocks": lines(block("<script>alert(1)</script>")), "next": null}),
        "connect" => json!({"authority_key": "9auq", "fee_basis_points": 150, "ports": [
            {"host": "0.0.0.0", "port": 3_333, "min_difficulty": 1.0, "pays": "pplns"}]}),
        "health" => json!({"is_well": false, "neighbours": [
            {"name": "template_provider", "up": false, "needed": true, "detail": "gone"}]}),
        "template" => json!({"height": 850_002, "prev_hash": "0b".repeat(32),
            "network_difficulty": 110.4e12, "since_ms": 1, "tip_since_ms": 1,
            "tip_reached": {"connections": 213, "last_ms": 4.26},
            "merkle_branches": 12,
            "value": 312_500_000, "outputs": [{"value": 0, "script": "6a", "kind": "bmm-accept",
            "address": null, "detail": "sidechain 3, h* 0c"}, {"value": 312_500_000,
            "script": "00", "kind": "payment", "address": ANN, "detail": null}]}),
        path if path == format!("miners/{ANN}") && shares > 0 => sums(shares),
        path if path == format!("miners/{ANN}/workers") => json!({"workers": lines(sums(1))}),
        path if path == format!("miners/{ANN}/payouts") => json!({"payouts": [{"kind": "block",
            "hash": "0a".repeat(32), "time_ms": 1, "state": "accepted",
            "entitled": 5, "paid": 4}]}),
        path if path == format!("miners/{ANN}/channels") => json!({"more": false, "channels": [{
            "channel": 2, "account": ANN, "worker": "rig7", "kind": "extended",
            "difficulty": 4_096.0, "opened_ms": 1, "last_share_ms": null, "shares": 77,
            "work": "9", "best_difficulty": null, "rejects": {"stale": 2, "duplicate": 1}}]}),
        path if path.contains("/proof/") => json!({"block": "0a"}),
        _ => return Reply::NotFound("nobody of that name has sent a share".to_owned()),
    };
    Reply::of(&value)
}

fn visit(path: &str) -> Visit {
    Visit { path: path.to_owned(), parameters: Vec::new(), host: Some("pool.example".to_owned()) }
}

fn dashboard(shares: u64) -> Dashboard {
    framed(shares, Frame::default())
}

fn framed(shares: u64, frame: Frame) -> Dashboard {
    Dashboard::new(Arc::new(move |question: &Question| answer(shares, question)), frame)
}

#[test]
fn the_api_is_named_where_there_is_one_and_miners_are_sent_to_the_name_that_is_set() {
    let html = |frame: Frame| match framed(1, frame).show(&visit("/")) {
        View::Page(html) => html,
        other => panic!("{other:?}"),
    };
    let plain = html(Frame::default());
    assert!(!plain.contains("openapi.json") && plain.contains("stratum2+tcp://pool.example:3333"));
    let public_host = Some("mine.example".to_owned());
    let named = html(Frame { has_api: true, public_host, ..Frame::default() });
    assert!(named.contains("/api/v1/openapi.json"), "{named}");
    assert!(named.contains("stratum2+tcp://mine.example:3333/9auq"), "{named}");
    assert!(!named.contains("pool.example"));
}

fn shown(shares: u64, path: &str) -> String {
    match dashboard(shares).show(&visit(path)) {
        View::Page(html) => html,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn a_new_pool_says_where_to_point_a_miner() {
    let page = shown(0, "/");
    let url = "stratum2+tcp://pool.example:3333/9auq";
    assert!(page.contains("No share yet") && page.contains(url), "{page}");
    assert!(page.contains("No block yet") && page.contains("sidechain 3"), "{page}");
    assert!(page.contains("4.3\u{a0}ms, of 213 connections"), "{page}");
    assert!(page.contains("something is missing") && page.contains("110\u{a0}T"), "{page}");
}

#[test]
fn every_number_has_its_window() {
    let page = shown(1, "/");
    for window in
        ["over 5 minutes", "in the last 1\u{a0}h", "since the pool began", "since the last"]
    {
        assert!(page.contains(window), "{window}");
    }
    assert!(page.contains("since 2023-11-14 22:13 UTC"), "shares are counted since then");
    let figures = page.matches("class=\"figure\"").count();
    assert_eq!(page.matches("class=\"window\"").count(), figures);
}

#[test]
fn what_a_miner_calls_himself_is_text() {
    for page in [shown(1, "/"), shown(1, "/blocks")] {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(!page.contains("<script>alert"), "{page}");
    }
}

#[test]
fn no_page_has_what_its_policy_forbids() {
    for page in
        [shown(0, "/"), shown(1, "/"), shown(1, "/blocks"), shown(1, &format!("/miners/{ANN}"))]
    {
        assert_eq!(page.matches("<script").count(), 1, "the file alone");
        for forbidden in [" style=", "<style", " onclick", "javascript:", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn a_miners_page_has_balance_workers_and_proofs() {
    let page = shown(1, &format!("/miners/{ANN}"));
    assert!(page.contains("\u{2212}0.00000005\u{a0}BTC"), "{page}");
    assert!(page.contains(&format!("/miners/{ANN}/proof/{}", "0a".repeat(32))), "{page}");
    let proof = dashboard(1).show(&visit(&format!("/miners/{ANN}/proof/{}", "0a".repeat(32))));
    let expected = "proof-0a0a0a0a0a0a0a0a.json".to_owned();
    assert!(matches!(proof, View::Download { name, .. } if name == expected));
    assert!(page.contains("rig7") && page.contains("1 duplicate, 2 stale"), "{page}");
    let View::Missing(page) = dashboard(1).show(&visit("/miners/nobody")) else { panic!() };
    assert!(page.contains("No share of nobody has been accepted yet"), "{page}");
}

#[test]
fn every_amount_is_of_the_coin_that_is_set() {
    let coin = Coin { name: "Vanta".to_owned(), symbol: "VANTA".to_owned() };
    let dashboard = framed(1, Frame { coin, ..Frame::default() });
    for (path, amounts) in [("/", 3), ("/blocks", 1), (&*format!("/miners/{ANN}"), 5)] {
        let View::Page(page) = dashboard.show(&visit(path)) else { panic!("{path}") };
        assert_eq!(page.matches("\u{a0}VANTA").count(), amounts, "{path}: {page}");
        assert!(!page.contains("BTC"), "{path}: {page}");
    }
}

#[test]
fn parts_are_those_of_the_page_by_their_ids() {
    for path in ["/", "/blocks", &format!("/miners/{ANN}")] {
        let (page, parts) = (shown(1, path), dashboard(1).parts(&visit(path)));
        assert!(!parts.is_empty());
        for (id, html) in parts {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id} on {path}");
            assert!(html.contains(&format!(" id=\"{id}\"")), "{id}");
        }
    }
    assert_eq!(dashboard(1).parts(&visit("/nothing")), []);
}

#[test]
fn without_answers_the_pages_say_why() {
    let away = |_: &Question| Reply::Unavailable("the store is not there yet".to_owned());
    let dashboard = Dashboard::new(Arc::new(away), Frame::default());
    let View::Page(page) = dashboard.show(&visit("/")) else { panic!() };
    assert!(page.contains("The store is not there yet."), "{page}");
    assert!(matches!(dashboard.show(&visit("/miners/a")), View::Unavailable(_)));
}
