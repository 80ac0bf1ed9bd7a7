//! A sidecar that writes down what is posted to it and answers as it is told.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use testkit::http::{Request, last_answer};

use crate::SOON;

pub(crate) struct Sidecar {
    port: u16,
    status: Arc<AtomicU16>,
    posts: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl Sidecar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let sidecar = Self {
            port: listener.local_addr().unwrap().port(),
            status: Arc::new(AtomicU16::new(200)),
            posts: Arc::default(),
        };
        let (status, posts) = (Arc::clone(&sidecar.status), Arc::clone(&sidecar.posts));
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let status = status.load(Ordering::SeqCst);
                if let Some(body) = serve(&stream, status) {
                    posts.lock().unwrap().push((status, body));
                }
            }
        });
        sidecar
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What was posted and taken, in order.
    pub(crate) fn taken(&self) -> Vec<Value> {
        let posts = self.posts.lock().unwrap().clone();
        posts.into_iter().filter(|(status, _)| *status == 200).map(|(_, body)| body).collect()
    }

    /// All that was posted.
    pub(crate) fn posts(&self) -> usize {
        self.posts.lock().unwrap().len()
    }

    pub(crate) fn wait_until_taken(&self, count: usize) -> Vec<Value> {
        let look = || Ok(Some(self.taken()).filter(|taken| taken.len() >= count));
        testkit::wait::until(&format!("{count} posts"), SOON, look).unwrap()
    }
}

/// The body of a POST to /submit.
fn serve(mut stream: &TcpStream, status: u16) -> Option<Value> {
    let request = Request::read(&mut BufReader::new(stream))?;
    assert!(request.head.starts_with("POST /submit HTTP/1.1\r\n"), "{}", request.head);
    stream.write_all(last_answer(status, "").as_bytes()).ok()?;
    Some(serde_json::from_slice(&request.body).unwrap())
}
