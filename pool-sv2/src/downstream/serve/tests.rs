//! The program's side of a connection while its neighbours misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use mining::coinbase::Output;
use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::memo::{BlockRecords, Memo};
use mining::share::Solution;
use mining::target::{Hashes, Target};
use mining::template::{ChainTip, Template};
use mining::vardiff::VardiffPolicy;
use service::gate::{Gate, GateLimits};
use service::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wire::sv2::codec::Bytes32;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess,
    UpdateChannel,
};
use wire::sv2::setup::{PROTOCOL_MINING, Reconnect, SetupConnection};

use super::*;
use crate::downstream::close::ReconnectTo;
use crate::downstream::connection::LIMITS;
use crate::downstream::limits::{LimitCounts, Limits};
use crate::payout::identity::Identities;
use crate::shares::{self, BlockFound, Earner, ShareRecord};
use crate::tip_reach::TipReach;

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
            tip_reach: TipReach::new(&Metrics::new("x")),
            extranonces: ExtranonceAllocator::new(1),
            identities: Identities::of_the_pool(bitcoin::Network::Regtest),
            reconnect_to: None,
            listener: 0,
        }),
        certificates: Certificates::new(SECRET.parse().unwrap(), 60),
        work: work.subscribe(),
        shares,
        solutions: Solutions::default(),
        handshakes: Limits::default().handshakes(&Metrics::new("x")),
        shutdown: CancellationToken::new(),
        drain: Arc::default(),
        roster: Roster::default(),
    }
}

/// A connection's place on the roster of `service`.
fn listed(service: &Service) -> Attendance {
    service.roster.enter(([127, 0, 0, 1], 1).into(), 0, &service.shutdown)
}

