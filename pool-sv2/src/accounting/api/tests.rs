//! Each endpoint against a store that is fed as in life, and against the shapes that devices
//! expect.

mod document;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use mining::target::Hashes;
use serde_json::{Value, json};

use super::routes::ROUTES;
use super::*;
use crate::accounting::bookkeeper::{Beginning, Bookkeeper};
use crate::accounting::books::Books;
use crate::accounting::log::cursor::{Cursor, Located, Place};
use crate::accounting::log::disk::Folder;
use crate::accounting::log::record::{LoggedShare, Record};
use crate::accounting::log::writer::{LogSettings, LogWriter};
use crate::accounting::store::sqlite::SqliteStore;
use crate::accounting::store::{Chunk, Store};
use crate::described::check_shape;
use crate::payout::claims::{Position, Withheld};
use crate::payout::distribution::{Terms, distribute};
use crate::payout::settlement::{
    AccountPayout, BlockPayout, PAYOUT_VERSION, PayoutEntry, Settlement, WalletLine, WalletPayout,
};
use crate::roster::{ChannelNow, Tally};
use crate::shares::{
    BlockFound, BlockStage, BlockState, Earner, Entry, PAYS_ALL, PayoutRecord, Reason, ShareRecord,
};

struct Table {
    folder: tempfile::TempDir,
    api: Api,
}

const TERMS: Terms =
    Terms { fee_basis_points: 100, output_min: 1_000, outputs_max: 2, output_bytes_max: 1_000 };

/// The last block as it was shared, and a transaction that paid what was left.
fn payouts() -> [PayoutEntry; 2] {
    let block = BlockPayout {
        block: bitcoin::BlockHash::from_byte_array([3; 32]),
        position: Position::default(),
        window: Hashes(1_000),
        root: None,
        terms: TERMS,
        withheld: Withheld::Nobodys,
        value: 50,
        fee: 1,
        pool_output: 11,
        part: 0,
        parts: 1,
        lines: vec![AccountPayout { account: "a".into(), work: Hashes(9), entitled: 49, paid: 39 }],
    };
    let wallet = WalletPayout {
        transaction: bitcoin::Txid::from_byte_array([9; 32]),
        raw: String::new(),
        fee: 2,
        lines: vec![WalletLine { account: "a".into(), amount: 10, earned: Default::default() }],
    };
    [PayoutEntry::Block(block), PayoutEntry::Wallet(wallet)]
}

fn payout_record(entry: &PayoutEntry) -> PayoutRecord {
    PayoutRecord::new(PAYOUT_VERSION, serde_json::to_vec(entry).unwrap()).unwrap()
}

fn fill(file: &Path) {
    let now_ms = clock::unix_now_milliseconds();
    let mut chunk = Chunk::new(0);
    let mut take = |account: &str, worker: &str, record: Record| {
        let earner = Some(Arc::new(Earner::named(account, worker)));
        chunk.take(Located { place: Place::default(), earner, record });
    };
    let share = |time_ms, hash_high| {
        Record::Share(LoggedShare { time_ms, earner: 0, work: 1 << 70, hash_high })
    };
    take("a", "rig", share(now_ms, 1 << 90));
    take("a", "old", share(now_ms - 2 * ACTIVE_MS, 1 << 88));
    take("b", "", share(now_ms, 1 << 92));
    let stale = Record::Rejects { time_ms: now_ms, earner: 0, reason: Reason::Stale, count: 3 };
    take("a", "rig", stale);
    for height in 1..=3 {
        let hash = [u8::try_from(height).unwrap(); 32];
        let block = BlockFound {
            hash,
            height: Some(height),
            prev_hash: [0; 32],
            nbits: 0x1d00_ffff,
            coinbase_value: 50,
        };
        // Two of them at the same moment.
        let time_ms = now_ms + u64::from(height / 2);
        take("a", "rig", Record::BlockFound { time_ms, finder: 0, block });
    }
    for entry in payouts() {
        take("", "", Record::Payout { time_ms: now_ms + 5, payout: payout_record(&entry) });
    }
    let mut store = SqliteStore::open(file).unwrap();
    store.apply(0, &chunk, Place { epoch: 1, sequence: 1 }).unwrap();
}

