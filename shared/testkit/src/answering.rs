//! An HTTP server that answers as its test says, and hands over what it was asked.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use crate::http::{Request, last_answer};

/// Each connection has one request, which is handed over, and then answered with the next status
/// and body; `None` ends the connection without an answer. It ends with who takes the requests.
pub fn answering(
    mut next: impl FnMut() -> Option<(u16, &'static str)> + Send + 'static,
) -> io::Result<(SocketAddr, mpsc::Receiver<Request>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (heard, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok((mut stream, request)) = stream.and_then(read) else { continue };
            let Some(request) = request else { continue };
            if heard.send(request).is_err() {
                return;
            }
            if let Some((status, body)) = next() {
                // Who does not wait for it has what he wanted.
                let _ = stream.write_all(last_answer(status, body).as_bytes());
            }
        }
    });
    Ok((address, requests))
}

fn read(stream: TcpStream) -> io::Result<(TcpStream, Option<Request>)> {
    let request = Request::read(&mut BufReader::new(stream.try_clone()?));
    Ok((stream, request))
}
