//! Accepting connections: bounded, in their own tasks, with an accept loop that nothing ends but
//! the program itself.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections that the kernel may hold before they are accepted: enough for all miners of a large
/// farm to come back at once.
const BACKLOG: i32 = 4096;
/// After a failed accept (no file descriptors left, say) the loop waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A neighbour that does not take a connection within this, name look-up included, is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A silent peer is asked for a sign of life after this, so that one that lost its line is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// And again after each of these, three times.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A peer that has bytes to acknowledge and does not is gone after this: the kernel asks for no
/// sign of life then.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Binds `address` (`HOST:PORT`).
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let resolved = lookup_host(address).await?.next();
    let address = resolved
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects to `address` (`HOST:PORT`), as a neighbour that is written to at once and missed soon.
pub async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_MAX, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to the connect"))??;
    prepare(&stream)?;
    Ok(stream)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Accepts until `shutdown`, at most `connections_max` at a time; further peers wait in the
/// backlog.
///
/// `serve` runs in a task of its own for each connection.
pub async fn accept<F>(
    listener: TcpListener,
    connections_max: usize,
    shutdown: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections_max));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept_one(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream) {
            debug!(%peer, %error, "connection lost while accepted");
            continue;
        }
        let served = serve(stream, peer);
        connections.spawn(async move {
            served.await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn accept_one(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}
