//! Every attack in every state, with an honest miner beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use pool_sv2::downstream::connection::Limits;
use tokio_util::sync::CancellationToken;
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{CloseChannel, Mining, SetTarget};
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

use crate::peer::{Peer, State, open_request};
use crate::pool::Pool;

const HONEST: &str = "127.0.0.1";
const HOSTILE: &str = "127.0.0.2";

/// What a peer does to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Bytes that mean nothing.
    Garbage,
    /// Another protocol.
    Text,
    /// Half a message, and the end.
    Truncated,
    /// Half a message, and silence.
    HalfOpen,
    /// A message longer than any.
    Oversize,
    /// What it said last, again.
    Replayed,
    /// A message for which it is too early, or too late.
    WrongOrder,
    /// A message that only a server sends.
    FromAServer,
    /// A payload that is no message of its type.
    Malformed,
    /// A message that nobody knows.
    Unknown,
    /// The end.
    Close,
    /// The end without a good-bye.
    Reset,
}

/// What becomes of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The pool closes it.
    Closed,
    /// It goes on as if nothing had been.
    Alive,
    /// It has ended it by itself.
    Gone,
}

impl Attack {
    const ALL: [Self; 12] = [
        Self::Garbage,
        Self::Text,
        Self::Truncated,
        Self::HalfOpen,
        Self::Oversize,
        Self::Replayed,
        Self::WrongOrder,
        Self::FromAServer,
        Self::Malformed,
        Self::Unknown,
        Self::Close,
        Self::Reset,
    ];

    /// Does it; none if it cannot be done in this state.
    async fn carry_out(self, peer: &mut Peer, state: State) -> Result<Option<Outcome>> {
        let is_open = state.is_encrypted();
        let frame = match self {
            Self::Garbage => {
                let next = |last: &u8| Some(last.wrapping_mul(167).wrapping_add(201));
                let garbage: Vec<u8> = std::iter::successors(Some(200), next).take(2_000).collect();
                return sent(peer, &garbage, Outcome::Closed).await;
            }
            Self::Text => {
                let text = b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n".repeat(4);
                return sent(peer, &text, Outcome::Closed).await;
            }
            Self::Truncated | Self::HalfOpen => {
                if is_open {
                    peer.link.send(&open_request(9))?;
                }
                let whole = peer.unsent();
                let outcome = match self {
                    Self::HalfOpen if state >= State::HasChannel => Outcome::Alive,
                    Self::HalfOpen => Outcome::Closed,
                    _ => Outcome::Gone,
                };
                return sent(peer, &whole[..whole.len() / 2], outcome).await;
            }
            Self::Replayed => {
                let again = match peer.last_sent.is_empty() {
                    true => peer.unsent().repeat(2),
                    false => peer.last_sent.clone(),
                };
                return sent(peer, &again, Outcome::Closed).await;
            }
            Self::Close | Self::Reset => {
                if self == Self::Reset {
                    peer.stream.set_zero_linger()?;
                }
                return Ok(Some(Outcome::Gone));
            }
            _ if !is_open => return Ok(None),
            Self::Oversize => EncodedFrame::of_unknown(0, false, 0x1b, vec![0; 1 << 18]),
            Self::WrongOrder if state == State::ShookHands => EncodedFrame::new(&open_request(1)),
            Self::WrongOrder => {
                let setup = SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test");
                EncodedFrame::new(&setup)
            }
            Self::FromAServer => {
                EncodedFrame::new(&SetTarget { channel_id: 2, maximum_target: [0; 32] })
            }
            Self::Malformed => EncodedFrame::of_unknown(0, true, 0x1b, vec![7; 5]),
            Self::Unknown => EncodedFrame::of_unknown(0, true, 0x7e, vec![7; 100]),
        };
        // What is no error after the setup is one before it.
        let is_harmless = matches!(self, Self::FromAServer | Self::Unknown);
        peer.send_frame(&frame).await?;
        let is_alive = is_harmless && state >= State::SetUp;
        Ok(Some(if is_alive { Outcome::Alive } else { Outcome::Closed }))
    }
}

async fn sent(peer: &mut Peer, bytes: &[u8], outcome: Outcome) -> Result<Option<Outcome>> {
    peer.write(bytes).await?;
    Ok(Some(outcome))
}

/// Carries the attack out from that state, and sees what becomes of it; false if there is no such
/// attack.
async fn attack(pool: &Pool, state: State, attack: Attack) -> Result<bool> {
    let mut peer = Peer::at(pool, HOSTILE, state).await?;
    let Some(outcome) = attack.carry_out(&mut peer, state).await? else {
        return Ok(false);
    };
    match outcome {
        Outcome::Closed => peer.closed().await?,
        Outcome::Alive if attack == Attack::HalfOpen => {}
        Outcome::Alive if state == State::SetUp => peer.open_channel().await?,
        Outcome::Alive => peer.mine().await?,
        Outcome::Gone => {}
    }
    Ok(true)
}