/// A coinbase that pays 50 bitcoins to one address.
fn mined() -> TemplateNow {
    let script = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
    let coinbase = format!(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff\
         0451515151ffffffff0100f2052a0100000016{script}00000000"
    );
    TemplateNow {
        height: Some(850_001),
        prev_hash: [3; 32],
        nbits: 0x1d00_ffff,
        difficulty: 2.0,
        id: 7,
        branches: 3,
        since_ms: 1_000,
        tip_since_ms: 500,
        tip_connections: 3,
        tip_last: Duration::from_micros(4_200),
        coinbase: Vec::from_hex(&coinbase).unwrap().into(),
    }
}

fn facts(store: &Path) -> Facts {
    let log = Folder(store.with_file_name("log"));
    std::fs::create_dir_all(&log.0).unwrap();
    let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
    let (writer, _) = LogWriter::open(log.clone(), settings, 1, 7).unwrap();
    let end = writer.durable_end();
    let checkpoint = store.with_file_name("books.checkpoint");
    let sources = Sources { log, checkpoint, network: Network::Bitcoin };
    let (_, shelf) = Bookkeeper::open(&sources, Beginning::Needed, end).unwrap();
    let health = Health::new(&["node"]);
    health.found("ledger", "written");
    let port =
        Port { host: "0.0.0.0".to_owned(), port: 3_333, min_difficulty: 1.0, mode: Mode::Pplns };
    Facts {
        store: store.to_owned(),
        sources,
        mode: Mode::Pplns,
        fee_basis_points: 150,
        coin: Coin { name: "Vanta".to_owned(), symbol: "VANTA".to_owned() },
        ports: vec![port],
        authority_key: "9auq".to_owned(),
        mined: Box::new(|| Some(mined())),
        shelf: Some(shelf),
        health,
        roster: Roster::default(),
    }
}

impl Table {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        fill(&file);
        let api = Api::new(facts(&file));
        Self { api, folder }
    }

    fn reply(&self, asked: &str) -> Reply {
        let (path, parameters) = asked.split_once('?').unwrap_or((asked, ""));
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        self.api.answer(&Question { path: path.to_owned(), parameters })
    }

    fn ask(&self, asked: &str) -> Value {
        match self.reply(asked) {
            Reply::Found(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{asked}: {other:?}"),
        }
    }
}

#[test]
fn sums_are_exact_and_rates_and_rejects_stand_beside_them() {
    let pool = Table::new().ask("api/v1/pool");
    assert_eq!(
        (&pool["shares"], &pool["miners"], &pool["workers"]),
        (&3.into(), &2.into(), &2.into())
    );
    assert_eq!(pool["work"], (3_u128 << 70).to_string());
    assert_eq!(pool["rejects"]["stale"], 3);
    assert_eq!(pool["mined_now"]["height"], 850_001);
    // A hash of 2^216 is of difficulty 0xffff * 2^208 / 2^216.
    assert_eq!(pool["best_difficulty"], 65_535.0 / 256.0);
    assert!(pool["hashrate"]["1h"].as_f64().unwrap() > 0.0);
}

#[test]
fn lists_come_page_by_page() {
    let table = Table::new();
    let first = table.ask("api/v1/miners?limit=1");
    assert_eq!((&first["miners"][0]["name"], &first["next"]), (&"a".into(), &"a".into()));
    let second = table.ask("api/v1/miners?limit=1&after=a");
    assert_eq!(second["miners"][0]["name"], "b");
    assert_eq!(table.ask("api/v1/miners?after=b"), json!({"miners": [], "next": null}));
    let blocks = table.ask("api/v1/blocks?limit=2");
    assert_eq!(
        (&blocks["blocks"][0]["height"], &blocks["blocks"][1]["height"]),
        (&3.into(), &2.into())
    );
    // The last of the page and the first of the next one have the same time.
    assert_eq!(blocks["blocks"][0]["time_ms"], blocks["blocks"][1]["time_ms"]);
    let next = blocks["next"].as_str().unwrap();
    assert_eq!(table.ask(&format!("api/v1/blocks?after={next}"))["blocks"][0]["height"], 1);
    let one = table.ask("api/v1/blocks?limit=1");
    let next = one["next"].as_str().unwrap();
    assert_eq!(table.ask(&format!("api/v1/blocks?after={next}"))["blocks"][0]["height"], 2);
    let workers = table.ask("api/v1/miners/a/workers");
    assert_eq!(workers["workers"][0]["name"], "old");
}

