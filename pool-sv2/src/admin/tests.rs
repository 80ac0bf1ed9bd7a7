//! Each order, against the description of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mining::target::Hashes;
use service::gate::GateLimits;
use service::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::described::check_shape;
use crate::roster::{Attendance, ChannelNow, Tally};
use crate::shares::Earner;

/// A till that only notes what it was told.
#[derive(Default)]
struct Noted(AtomicBool);

impl Till for Noted {
    fn now(&self) -> TillNow {
        let sent = Sent { transaction: "09".repeat(32), accounts: 2, amount: 30, fee: 1 };
        TillNow {
            is_paused: self.0.load(Ordering::SeqCst),
            is_dry_run: false,
            threshold: 5,
            every_seconds: 60,
            due: vec![("b".to_owned(), 7), ("a".to_owned(), 5)],
            sent: vec![sent],
        }
    }

    fn pause(&self) -> io::Result<()> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn go_on(&self) -> io::Result<()> {
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Three connections: two of one network, of which one has a channel, and one of another.
struct Table {
    admin: Admin,
    there: Vec<Attendance>,
}

impl Table {
    fn new() -> Self {
        let (roster, shutdown) = (Roster::default(), CancellationToken::new());
        let peer = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let peers = ["203.0.113.1:1", "203.0.113.2:2", "198.51.100.1:3"].map(peer);
        let there: Vec<_> =
            peers.into_iter().map(|peer| roster.enter(peer, 1, &shutdown)).collect();
        let mut tally = Tally::new(Instant::now());
        tally.accept(Instant::now(), Hashes(9), &[1; 32]);
        let channel = |id| ChannelNow {
            id,
            is_standard: false,
            earner: Arc::new(Earner::named("ann", "rig")),
            difficulty: 2.0,
            tally: tally.clone(),
        };
        there[0].show((0..20).map(channel).collect());
        let admin = Admin {
            roster,
            gate: Gate::new(GateLimits::of_connections(9), &Metrics::new("x")),
            ports: vec![1, 34_254],
            till: Some(Box::new(Noted::default())),
            settings: "Config".to_owned(),
        };
        Self { admin, there }
    }

    fn reply(&self, verb: Verb, asked: &str) -> Reply {
        let (path, parameters) = asked.split_once('?').unwrap_or((asked, ""));
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        self.admin.obey(&Order { verb, path: format!("admin/v1/{path}"), parameters })
    }

    fn ask(&self, verb: Verb, asked: &str) -> Value {
        match self.reply(verb, asked) {
            Reply::Found(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{asked}: {other:?}"),
        }
    }

    /// Who was sent away, in the order in which they came.
    fn sent_away(&self) -> Vec<bool> {
        self.there.iter().map(|it| it.leave().is_cancelled()).collect()
    }
}

#[test]
fn connections_are_found_by_network_and_account_and_one_is_shown_whole() {
    let table = Table::new();
    let ids = |asked: &str| -> Vec<u64> {
        let answer = table.ask(Verb::Get, asked);
        assert_eq!(answer["all"], 3);
        let all = answer["connections"].as_array().unwrap();
        all.iter().map(|it| it["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("connections"), [0, 1, 2]);
    assert_eq!(ids("connections?network=203.0.113.0/24"), [0, 1]);
    assert_eq!(ids("connections?network=203.0.113.2"), [1]);
    assert_eq!(ids("connections?account=ann"), [0]);
    assert_eq!(ids("connections?after=0&limit=1"), [1]);
    let first = &table.ask(Verb::Get, "connections?limit=1")["connections"][0];
    assert_eq!((&first["peer"], &first["port"]), (&"203.0.113.1:1".into(), &34_254.into()));
    assert_eq!(
        (&first["channels_open"], first["channels"].as_array().unwrap().len()),
        (&20.into(), 16)
    );
    let whole = table.ask(Verb::Get, "connections/0");
    assert_eq!(whole["channels"].as_array().unwrap().len(), 20);
    assert_eq!(
        (&whole["channels"][3]["channel"], &whole["channels"][3]["work"]),
        (&3.into(), &"9".into())
    );
}

#[test]
fn one_is_sent_away_and_the_others_stay() {
    let table = Table::new();
    assert_eq!(table.ask(Verb::Post, "connections/1/close")["closed"], 1);
    assert_eq!(table.sent_away(), [false, true, false]);
    assert!(matches!(table.reply(Verb::Post, "connections/7/close"), Reply::NotFound(_)));
    assert!(matches!(table.reply(Verb::Post, "connections/x/close"), Reply::Wrong(_)));
    assert!(matches!(table.reply(Verb::Get, "connections/1/close"), Reply::NotFound(_)));
}

#[test]
fn who_is_banned_leaves_and_stays_out_until_the_ban_is_lifted() {
    let table = Table::new();
    let banned = table.ask(Verb::Post, "bans?network=203.0.113.0/24&seconds=60");
    assert_eq!((&banned["closed"], &banned["seconds"]), (&2.into(), &60.into()));
    assert_eq!(table.sent_away(), [true, true, false]);
    let bans = table.ask(Verb::Get, "bans");
    assert_eq!(bans["bans"][0]["network"], "203.0.113.0/24");
    assert_eq!(bans["bans"][0]["by_operator"], true);
    assert!(bans["bans"][0]["seconds_left"].as_u64().unwrap() <= 60);
    assert_eq!(table.ask(Verb::Delete, "bans?network=203.0.113.0/24")["network"], "203.0.113.0/24");
    assert_eq!(table.ask(Verb::Get, "bans")["bans"], json!([]));
    let again = table.reply(Verb::Delete, "bans?network=203.0.113.0/24");
    assert!(matches!(again, Reply::NotFound(_)), "{again:?}");
}

#[test]
fn what_is_wrong_with_an_order_is_said_and_nothing_is_done() {
    let table = Table::new();
    for (verb, asked) in [
        (Verb::Get, "connections?limit=0"),
        (Verb::Get, "connections?network=here"),
        (Verb::Post, "bans"),
        (Verb::Post, "bans?network=203.0.113.0/33"),
        (Verb::Post, "bans?network=203.0.113.1&seconds=0"),
        (Verb::Post, "bans?network=203.0.113.1&seconds=99999999"),
        (Verb::Delete, "bans"),
    ] {
        let reply = table.reply(verb, asked);
        assert!(matches!(reply, Reply::Wrong(_)), "{asked}: {reply:?}");
    }
    assert_eq!(table.sent_away(), [false; 3]);
    assert!(matches!(table.reply(Verb::Get, "nothing"), Reply::NotFound(_)));
}

#[test]
fn payouts_are_shown_and_held_back_and_go_on() {
    let mut table = Table::new();
    let now = table.ask(Verb::Get, "payouts");
    assert_eq!((&now["is_paused"], &now["due_sat"]), (&false.into(), &12.into()));
    assert_eq!(now["due"][0], json!({"account": "b", "amount_sat": 7}));
    assert_eq!(now["unconfirmed"][0]["amount_sat"], 30);
    assert_eq!(table.ask(Verb::Post, "payouts/pause")["is_paused"], true);
    assert_eq!(table.ask(Verb::Post, "payouts/continue")["is_paused"], false);
    table.admin.till = None;
    let none = table.reply(Verb::Post, "payouts/pause");
    assert!(matches!(none, Reply::NotFound(_)), "{none:?}");
}

#[test]
fn every_order_that_is_described_is_obeyed_in_the_shape_that_is_described() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(described["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(described["security"], json!([{ "token": [] }]));
    for (path, verbs) in described["paths"].as_object().unwrap() {
        for (verb, of) in verbs.as_object().unwrap() {
            let table = Table::new();
            table.ask(Verb::Post, "bans?network=198.51.100.1");
            let asked = path.trim_start_matches("/admin/v1/").replace("{id}", "0");
            let asked = format!("{asked}?network=198.51.100.1");
            let verb = match verb.as_str() {
                "get" => Verb::Get,
                "post" => Verb::Post,
                "delete" => Verb::Delete,
                other => panic!("{other}"),
            };
            let content = &of["responses"]["200"]["content"];
            match table.reply(verb, &asked) {
                Reply::Text(_) => assert!(content["text/plain"].is_object(), "{path}"),
                Reply::Found(text) => {
                    let schema = &content["application/json"]["schema"];
                    let answer = serde_json::from_str(&text).unwrap();
                    check_shape(path, &described, schema, &answer);
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