/// Mines until it is told to stop, one share after the other is acknowledged; says how many.
async fn mine_on(mut miner: Peer, mined: Arc<AtomicU32>, stop: CancellationToken) -> Result<()> {
    while !stop.is_cancelled() {
        miner.mine().await.context("the honest miner")?;
        mined.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn limits() -> Limits {
    Limits {
        handshake_seconds: 1,
        setup_seconds: 1,
        first_channel_seconds: 1,
        faults_per_minute_max: 1_000_000,
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_in_any_state_disturbs_an_honest_miner_or_ends_the_pool() {
    let pool = Pool::start(limits()).await;
    let (mined, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
    let miner = Peer::at(&pool, HONEST, State::HasChannel).await.unwrap();
    let mining = tokio::spawn(mine_on(miner, Arc::clone(&mined), stop.clone()));
    let mut tried = 0;
    for state in State::ALL {
        for one in Attack::ALL {
            let before = mined.load(Ordering::Relaxed);
            let done = attack(&pool, state, one).await;
            let done = done.with_context(|| format!("{one:?} at {state:?}")).unwrap();
            tried += u32::from(done);
            until(|| mined.load(Ordering::Relaxed) > before).await;
            assert!(!mining.is_finished(), "the honest miner was lost by {one:?} at {state:?}");
        }
    }
    assert_eq!(tried, 2 * 7 + 4 * 12, "an attack was left out");
    stop.cancel();
    mining.await.unwrap().unwrap();
    // Nothing is left of all of them.
    until(|| pool.metric("x_connections") == 0).await;
    assert!(pool.metric("x_peer_faults_total{fault=\"encryption\"}") > 0);
    pool.stop().await;
}

/// Asks again until it is so; the test's own limit ends a wait that is in vain.
async fn until(is_so: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !is_so() {
        look.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_of_time_on_the_way_in_is_counted() {
    let pool = Pool::start(limits()).await;
    for (state, limit) in [
        (State::Connected, "handshake_seconds"),
        (State::WithinHandshake, "handshake_seconds"),
        (State::ShookHands, "setup_seconds"),
        (State::SetUp, "first_channel_seconds"),
    ] {
        let metric = format!("x_limits_met_total{{limit=\"{limit}\"}}");
        let before = pool.metric(&metric);
        let mut peer = Peer::at(&pool, HOSTILE, state).await.unwrap();
        peer.closed().await.unwrap();
        until(|| pool.metric(&metric) > before).await;
    }
    // To be late is no fault: it may be the pool that is slow.
    assert!(!pool.metrics.text().contains("peer_faults_total{"));
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_nothing_but_misbehave_is_banned_for_a_while_and_nobody_else_is() {
    let limits = Limits { faults_per_minute_max: 3, ban_seconds: 1, ..limits() };
    let pool = Pool::start(limits).await;
    let mut honest = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    for _ in 0..4 {
        assert!(attack(&pool, State::ShookHands, Attack::Garbage).await.unwrap());
    }
    until(|| pool.metric("x_bans_total{fault=\"encryption\"}") == 1).await;
    let refused = "x_connections_refused_total{limit=\"banned\"}";
    let mut banned = Peer::connect(&pool, HOSTILE).await.unwrap();
    banned.closed().await.unwrap();
    assert!(pool.metric(refused) > 0);
    // The same faults from where somebody mines ban nobody.
    for _ in 0..8 {
        let mut peer = Peer::at(&pool, HONEST, State::ShookHands).await.unwrap();
        peer.write(&[9; 500]).await.unwrap();
        peer.closed().await.unwrap();
    }
    assert!(Peer::at(&pool, HONEST, State::Mines).await.is_ok());
    honest.mine().await.unwrap();
    // It ends by itself.
    while Peer::at(&pool, HOSTILE, State::Mines).await.is_err() {
        tokio::task::yield_now().await;
    }
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_a_channel_that_is_closed_or_of_another_is_answered_and_nothing_more() {
    let pool = Pool::start(limits()).await;
    let mut peer = Peer::at(&pool, HOSTILE, State::Mines).await.unwrap();
    let mut other = Peer::at(&pool, HONEST, State::Mines).await.unwrap();
    let mut share = peer.share(77);
    share.channel_id = 4_000_000;
    peer.send(&share).await.unwrap();
    assert!(matches!(peer.message().await.unwrap(), Mining::SubmitSharesError(_)));
    let share = peer.share(78);
    peer.send(&CloseChannel { channel_id: share.channel_id, reason_code: "x".into() })
        .await
        .unwrap();
    peer.send(&share).await.unwrap();
    let answer = loop {
        match peer.message().await.unwrap() {
            Mining::SubmitSharesError(error) if error.sequence_number == 78 => break error,
            _ => {}
        }
    };
    assert_eq!(answer.error_code, "invalid-channel-id".into());
    // The other peer's channel has the same number, on a connection of its own.
    other.mine().await.unwrap();
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_taken_back_ends_every_connection_of_a_miner() {
    let pool = Pool::start(limits()).await;
    let mut miners = Vec::new();
    for _ in 0..3 {
        miners.push(Peer::at(&pool, HONEST, State::Mines).await.unwrap());
    }
    pool.take_work_back();
    for miner in &mut miners {
        miner.closed().await.unwrap();
    }
    until(|| pool.metric("x_connections") == 0).await;
    pool.stop().await;
}
