//! The real program under load while it is given orders, by who has the token and by who has not.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may fail loudly, and shares its miner with others"
)]

#[path = "reliability/miner.rs"]
mod miner;
#[path = "reliability/provider.rs"]
mod provider;
#[path = "reliability/talk.rs"]
mod talk;

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use miner::{Heard, acknowledged_beyond, mine};
use provider::Provider;
use testkit::program::{Launch, Program};
use testkit::wait::until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wire::sv2::keys::Sv2Url;

/// How long something may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "5f0c1b9ad2e84736a1c0ffee5f0c1b9a";
/// Connections of who has no token: more than are let in at a time.
const CROWD: usize = 100;

/// A pool with an admin address, and one miner.
struct Table {
    pool: Program,
    /// Where everybody may ask.
    public: String,
    admin: String,
    heard: Arc<Heard>,
    url: Sv2Url,
    runtime: Runtime,
    _provider: Provider,
    _folder: tempfile::TempDir,
}

fn write_settings(folder: &Path, provider: &Provider) -> std::path::PathBuf {
    let (config, token) = (folder.join("pool.toml"), folder.join("admin.token"));
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let (address, key, at) = (provider.address, provider.key, folder.display());
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nsecret_key_file = \"{at}/pool.key\"\n\
         [[template_provider]]\naddress = \"{address}\"\nauthority_key = \"{key}\"\n\
         [node]\nrpc_url = \"http://127.0.0.1:1\"\nuser = \"u\"\npassword = \"hunter2hunter2\"\n\
         [payout]\nnetwork = \"mainnet\"\n\
         address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
         [payout.wallet]\nname = \"till\"\n\
         [vardiff]\nshares_per_minute = 10000000.0\nmin_difficulty = 0.000000000001\n\
         [ledger]\ndirectory = \"{at}/ledger\"\n\
         [health]\naddress = \"127.0.0.1:0\"\n[api]\nenabled = true\nquestions_per_minute = 0\n\
         [dashboard]\nenabled = true\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{at}/admin.token\"\n"
    );
    std::fs::write(&config, text).unwrap();
    config
}

impl Table {
    fn start(log: &str) -> Self {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Provider::start());
        let config = write_settings(folder.path(), &provider);
        let path = env!("CARGO_BIN_EXE_pool-sv2");
        let mut pool = Program::start(Launch::server("pool-sv2", path, config, log)).unwrap();
        let url = pool.wait_said("mining at ").unwrap().parse().unwrap();
        let mut host = |said: &str| {
            let url = pool.wait_said(said).unwrap();
            url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
        };
        let (public, admin) = (host("health at "), host("admin at "));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let heard = Arc::default();
        Self { pool, public, admin, heard, url, runtime, _provider: provider, _folder: folder }
    }

    /// A miner that floods until it is sent away.
    fn mine(&self, name: &str) -> JoinHandle<anyhow::Result<()>> {
        let address: SocketAddr = format!("{}:{}", self.url.host, self.url.port).parse().unwrap();
        let key = self.url.authority_key.unwrap();
        self.runtime.spawn(mine(address, key, name.to_owned(), Arc::clone(&self.heard)))
    }

    fn order(&self, verb: &str, path: &str) -> (u16, serde_json::Value) {
        let (status, body) = ask(&self.admin, verb, path, Some(TOKEN));
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Waits until more is acknowledged than was at the beginning of the wait.
    fn goes_on(&self) {
        let count = self.heard.count();
        self.runtime.block_on(acknowledged_beyond(&self.heard, count, PATIENCE));
    }
}

