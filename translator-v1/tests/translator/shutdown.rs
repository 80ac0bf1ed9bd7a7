//! The end of the program: what is on its way up still gets there, and verdicts come back.

use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use translator_v1::bridge::notify::ChannelEpoch;
use translator_v1::bridge::submit::{UpstreamShare, Verdict};
use translator_v1::miners::Miners;
use translator_v1::pools::Pools;
use translator_v1::shares::{Answered, Assigned, Submitted, Ticket};
use translator_v1::teams::{Channels, Teams};
use translator_v1::upstream::UpstreamSettings;
use translator_v1::upstream::dial::Place;
use translator_v1::upstream::supervise::{NAMES, Supervisor};
use wire::sv2::codec::Bytes32;
use wire::sv2::mining::{SubmitSharesExtended, SubmitSharesSuccess};

use crate::device::NTIME;
use crate::pool::CHANNEL;
use crate::program::{Miner, PoolLink, PoolPort, SOON, secret, translator};

/// More than one turn of the program takes, and no more than may wait.
const QUEUED: u32 = 300;

impl PoolLink {
    async fn accept_up_to(&mut self, last_sequence_number: u32, count: u32) {
        self.send(&SubmitSharesSuccess {
            channel_id: CHANNEL,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: count.into(),
        })
        .await;
    }

    /// Reads on until the translator hangs up.
    async fn is_hung_up_on(&mut self) {
        let mut rest = Vec::new();
        let _ = timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("an end");
    }
}

#[tokio::test]
async fn a_share_in_flight_at_the_end_gets_the_verdict_of_the_pool() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    miner.submit().await;
    let share: SubmitSharesExtended = pool.take().await;
    translator.shutdown.cancel();
    pool.accept_up_to(share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    miner.is_hung_up_on().await;
    pool.is_hung_up_on().await;
}

#[tokio::test]
async fn a_pool_that_gives_no_verdict_does_not_hold_up_the_end() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    miner.submit().await;
    let _: SubmitSharesExtended = pool.take().await;
    translator.shutdown.cancel();
    miner.is_hung_up_on().await;
    pool.is_hung_up_on().await;
}

/// A supervisor of the pool behind `port`, with what it is connected to.
struct Upstream {
    supervisor: Supervisor,
    work: watch::Receiver<Option<Assigned>>,
    /// Kept, or the sum over the miners ends.
    _miners: Miners,
}

fn upstream(port: &PoolPort) -> Upstream {
    let key = secret().public().to_string();
    let address = port.listener.local_addr().unwrap();
    let (miners, work) = (Miners::default(), watch::Sender::new(None));
    let received = work.subscribe();
    let supervisor = Supervisor {
        upstreams: vec![Place {
            address: address.to_string(),
            settings: UpstreamSettings {
                host: address.ip().to_string(),
                port: address.port(),
                authority: None,
                user_identity: "farm".to_owned(),
                initial_hashrate: 25.0,
                share_answer_max: SOON,
                channels: Channels::One,
                promise: None,
                names_workers: false,
                first_epoch: ChannelEpoch(0),
            },
            key: service::authority::ExpectedKey::from_settings(
                "upstream",
                Some(&key),
                None,
                false,
            )
            .unwrap(),
        }],
        return_after: SOON,
        metrics: service::metrics::Metrics::new("translator"),
        work_without_upstream: SOON,
        miners: miners.subscribe(),
        teams: Teams::new(Channels::One),
        work,
        health: service::health::Health::new(&NAMES[..1]),
        pools: Pools::new(&NAMES[..1], [address.to_string()]),
    };
    Upstream { supervisor, work: received, _miners: miners }
}

#[tokio::test]
async fn shares_that_are_queued_at_the_end_reach_the_pool_and_get_their_verdicts() {
    let port = PoolPort::new().await;
    let Upstream { supervisor, mut work, _miners } = upstream(&port);
    let miners_gone = CancellationToken::new();
    let running = tokio::spawn(supervisor.run(miners_gone.clone()));
    let mut pool = port.serve([0xe1, 0xe2]).await;
    timeout(SOON, work.changed()).await.unwrap().unwrap();
    let Assigned { work, ways } = work.borrow().clone().unwrap();
    let epoch = work.job.terms.epoch;
    let shares = ways.of(epoch).unwrap();
    let (sender, mut verdicts) = mpsc::channel::<Answered>(1000);
    // The supervisor sees none of this before the test waits.
    for nonce in 0..QUEUED {
        let share = UpstreamShare {
            epoch,
            job_id: 1,
            nonce,
            ntime: NTIME,
            version: 0x2000_0000,
            extranonce: Bytes32::new(&[1; 10]).unwrap(),
            is_block: false,
        };
        let ticket = Ticket::new(nonce.into(), sender.clone());
        shares.try_send(Submitted { share, worker: "w".into(), ticket }).unwrap();
    }
    drop((ways, sender));
    miners_gone.cancel();
    let mut last = 0;
    for nonce in 0..QUEUED {
        let share: SubmitSharesExtended = pool.take().await;
        assert_eq!(share.nonce, nonce);
        last = share.sequence_number;
    }
    pool.accept_up_to(last, QUEUED).await;
    for number in 0..u64::from(QUEUED) {
        let answered = timeout(SOON, verdicts.recv()).await.unwrap().unwrap();
        assert_eq!((answered.number, answered.verdict), (number, Verdict::Accepted));
    }
    pool.is_hung_up_on().await;
    timeout(SOON, running).await.unwrap().unwrap();
}
