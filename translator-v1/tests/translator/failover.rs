//! Several pools: which one is mined on while one of them is gone, frozen, or lies.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wire::sv2::mining::{OpenExtendedMiningChannel, SubmitSharesExtended};
use wire::sv2::setup::{SetupConnection, SetupConnectionSuccess};

use crate::device::{HARD_NBITS, REGTEST_NBITS};
use crate::pool::{job, job_that_pays, prev_hash, success};
use crate::program::{Miner, PoolPort, Running, SOON, secret, translator_of, translator_with};

/// So soon miners are back on valid work.
const BACK: Duration = Duration::from_secs(2);

/// A translator of two pools, the first of which is better.
async fn translator(best: &PoolPort, backup: &PoolPort) -> Running {
    let address = backup.listener.local_addr().unwrap();
    let key = secret().public();
    let more = format!("[[backup_upstream]]\naddress = \"{address}\"\nauthority_key = \"{key}\"\n");
    translator_with(best, 60, &more).await
}

/// Connects again until there is a job behind `prefix`.
async fn back_on(translator: &Running, prefix: [u8; 2]) -> Miner {
    loop {
        let mut miner = Miner::connect(translator).await;
        if miner.job_or_end().await && miner.is_on(prefix) {
            return miner;
        }
    }
}

#[tokio::test]
async fn miners_are_back_at_once_when_the_best_pool_is_killed_and_their_shares_reach_the_backup() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let first = best.serve([0xe1, 0xe2]).await;
    let mut second = backup.serve([0xf1, 0xf2]).await;
    let mut miner = back_on(&translator, [0xe1, 0xe2]).await;
    let killed = Instant::now();
    drop((first, best));
    miner.job_of([0xf1, 0xf2]).await;
    assert!(killed.elapsed() < BACK, "{:?}", killed.elapsed());
    let found = miner.submit().await;
    let share: SubmitSharesExtended = second.take().await;
    assert_eq!(share.nonce, found.nonce);
}

#[tokio::test]
async fn a_miner_that_takes_another_extranonce_stays_connected_where_a_pool_leaves_less_room() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let first = best.serve([0xe1, 0xe2]).await;
    let _second = backup.serve_with([0xf1, 0xf2], 8).await;
    let mut miner = back_on(&translator, [0xe1, 0xe2]).await;
    miner.send(r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#).await;
    miner.until_id(3).await;
    drop(first);
    miner.method("mining.set_extranonce").await;
    miner.job().await;
}

/// It accepts, opens a channel, and never sends a job.
#[tokio::test]
async fn a_pool_that_gives_no_work_is_no_pool() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let mut liar = best.accept().await;
    let _: SetupConnection = liar.take().await;
    liar.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await;
    let open: OpenExtendedMiningChannel = liar.take().await;
    liar.send(&success(open.request_id, [0xff; 32], 10)).await;
    let _second = backup.serve([0xf1, 0xf2]).await;
    back_on(&translator, [0xf1, 0xf2]).await;
}

#[tokio::test]
async fn a_pool_that_does_not_pay_as_promised_is_counted_and_another_is_mined_on() {
    const PROMISED: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let address = backup.listener.local_addr().unwrap();
    let more = format!(
        "[[backup_upstream]]\naddress = \"{address}\"\nauthority_key = \"{}\"\n",
        secret().public()
    );
    let promised = format!("expect_payout = \"{PROMISED}\"");
    let translator = translator_of(&best, 60, (&promised, &more)).await;
    let mut honest = backup.accept().await;
    let _: SetupConnection = honest.take().await;
    honest.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await;
    let open: OpenExtendedMiningChannel = honest.take().await;
    honest.send(&success(open.request_id, [0xff; 32], 10)).await;
    honest.send(&job_that_pays(PROMISED, 1)).await;
    honest.send(&prev_hash(1, 0xa1, HARD_NBITS)).await;
    let mut miner = back_on(&translator, [0xe1, 0xe2]).await;
    let _lying = best.serve([0xf1, 0xf2]).await;
    // It is asked again, and lies again.
    let _lying = best.serve([0xf1, 0xf2]).await;
    let metrics = translator.metrics.text();
    assert!(!metrics.contains("payouts_not_as_promised_total 0"), "{metrics}");
    honest.send(&job_that_pays(PROMISED, 2)).await;
    honest.send(&prev_hash(2, 0xa2, HARD_NBITS)).await;
    miner.job().await;
    assert!(miner.is_on([0xe1, 0xe2]));
}

/// Frozen, it keeps its connection and says nothing of the new tip.
#[tokio::test]
async fn a_pool_that_stays_on_the_old_tip_is_left() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let _frozen = best.serve([0xe1, 0xe2]).await;
    let mut second = backup.serve([0xf1, 0xf2]).await;
    let mut miner = back_on(&translator, [0xe1, 0xe2]).await;
    second.send(&job(2, None)).await;
    second.send(&prev_hash(2, 0xa2, HARD_NBITS)).await;
    miner.job_of([0xf1, 0xf2]).await;
}

/// The pool that is left is still connected.
#[tokio::test]
async fn a_block_that_is_found_after_the_switch_goes_to_the_pool_of_its_job() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let mut first = best.serve([0xe1, 0xe2]).await;
    let mut second = backup.serve([0xf1, 0xf2]).await;
    let mut miner = back_on(&translator, [0xe1, 0xe2]).await;
    first.send(&job(2, None)).await;
    first.send(&prev_hash(2, 0xa2, REGTEST_NBITS)).await;
    let found = miner.mine_block().await;
    for (id, tip) in [(2, 0xa2), (3, 0xa3)] {
        second.send(&job(id, None)).await;
        second.send(&prev_hash(id, tip, HARD_NBITS)).await;
    }
    miner.job_of([0xf1, 0xf2]).await;
    miner.send(&found.line(9, "w")).await;
    assert_eq!(miner.answer().await["error"][1], "Stale job");
    let share: SubmitSharesExtended = first.take().await;
    assert_eq!((share.job_id, share.nonce), (2, found.nonce));
}

#[tokio::test]
async fn the_better_pool_is_mined_on_again_when_it_has_been_back_for_a_while() {
    let (best, backup) = (PoolPort::new().await, PoolPort::new().await);
    let translator = translator(&best, &backup).await;
    let _second = backup.serve([0xf1, 0xf2]).await;
    let mut miner = back_on(&translator, [0xf1, 0xf2]).await;
    let _first = best.serve([0xe1, 0xe2]).await;
    // return_after_seconds = 1
    miner.job_of([0xe1, 0xe2]).await;
}

/// Goes on until the first message after SetupConnection.Success, and hangs up; true if that asks
/// for extensions.
async fn asks_for_extensions(pool: &PoolPort) -> bool {
    let mut pool = pool.accept().await;
    let _: SetupConnection = pool.take().await;
    pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await;
    pool.frame().await.header.extension != 0
}

#[tokio::test]
async fn only_a_pool_that_hung_up_on_the_question_is_not_asked_for_extensions() {
    let port = PoolPort::new().await;
    let _translator = translator_with(&port, 60, "").await;
    for expected in [true, false, true] {
        // It is down for a moment: that says nothing of the question.
        drop(timeout(SOON, port.listener.accept()).await.unwrap().unwrap());
        assert_eq!(asks_for_extensions(&port).await, expected);
    }
}
