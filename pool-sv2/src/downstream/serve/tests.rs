//! The program's side of a connection while its neighbours misbehave.

use mining::coinbase::Output;
use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::share::Solution;
use mining::target::{Hashes, Target};
use mining::template::{ChainTip, Template};
use mining::vardiff::VardiffPolicy;

use super::*;
use crate::downstream::connection::Limits;
use crate::shares;

fn service(work: &watch::Sender<Option<Arc<Work>>>, shares: ShareSender) -> Service {
    Service {
        settings: Arc::new(Settings {
            vardiff: VardiffPolicy { shares_per_minute: 6.0, min_difficulty: 1.0 },
            limits: Limits::default(),
            extranonces: ExtranonceAllocator::new(1),
        }),
        authority: "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n".parse().unwrap(),
        certificate_validity_seconds: 60,
        work: work.subscribe(),
        shares,
        solutions: Solutions::default(),
        shutdown: CancellationToken::new(),
    }
}

fn share() -> Event {
    Event::Share(ShareRecord { user: "a".into(), work: Hashes(1), hash: [0; 32] })
}

fn work() -> Arc<Work> {
    let tip = ChainTip { hash: [1; 32], header_timestamp: 1, nbits: 1, target: Target::MAX };
    let template = Template {
        id: 1,
        version: 0,
        coinbase_version: 2,
        coinbase_prefix: bytes::Bytes::new(),
        coinbase_sequence: 0,
        value_remaining: 1,
        outputs_count: 0,
        outputs: bytes::Bytes::new(),
        coinbase_locktime: 0,
        merkle_path: Vec::new(),
    };
    let outputs = [Output { value: 1, script: bytes::Bytes::new() }];
    let job = Job::new(Arc::new(tip), Arc::new(template), b"", &outputs).unwrap();
    Arc::new(Work::new(Arc::new(job), 0, 1, clock::now()).unwrap())
}

/// A ledger that takes nothing more, because its disk hangs.
async fn full_ledger() -> (ShareSender, shares::ShareQueue) {
    let (sender, queue) = shares::queue();
    for _ in 0..shares::QUEUE_MAX {
        sender.send(&mut Vec::new()).await.unwrap();
    }
    (sender, queue)
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_hangs_delays_neither_work_nor_blocks_nor_the_end() {
    let (sender, mut queue) = full_ledger().await;
    let current = watch::Sender::new(None);
    let service = service(&current, sender);
    let (solutions, shutdown) = (service.solutions.clone(), service.shutdown.clone());
    let mut host = MinerHost::new(service);
    host.take_event(share()).await;
    let solution = Solution {
        template_id: 1,
        version: 0,
        ntime: 0,
        nonce: 0,
        coinbase: bytes::Bytes::new(),
        hash: [0; 32],
        height: None,
    };
    host.take_event(Event::Block(solution)).await;
    assert_eq!(solutions.subscribe(clock::now()).0.len(), 1);
    current.send_replace(Some(work()));
    assert!(matches!(host.next_command().await, Some(Command::Work(_))));
    // When the disk is back, the share is handed over and acknowledged.
    let batches: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    queue.publish(&batches);
    let answering = tokio::spawn(async move { host.next_command().await });
    let batch = loop {
        match queue.take() {
            Some(batch) => break batch,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(batch.shares.len(), 1);
    queue.publish(&[batch]);
    assert!(matches!(answering.await.unwrap(), Some(Command::Committed(1))));
    shutdown.cancel();
}
