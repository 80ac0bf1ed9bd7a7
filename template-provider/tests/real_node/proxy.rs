//! Stands between the program and a node, and holds back what a test wants to be late.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use testkit::http::Request;
use testkit::node::Node;

/// What is held back: it gets no answer until that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Long polls alone.
    LongPolls,
    /// All questions for a template.
    Templates,
}

impl Held {
    fn holds(self, body: &str) -> bool {
        body.contains("getblocktemplate")
            && (self == Self::Templates || body.contains("longpollid"))
    }
}

/// The proxy; ends with the test.
pub(crate) struct Proxy {
    port: u16,
    gate: Arc<Gate>,
}

struct Gate {
    held: Mutex<Held>,
    changed: Condvar,
    node: String,
}

impl Proxy {
    /// In front of `node`; holds long polls back.
    pub(crate) fn start(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let node = node.rpc_url().trim_start_matches("http://").to_owned();
        let held = Mutex::new(Held::LongPolls);
        let gate = Arc::new(Gate { held, changed: Condvar::new(), node });
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let gate = Arc::clone(&shared);
                // An error is a connection that somebody closed.
                std::thread::spawn(move || gate.serve(stream.unwrap()));
            }
        });
        Self { port, gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn hold(&self, held: Held) {
        *self.gate.held.lock().unwrap() = held;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let Some(Request { head, body }) = Request::read(&mut stream) else { return Ok(()) };
        let call = String::from_utf8(body).unwrap();
        let held = self.held.lock().unwrap();
        drop(self.changed.wait_while(held, |held| held.holds(&call)).unwrap());
        let mut node = TcpStream::connect(&self.node)?;
        // HTTP/1.0, so that the node closes after its answer.
        node.write_all(head.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes())?;
        node.write_all(call.as_bytes())?;
        let mut answer = Vec::new();
        node.read_to_end(&mut answer)?;
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().shutdown(std::net::Shutdown::Both)
    }
}
