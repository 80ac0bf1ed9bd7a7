//! Accepting connections: bounded, in their own tasks, with an accept loop that nothing ends but
//! the program itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::gate::{Gate, Place};

/// Connections that the kernel may hold before they are accepted: enough for all miners of a large
/// farm to come back at once.
const BACKLOG: u16 = 4096;
/// The most that a kernel can be asked for: it keeps the number in sixteen bits.
const BACKLOG_MAX: u16 = u16::MAX;
/// What the kernel keeps for one of many peers, in bytes: more than is ever under way, and not the
/// megabytes to which it would let a socket grow whose peer floods or does not read.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;
/// Where Linux says how much of a backlog it grants.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
/// Descriptors that a program needs besides its connections.
const OTHER_DESCRIPTORS: u64 = 64;
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
    listen(bound(address).await?, BACKLOG)
}

/// Binds `address` for so many peers: all of them may come at the same moment and stay. What the
/// operating system grants less than that is said once, in the log.
pub async fn bind_for(address: &str, connections_max: usize) -> io::Result<TcpListener> {
    let backlog = u16::try_from(connections_max).unwrap_or(BACKLOG_MAX).max(BACKLOG);
    let granted = std::fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse().ok());
    if let Some(granted) = granted.filter(|granted: &u64| *granted < u64::from(backlog)) {
        warn!(
            granted,
            wanted = backlog,
            "the kernel keeps fewer new connections waiting than there may be: of miners that come \
             back all at once some are late by a second; raise net.core.somaxconn"
        );
    }
    want_descriptors(connections_max);
    let socket = bound(address).await?;
    // What is accepted inherits them.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    listen(socket, backlog)
}

/// Takes as many file descriptors as the system allows, and says if those are too few.
fn want_descriptors(connections_max: usize) {
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX);
    let wanted = wanted.saturating_add(OTHER_DESCRIPTORS);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        debug!(%error, "limit of file descriptors not raised");
    }
    if let Some(granted) = getrlimit(Resource::Nofile).current.filter(|now| *now < wanted) {
        warn!(
            granted,
            wanted,
            "fewer connections than configured can be held: raise the limit of open files (ulimit \
             -n; LimitNOFILE with systemd)"
        );
    }
}

async fn bound(address: &str) -> io::Result<socket2::Socket> {
    let resolved = lookup_host(address).await?.next();
    let address = resolved
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: socket2::Socket, backlog: u16) -> io::Result<TcpListener> {
    socket.listen(backlog.into())?;
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

/// Accepts until `shutdown` whom `gate` lets in.
///
/// `serve` runs in a task of its own for each connection, and holds its place while it lasts.
pub async fn accept<F>(
    listener: TcpListener,
    gate: Gate,
    shutdown: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept_one(&listener, &gate) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) => continue,
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
        connections.spawn(serve(stream, peer, place));
    }
    // Whoever comes now is refused at once, and does not wait for an end that may take a while.
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection, or none if it was turned away.
async fn accept_one(
    listener: &TcpListener,
    gate: &Gate,
) -> io::Result<Option<(TcpStream, SocketAddr, Place)>> {
    let entrance = gate.ready().await;
    let (stream, peer) = listener.accept().await?;
    let place = entrance.and_then(|entrance| entrance.admit(peer).ok());
    Ok(place.map(|place| (stream, peer, place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::GateLimits;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn who_comes_during_a_shutdown_is_refused_while_others_are_still_served() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(GateLimits::of_connections(100), &Metrics::new("x"));
        let (shutdown, served) = (CancellationToken::new(), CancellationToken::new());
        let serve = |_, _, _| served.clone().cancelled_owned();
        let visits = async {
            let _first = TcpStream::connect(address).await.unwrap();
            shutdown.cancel();
            let refused = async {
                while TcpStream::connect(address).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), refused).await.unwrap();
            served.cancel();
        };
        tokio::join!(accept(listener, gate, shutdown.clone(), serve), visits);
    }
}
