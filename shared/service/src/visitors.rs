//! Lets in who asks over HTTP, so many at a time: the port stands beside the miners' own, and
//! shares their files and memory.
//!
//! It knows nothing of HTTP, and must not make a miner wait.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use crate::gate::places::{Place, Places};

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Of these, of one address; further ones are closed. A proxy has one address for all who ask.
const CONNECTIONS_OF_ONE_MAX: usize = 256;
/// Who takes nothing of what is sent to him for so long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Who asks nothing for so long may come again. A page that is watched does.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// The door.
#[derive(Debug)]
pub(crate) struct Visitors {
    listener: TcpListener,
    room: Arc<Semaphore>,
    places: Places,
}

impl Visitors {
    pub(crate) fn new(listener: TcpListener) -> Self {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { listener, room, places: Places::new(CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX) }
    }
}

impl Listener for Visitors {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        loop {
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
                return std::future::pending().await;
            };
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Some(place) = self.places.take(address.ip()) {
                return (Visitor::new(stream, place, room), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Visitor {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    _place: Place,
    _room: OwnedSemaphorePermit,
}

impl Visitor {
    fn new(stream: TcpStream, place: Place, room: OwnedSemaphorePermit) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(SILENCE_MAX));
        stream.set_write_timeout(Some(WRITE_STALL_MAX));
        Self { stream: Box::pin(stream), _place: place, _room: room }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn one_address_has_so_many_connections_and_gives_them_back() {
        let mut visitors = Visitors::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = visitors.local_addr().unwrap();
        let mut outside = Vec::new();
        let mut inside = Vec::new();
        for _ in 0..CONNECTIONS_OF_ONE_MAX {
            outside.push(TcpStream::connect(address).await.unwrap());
            inside.push(visitors.accept().await.0);
        }
        // The one too many is closed while the next is waited for.
        let mut refused = TcpStream::connect(address).await.unwrap();
        let next = tokio::spawn(async move { (visitors.accept().await, visitors) });
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
        inside.pop();
        let mut welcome = TcpStream::connect(address).await.unwrap();
        let ((mut visitor, _), _visitors) = next.await.unwrap();
        welcome.write_all(b"x").await.unwrap();
        assert_eq!(visitor.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
        let mut visitors = Visitors::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let _silent = TcpStream::connect(visitors.local_addr().unwrap()).await.unwrap();
        let mut visitor = visitors.accept().await.0;
        tokio::time::pause();
        let much = vec![0; 64 << 20];
        let error = visitor.write_all(&much).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