fn ask(address: &str, verb: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if let Some(token) = token {
        write!(request, "Authorization: Bearer {token}\r\n").unwrap();
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn orders_need_the_token_and_their_own_address_and_no_log_shows_it() {
    let table = Table::start("trace");
    for path in ["/admin/v1/connections", "/admin/v1/openapi.json", "/admin", "/"] {
        assert_eq!(ask(&table.admin, "GET", path, None).0, 401, "{path}");
        assert_eq!(ask(&table.admin, "POST", path, Some(&TOKEN.replace('5', "6"))).0, 401);
        if path != "/" {
            for token in [None, Some(TOKEN)] {
                assert_eq!(ask(&table.public, "GET", path, token).0, 404, "{path}");
            }
        }
    }
    for path in ["/admin/v1/bans?network=127.0.0.1", "/admin/v1/payouts/pause"] {
        let status = ask(&table.public, "POST", path, Some(TOKEN)).0;
        assert!(status == 404 || status == 405, "{path}: {status}");
    }
    assert_eq!(ask(&table.admin, "GET", "/health", Some(TOKEN)).0, 404);
    let (status, settings) = ask(&table.admin, "GET", "/admin/v1/settings", Some(TOKEN));
    assert!(status == 200 && settings.contains("REDACTED"), "{settings}");
    assert!(!settings.contains("hunter2") && !settings.contains(TOKEN), "{settings}");
    assert_eq!(table.order("POST", "/admin/v1/payouts/pause").1["is_paused"], true);
    let shown = ask(&table.public, "GET", "/api/v1/health", None).1;
    assert!(shown.contains("paused by the operator"), "{shown}");
    assert_eq!(table.order("POST", "/admin/v1/payouts/continue").1["is_paused"], false);
    // It logs all that it can, and what was refused and ordered is among that.
    let told = |what: &'static str| {
        until(what, PATIENCE, || {
            let events = table.pool.log().events(Default::default());
            Ok(events.iter().any(|event| event.is(what)).then_some(events))
        })
        .unwrap()
    };
    told("admin order refused: it came without the token");
    let events = told("payouts continued by the operator");
    let leaks = events.iter().filter(|event| format!("{event:?}").contains(TOKEN));
    assert_eq!(leaks.count(), 0, "the token is in the log");
}

/// From another address than the operator's, which has places of its own.
async fn half_an_order(table: &Table) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut stream = socket.connect(table.admin.parse().unwrap()).await.unwrap();
    // Some of them are closed at once, for there are too many.
    let _ = stream.write_all(b"GET /admin/v1/connections HTTP/1.1\r\nHost:").await;
    stream
}

#[test]
fn miners_are_seen_sent_away_and_kept_out_and_a_crowd_without_the_token_holds_nobody_up() {
    let table = Table::start("info");
    let one = table.mine("ann.rig");
    table.goes_on();
    let crowd: Vec<_> = (0..CROWD).map(|_| table.runtime.block_on(half_an_order(&table))).collect();
    table.goes_on();
    let id = until("the channel to be shown", PATIENCE, || {
        let (status, shown) = table.order("GET", "/admin/v1/connections?account=ann");
        assert_eq!(status, 200, "{shown}");
        Ok(shown["connections"][0]["id"].as_u64())
    })
    .unwrap();
    drop(crowd);
    let asked = format!("/admin/v1/connections/{id}");
    let (_, shown) = table.order("GET", &asked);
    assert_eq!(shown["port"], table.url.port);
    assert!(shown["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{shown}");
    let seen = ask(&table.public, "GET", "/api/v1/miners/ann/channels", None).1;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let [channel] = &seen["channels"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&channel["worker"], &channel["kind"]), (&"rig".into(), &"standard".into()));
    assert!(channel["shares"].as_u64().unwrap() > 0 && channel.get("peer").is_none());
    // It sends each fiftieth share twice.
    assert!(channel["rejects"]["duplicate"].as_u64().unwrap() > 0, "{channel}");

    assert_eq!(table.order("POST", &format!("{asked}/close")).0, 200);
    assert!(table.runtime.block_on(one).unwrap().is_err(), "its connection is over");
    let other = table.mine("bob");
    table.goes_on();
    // Trusted networks too are kept out when the operator says so.
    let (_, banned) = table.order("POST", "/admin/v1/bans?network=127.0.0.0/8&seconds=600");
    assert_eq!(banned["closed"], 1, "{banned}");
    assert!(table.runtime.block_on(other).unwrap().is_err());
    assert!(table.runtime.block_on(table.mine("cy")).unwrap().is_err());
    assert_eq!(table.order("DELETE", "/admin/v1/bans?network=127.0.0.0/8").0, 200);
    let _mining = table.mine("cy");
    table.goes_on();
}

#[test]
fn a_token_file_that_others_can_read_stops_the_start() {
    let (folder, provider) = (tempfile::tempdir().unwrap(), Provider::start());
    let config = write_settings(folder.path(), &provider);
    let token = folder.path().join("admin.token");
    std::fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pool-sv2"));
    let output = command.args(["run", "--config"]).arg(config).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{complaint}");
    assert!(complaint.contains("admin.token_file: ") && complaint.contains("chmod 600"));
}
