//! A real pool on a real port, in this process, with work that every hash is a share of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use mining::coinbase::Output;
use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::target::Target;
use mining::template::{ChainTip, Template};
use mining::vardiff::VardiffPolicy;
use pool_sv2::accounting::config::LedgerConfig;
use pool_sv2::accounting::ledger::Ledger;
use pool_sv2::blocks::Solutions;
use pool_sv2::downstream::connection::{LimitCounts, Limits, Settings};
use pool_sv2::downstream::serve::Service;
use pool_sv2::payout::identity::Identities;
use pool_sv2::roster::Roster;
use pool_sv2::shares;
use pool_sv2::tip_reach::TipReach;
use pool_sv2::work::Work;
use service::certificates::Certificates;
use service::clock;
use service::gate::Gate;
use service::listen;
use service::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle as Task;
use tokio_util::sync::CancellationToken;
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};

/// nTime of the tip here.
const TIP_TIME: u32 = 1_700_000_000;
/// A network target that no hash here meets.
const HARD: u32 = 0x1700_ffff;

/// A pool, until it is stopped.
pub(crate) struct Pool {
    pub(crate) address: SocketAddr,
    pub(crate) key: AuthorityKey,
    pub(crate) metrics: Metrics,
    work: watch::Sender<Option<Arc<Work>>>,
    shutdown: CancellationToken,
    accepting: Task<()>,
    ledger: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Pool {
    /// Nobody is trusted for his address alone: the limits hold for this machine too.
    pub(crate) async fn start(limits: Limits) -> Self {
        let limits = Limits { trusted_networks: Vec::new(), ..limits };
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("ledger");
        let config = LedgerConfig { directory, ack_interval_ms: 2, ..LedgerConfig::default() };
        let metrics = Metrics::new("x");
        let ledger = Ledger::open(&config, &metrics).unwrap();
        let (sender, queue) = shares::queue();
        let ledger = std::thread::spawn(move || ledger.run(queue, &|_| {}));
        let secret = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
        let authority: AuthoritySecret = secret.parse().unwrap();
        let shutdown = CancellationToken::new();
        let work = watch::Sender::new(Some(Arc::new(first_work())));
        let listener = listen::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(limits.gate(), &metrics);
        let key = authority.public();
        let service = Service {
            roster: Roster::default(),
            handshakes: limits.handshakes(&metrics),
            settings: Arc::new(Settings {
                user_min_difficulty: std::collections::BTreeMap::new(),
                // More shares are wanted than come: the target stays where any hash meets it.
                vardiff: VardiffPolicy {
                    shares_per_minute: 1e7,
                    search_shares_per_minute: 1e7,
                    min_difficulty: 1e-12,
                },
                limits,
                counts: LimitCounts::new(&metrics),
                tip_reach: TipReach::new(&metrics),
                extranonces: ExtranonceAllocator::new(10_000),
                identities: Identities::of_the_pool(bitcoin::Network::Regtest),
                reconnect_to: None,
                listener: 0,
            }),
            certificates: Certificates::new(authority, 3_600),
            work: work.subscribe(),
            shares: sender,
            solutions: Solutions::default(),
            shutdown: shutdown.clone(),
            drain: Arc::default(),
        };
        let until = shutdown.clone();
        let accepting = tokio::spawn(async move {
            let serve = |stream, peer, place| service.clone().serve(stream, peer, place);
            listen::accept(listener, gate, until, serve).await;
        });
        Self { address, key, metrics, work, shutdown, accepting, ledger, _folder: folder }
    }

    /// The value of a metric; 0 if nothing was counted.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Takes the work back, as without any template provider for too long.
    pub(crate) fn take_work_back(&self) {
        self.work.send_replace(None);
    }

    /// Ends it; fails if anything in it panicked, or does not end.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.accepting.await.unwrap();
        tokio::task::spawn_blocking(move || self.ledger.join().unwrap()).await.unwrap();
    }
}

fn first_work() -> Work {
    let tip = ChainTip {
        hash: [1; 32],
        header_timestamp: TIP_TIME,
        nbits: HARD,
        target: Target::from_nbits(HARD).unwrap(),
    };
    let template = Template {
        id: 1,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: Bytes::from_static(&[0x03, 0x40, 0xe2, 0x01]),
        coinbase_sequence: u32::MAX,
        value_remaining: 5_000_000_000,
        outputs_count: 0,
        outputs: Bytes::new(),
        coinbase_locktime: 0,
        merkle_path: Vec::new(),
    };
    let outputs = [Output { value: template.value_remaining, script: Bytes::from_static(&[0x51]) }];
    let job = Job::new(Arc::new(tip), Arc::new(template), b"/t/", &outputs).unwrap();
    Work::new(Arc::new(job), 0, TIP_TIME, clock::now()).unwrap()
}
