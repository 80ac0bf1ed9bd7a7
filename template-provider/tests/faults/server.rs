//! A node that is well, but for the one thing that a test asks of it.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::{Request, answer};

/// The first block of regtest.
const GENESIS: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
/// How long a long poll waits at most; no test takes so long.
const LONG_POLL_MAX: Duration = Duration::from_secs(60);

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) authorization: Option<String>,
}

impl Asked {
    pub(crate) fn is_template(&self) -> bool {
        self.method == "getblocktemplate"
    }

    pub(crate) fn is_long_poll(&self) -> bool {
        self.params[0].get("longpollid").is_some()
    }
}

/// What the node does in place of answering well.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A status with a body.
    Http(u16, String),
    /// These bytes, and then the connection ends.
    Bytes(Vec<u8>),
    /// The right answer, and then the connection ends.
    CloseAfter,
    /// The right template at once, whether it was to wait or not.
    AtOnce,
}

impl Fault {
    /// An error of the node, as bitcoind gives it: HTTP 500 with a JSON body.
    pub(crate) fn error(code: i64, message: &str) -> Self {
        let error = json!({ "code": code, "message": message });
        Self::Http(500, json!({ "result": null, "error": error, "id": 1 }).to_string())
    }

    /// The connection ends without an answer.
    pub(crate) fn dropped() -> Self {
        Self::Bytes(Vec::new())
    }
}

type Script = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

pub(crate) struct FakeNode {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The tip moved.
    moved: Condvar,
}

struct State {
    script: Option<Script>,
    template: Value,
    /// First byte of the tip's hash, as the node prints it.
    tip: u8,
    asked: Vec<Asked>,
}

impl FakeNode {
    /// Does as `script` says, where it says something, and gives `template` with the tip filled in.
    pub(crate) fn start(
        template: Value,
        script: impl FnMut(&Asked) -> Option<Fault> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Option<Script> = Some(Box::new(script));
        let state = Mutex::new(State { script, template, tip: 0, asked: Vec::new() });
        let shared = Arc::new(Shared { state, moved: Condvar::new() });
        let serving = Arc::clone(&shared);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new tip; its number.
    pub(crate) fn move_tip(&self) -> u8 {
        let mut state = self.shared.state.lock().unwrap();
        state.tip += 1;
        self.shared.moved.notify_all();
        state.tip
    }

    /// Is well from now on, on a new tip.
    pub(crate) fn heal(&self) -> u8 {
        self.shared.state.lock().unwrap().script = None;
        self.move_tip()
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Asked) -> bool) -> usize {
        let state = self.shared.state.lock().unwrap();
        state.asked.iter().filter(|asked| is_it(asked)).count()
    }
}

fn hash(first: u8) -> String {
    format!("{first:02x}{}", "00".repeat(31))
}

fn serve(mut stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let fault = {
            let mut state = shared.state.lock().unwrap();
            state.asked.push(asked.clone());
            state.script.as_mut().and_then(|script| script(&asked))
        };
        let (status, body) = match &fault {
            Some(Fault::Bytes(bytes)) => {
                // The program may leave before the end.
                drop(stream.write_all(bytes));
                return;
            }
            Some(Fault::Http(status, body)) => (*status, body.clone()),
            Some(Fault::AtOnce) => (200, envelope(&template(shared))),
            Some(Fault::CloseAfter) | None => (200, well(&asked, shared)),
        };
        let is_written = stream.write_all(answer(status, &body).as_bytes()).is_ok();
        if !is_written || matches!(fault, Some(Fault::CloseAfter)) {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let request = Request::read(reader)?;
    let call: Value = serde_json::from_slice(&request.body).unwrap();
    let method = call["method"].as_str().unwrap().to_owned();
    let authorization = request.field("authorization").map(str::to_owned);
    Some(Asked { method, params: call["params"].clone(), authorization })
}

/// What a node that is well answers.
fn well(asked: &Asked, shared: &Shared) -> String {
    let tip = shared.state.lock().unwrap().tip;
    match asked.method.as_str() {
        "getbestblockhash" => envelope(&json!(hash(tip))),
        "getblockheader" => envelope(&json!({ "confirmations": 1, "chainwork": "02".repeat(32) })),
        "getblockhash" => envelope(&json!(GENESIS)),
        "getnetworkinfo" => envelope(&json!({ "subversion": "/Satoshi:29.0.0/" })),
        "getblocktemplate" => {
            wait(&asked.params[0]["longpollid"], shared);
            envelope(&template(shared))
        }
        _ => json!({ "result": null, "error": { "code": -32601, "message": "?" } }).to_string(),
    }
}

fn envelope(result: &Value) -> String {
    json!({ "result": result, "error": null, "id": 1 }).to_string()
}

/// Waits as long as the state has the name `id`.
fn wait(id: &Value, shared: &Shared) {
    let state = shared.state.lock().unwrap();
    let is_same = |state: &mut State| *id == json!(hash(state.tip));
    drop(shared.moved.wait_timeout_while(state, LONG_POLL_MAX, is_same).unwrap());
}

fn template(shared: &Shared) -> Value {
    let state = shared.state.lock().unwrap();
    let mut template = state.template.clone();
    template["previousblockhash"] = json!(hash(state.tip));
    if !template["longpollid"].is_null() {
        template["longpollid"] = json!(hash(state.tip));
    }
    template
}
