//! A drivechain's enforcer with all its ways: its templates are those of a real node, with a whole
//! coinbase in place of coinbasevalue, and it hands blocks on to that node.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{Amount, ScriptBuf, Transaction, TxIn, TxOut, Witness};
use serde_json::{Value, json};
use testkit::http::{self, Request};
use testkit::node::Node;

/// What differs from one enforcer, or one moment, to another.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    /// Messages before the payout, scripts in hex.
    pub(crate) messages: Vec<String>,
    /// Script of the payout, in hex.
    pub(crate) recipient: String,
    /// Satoshis that it pays besides what there is.
    pub(crate) too_much: u64,
    /// Whether its coinbase commits to witnesses; on signet it does not.
    pub(crate) commits: bool,
    /// Whether it states coinbasevalue too.
    pub(crate) states_value: bool,
    /// Whether it has caught up with its node.
    pub(crate) is_synced: bool,
    /// Whether it answers at all.
    pub(crate) is_away: bool,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) call: Value,
}

pub(crate) struct Enforcer {
    port: u16,
    state: Arc<State>,
}

struct State {
    node: Arc<Node>,
    ways: Mutex<Ways>,
    asked: Mutex<Vec<Asked>>,
    /// Held while it works: one request at a time.
    turn: Mutex<()>,
    /// Questions for a template that are under way, and the most that ever were.
    at_once: Mutex<(usize, usize)>,
}

impl Enforcer {
    pub(crate) fn start(node: &Arc<Node>, ways: Ways) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            node: Arc::clone(node),
            ways: Mutex::new(ways),
            asked: Mutex::default(),
            turn: Mutex::default(),
            at_once: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream.unwrap(), &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.state.ways.lock().unwrap());
    }

    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.call["method"] == method).cloned().collect()
    }

    /// The most questions for a template that were ever under way together.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.at_once.lock().unwrap().1
    }
}

fn serve(mut stream: &TcpStream, state: &State) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        if state.ways.lock().unwrap().is_away {
            return;
        }
        state.asked.lock().unwrap().push(asked.clone());
        let is_template = asked.call["method"] == "getblocktemplate";
        count(state, is_template, 1);
        let outcome = {
            let _turn = state.turn.lock().unwrap();
            answer(&asked.call, state)
        };
        count(state, is_template, 0);
        let body = match outcome {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": asked.call["id"], "result": result }),
            Err((code, message)) => json!({
                "jsonrpc": "2.0", "id": asked.call["id"],
                "error": { "code": code, "message": message },
            }),
        };
        // As jsonrpsee: errors under status 200 too.
        if stream.write_all(http::answer(200, &body.to_string()).as_bytes()).is_err() {
            return;
        }
    }
}

fn count(state: &State, is_template: bool, begins: usize) {
    if is_template {
        let mut at_once = state.at_once.lock().unwrap();
        at_once.0 = at_once.0 + begins - (1 - begins);
        at_once.1 = at_once.1.max(at_once.0);
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let Request { head, body } = Request::read(reader)?;
    Some(Asked { head, call: serde_json::from_slice(&body).unwrap() })
}

fn answer(call: &Value, state: &State) -> Result<Value, (i64, &'static str)> {
    if call["jsonrpc"] != "2.0" {
        return Err((-32600, "Invalid request"));
    }
    if !state.ways.lock().unwrap().is_synced {
        return Err((-10, "Enforcer is not synced"));
    }
    match call["method"].as_str() {
        Some("getblocktemplate") => template(&call["params"][0], state),
        Some("submitblock") => Ok(state.node.rpc("submitblock", &call["params"]).unwrap()),
        _ => Err((-32601, "Method not found")),
    }
}

/// Whatever `mode` says.
fn template(request: &Value, state: &State) -> Result<Value, (i64, &'static str)> {
    let wants = |capability: &Value| capability == "coinbasetxn";
    if !request["capabilities"].as_array().is_some_and(|all| all.iter().any(wants)) {
        return Err((-32603, "NoCoinbaseTxn"));
    }
    let ways = state.ways.lock().unwrap().clone();
    let mut template =
        state.node.rpc("getblocktemplate", &json!([{ "rules": ["segwit"] }])).unwrap();
    let coinbase = coinbase(&template, &ways);
    let keys = template.as_object_mut().unwrap();
    if !ways.states_value {
        keys.remove("coinbasevalue");
    }
    keys.remove("capabilities");
    keys.insert("default_witness_commitment".into(), Value::Null);
    keys.insert("signet_challenge".into(), Value::Null);
    for transaction in keys["transactions"].as_array_mut().unwrap() {
        transaction["sigops"] = Value::Null;
        // Counted from 0, where BIP22 counts from 1.
        for depends in transaction["depends"].as_array_mut().unwrap() {
            *depends = json!(depends.as_u64().unwrap() - 1);
        }
    }
    let data = serialize(&coinbase).to_lower_hex_string();
    keys.insert(
        "coinbasetxn".into(),
        json!({
            "data": data, "txid": coinbase.compute_txid().to_string(),
            "hash": coinbase.compute_wtxid().to_string(),
            "depends": [], "fee": -5, "sigops": null, "weight": coinbase.weight().to_wu(),
        }),
    );
    Ok(template)
}

fn coinbase(template: &Value, ways: &Ways) -> Transaction {
    let output = |value, hex: &str| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(Vec::from_hex(hex).unwrap()),
    };
    let value = template["coinbasevalue"].as_u64().unwrap() + ways.too_much;
    let mut outputs: Vec<_> = ways.messages.iter().map(|hex| output(0, hex)).collect();
    outputs.push(output(value, &ways.recipient));
    if ways.commits {
        outputs.push(output(0, template["default_witness_commitment"].as_str().unwrap()));
    }
    let height = template["height"].as_i64().unwrap();
    let input = TxIn {
        script_sig: Builder::new().push_int(height).into_script(),
        witness: Witness::from_slice(&[[0; 32]]),
        ..TxIn::default()
    };
    let (version, lock_time) = (Version::TWO, LockTime::ZERO);
    Transaction { version, lock_time, input: vec![input], output: outputs }
}
