//! A Thunder that has a side block for one main block, and writes down what it is called.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use testkit::http::{Request, last_answer};

use crate::SOON;

pub(crate) struct Thunder {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The main block that the side block follows, display order.
    prev_main_hash: String,
    /// The parameters of each `connect_block`.
    connected: Vec<Value>,
    /// What the first of them are answered.
    refusals: usize,
}

impl Thunder {
    /// Its side block is for `prev_main_hash`.
    pub(crate) fn start(prev_main_hash: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connected, refusals) = (Vec::new(), 0);
        let state = State { prev_main_hash: prev_main_hash.into(), connected, refusals };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &shared);
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// It has seen another main block.
    pub(crate) fn follow(&self, prev_main_hash: &str) {
        self.state.lock().unwrap().prev_main_hash = prev_main_hash.into();
    }

    /// It does not take the next so many blocks.
    pub(crate) fn refuse(&self, count: usize) {
        self.state.lock().unwrap().refusals = count;
    }

    /// What was given back, in order.
    pub(crate) fn connected(&self) -> Vec<Value> {
        self.state.lock().unwrap().connected.clone()
    }

    pub(crate) fn wait_until_connected(&self, count: usize) -> Vec<Value> {
        let look = || Ok(Some(self.connected()).filter(|all| all.len() >= count));
        testkit::wait::until(&format!("{count} side blocks"), SOON, look).unwrap()
    }
}

/// The hash of the side block for a main block: that one's display hex, each byte raised by one.
pub(crate) fn h_star(prev_main_hash: &str) -> [u8; 32] {
    let bytes: [u8; 32] = bitcoin::hex::FromHex::from_hex(prev_main_hash).unwrap();
    bytes.map(|byte| byte.wrapping_add(1))
}

/// The side block for a main block.
pub(crate) fn side_block(prev_main_hash: &str) -> Value {
    let header = json!({
        "merkle_root": "11".repeat(32), "prev_side_hash": null, "prev_main_hash": prev_main_hash,
    });
    json!({ "header": header, "body": { "coinbase": [], "transactions": [] } })
}

fn answer(state: &mut State, call: &Value) -> Value {
    match call["method"].as_str().unwrap() {
        "get_block_template" => {
            let hash =
                bitcoin::hex::DisplayHex::to_lower_hex_string(&h_star(&state.prev_main_hash)[..]);
            let block = side_block(&state.prev_main_hash);
            json!({ "critical_hash": hash, "block": block, "fees_sats": 0 })
        }
        "connect_block" => {
            state.connected.push(call["params"].clone());
            let is_refused = state.refusals > 0;
            state.refusals = state.refusals.saturating_sub(1);
            json!(!is_refused)
        }
        "get_best_sidechain_block_hash" => Value::Null,
        other => panic!("{other}"),
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = Request::read(&mut BufReader::new(stream)) else { return };
    let call: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(call["jsonrpc"], "2.0");
    let result = answer(&mut state.lock().unwrap(), &call);
    let body = json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string();
    // A provider that does not wait for it any more is no fault.
    let _ = stream.write_all(last_answer(200, &body).as_bytes());
}