#[test]
fn the_fastest_come_first_wherever_their_names_stand_and_who_is_gone_is_not_among_them() {
    let table = Table::new();
    let mut chunk = Chunk::new(0);
    let now_ms = clock::unix_now_milliseconds();
    let mut take = |name: String, time_ms: u64, work: u128| {
        let earner = Some(Arc::new(Earner::named(&name, "")));
        let share = LoggedShare { time_ms, earner: 0, work, hash_high: 9 };
        chunk.take(Located { place: Place::default(), earner, record: Record::Share(share) });
    };
    // More names before the fastest one than one answer holds.
    (0..1_100).for_each(|it| take(format!("a{it:05}"), now_ms, 1 << 40));
    take("gone".to_owned(), now_ms - 2 * ACTIVE_MS, 1 << 90);
    take("zoe".to_owned(), now_ms, 1 << 80);
    let file = table.folder.path().join("store.sqlite");
    SqliteStore::open(&file).unwrap().apply(0, &chunk, Place { epoch: 1, sequence: 2 }).unwrap();
    let fastest = table.ask("api/v1/miners?order=hashrate&limit=1000");
    let miners = fastest["miners"].as_array().unwrap();
    assert_eq!((&miners[0]["name"], miners.len()), (&"zoe".into(), 1_000));
    assert!(miners.iter().all(|it| it["name"] != "gone"));
    assert_eq!(fastest["next"], Value::Null);
    let miners = table.ask("api/pools/adit/miners?pageSize=1");
    assert_eq!(miners[0]["miner"], "zoe");
    for wrong in ["api/v1/miners?order=hashrate&after=a", "api/v1/miners?order=age"] {
        assert!(matches!(table.reply(wrong), Reply::Wrong(_)), "{wrong}");
    }
}

