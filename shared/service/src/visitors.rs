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
use crate::proxies::Proxies;

/// Who takes nothing of what is sent to him for so long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// How many are let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub(crate) connections: usize,
    /// Of these, of one address; further ones are closed.
    pub(crate) connections_of_one: usize,
    /// Who asks nothing for so long may come again.
    pub(crate) silence: Duration,
}

impl Crowd {
    /// Everybody. A proxy has one address for all who ask, and a page that is watched asks now and
    /// then.
    pub(crate) const PUBLIC: Self =
        Self { connections: 1_024, connections_of_one: 256, silence: Duration::from_secs(600) };
}

/// The door.
#[derive(Debug)]
pub(crate) struct Visitors {
    listener: TcpListener,
    room: Arc<Semaphore>,
    places: Places,
    silence: Duration,
    /// Who may have more connections than one alone.
    proxies: Proxies,
}

impl Visitors {
    pub(crate) fn new(listener: TcpListener, crowd: Crowd) -> Self {
        let Crowd { connections, connections_of_one, silence } = crowd;
        let room = Arc::new(Semaphore::new(connections));
        let places = Places::new(connections, connections_of_one);
        Self { listener, room, places, silence, proxies: Proxies::default() }
    }

    /// Lets these proxies have as many connections as there are.
    pub(crate) fn through(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
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
            if self.proxies.hold(address.ip()) {
                return (Visitor::new(stream, None, room, self.silence), address);
            }
            if let Some(place) = self.places.take(address.ip()) {
                return (Visitor::new(stream, Some(place), room, self.silence), address);
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
    _place: Option<Place>,
    _room: OwnedSemaphorePermit,
}

impl Visitor {
    fn new(
        stream: TcpStream,
        place: Option<Place>,
        room: OwnedSemaphorePermit,
        silence: Duration,
    ) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(silence));
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

    async fn visitors() -> Visitors {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Visitors::new(listener, Crowd::PUBLIC)
    }

    #[tokio::test]
    async fn one_address_has_so_many_connections_and_gives_them_back() {
        let mut visitors = visitors().await;
        let address = visitors.local_addr().unwrap();
        let mut outside = Vec::new();
        let mut inside = Vec::new();
        for _ in 0..Crowd::PUBLIC.connections_of_one {
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
        let mut visitors = visitors().await;
        let _silent = TcpStream::connect(visitors.local_addr().unwrap()).await.unwrap();
        let mut visitor = visitors.accept().await.0;
        tokio::time::pause();
        let much = vec![0; 64 << 20];
        let error = visitor.write_all(&much).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
