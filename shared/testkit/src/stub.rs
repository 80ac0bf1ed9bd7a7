//! A node's RPC for tests: an HTTP server on tokio that answers as its script says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a request that is none of ours fails the test that made it"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the stub does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with a status and a body.
    Http(u16, String),
    /// Answers and closes the connection without having said that it would.
    HttpAndClose(u16, String),
    /// Reads the request and closes the connection.
    Drop,
    /// Reads the request and never answers.
    Hang,
    /// Asks the script again until it has another reply, as a long poll waits.
    Wait,
}

/// HTTP 200 with a result.
pub fn result(result: &Value) -> Reply {
    Reply::Http(200, json!({ "result": result, "error": null, "id": 1 }).to_string())
}

/// HTTP 500 with an error of the node, as bitcoind answers.
pub fn error(code: i64, message: &str) -> Reply {
    let error = json!({ "code": code, "message": message });
    Reply::Http(500, json!({ "result": null, "error": error, "id": 1 }).to_string())
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// The header's value.
    pub authorization: Option<String>,
    /// What was called.
    pub method: String,
    /// With what.
    pub params: Value,
    /// Of JSON-RPC.
    pub version: String,
    /// Counts connections from 0.
    pub connection: usize,
}

/// What a stub does with each request.
type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

/// The stub.
pub struct Stub {
    address: String,
    state: Arc<Mutex<State>>,
}

struct State {
    script: Script,
    requests: Vec<Request>,
}

impl Stub {
    /// Uses the replies one after the other, the last one again and again.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        let script = move |_: &Request| match replies.len() {
            1 => replies[0].clone(),
            _ => replies.pop_front().unwrap(),
        };
        Self::scripted(script).await
    }

    /// Asks the script for each request.
    pub async fn scripted(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { script: Box::new(script), requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// Where it listens, `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn serve(stream: TcpStream, connection: usize, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some((authorization, body)) = read_request(&mut stream).await {
        let call: Value = serde_json::from_slice(&body).unwrap();
        let request = {
            let mut state = state.lock().unwrap();
            let request = Request {
                authorization,
                method: call["method"].as_str().unwrap().to_owned(),
                params: call["params"].clone(),
                version: call["jsonrpc"].as_str().unwrap().to_owned(),
                connection,
            };
            state.requests.push(request.clone());
            request
        };
        let reply = loop {
            let reply = (state.lock().unwrap().script)(&request);
            match reply {
                Reply::Wait => tokio::task::yield_now().await,
                reply => break reply,
            }
        };
        let (status, body, closes) = match reply {
            Reply::Http(status, body) => (status, body, false),
            Reply::HttpAndClose(status, body) => (status, body, true),
            Reply::Drop => return,
            Reply::Hang | Reply::Wait => return std::future::pending().await,
        };
        // No Connection header, as bitcoind's.
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        if closes {
            return;
        }
    }
}

/// The value of Authorization, and the body; `None` at the end of the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(Option<String>, Vec<u8>)> {
    let (mut authorization, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((authorization, body))
}
