//! Each endpoint against a store that is fed as in life, and against the shapes that devices
//! expect.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::accounting::log::cursor::{Located, Place};
use crate::accounting::log::record::{LoggedShare, Record};
use crate::accounting::store::sqlite::SqliteStore;
use crate::accounting::store::{Chunk, Store};
use crate::shares::{BlockFound, Earner, Reason};

struct Table {
    folder: tempfile::TempDir,
    api: Api,
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
        let time_ms = now_ms + u64::from(height);
        take("a", "rig", Record::BlockFound { time_ms, finder: 0, block });
    }
    let mut store = SqliteStore::open(file).unwrap();
    store.apply(0, &chunk, Place { epoch: 1, sequence: 1 }).unwrap();
}

impl Table {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        fill(&file);
        let chain = || Some(Chain { height: Some(850_001), difficulty: 2.0 });
        Self { api: Api::new(&file, 150, Box::new(chain)), folder }
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
fn every_endpoint_that_is_described_answers() {
    let (table, described) = (Table::new(), serde_json::from_str::<Value>(OPENAPI).unwrap());
    for path in described["paths"].as_object().unwrap().keys() {
        let asked = path.strip_prefix("/api/").unwrap().replace("{account}", "a");
        let answer = table.ask(&asked);
        let answers = &described["paths"][path]["get"]["responses"]["200"]["content"];
        let schema = &answers["application/json"]["schema"]["$ref"];
        let Some(name) = schema.as_str().and_then(|it| it.rsplit('/').next()) else { continue };
        let wanted = &described["components"]["schemas"][name]["required"];
        let wanted: Vec<_> = wanted.as_array().unwrap().iter().map(|it| it.as_str()).collect();
        let mut given: Vec<_> = answer.as_object().unwrap().keys().map(|it| it.as_str()).collect();
        given.sort_by_key(|name| wanted.iter().position(|it| *it == Some(name)));
        assert_eq!(given.into_iter().map(Some).collect::<Vec<_>>(), wanted, "{path}");
    }
}

#[test]
fn sums_are_exact_and_rates_and_rejects_stand_beside_them() {
    let pool = Table::new().ask("v1/pool");
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
    let first = table.ask("v1/miners?limit=1");
    assert_eq!((&first["miners"][0]["name"], &first["next_after"]), (&"a".into(), &"a".into()));
    let second = table.ask("v1/miners?limit=1&after=a");
    assert_eq!(second["miners"][0]["name"], "b");
    assert_eq!(
        table.ask("v1/miners?after=b"),
        serde_json::json!({"miners": [], "next_after": null})
    );
    let blocks = table.ask("v1/blocks?limit=2");
    assert_eq!(
        (&blocks["blocks"][0]["height"], &blocks["blocks"][1]["height"]),
        (&3.into(), &2.into())
    );
    let next = blocks["next_before_ms"].as_u64().unwrap();
    assert_eq!(table.ask(&format!("v1/blocks?before_ms={next}"))["blocks"][0]["height"], 1);
    let workers = table.ask("v1/miners/a/workers");
    assert_eq!(workers["workers"][0]["name"], "old");
}

#[test]
fn a_history_has_the_spans_with_work() {
    let table = Table::new();
    let shares = |asked: &str| -> u64 {
        let answer = table.ask(asked);
        let spans = answer["spans"].as_array().unwrap();
        spans.iter().map(|span| span["shares"].as_u64().unwrap()).sum()
    };
    assert_eq!(shares("v1/history"), 3);
    assert_eq!(shares("v1/history?account=a&worker=rig"), 1);
    assert_eq!(shares("v1/history?account=a&span=day"), 2);
    assert_eq!(shares("v1/history?from=0&to=1000"), 0);
}

#[test]
fn a_client_looks_as_public_pool_shows_it() {
    let client = Table::new().ask("client/a");
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
    let pool = table.ask("pool");
    assert_eq!((&pool["blockHeight"], &pool["totalMiners"]), (&850_000.into(), &2.into()));
    assert_eq!((&pool["blocksFound"][0]["minerAddress"], &pool["fee"]), (&"a".into(), &1.5.into()));
    let network = table.ask("network");
    assert_eq!((&network["blocks"], &network["difficulty"]), (&850_000.into(), &2.0.into()));
    let info = table.ask("info");
    assert_eq!(info["blockData"].as_array().unwrap().len(), 3);
    assert_eq!(info["userAgents"], serde_json::json!([]));
}

#[test]
fn a_wrong_question_is_told_what_is_wrong_with_it() {
    let table = Table::new();
    for asked in [
        "v1/miners?limit=0",
        "v1/blocks?before_ms=x",
        "v1/history?span=year",
        "v1/history?worker=x",
    ] {
        assert!(matches!(table.reply(asked), Reply::Wrong(_)), "{asked}");
    }
    for asked in ["", "v1", "v1/miners/nobody", "client", "v2/pool"] {
        assert!(matches!(table.reply(asked), Reply::NotFound(_)), "{asked}");
    }
}

#[test]
fn a_store_that_is_not_there_or_was_built_again_is_noticed() {
    let table = Table::new();
    let file = table.folder.path().join("store.sqlite");
    assert_eq!(table.ask("v1/pool")["shares"], 3);
    SqliteStore::delete(&file).unwrap();
    assert!(matches!(table.reply("v1/pool"), Reply::Unavailable(_)));
    drop(SqliteStore::open(&file).unwrap());
    assert_eq!(table.ask("v1/pool")["shares"], 0);
}