#[test]
fn an_accounts_open_channels_are_listed_and_nobody_elses_and_not_where_they_come_from() {
    let table = Table::new();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let roster = &table.api.facts.roster;
    let seat = roster.enter(([203, 0, 113, 7], 4_711).into(), 0, &shutdown);
    let channel = |id, account: &str, is_standard| {
        let mut tally = Tally::new(clock::now());
        tally.accept(clock::now(), Hashes(1 << 40), &[1; 32]);
        tally.reject(Reason::Stale);
        let earner = Arc::new(Earner::named(account, "rig"));
        ChannelNow { id, is_standard, earner, difficulty: 256.0, tally }
    };
    seat.show(vec![channel(3, "a", true), channel(4, "b", true), channel(5, "a", false)]);
    let shown = table.ask("api/v1/miners/a/channels");
    let [first, second] = &shown["channels"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!((&first["channel"], &second["kind"]), (&3.into(), &"extended".into()));
    assert_eq!((&first["shares"], &first["work"]), (&1.into(), &(1_u64 << 40).to_string().into()));
    assert_eq!((&first["rejects"]["stale"], &first["difficulty"]), (&1.into(), &256.0.into()));
    assert!(!shown.to_string().contains("203.0.113"), "{shown}");
    check_described("/api/v1/miners/{account}/channels", &shown);
    drop(seat);
    assert_eq!(table.ask("api/v1/miners/a/channels")["channels"], json!([]));
}

/// Fails unless the answer is of the shape that is described for the path.
fn check_described(path: &str, answer: &Value) {
    let described = serde_json::from_str::<Value>(OPENAPI).unwrap();
    let content = &described["paths"][path]["get"]["responses"]["200"]["content"];
    check_shape(path, &described, &content["application/json"]["schema"], answer);
}

#[test]
fn what_was_never_sent_or_is_orphaned_is_no_payment() {
    let table = Table::new();
    let amounts = |asked: &str| -> Vec<f64> {
        let answer = table.ask(asked);
        answer.as_array().unwrap().iter().map(|it| it["amount"].as_f64().unwrap()).collect()
    };
    let mut chunk = Chunk::new(0);
    let [PayoutEntry::Block(block), _] = payouts() else { panic!("a block first") };
    let [mut unpaid, mut orphan] = [block.clone(), block];
    (unpaid.block, unpaid.lines[0].paid) = (bitcoin::BlockHash::from_byte_array([7; 32]), 0);
    (orphan.block, orphan.lines[0].paid) = (bitcoin::BlockHash::from_byte_array([8; 32]), 1_000);
    let time_ms = clock::unix_now_milliseconds() + 1_000;
    for entry in [unpaid, orphan].map(PayoutEntry::Block) {
        let record = Record::Payout { time_ms, payout: payout_record(&entry) };
        chunk.take(Located { place: Place::default(), earner: None, record });
    }
    let state = BlockState::new([8; 32], BlockStage::Orphaned);
    let record = Record::BlockState { time_ms, state };
    chunk.take(Located { place: Place::default(), earner: None, record });
    let file = table.folder.path().join("store.sqlite");
    SqliteStore::open(&file).unwrap().apply(0, &chunk, Place { epoch: 1, sequence: 2 }).unwrap();
    assert_eq!(amounts("api/pools/adit/miners/a/payments"), [10e-8, 39e-8]);
    assert_eq!(amounts("api/pools/adit/payments"), [10e-8, 39e-8]);
    assert_eq!(table.ask("api/pools/adit")["pool"]["totalPaid"], 49e-8);
    assert_eq!(table.ask("api/pools/adit/miners/a")["totalPaid"], 49e-8);
    // It comes back into the chain.
    let mut chunk = Chunk::new(0);
    let state = BlockState::new([8; 32], BlockStage::Accepted);
    let record = Record::BlockState { time_ms: time_ms + 1, state };
    chunk.take(Located { place: Place::default(), earner: None, record });
    SqliteStore::open(&file).unwrap().apply(0, &chunk, Place { epoch: 1, sequence: 3 }).unwrap();
    assert_eq!(table.ask("api/pools/adit")["pool"]["totalPaid"], 1_049e-8);
    assert_eq!(amounts("api/pools/adit/miners/a/payments"), [1_000e-8, 10e-8, 39e-8]);
    // They are listed where they are told from each other.
    assert_eq!(table.ask("api/v1/miners/a/payouts")["payouts"].as_array().unwrap().len(), 4);
}

#[test]
fn ckpool_counts_accepted_and_rejected_alike_from_the_last_block_on() {
    let table = Table::new();
    let last_line = || -> Value {
        let Reply::Text(status) = table.reply("pool/pool.status") else { panic!("three lines") };
        serde_json::from_str(status.lines().nth(2).unwrap()).unwrap()
    };
    // The last block was found after all that stands there.
    assert_eq!((&last_line()["accepted"], &last_line()["rejected"]), (&0.0.into(), &0.into()));
    let mut chunk = Chunk::new(0);
    let earner = Some(Arc::new(Earner::named("a", "rig")));
    // Long ago: no slice of it is kept.
    let work = LoggedShare { time_ms: 60_000, earner: 0, work: 5 << 32, hash_high: 9 };
    let rejects = Record::Rejects { time_ms: 60_000, earner: 0, reason: Reason::Stale, count: 2 };
    for record in [Record::Share(work), rejects] {
        chunk.take(Located { place: Place::default(), earner: earner.clone(), record });
    }
    let file = table.folder.path().join("store.sqlite");
    SqliteStore::open(&file).unwrap().apply(0, &chunk, Place { epoch: 1, sequence: 2 }).unwrap();
    assert_eq!((&last_line()["accepted"], &last_line()["rejected"]), (&5.0.into(), &2.into()));
}

#[test]
fn a_history_has_the_spans_with_work() {
    let table = Table::new();
    let shares = |asked: &str| -> u64 {
        let answer = table.ask(asked);
        let spans = answer["spans"].as_array().unwrap();
        spans.iter().map(|span| span["shares"].as_u64().unwrap()).sum()
    };
    assert_eq!(shares("api/v1/history"), 3);
    assert_eq!(shares("api/v1/history?account=a&worker=rig"), 1);
    assert_eq!(shares("api/v1/history?account=a&span=day"), 2);
    assert_eq!(shares("api/v1/history?from=0&to=1000"), 0);
}

#[test]
fn a_client_looks_as_public_pool_shows_it() {
    let client = Table::new().ask("api/client/a");
    assert_eq!(
        (&client["workersCount"], &client["bestDifficulty"]),
        (&1.into(), &(65_535.0 / 256.0).into())
    );
    let [worker] = &client["workers"].as_array().unwrap()[..] else { panic!("{client}") };
    let mut keys: Vec<_> = worker.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["bestDifficulty", "hashRate", "lastSeen", "name", "sessionId", "startTime"]);
    assert_eq!((&worker["name"], &worker["bestDifficulty"]), (&"rig".into(), &"64.00".into()));
    assert!(worker["lastSeen"].as_str().unwrap().ends_with('Z'));
    assert_eq!(worker["sessionId"].as_str().unwrap().len(), 8);
}

