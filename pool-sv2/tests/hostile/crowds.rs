//! Many peers at once: a storm of handshakes, and places held for nothing.

use std::time::{Duration, Instant};

use pool_sv2::downstream::connection::Limits;
use tokio::task::JoinSet;

use crate::peer::{PATIENCE, Peer, State};
use crate::pool::Pool;

const HONEST: &str = "127.0.0.1";
const HOSTILE: &str = "127.0.0.2";

/// The shares of an established miner wait behind no handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_is_answered_and_delays_no_share() {
    let pool = Pool::start(Limits::default()).await;
    let mut miner = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    let mut storm = JoinSet::new();
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut peer = Peer::connect(&pool, HOSTILE).await.unwrap();
        let act_1 = peer.unsent();
        peer.write(&act_1).await.unwrap();
        waiting.push(peer);
    }
    for mut peer in waiting {
        storm.spawn(async move {
            let mut first = [0];
            let read = tokio::io::AsyncReadExt::read_exact(&mut peer.stream, &mut first);
            tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        });
    }
    let (began, mut shares) = (Instant::now(), 0);
    while !storm.is_empty() {
        miner.mine().await.unwrap();
        shares += 1;
        while storm.try_join_next().is_some() {}
    }
    let share = began.elapsed() / shares;
    assert!(share < Duration::from_millis(500), "{share:?} a share while hands were shaken");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_leave_room_for_a_miner_when_they_are_let_go() {
    let limits = Limits { connections_unsettled_max: 8, handshake_seconds: 1, ..Limits::default() };
    let pool = Pool::start(limits).await;
    let mut miner = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(Peer::connect(&pool, HOSTILE).await.unwrap());
    }
    // It waits in the kernel's queue until they are let go, five times eight of them.
    let mut newcomer = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    miner.mine().await.unwrap();
    newcomer.mine().await.unwrap();
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_take_all_places() {
    let limits = Limits { connections_per_address_max: 5, ..Limits::default() };
    let pool = Pool::start(limits).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(Peer::at(&pool, HOSTILE, State::Mines).await.unwrap());
    }
    Peer::connect(&pool, HOSTILE).await.unwrap().closed().await.unwrap();
    let mut miner = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    miner.mine().await.unwrap();
    drop(held);
    let limit = "x_connections_refused_total{limit=\"connections_per_address_max\"}";
    assert_eq!(pool.metric(limit), 1);
    pool.stop().await;
}
