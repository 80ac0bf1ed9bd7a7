//! The template provider of the pool under test: it knows when a new tip was written.
//!
//! It serves invented templates of a chain that is too hard for any hash here to make a block. A
//! solution would be counted and thrown away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{BufMut, BytesMut};
use rand::rngs::OsRng;
use service::certificates::Certificates;
use service::driver::{Host, drive};
use service::gate::{Gate, GateLimits, Place};
use service::metrics::Metrics;
use service::{clock, listen};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::session::{PeerError, Session};
use wire::sv2::codec::{Blob, List};
use wire::sv2::frame::Frame;
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{
    PROTOCOL_TEMPLATE_DISTRIBUTION, Setup, SetupConnectionSuccess, VERSION, is_setup_message,
};
use wire::sv2::template::{
    ERROR_TEMPLATE_ID_NOT_FOUND, NewTemplate, RequestTransactionDataError, SetNewPrevHash,
    TemplateDistribution,
};

/// What a link may hold.
const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 1 << 20 };
/// Connections of pools at a time: one is there, and one that comes back.
const CONNECTIONS_MAX: usize = 8;
/// Merkle hashes of a template: what a block of four thousand transactions has.
const MERKLE_PATH: usize = 12;
/// The network's target, far from any hash that is met here.
const N_BITS: u32 = 0x1701_ffff;
/// Where the chain is.
const FIRST_HEIGHT: u32 = 850_000;
/// How long a certificate is valid, in seconds.
const CERTIFICATE_SECONDS: u32 = 86_400;
/// Reports of written tips that may wait; further ones are lost, for nobody waits for them.
const WRITTEN_WAITING_MAX: usize = 64;
/// How long a pool may take to come.
const POOL_MAX: Duration = Duration::from_secs(60);
/// How long a written tip may take to be reported.
const WRITTEN_MAX: Duration = Duration::from_secs(10);

/// A block of the invented chain, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip(u32);

impl Tip {
    /// Its hash: no two tips have the same.
    pub fn hash(self) -> [u8; 32] {
        let mut hash = [0x5a; 32];
        if let Some(start) = hash.first_chunk_mut() {
            *start = self.0.to_le_bytes();
        }
        if let Some(end) = hash.last_chunk_mut::<8>() {
            *end = [0; 8];
        }
        hash
    }

    /// The first four bytes of the hash, by which receipts are told apart.
    pub fn name(self) -> u32 {
        self.0
    }

    fn template(self) -> NewTemplate {
        let [low, middle, high, _] = (FIRST_HEIGHT + self.0).to_le_bytes();
        let mut outputs = BytesMut::new();
        outputs.put_u64_le(0);
        outputs.put_slice(&[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
        outputs.put_bytes(0x77, 32);
        let sibling = |level: usize| {
            let mut hash = [u8::try_from(level).unwrap_or(0); 32];
            if let Some(start) = hash.first_chunk_mut() {
                *start = self.0.to_le_bytes();
            }
            hash
        };
        NewTemplate {
            template_id: u64::from(self.0) + 1,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: Blob::new(vec![3, low, middle, high]).unwrap_or_default(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 312_500_000,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: Blob::new(outputs).unwrap_or_default(),
            coinbase_tx_locktime: 0,
            merkle_path: List::new((0..MERKLE_PATH).map(sibling).collect()).unwrap_or_default(),
        }
    }

    fn prev_hash(self, unix_now: u32) -> SetNewPrevHash {
        // The mantissa's three bytes are the number's bytes 20 to 22, little-endian.
        let mut target = [0; 32];
        for (to, from) in target.iter_mut().skip(20).zip([0xff, 0xff, 0x01]) {
            *to = from;
        }
        SetNewPrevHash {
            template_id: u64::from(self.0) + 1,
            prev_hash: self.hash(),
            header_timestamp: unix_now,
            n_bits: N_BITS,
            target,
        }
    }
}

/// One pool's connection.
struct ProviderSession {
    link: Link,
    tip: Tip,
    is_set_up: bool,
    is_asked: bool,
    events: VecDeque<Written>,
}

/// A SetNewPrevHash was put out.
#[derive(Debug, Clone, Copy)]
struct Written {
    tip: Tip,
    at: Instant,
}

impl ProviderSession {
    fn take_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let kind = frame.header.message_type;
        if is_setup_message(kind) {
            let Setup::SetupConnection(setup) = Setup::decode(kind, &frame.payload)? else {
                return Err(PeerError::Misbehaved("only SetupConnection is expected"));
            };
            if let Some(refusal) = setup.refusal(PROTOCOL_TEMPLATE_DISTRIBUTION, 0) {
                return self.link.send(&refusal);
            }
            self.is_set_up = true;
            return self.link.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 });
        }
        if !self.is_set_up {
            return Err(PeerError::Misbehaved("the first message must be SetupConnection"));
        }
        match TemplateDistribution::decode(kind, &frame.payload)? {
            TemplateDistribution::CoinbaseOutputConstraints(_) => {
                self.is_asked = true;
                self.put_out(now)
            }
            TemplateDistribution::RequestTransactionData(request) => {
                self.link.send(&RequestTransactionDataError {
                    template_id: request.template_id,
                    error_code: ERROR_TEMPLATE_ID_NOT_FOUND.into(),
                })
            }
            _ => Ok(()),
        }
    }