#[test]
fn the_pool_and_the_network_look_as_public_pool_shows_them() {
    let table = Table::new();
    let pool = table.ask("api/pool");
    assert_eq!((&pool["blockHeight"], &pool["totalMiners"]), (&850_000.into(), &2.into()));
    assert_eq!((&pool["blocksFound"][0]["minerAddress"], &pool["fee"]), (&"a".into(), &1.5.into()));
    let network = table.ask("api/network");
    assert_eq!((&network["blocks"], &network["difficulty"]), (&850_000.into(), &2.0.into()));
    let info = table.ask("api/info");
    assert_eq!(info["blockData"].as_array().unwrap().len(), 3);
    assert_eq!(info["userAgents"], json!([]));
}

#[test]
fn a_wrong_question_is_told_what_is_wrong_with_it() {
    let table = Table::new();
    for asked in [
        "api/v1/miners?limit=0",
        "api/v1/blocks?after=x",
        "api/v1/payouts?after=5-00",
        "api/v1/history?span=year",
        "api/v1/history?worker=x",
        "api/pools/adit/blocks?page=1000000",
        "api/v1/blocks/x/proof/a",
    ] {
        assert!(matches!(table.reply(asked), Reply::Wrong(_)), "{asked}");
    }
    for asked in [
        "",
        "api",
        "api/v1/miners/nobody",
        "api/client",
        "api/v2/pool",
        "api/client/a/nobody",
        "api/pools/other",
        "users/nobody",
    ] {
        assert!(matches!(table.reply(asked), Reply::NotFound(_)), "{asked}");
    }
}

#[test]
fn payouts_are_listed_for_all_and_for_one_with_what_is_known_of_them() {
    let table = Table::new();
    let all = table.ask("api/v1/payouts");
    let [wallet, block] = &all["payouts"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&wallet["kind"], &wallet["state"]), (&"wallet".into(), &"sent".into()));
    assert_eq!((&wallet["value"], &wallet["fee"]), (&10.into(), &2.into()));
    assert_eq!((&block["kind"], &block["state"]), (&"block".into(), &"found".into()));
    assert_eq!((&block["hash"], &block["fee"]), (&"03".repeat(32).into(), &1.into()));
    let first = table.ask("api/v1/miners/a/payouts?limit=1");
    assert_eq!(first["payouts"][0]["paid"], 10);
    let next = first["next"].as_str().unwrap();
    let second = table.ask(&format!("api/v1/miners/a/payouts?after={next}"));
    let [line] = &second["payouts"].as_array().unwrap()[..] else { panic!("{second}") };
    assert_eq!(
        (&line["entitled"], &line["paid"], &line["work"]),
        (&49.into(), &39.into(), &"9".into())
    );
    assert_eq!(table.ask("api/v1/miners/a")["balance"]["paid"], 49);
    assert_eq!(table.ask("api/v1/miners/b/payouts")["payouts"], json!([]));
}

