//! The program's side of a connection while its neighbours misbehave.

use std::collections::BTreeMap;

use bytes::BytesMut;
use mining::coinbase::Output;
use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::share::Solution;
use mining::target::{Hashes, Target};
use mining::template::{ChainTip, Template};
use mining::vardiff::VardiffPolicy;
use service::gate::{Gate, GateLimits};
use service::metrics::Metrics;
use tokio::io::AsyncWriteExt;
use wire::sv2::mining::UpdateChannel;
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

use super::*;
use crate::downstream::connection::LIMITS;
use crate::downstream::limits::{LimitCounts, Limits};
use crate::shares;

/// SRI's public test key.
const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";

fn service(work: &watch::Sender<Option<Arc<Work>>>, shares: ShareSender) -> Service {
    Service {
        settings: Arc::new(Settings {
            vardiff: VardiffPolicy {
                shares_per_minute: 6.0,
                search_shares_per_minute: 60.0,
                min_difficulty: 1.0,
            },
            user_min_difficulty: BTreeMap::new(),
            limits: Limits::default(),
            counts: LimitCounts::new(&Metrics::new("x")),
            extranonces: ExtranonceAllocator::new(1),
            reconnect_to: None,
        }),
        certificates: Certificates::new(SECRET.parse().unwrap(), 60),
        work: work.subscribe(),
        shares,
        solutions: Solutions::default(),
        handshakes: Limits::default().handshakes(&Metrics::new("x")),
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

/// Flaw 23: no fault of the accounting stands before a block.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_hangs_delays_neither_work_nor_blocks_nor_the_end() {
    let (sender, mut queue) = full_ledger().await;
    let current = watch::Sender::new(None);
    let service = service(&current, sender);
    let (solutions, shutdown) = (service.solutions.clone(), service.shutdown.clone());
    let gate = Gate::new(GateLimits::of_connections(1), &Metrics::new("x"));
    let mut place = gate.admit(([127, 0, 0, 1], 1).into()).await.ok().unwrap();
    let mut host = MinerHost::new(service, &mut place);
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
    let writing = async {
        let batch = loop {
            match queue.take() {
                Some(batch) => break batch,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(batch.shares.len(), 1);
        queue.publish(&[batch]);
    };
    let (answered, ()) = tokio::join!(host.next_command(), writing);
    assert!(matches!(answered, Some(Command::Committed(1))));
    shutdown.cancel();
}

/// Both ends of a link after their handshake: client, server.
fn shaken() -> (Link, Link) {
    let certificates = Certificates::new(SECRET.parse().unwrap(), 60);
    let mut server = Link::server(certificates.current(), LIMITS, [1; 32]);
    let mut client = Link::client(None, LIMITS, [2; 32], clock::unix_now_seconds());
    let mut bytes = BytesMut::new();
    client.poll_transmit(&mut bytes);
    server.receive(&bytes).unwrap();
    bytes.clear();
    server.poll_transmit(&mut bytes);
    client.receive(&bytes).unwrap();
    (client, server)
}

/// Flaw 9: what a peer lets pile up is bounded, and so is what it may send meanwhile.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_read_no_more_and_then_closed() {
    let current = watch::Sender::new(Some(work()));
    let mut service = service(&current, shares::queue().0);
    let limits = Limits { requests_per_second_max: 1_000_000, ..Limits::default() };
    service.settings = Arc::new(Settings { limits, ..Settings::clone(&service.settings) });
    let gate = Gate::new(GateLimits::of_connections(1), &Metrics::new("x"));
    let mut place = gate.admit(([127, 0, 0, 1], 1).into()).await.ok().unwrap();
    let (mut client, server) = shaken();
    let (ours, mut theirs) = tokio::io::duplex(4_096);
    let mut session = Downstream::new(server, Arc::clone(&service.settings), clock::now());
    let mut host = MinerHost::new(service, &mut place);
    let flood = async move {
        let setup = SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test");
        client.send(&setup).unwrap();
        let update =
            UpdateChannel { channel_id: 9, nominal_hash_rate: 1.0, maximum_target: [1; 32] };
        let mut sent = 0_usize;
        loop {
            let mut bytes = BytesMut::new();
            client.poll_transmit(&mut bytes);
            if theirs.write_all(&bytes).await.is_err() {
                return sent;
            }
            sent += bytes.len();
            client.send(&update).unwrap();
        }
    };
    let began = clock::now();
    let (ended, sent) = tokio::join!(drive(&mut session, &mut host, ours), flood);
    assert_eq!(Limit::of_ending(&ended), Some(Limit::Output), "{ended}");
    let passed = clock::now() - began;
    assert!((30..=33).contains(&passed.as_secs()), "{passed:?}");
    // Sixty-four kibibytes of answers were enough to stop.
    assert!(sent < 1 << 18, "{sent} bytes were read");
}