fn share() -> Event {
    let earner = Arc::new(Earner::named("a", ""));
    Event::Share(ShareRecord { earner, work: Hashes(1), hash: [0; 32] })
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

/// Two records for any block.
struct TwoRecords;

impl BlockRecords for TwoRecords {
    fn records(&self, hash: &[u8; 32]) -> Vec<Vec<u8>> {
        vec![hash.to_vec(), vec![7]]
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_and_its_payout_are_handed_over_together() {
    let (sender, mut queue) = shares::queue();
    let gate = Gate::new(GateLimits::of_connections(1), &Metrics::new("x"));
    let mut place = gate.admit(([127, 0, 0, 1], 1).into()).await.ok().unwrap();
    let service = service(&watch::Sender::new(None), sender);
    let listed = listed(&service);
    let mut host = MinerHost::new(service, &mut place, &listed);
    let block =
        BlockFound { hash: [3; 32], height: None, prev_hash: [1; 32], nbits: 1, coinbase_value: 5 };
    let (finder, memo) = (Arc::new(Earner::named("a", "")), Memo::new(Arc::new(TwoRecords)));
    let found = || {
        let (finder, block, memo) = (Arc::clone(&finder), Box::new(block.clone()), memo.clone());
        Event::Found { finder, block, memo }
    };
    host.take_event(found()).await;
    host.hand_over().await;
    let entries = queue.take().unwrap().gathered.entries;
    let [Entry::BlockFound { .. }, Entry::Payout(first), Entry::Payout(second)] = &entries[..]
    else {
        panic!("{entries:?}")
    };
    assert_eq!((first.bytes(), second.bytes()), (&[3; 32][..], &[7][..]));
    assert!(queue.take().is_none());
    // The share that found it may come again; it is one block all the same.
    host.take_event(found()).await;
    host.hand_over().await;
    assert!(queue.take().is_none(), "a block must not be recorded twice");
}

/// A ledger that takes nothing more, because its disk hangs.
async fn full_ledger() -> (ShareSender, shares::ShareQueue) {
    let (sender, queue) = shares::queue();
    for _ in 0..shares::QUEUE_MAX {
        sender.send(&mut Gathered::default()).await.unwrap();
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
    let listed = listed(&service);
    let mut host = MinerHost::new(service, &mut place, &listed);
    host.take_event(share()).await;
    let solution = Solution {
        template_id: 1,
        version: 0,
        ntime: 0,
        nonce: 0,
        coinbase: bytes::Bytes::new(),
        hash: [0; 32],
        height: None,
        tip: Arc::clone(&work().job.tip),
        memo: Memo::default(),
    };
    host.take_event(Event::Block(solution)).await;
    assert_eq!(solutions.subscribe(clock::now()).0.len(), 1);
    current.send_replace(Some(work()));
    assert!(matches!(host.next_command().await, Some(Command::Work(_))));
    // When the disk is back, the share is handed over and acknowledged.
    let batches: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    let tickets: Vec<_> = batches.iter().map(|batch| batch.ticket).collect();
    queue.publish(&tickets);
    let writing = async {
        let batch = loop {
            match queue.take() {
                Some(batch) => break batch,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(batch.gathered.shares.len(), 1);
        queue.publish(&[batch.ticket]);
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

/// Takes what a program would be told for `seconds`, and when it was told to leave, if it was.
async fn leaving(host: &mut MinerHost<'_>, seconds: u64) -> Option<Duration> {
    let began = clock::now();
    let told = async {
        loop {
            match host.next_command().await {
                Some(Command::Leave) => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(seconds), told).await;
    told.ok().map(|()| clock::now() - began)
}

/// Their own server is gone for all of them, but the next one meets them one by one.
#[tokio::test(start_paused = true)]
async fn at_a_shutdown_the_miners_are_told_one_after_the_other_over_the_window() {
    const MINERS: usize = 200;
    let current = watch::Sender::new(Some(work()));
    let mut service = service(&current, shares::queue().0);
    service.drain = Arc::new(Drain::new(Duration::from_secs(10)));
    service.shutdown.cancel();
    let gate = Gate::new(GateLimits::of_connections(MINERS), &Metrics::new("x"));
    let mut told = tokio::task::JoinSet::new();
    for port in 0..MINERS {
        let (service, gate) = (service.clone(), gate.clone());
        told.spawn(async move {
            let peer = ([127, 0, 0, 1], u16::try_from(port).unwrap()).into();
            let mut place = gate.admit(peer).await.ok().unwrap();
            let listed = listed(&service);
            leaving(&mut MinerHost::new(service, &mut place, &listed), 11).await.unwrap()
        });
    }
    let mut by_second = [0; 10];
    for after in told.join_all().await {
        by_second[usize::try_from(after.as_secs()).unwrap()] += 1;
    }
    assert!(by_second.iter().all(|count| (18..=22).contains(count)), "{by_second:?}");
}

/// A miner at the other end of a stream.
struct Miner {
    link: Link,
    stream: DuplexStream,
}

impl Miner {
    async fn send<M: Message>(&mut self, message: &M) {
        self.link.send(message).unwrap();
        let mut bytes = BytesMut::new();
        self.link.poll_transmit(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The payload of the next message of this kind.
    async fn wait_for<M: Message>(&mut self) -> M {
        loop {
            while let Some(frame) = self.link.next_frame().unwrap() {
                if frame.header.message_type == M::MESSAGE_TYPE {
                    return M::from_payload(&frame.payload).unwrap();
                }
            }
            let mut bytes = BytesMut::new();
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the pool closed");
            self.link.receive(&bytes).unwrap();
        }
    }

    /// Sends a share of `job`, and waits until it is acknowledged.
    async fn mine(&mut self, channel_id: u32, number: u32, job: &NewExtendedMiningJob) {
        self.share(channel_id, number, job.job_id, job).await;
        let success: SubmitSharesSuccess = self.wait_for().await;
        assert_eq!((success.channel_id, success.last_sequence_number), (channel_id, number));
    }

    /// Sends a share of `job` under the number of some job.
    async fn share(&mut self, channel_id: u32, number: u32, of: u32, job: &NewExtendedMiningJob) {
        self.send(&SubmitSharesExtended {
            channel_id,
            sequence_number: number,
            job_id: of,
            nonce: number,
            ntime: job.min_ntime.unwrap_or(1),
            version: job.version,
            extranonce: Bytes32::new(&[0; 8]).unwrap(),
        })
        .await;
    }
}

/// A ledger that keeps everything at once.
async fn keep_all(mut queue: shares::ShareQueue) {
    loop {
        let tickets: Vec<_> =
            std::iter::from_fn(|| queue.take()).map(|batch| batch.ticket).collect();
        queue.publish(&tickets);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn until_its_turn_a_miner_gets_work_and_its_shares_are_acknowledged() {
    let current = watch::Sender::new(Some(work()));
    let (sender, queue) = shares::queue();
    let mut service = service(&current, sender);
    let settings = Settings::clone(&service.settings);
    service.settings = Arc::new(Settings {
        vardiff: VardiffPolicy { min_difficulty: 1e-12, ..settings.vardiff },
        reconnect_to: Some(ReconnectTo::from_address("x", "other.example:3333").unwrap()),
        ..settings
    });
    let drain = Arc::new(Drain::new(Duration::from_secs(10)));
    // The first one is told at once; this miner is another one.
    drain.turn(clock::now());
    service.drain = drain;
    let shutdown = service.shutdown.clone();
    let gate = Gate::new(GateLimits::of_connections(1), &Metrics::new("x"));
    let mut place = gate.admit(([127, 0, 0, 1], 1).into()).await.ok().unwrap();
    let (link, server) = shaken();
    let (ours, stream) = tokio::io::duplex(1 << 16);
    let mut session = Downstream::new(server, Arc::clone(&service.settings), clock::now());
    let listed = listed(&service);
    let mut host = MinerHost::new(service, &mut place, &listed);
    let mining = async move {
        let mut miner = Miner { link, stream };
        miner.send(&SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test")).await;
        miner.send(&open_request()).await;
        let open: OpenExtendedMiningChannelSuccess = miner.wait_for().await;
        let first: NewExtendedMiningJob = miner.wait_for().await;
        shutdown.cancel();
        let began = clock::now();
        miner.mine(open.channel_id, 1, &first).await;
        current.send_replace(Some(work()));
        let job: NewExtendedMiningJob = miner.wait_for().await;
        miner.mine(open.channel_id, 2, &job).await;
        let told: Reconnect = miner.wait_for().await;
        assert_eq!((told.new_host, told.new_port), ("other.example".into(), 3_333));
        miner.mine(open.channel_id, 3, &job).await;
        assert_eq!(miner.stream.read_buf(&mut BytesMut::new()).await.unwrap(), 0);
        clock::now() - began
    };
    let both = async { tokio::join!(drive(&mut session, &mut host, ours), mining) };
    let (ended, lasted) = tokio::select! {
        both = both => both,
        () = keep_all(queue) => unreachable!("it goes on for ever"),
    };
    assert!(matches!(ended, Ended::ByHost), "{ended}");
    assert!((8_000..8_500).contains(&lasted.as_millis()), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_miner_is_on_the_roster_with_what_its_channel_did_and_leaves_when_it_is_sent_away() {
    let current = watch::Sender::new(Some(work()));
    let (sender, queue) = shares::queue();
    let mut service = service(&current, sender);
    let settings = Settings::clone(&service.settings);
    service.settings = Arc::new(Settings {
        vardiff: VardiffPolicy { min_difficulty: 1e-12, ..settings.vardiff },
        // Who is sent away is not sent there.
        reconnect_to: Some(ReconnectTo::from_address("x", "other.example:3333").unwrap()),
        ..settings
    });
    let (roster, listed) = (service.roster.clone(), listed(&service));
    let gate = Gate::new(GateLimits::of_connections(1), &Metrics::new("x"));
    let mut place = gate.admit(([127, 0, 0, 1], 1).into()).await.ok().unwrap();
    let (link, server) = shaken();
    let (ours, stream) = tokio::io::duplex(1 << 16);
    let mut session = Downstream::new(server, Arc::clone(&service.settings), clock::now());
    let mut host = MinerHost::new(service, &mut place, &listed);
    let mining = async {
        let mut miner = Miner { link, stream };
        miner.send(&SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test")).await;
        miner.send(&open_request()).await;
        let open: OpenExtendedMiningChannelSuccess = miner.wait_for().await;
        let job: NewExtendedMiningJob = miner.wait_for().await;
        let (began, seat) = (clock::now(), roster.list(None, 9, |_| true)[0].clone());
        assert!(seat.channels().is_empty(), "they are told of every few seconds");
        miner.mine(open.channel_id, 1, &job).await;
        miner.share(open.channel_id, 2, u32::MAX, &job).await;
        let _: SubmitSharesError = miner.wait_for().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let shown = seat.shown();
        let [channel] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((channel.channel, channel.shares), (open.channel_id, 1));
        assert_eq!((&*channel.account, channel.kind), ("a", "extended"));
        assert_eq!(channel.rejects.get("unknown-job"), Some(&1));
        assert!(channel.work.parse::<u128>().unwrap() > 0 && channel.difficulty > 0.0);
        assert!(channel.best_difficulty.is_some() && channel.opened_ms >= seat.since_ms);
        assert!(channel.last_share_ms.unwrap() < seat.time_ms(began) + 1_000);
        seat.send_away();
        let closed: CloseChannel = miner.wait_for().await;
        assert_eq!(closed.reason_code, "closed-by-operator".into());
        assert_eq!(miner.stream.read_buf(&mut BytesMut::new()).await.unwrap(), 0);
    };
    let both = async { tokio::join!(drive(&mut session, &mut host, ours), mining) };
    let (ended, ()) = tokio::select! {
        both = both => both,
        () = keep_all(queue) => unreachable!("it goes on for ever"),
    };
    assert!(matches!(ended, Ended::ByHost), "{ended}");
    drop(host);
    drop(listed);
    assert_eq!(roster.count(), 0);
}

fn open_request() -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: "a".into(),
        nominal_hash_rate: 0.0,
        max_target: [0xff; 32],
        min_extranonce_size: 8,
    }
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
    let listed = listed(&service);
    let mut host = MinerHost::new(service, &mut place, &listed);
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