#[test]
fn the_template_is_told_output_by_output() {
    let template = Table::new().ask("api/v1/template");
    assert_eq!(
        (&template["height"], &template["value"]),
        (&850_001.into(), &5_000_000_000_u64.into())
    );
    assert_eq!(template["tip_reached"], json!({"connections": 3, "last_ms": 4.2}));
    let output = &template["outputs"][0];
    assert_eq!(output["kind"], "payment");
    assert_eq!(output["address"], "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
}

#[test]
fn ckpools_files_have_its_keys_in_its_order() {
    let table = Table::new();
    let Reply::Text(status) = table.reply("pool/pool.status") else { panic!("three lines") };
    let keys = |line: &str| -> Vec<String> {
        serde_json::from_str::<Value>(line).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        keys.sort();
        keys
    };
    let [users, rates, shares] = &status.lines().collect::<Vec<_>>()[..] else {
        panic!("{status}")
    };
    let expected = ["runtime", "lastupdate", "Users", "Workers", "Idle", "Disconnected"];
    assert_eq!(keys(users), sorted(&expected));
    let expected = ["1m", "5m", "15m", "1hr", "6hr", "1d", "7d"].map(|it| format!("hashrate{it}"));
    assert_eq!(keys(rates), sorted(&expected.each_ref().map(|it| &**it)));
    let expected =
        ["diff", "accepted", "rejected", "bestshare", "SPS1m", "SPS5m", "SPS15m", "SPS1h"];
    assert_eq!(keys(shares), sorted(&expected));
    let status: Vec<Value> = status.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!((&status[0]["Users"], &status[0]["Workers"]), (&2.into(), &2.into()));
    assert_eq!(status[2]["rejected"], 0, "since the last block");
    let user = table.ask("users/a");
    assert_eq!((&user["workers"], &user["worker"][1]["workername"]), (&1.into(), &"a.rig".into()));
    assert!(user["hashrate1m"].as_str().unwrap().ends_with('E'), "{user}");
    let expected = [
        "authorised",
        "bestever",
        "bestshare",
        "hashrate1d",
        "hashrate1hr",
        "hashrate1m",
        "hashrate5m",
        "hashrate7d",
        "lastshare",
        "shares",
        "worker",
        "workers",
    ];
    assert_eq!(user.as_object().unwrap().keys().collect::<Vec<_>>(), expected);
}

#[test]
fn miningcores_front_ends_find_what_they_look_for() {
    let table = Table::new();
    let pool = &table.ask("api/pools")["pools"][0];
    assert_eq!((&pool["id"], &pool["poolFeePercent"]), (&"adit".into(), &1.5.into()));
    assert_eq!(pool["networkStats"]["blockHeight"], 850_000);
    for (key, value) in [("type", "VANTA"), ("symbol", "VANTA"), ("name", "Vanta")] {
        assert_eq!(pool["coin"][key], value, "{pool}");
    }
    assert_eq!(pool["poolStats"]["connectedMiners"], 2);
    assert_eq!(table.ask("api/pools/adit")["pool"]["id"], "adit");
    let block = &table.ask("api/pools/adit/blocks?page=1&pageSize=2")[0];
    assert_eq!((&block["blockHeight"], &block["status"]), (&1.into(), &"pending".into()));
    let miner = table.ask("api/pools/adit/miners/a");
    assert!(miner["performance"]["workers"]["rig"]["hashrate"].as_f64().unwrap() > 0.0, "{miner}");
    assert_eq!(miner["totalPaid"], 49e-8);
    let payments = table.ask("api/pools/adit/miners/a/payments");
    assert_eq!((&payments[0]["amount"], &payments[0]["address"]), (&10e-8.into(), &"a".into()));
    for payments in [payments, table.ask("api/pools/adit/payments")] {
        assert_eq!(payments[0]["coin"], "VANTA");
    }
}

#[test]
fn public_pools_charts_have_a_point_for_each_slice_with_work() {
    let table = Table::new();
    let chart = table.ask("api/info/chart");
    let points = chart.as_array().unwrap();
    assert!(!points.is_empty() && points.iter().all(|it| it["data"].as_f64().unwrap() > 0.0));
    assert!(points[0]["label"].as_str().unwrap().ends_with(":00.000Z"), "{chart}");
    let client = table.ask("api/client/b");
    let session = client["workers"][0]["sessionId"].as_str().unwrap();
    let worker = table.ask(&format!("api/client/b/worker/{session}"));
    assert_eq!((&worker["workerName"], &worker["sessionId"]), (&"worker".into(), &session.into()));
    assert_eq!(table.ask("api/client/a/rig")["name"], "rig");
}

/// BIP173's example, on the network of `facts`.
const ANN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

#[test]
fn a_miner_gets_the_proof_of_a_block_that_was_shared() {
    let table = Table::new();
    let log = table.api.facts.sources.log.clone();
    let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
    let (mut writer, _) = LogWriter::open(log.clone(), settings, 1, 7).unwrap();
    let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(ANN, "rig") });
    writer.push_share(60_000, &ShareRecord { earner, work: Hashes(77), hash: [1; 32] });
    writer.commit().unwrap();
    let mut books = Books::new(Network::Bitcoin);
    let mut cursor = Cursor::new(log, Place::default());
    cursor.read_frame(None, &mut |located| books.take(&located).unwrap()).unwrap();
    let (claims, withheld) = (Arc::new(books.claims(Hashes(1_000))), Withheld::Nobodys);
    let distribution = distribute(50_000, &TERMS, &claims, &withheld).unwrap();
    let settlement = Settlement { terms: TERMS, withheld, distribution };
    let block = bitcoin::BlockHash::from_byte_array([4; 32]);
    for part in settlement.parts(block) {
        writer.push_entry(60_001, Entry::Payout(payout_record(&PayoutEntry::Block(part))));
    }
    writer.commit().unwrap();
    let asked = format!("api/v1/blocks/{block}/proof/{ANN}");
    let file = table.ask(&asked);
    assert_eq!((&file["proof"]["work"], &file["root"]["work"]), (&"77".into(), &"77".into()));
    assert_eq!(table.ask(&asked), file, "the second one is made from the same tree");
    let stranger = table.reply(&format!("api/v1/blocks/{block}/proof/b"));
    assert!(matches!(stranger, Reply::NotFound(_)), "{stranger:?}");
    let other = table.reply(&format!("api/v1/blocks/{}/proof/{ANN}", "05".repeat(32)));
    assert!(matches!(other, Reply::NotFound(_)), "{other:?}");
}

#[test]
fn who_asks_is_not_told_where_on_the_machine_anything_is() {
    let table = Table::new();
    let file = table.folder.path().join("store.sqlite");
    SqliteStore::delete(&file).unwrap();
    let mut refusals = vec![table.reply("api/v1/pool")];
    std::fs::write(&file, "no database".repeat(100)).unwrap();
    refusals.push(table.reply("api/v1/pool"));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refusals.push(table.reply("api/v1/pool"));
    for refusal in refusals {
        let Reply::Unavailable(why) = refusal else { panic!("{refusal:?}") };
        assert!(!why.contains(&table.folder.path().display().to_string()), "{why}");
    }
}

#[test]
fn a_store_that_is_not_there_or_was_built_again_is_noticed() {
    let table = Table::new();
    let file = table.folder.path().join("store.sqlite");
    assert_eq!(table.ask("api/v1/pool")["shares"], 3);
    SqliteStore::delete(&file).unwrap();
    assert!(matches!(table.reply("api/v1/pool"), Reply::Unavailable(_)));
    drop(SqliteStore::open(&file).unwrap());
    assert_eq!(table.ask("api/v1/pool")["shares"], 0);
}
