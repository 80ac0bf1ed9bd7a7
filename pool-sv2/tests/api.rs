//! The real program answers other programs' questions at the address of /health, if it is told to.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::program::{Launch, Program};
use testkit::wait::until;

/// How long a start may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a pool with these settings besides what it needs; gives the address of its /health.
fn start(folder: &std::path::Path, further: &str) -> (Program, String) {
    let (config, at) = (folder.join("pool.toml"), folder.display());
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nsecret_key_file = \"{at}/pool.key\"\n\
         [[template_provider]]\naddress = \"127.0.0.1:1\"\n\
         authority_key = \"9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72\"\n\
         [payout]\nnetwork = \"mainnet\"\n\
         address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
         [ledger]\ndirectory = \"{at}/ledger\"\n\
         [health]\naddress = \"127.0.0.1:0\"\n{further}"
    );
    std::fs::write(&config, text).unwrap();
    let path = env!("CARGO_BIN_EXE_pool-sv2");
    let mut pool = Program::start(Launch::server("pool-sv2", path, config, "warn")).unwrap();
    let url = pool.wait_said("health at ").unwrap();
    let address = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap().0;
    (pool, address.to_owned())
}

/// Head and body of the answer.
fn get(address: &str, path: &str, fields: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn questions_are_answered_where_health_is_if_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (_pool, address) = start(folder.path(), "[api]\nenabled = true\ncors_origin = \"*\"\n");
    let (head, body) = until("the store to be there", PATIENCE, || {
        let answer = get(&address, "/api/v1/pool", "");
        Ok(answer.0.starts_with("HTTP/1.1 200").then_some(answer))
    })
    .unwrap();
    assert!(body.contains("\"shares\":0"), "{body}");
    assert!(head.to_lowercase().contains("access-control-allow-origin: *"), "{head}");
    let (head, body) = get(&address, "/api/v1/miners/a%20b?x=%20", "");
    assert!(head.starts_with("HTTP/1.1 404") && body.contains("\"error\""), "{head} {body}");
    let (_, body) = get(&address, "/api/v1/openapi.json", "");
    assert!(body.contains("\"openapi\""), "{body}");
}

#[test]
fn an_address_that_asks_too_often_waits_and_paths_of_other_pools_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let further = "[api]\nenabled = true\nquestions_per_minute = 6\n";
    let (_pool, address) = start(folder.path(), further);
    assert!(get(&address, "/api/v1/template", "").0.starts_with("HTTP/1.1 404"));
    let (head, _) = get(&address, "/users/nobody", "");
    assert!(head.starts_with("HTTP/1.1 404") || head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(!head.to_lowercase().contains("access-control-allow-origin"), "{head}");
    get(&address, "/pool/pool.status", "");
    let (head, body) = get(&address, "/api/v1/pool", "");
    assert!(head.starts_with("HTTP/1.1 429") && body.contains("too many"), "{head} {body}");
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
    assert!(get(&address, "/health", "").0.starts_with("HTTP/1.1 503"), "health has no limit");
}

#[test]
fn without_being_told_to_nothing_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (_pool, address) = start(folder.path(), "");
    assert!(get(&address, "/api/v1/pool", "").0.starts_with("HTTP/1.1 404"));
    assert!(get(&address, "/health", "").0.starts_with("HTTP/1.1 503"));
}
