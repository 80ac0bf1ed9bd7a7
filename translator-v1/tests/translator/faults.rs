//! What is a fault of a miner's, and what is only how devices are: over real sockets, with limits
//! that ban an address at its second fault.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::{Miner, PoolPort, Running, SOON, translator_with};

const STRICT: &str = "[limits]\nfaults_per_minute_max = 1\ntrusted_networks = []\n";

/// Connects, says `bytes`, says no more, and waits until it was hung up on. What was said by then
/// may be lost with the connection.
async fn say(translator: &Running, bytes: &[u8]) {
    let mut stream = TcpStream::connect(translator.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    drop(timeout(SOON, stream.read_to_end(&mut rest)).await.expect("hung up on"));
}

/// Waits until all connections that were there are over and judged.
async fn all_are_gone(translator: &Running) {
    let gone = async {
        while !translator.metrics.text().contains("\ntranslator_connections 0\n") {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, gone).await.expect("connections end");
}

/// ESP-Miner and Avalon look in these ways whether a pool is there.
#[tokio::test]
async fn rule_8_who_only_looks_or_logs_in_and_leaves_is_not_banned() {
    let port = PoolPort::new().await;
    let translator = translator_with(&port, 60, STRICT).await;
    let _pool = port.serve([1, 2]).await;
    for _ in 0..3 {
        say(&translator, b"").await;
        say(&translator, &[0x16, 0x03, 0x01]).await;
        Miner::connect(&translator).await.job().await;
        all_are_gone(&translator).await;
    }
    Miner::connect(&translator).await.job().await;
    let metrics = translator.metrics.text();
    for counted in ["translator_peer_faults_total{", "translator_bans_total{"] {
        assert!(!metrics.contains(counted), "{metrics}");
    }
}

/// So that the test above could fail.
#[tokio::test]
async fn who_sends_garbage_is_banned() {
    let port = PoolPort::new().await;
    let translator = translator_with(&port, 60, STRICT).await;
    let _pool = port.serve([1, 2]).await;
    Miner::connect(&translator).await.job().await;
    for _ in 0..2 {
        say(&translator, b"garbage\n").await;
        all_are_gone(&translator).await;
    }
    let metrics = translator.metrics.text();
    assert!(metrics.contains("translator_bans_total{fault=\"protocol\"} 1\n"), "{metrics}");
    let mut stream = TcpStream::connect(translator.address).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("hung up on as it came");
    assert!(read.is_err() || rest.is_empty());
}
