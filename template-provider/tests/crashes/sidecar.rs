//! A sidecar of a chain with shielded coinbases: takes notes, knows those that it has, and hangs or
//! refuses as a test wants.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use bitcoin::hex::DisplayHex;
use serde_json::Value;
use testkit::http::{Request, answer};

use crate::provider::SOON;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    Hangs,
    Refuses,
}

#[derive(Default)]
struct State {
    mood: Mood,
    posts: Vec<String>,
    taken: BTreeSet<String>,
    follower: Option<Sender<String>>,
    connections: usize,
    /// Who connected last.
    newest: Option<SocketAddr>,
}

/// Clones are one.
#[derive(Clone)]
pub(crate) struct Sidecar {
    address: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Sidecar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sidecar = Self { address, shared: Arc::default() };
        let this = sidecar.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (this, stream) = (this.clone(), stream.unwrap());
                {
                    let mut state = this.shared.0.lock().unwrap();
                    state.connections += 1;
                    state.newest = stream.peer_addr().ok();
                }
                thread::spawn(move || {
                    this.serve(stream);
                    this.shared.0.lock().unwrap().connections -= 1;
                });
            }
        });
        sidecar
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, no POST is answered.
    pub(crate) fn hang(&self) {
        self.set(Mood::Hangs);
    }

    /// From now on, every POST is refused.
    pub(crate) fn refuse(&self) {
        self.set(Mood::Refuses);
    }

    /// Takes what came and what comes.
    pub(crate) fn go_on(&self) {
        self.set(Mood::Takes);
    }

    /// Sends the commitment of every POST from now on, before it is answered.
    pub(crate) fn follow(&self, follower: Sender<String>) {
        self.shared.0.lock().unwrap().follower = Some(follower);
    }

    /// The commitments of all POSTs, as they came.
    pub(crate) fn posts(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().posts.clone()
    }

    /// The commitments that it has, in their order.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().taken.iter().cloned().collect()
    }

    pub(crate) fn wait_for_posts(&self, count: usize) {
        let look = || Ok((self.posts().len() >= count).then_some(()));
        testkit::wait::until(&format!("{count} POSTs"), SOON, look).unwrap();
    }

    /// Waits until it has read all that was sent by a program that is gone. Connections are taken
    /// in the order in which they came: once one of our own was taken, none of the program's waits.
    pub(crate) fn wait_until_idle(&self) {
        let own = TcpStream::connect(&self.address).unwrap();
        let address = own.local_addr().unwrap();
        let is_newest = || self.shared.0.lock().unwrap().newest == Some(address);
        let look = || Ok(is_newest().then_some(()));
        testkit::wait::until("our connection to be taken", SOON, look).unwrap();
        drop(own);
        let look = || Ok((self.shared.0.lock().unwrap().connections == 0).then_some(()));
        testkit::wait::until("the end of all connections", SOON, look).unwrap();
    }

    fn set(&self, mood: Mood) {
        self.shared.0.lock().unwrap().mood = mood;
        self.shared.1.notify_all();
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(body) = read_post(&mut stream) {
            let commitment = commitment(&body);
            let mut state = self.shared.0.lock().unwrap();
            state.posts.push(commitment.clone());
            if let Some(follower) = &state.follower {
                let _ = follower.send(commitment.clone());
            }
            state = self.shared.1.wait_while(state, |state| state.mood == Mood::Hangs).unwrap();
            let status = match (state.mood, state.taken.contains(&commitment)) {
                (Mood::Refuses, _) => 400,
                (_, true) => 409,
                (_, false) => 200,
            };
            if status == 200 {
                state.taken.insert(commitment);
            }
            drop(state);
            if stream.get_mut().write_all(answer(status, "").as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Hex of the commitment in a body, which must be whole.
fn commitment(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let bytes = |field: &str| -> Vec<u8> { serde_json::from_value(body[field].clone()).unwrap() };
    assert_eq!((bytes("ephemeral_pubkey").len(), bytes("ciphertext").len()), (32, 44));
    assert_eq!(body.as_object().unwrap().len(), 3);
    bytes("commitment").to_lower_hex_string()
}

/// The body of the next POST to `/submit`; `None` at the end of the connection, also in the middle.
fn read_post(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let Request { head, body } = Request::read(stream)?;
    assert!(head.starts_with("POST /submit HTTP/1.1"), "{head}");
    Some(body)
}
