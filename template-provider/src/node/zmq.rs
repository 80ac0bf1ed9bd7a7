//! New blocks over ZMQ: the node publishes the hash of each new tip (`zmqpubhashblock`).
//!
//! Often the first signal of all, and one without a promise: messages are lost while the connection
//! is, and a connection may die without a word. So it is a hint beside the tip poll, and is made
//! anew when that is ahead of it.

use std::time::Duration;

use service::backoff::Backoff;
use service::config::{ConfigError, host_and_port};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};
use zeromq::{Socket, SocketRecv, SubSocket, ZmqError, ZmqMessage};

use super::tip::{SeenTip, Sight, Signal};

/// What the node calls the messages.
const TOPIC: &str = "hashblock";
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection that has not told of a tip so long after another signal did is dead.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// Where a node publishes: `tcp://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZmqAddress(String);

impl ZmqAddress {
    /// Reads the setting; `field` names it.
    pub fn parse(field: &str, address: &str) -> Result<Self, ConfigError> {
        let rest = address.strip_prefix("tcp://").ok_or_else(|| {
            let remedy = format!("{address} is no such address; write it as tcp://HOST:PORT");
            ConfigError::unusable(field, remedy)
        })?;
        host_and_port(field, rest)?;
        Ok(Self(address.to_owned()))
    }
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Zmq(#[from] ZmqError),
    #[error("no connection within {CONNECT_MAX:?}")]
    TimedOut,
    #[error("it did not tell of a tip that was heard of otherwise")]
    Behind,
    #[error("the node was away")]
    NodeReturned,
}

/// Listens at `address` for ever, and tells `sight`.
pub async fn listen(address: &ZmqAddress, sight: &Sight) {
    let mut backoff = Backoff::for_neighbours();
    loop {
        let started = Instant::now();
        let Err(error) = listen_once(address, sight).await;
        debug!(address = address.0, %error, "zmq connection given up");
        if started.elapsed() > CONNECT_MAX {
            backoff.reset();
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn listen_once(
    address: &ZmqAddress,
    sight: &Sight,
) -> Result<std::convert::Infallible, Lost> {
    let mut socket = SubSocket::new();
    // Remembered, and said to the node once it is there.
    socket.subscribe(TOPIC).await?;
    timeout(CONNECT_MAX, socket.connect(&address.0)).await.map_err(|_| Lost::TimedOut)??;
    info!(address = address.0, "zmq connected");
    let mut seen = sight.subscribe();
    let returns = seen.borrow().returns;
    // What was the tip when the connection was made is not told by it.
    let mut told = seen.borrow().hash;
    loop {
        tokio::select! {
            message = socket.recv() => {
                if let Some(hash) = block_hash(&message?) {
                    told = Some(hash);
                    sight.saw(hash, Signal::Zmq, Instant::now());
                }
            }
            lost = is_dead(&mut seen, told, returns, BEHIND_MAX) => return Err(lost),
        }
    }
}

/// Waits until the connection must be dead: the node was away since, or another tip than the one
/// `told` last has been known for `patience`.
async fn is_dead(
    seen: &mut watch::Receiver<SeenTip>,
    told: Option<[u8; 32]>,
    returns: u64,
    patience: Duration,
) -> Lost {
    loop {
        let SeenTip { hash, returns: returned, .. } = seen.borrow_and_update().clone();
        if returned != returns {
            return Lost::NodeReturned;
        }
        if hash == told || hash.is_none() {
            if seen.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        }
        if timeout(patience, seen.changed()).await.is_err() {
            return Lost::Behind;
        }
    }
}

/// The hash of a message: topic, hash in display order, number. `None` for anything else.
fn block_hash(message: &ZmqMessage) -> Option<[u8; 32]> {
    let topic = message.get(0)?;
    let mut hash = <[u8; 32]>::try_from(message.get(1)?.as_ref()).ok()?;
    hash.reverse();
    (topic.as_ref() == TOPIC.as_bytes()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(topic: &'static str, hash: &'static [u8]) -> ZmqMessage {
        let mut message = ZmqMessage::from(topic);
        message.push_back(Bytes::from_static(hash));
        message.push_back(Bytes::from_static(&[0; 4]));
        message
    }

    #[test]
    fn a_hash_is_turned_into_internal_byte_order_and_anything_else_ignored() {
        const HASH: [u8; 32] = {
            let mut hash = [0; 32];
            hash[31] = 7;
            hash
        };
        assert_eq!(block_hash(&message("hashblock", &HASH)).unwrap()[0], 7);
        assert_eq!(block_hash(&message("hashtx", &HASH)), None);
        assert_eq!(block_hash(&message("hashblock", &HASH[1..])), None);
        assert_eq!(block_hash(&ZmqMessage::from("hashblock")), None);
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_the_remedy() {
        assert!(ZmqAddress::parse("node.zmq_hashblock", "tcp://127.0.0.1:28332").is_ok());
        for address in ["127.0.0.1:28332", "ipc:///tmp/x", "tcp://127.0.0.1"] {
            let error = ZmqAddress::parse("node.zmq_hashblock", address).unwrap_err().to_string();
            assert!(error.starts_with("node.zmq_hashblock") && error.contains("PORT"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_dead_when_others_have_known_a_tip_for_long() {
        let counters = service::metrics::Metrics::new("x").counters("tips", "Tips", "signal");
        let sight = Sight::new(counters);
        sight.saw([1; 32], Signal::TipPoll, Instant::now());
        let mut seen = sight.subscribe();
        let patience = Duration::from_millis(20);
        let waiting = timeout(patience * 3, is_dead(&mut seen, Some([1; 32]), 0, patience)).await;
        assert!(waiting.is_err(), "it told of the last tip");
        let lost = is_dead(&mut seen, Some([0; 32]), 0, patience).await;
        assert!(matches!(lost, Lost::Behind));
        sight.returned();
        let lost = is_dead(&mut seen, Some([1; 32]), 0, patience).await;
        assert!(matches!(lost, Lost::NodeReturned));
    }
}