    fn put_out(&mut self, now: Instant) -> Result<(), PeerError> {
        if !self.is_asked {
            return Ok(());
        }
        self.link.send(&self.tip.template())?;
        self.link.send(&self.tip.prev_hash(clock::unix_now_seconds()))?;
        self.events.push_back(Written { tip: self.tip, at: now });
        Ok(())
    }
}

impl Session for ProviderSession {
    type Command = Tip;
    type Event = Written;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        while let Some(frame) = self.link.next_frame()? {
            self.take_frame(now, &frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, now: Instant, tip: Tip) -> Result<(), PeerError> {
        self.tip = tip;
        self.put_out(now)
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Written> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// The provider, on a thread of its own.
pub struct Provider {
    address: String,
    key: AuthorityKey,
    tip: watch::Sender<Tip>,
    written: mpsc::Receiver<Written>,
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
}

impl Provider {
    /// Listens on `address` (`HOST:PORT`, port 0 for any).
    pub fn start(address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("no runtime for the template provider")?;
        let listener = runtime
            .block_on(listen::bind(address))
            .with_context(|| format!("--provider: cannot listen on {address}"))?;
        let address = listener.local_addr()?.to_string();
        let authority = AuthoritySecret::generate(&mut OsRng);
        let key = authority.public();
        let tip = watch::Sender::new(Tip(0));
        let (report, written) = mpsc::channel(WRITTEN_WAITING_MAX);
        let shutdown = CancellationToken::new();
        let (tips, stop) = (tip.clone(), shutdown.clone());
        let limits = GateLimits::of_connections(CONNECTIONS_MAX);
        let gate = Gate::new(limits, &Metrics::new("load"));
        let certificates = Certificates::new(authority, CERTIFICATE_SECONDS);
        let serve = move |stream, _, place: Place| {
            let served = serve(
                certificates.current(),
                tips.subscribe(),
                report.clone(),
                stop.clone(),
                stream,
            );
            async move {
                served.await;
                drop(place);
            }
        };
        runtime.spawn(listen::accept(listener, gate, shutdown.clone(), serve));
        Ok(Self { address, key, tip, written, runtime, shutdown })
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key that a pool should expect.
    pub fn key(&self) -> AuthorityKey {
        self.key
    }

    /// Waits until a pool has come for templates.
    pub fn wait_for_pool(&mut self) -> Result<()> {
        let written = self.written.recv();
        let waited = self.runtime.block_on(async { tokio::time::timeout(POOL_MAX, written).await });
        waited.ok().flatten().map(drop).with_context(|| {
            format!("no pool came to {} for templates within {POOL_MAX:?}", self.address)
        })
    }

    /// True once a pool has been sent a template and its tip.
    pub fn was_written(&mut self) -> bool {
        self.written.try_recv().is_ok()
    }

    /// Publishes another tip; gives it and the moment at which it was written to the pool.
    pub fn move_tip(&mut self) -> Result<(Tip, Instant)> {
        let next = Tip(self.tip.borrow().0 + 1);
        while self.written.try_recv().is_ok() {}
        self.tip.send_replace(next);
        let written = &mut self.written;
        let waited = self.runtime.block_on(async {
            tokio::time::timeout(WRITTEN_MAX, async {
                while let Some(news) = written.recv().await {
                    if news.tip == next {
                        return Some(news.at);
                    }
                }
                None
            })
            .await
        });
        let at = waited.ok().flatten().context("the pool is not connected to its provider")?;
        Ok((next, at))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn serve(
    identity: Arc<ServerIdentity>,
    mut tips: watch::Receiver<Tip>,
    report: mpsc::Sender<Written>,
    shutdown: CancellationToken,
    stream: tokio::net::TcpStream,
) {
    let link = Link::server(identity, LIMITS, clock::fresh_seed());
    let tip = *tips.borrow_and_update();
    let events = VecDeque::new();
    let mut session = ProviderSession { link, tip, is_set_up: false, is_asked: false, events };
    let mut host = ProviderHost { tips, report, shutdown };
    drive(&mut session, &mut host, stream).await;
}

struct ProviderHost {
    tips: watch::Receiver<Tip>,
    report: mpsc::Sender<Written>,
    shutdown: CancellationToken,
}

impl Host<ProviderSession> for ProviderHost {
    async fn next_command(&mut self) -> Option<Tip> {
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            changed = self.tips.changed() => {
                changed.ok()?;
                Some(*self.tips.borrow_and_update())
            }
        }
    }

    async fn take_event(&mut self, written: Written) {
        let _ = self.report.try_send(written);
    }
}
