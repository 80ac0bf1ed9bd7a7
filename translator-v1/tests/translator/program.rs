//! The whole program over real sockets, between a scripted pool and a scripted miner: what happens
//! when the pool goes, and when it comes back.
//!
//! Nothing here sleeps: each step waits for a line, a message or an end, up to a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mining::target::Target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;
use translator_v1::app::Bound;
use translator_v1::command::probe;
use translator_v1::config::Config;
use wire::sv1::notify::Notify;
use wire::sv1::request::Line;
use wire::sv2::codec::Bytes32;
use wire::sv2::frame::Frame;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::Link;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, SubmitSharesExtended,
    SubmitSharesSuccess, UpdateChannel,
};
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{SetupConnection, SetupConnectionSuccess};

use crate::device::{Device, Found, HARD_NBITS, REGTEST_NBITS, UPSTREAM_DIFFICULTY};
use crate::pool::{CHANNEL, LIMITS, job, prev_hash, success};

/// Much longer than anything takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn secret() -> AuthoritySecret {
    AuthoritySecret::generate(&mut StdRng::seed_from_u64(1))
}

/// A pool that listens.
pub(crate) struct PoolPort {
    pub(crate) listener: TcpListener,
}

impl PoolPort {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Waits for the translator and opens a channel with `prefix` and a first job for it.
    pub(crate) async fn serve(&self, prefix: [u8; 2]) -> PoolLink {
        self.serve_with(prefix, 10).await
    }

    /// The same, with so many bytes to roll.
    pub(crate) async fn serve_with(&self, prefix: [u8; 2], rollable: u16) -> PoolLink {
        let mut pool = self.accept().await;
        let _: SetupConnection = pool.take().await;
        pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await;
        let open: OpenExtendedMiningChannel = pool.take().await;
        let target = Target::from_difficulty(UPSTREAM_DIFFICULTY).to_le_bytes();
        let extranonce_prefix = Bytes32::new(&prefix).unwrap();
        pool.send(&OpenExtendedMiningChannelSuccess {
            extranonce_prefix,
            ..success(open.request_id, target, rollable)
        })
        .await;
        pool.send(&job(1, None)).await;
        pool.send(&prev_hash(1, 0xa1, HARD_NBITS)).await;
        pool
    }

    pub(crate) async fn accept(&self) -> PoolLink {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        let now = service::clock::unix_now_seconds();
        let identity = ServerIdentity::certified(&secret(), 3600, [3; 32], now);
        let link = Link::server(Arc::new(identity), LIMITS, service::clock::fresh_seed());
        PoolLink { link, stream }
    }
}

pub(crate) struct PoolLink {
    link: Link,
    pub(crate) stream: TcpStream,
}

impl PoolLink {
    pub(crate) async fn send<M: Message>(&mut self, message: &M) {
        self.link.send(message).unwrap();
        self.flush().await;
    }

    async fn flush(&mut self) {
        let mut out = BytesMut::new();
        while self.link.poll_transmit(&mut out) {}
        self.stream.write_all(&out).await.unwrap();
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.link.next_frame().unwrap() {
                return frame;
            }
            let mut bytes = [0; 4096];
            let read = timeout(SOON, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            assert_ne!(read, 0, "the translator hung up");
            self.link.receive(&bytes[..read]).unwrap();
            self.flush().await;
        }
    }

    /// Waits until the translator has told that its miners have `hashrate`.
    async fn until_told(&mut self, hashrate: f32) {
        while self.take::<UpdateChannel>().await.nominal_hash_rate != hashrate {}
    }

    /// The next message of this type; what comes before is skipped.
    pub(crate) async fn take<M: Message>(&mut self) -> M {
        loop {
            let frame = self.frame().await;
            if frame.header.message_type == M::MESSAGE_TYPE {
                return M::from_payload(&frame.payload).unwrap();
            }
        }
    }
}

/// A translator that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    tls_address: Option<std::net::SocketAddr>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) metrics: service::metrics::Metrics,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) async fn translator(pool: &PoolPort, work_without_upstream_seconds: u32) -> Running {
    translator_with(pool, work_without_upstream_seconds, "").await
}

/// The same, with `more` settings.
pub(crate) async fn translator_with(
    pool: &PoolPort,
    work_without_upstream_seconds: u32,
    more: &str,
) -> Running {
    translator_of(pool, work_without_upstream_seconds, ("", more)).await
}

/// The same, with more settings of the upstream too.
pub(crate) async fn translator_of(
    pool: &PoolPort,
    work_without_upstream_seconds: u32,
    (upstream, more): (&str, &str),
) -> Running {
    let settings = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"{}\"\n\
         authority_key = \"{}\"\nuser_identity = \"farm\"\n\
         return_after_seconds = 1\n\
         work_without_upstream_seconds = {work_without_upstream_seconds}\n{upstream}\n\
         [vardiff]\nshares_per_minute = 6.0\nmin_difficulty = 1e-12\ninitial_hashrate = 25.0\n\
         {more}",
        pool.listener.local_addr().unwrap(),
        secret().public(),
    );
    let path = std::path::Path::new("test.toml");
    let config: Config = service::config::parse(path, &settings, "NONE", []).unwrap();
    config.check().unwrap();
    let bound = Bound::new(config).await.unwrap();
    let (address, tls_address) = (bound.address, bound.tls_address);
    let metrics = bound.metrics.clone();
    let shutdown = CancellationToken::new();
    tokio::spawn(bound.run(shutdown.clone()));
    Running { address, tls_address, shutdown, metrics }
}

/// A miner that has subscribed and authorized.
pub(crate) struct Miner {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    /// Knows how to hash.
    device: Device,
}

impl Miner {
    pub(crate) async fn connect(translator: &Running) -> Self {
        Self::with_password(translator, "x").await
    }

    pub(crate) async fn with_password(translator: &Running, password: &str) -> Self {
        Self::log_in(translator, "w", password).await
    }

    pub(crate) async fn log_in(translator: &Running, worker: &str, password: &str) -> Self {
        let stream = TcpStream::connect(translator.address).await.unwrap();
        let (reader, writer) = stream.into_split();
        let lines = BufReader::new(reader).lines();
        let mut miner = Self { lines, writer, device: Device::new() };
        miner.send(r#"{"id":1,"method":"mining.subscribe","params":["test/1"]}"#).await;
        let authorize = r#"{"id":2,"method":"mining.authorize","params":[""#;
        miner.send(&format!("{authorize}{worker}\",\"{password}\"]}}")).await;
        miner
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line; `None` once the translator has hung up.
    async fn line(&mut self) -> Option<Value> {
        let line = timeout(SOON, self.lines.next_line()).await.unwrap().ok()??;
        if let Line::Request(request) = Line::parse(&line).unwrap()
            && request.method == "mining.notify"
        {
            self.device.job = Some(Notify::read(&request.params).unwrap());
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        if let Some(extranonce_1) = value["result"][1].as_str() {
            self.device.extranonce_1 = crate::device::from_hex(extranonce_1);
            let bytes = value["result"][2].as_u64().unwrap();
            self.device.extranonce_2_bytes = bytes.try_into().unwrap();
        }
        Some(value)
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line().await.expect("the connection stays");
            if wanted(&line) {
                return line;
            }
        }
    }

    pub(crate) async fn job(&mut self) {
        self.until(|line| line["method"] == "mining.notify").await;
    }

    /// Waits for a job of the channel with `prefix`.
    pub(crate) async fn job_of(&mut self, prefix: [u8; 2]) {
        while !self.is_on(prefix) {
            self.job().await;
        }
    }

    pub(crate) fn is_on(&self, prefix: [u8; 2]) -> bool {
        let job = self.device.job.as_ref();
        job.is_some_and(|job| job.coinbase_1.ends_with(&prefix))
    }

    /// Mines a share that the pool has to judge and submits it with id 9.
    pub(crate) async fn submit(&mut self) -> Found {
        self.submit_as("w").await
    }

    pub(crate) async fn submit_as(&mut self, worker: &str) -> Found {
        let found = self.device.mine_upstream();
        self.send(&found.line(9, worker)).await;
        found
    }

    /// Waits for a job that regtest's target makes easy, and mines a block of it.
    pub(crate) async fn mine_block(&mut self) -> Found {
        while self.device.job.as_ref().is_none_or(|job| job.nbits != REGTEST_NBITS) {
            self.job().await;
        }
        let block = Target::from_nbits(REGTEST_NBITS).unwrap();
        self.device.mine(0, |hash| block.is_met_by(hash))
    }

    /// True once a job is there, false if the translator hangs up before.
    pub(crate) async fn job_or_end(&mut self) -> bool {
        while let Some(line) = self.line().await {
            if line["method"] == "mining.notify" {
                return true;
            }
        }
        false
    }

    pub(crate) async fn until_id(&mut self, id: u64) {
        self.until(|line| line["id"] == id).await;
    }

    pub(crate) async fn method(&mut self, name: &str) {
        self.until(|line| line["method"] == name).await;
    }

    pub(crate) async fn answer(&mut self) -> Value {
        self.until(|line| line["id"] == 9).await
    }

    /// Reads on until the translator hangs up.
    pub(crate) async fn is_hung_up_on(&mut self) {
        while self.line().await.is_some() {}
    }
}

#[tokio::test]
async fn a_share_gets_the_verdict_of_the_pool() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    let update: UpdateChannel = pool.take().await;
    assert_eq!((update.channel_id, update.nominal_hash_rate), (CHANNEL, 25.0));
    let found = miner.submit().await;
    let share: SubmitSharesExtended = pool.take().await;
    assert_eq!((share.nonce, share.version), (found.nonce, found.version));
    pool.send(&SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: share.sequence_number,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    })
    .await;
    assert_eq!(miner.answer().await["result"], true);
}

#[tokio::test]
async fn a_share_in_flight_when_the_pool_goes_is_refused() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    miner.submit().await;
    let _: SubmitSharesExtended = pool.take().await;
    drop(pool);
    let answer = miner.answer().await;
    assert_eq!(answer["error"][1], "upstream lost");
    // While there is no pool at all, shares are refused at once.
    miner.submit().await;
    assert_eq!(miner.answer().await["error"][0], 20);
}

#[tokio::test]
async fn miners_are_sent_away_when_the_pool_stays_away() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 1).await;
    let pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    drop((pool, port));
    miner.is_hung_up_on().await;
}

#[tokio::test]
async fn miners_stay_when_the_pool_comes_back_with_the_same_prefix() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    drop(pool);
    let mut pool = port.serve([0xe1, 0xe2]).await;
    miner.job().await;
    assert!(miner.device.job.as_ref().unwrap().clean_jobs);
    let found = miner.submit().await;
    let share: SubmitSharesExtended = pool.take().await;
    assert_eq!(share.nonce, found.nonce);
}

#[tokio::test]
async fn miners_stay_when_the_pool_comes_back_with_another_prefix() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    drop(pool);
    let mut pool = port.serve([0xf1, 0xf2]).await;
    miner.job_of([0xf1, 0xf2]).await;
    let found = miner.submit().await;
    let share: SubmitSharesExtended = pool.take().await;
    assert_eq!(share.nonce, found.nonce);
}

#[tokio::test]
async fn miners_are_sent_away_when_the_pool_comes_back_with_less_room() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let pool = port.serve([0xe1, 0xe2]).await;
    let mut miner = Miner::connect(&translator).await;
    miner.job().await;
    drop(pool);
    let _pool = port.serve_with([0xf1, 0xf2], 6).await;
    miner.is_hung_up_on().await;
    let mut again = Miner::connect(&translator).await;
    again.job_of([0xf1, 0xf2]).await;
}

#[tokio::test]
async fn a_miner_that_comes_before_the_pool_waits_for_it() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut miner = Miner::connect(&translator).await;
    let _pool = port.serve([0xe1, 0xe2]).await;
    miner.job().await;
    let mut second = Miner::connect(&translator).await;
    second.job().await;
    assert_ne!(second.device.extranonce_1, miner.device.extranonce_1);
}

#[tokio::test]
async fn probe_says_what_a_pool_supports_and_why_it_cannot_be_used() {
    let port = PoolPort::new().await;
    let address = port.listener.local_addr().unwrap();
    let pool = format!("{address}/{}", secret().public());
    let probing = tokio::spawn(async move { probe(&pool, "me".to_owned()).await });
    let _pool = port.serve([0xe1, 0xe2]).await;
    let said = timeout(SOON, probing).await.unwrap().unwrap().unwrap().join(", ");
    for part in ["proved its key", "2 bytes fixed, 8 to roll", "(extension 0x0002): no", "143"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let no_url = probe("here", "me".to_owned()).await.unwrap_err().to_string();
    assert!(no_url.contains("write HOST:PORT/KEY"), "{no_url}");
    drop(port);
    let gone = probe(&address.to_string(), "me".to_owned()).await.unwrap_err().to_string();
    assert!(gone.contains("cannot connect"), "{gone}");
}

#[tokio::test]
async fn a_pool_is_told_the_right_sum_whatever_miners_claim() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut pool = port.serve([0xe1, 0xe2]).await;
    let _honest = Miner::connect(&translator).await;
    pool.until_told(25.0).await;
    let liar = Miner::with_password(&translator, "th=1e300").await;
    // No more than one machine may have, until its shares have shown it.
    pool.until_told(5e14).await;
    let rented = Miner::with_password(&translator, "x,th=95").await;
    pool.until_told(5e14).await;
    drop(liar);
    pool.until_told(95e12).await;
    drop(rented);
    pool.until_told(25.0).await;
}

#[tokio::test]
async fn a_tls_hello_is_hung_up_on_at_once() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let mut stream = TcpStream::connect(translator.address).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0xa5]).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(read.is_err() || rest.is_empty());
}

#[tokio::test]
async fn a_miner_with_tls_mines_on_the_port_for_it_after_a_handshake_that_took_its_turn() {
    let port = PoolPort::new().await;
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/translator/tls");
    let tls = format!(
        "[tls]\naddress = \"127.0.0.1:0\"\ncertificate_file = \"{files}/certificate.pem\"\n\
         key_file = \"{files}/key.pem\"\n"
    );
    let translator = translator_with(&port, 60, &tls).await;
    let _pool = port.serve([1, 2]).await;
    let certificate = format!("{files}/certificate.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(translator.tls_address.unwrap()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = timeout(SOON, connector.connect(name, stream)).await.unwrap().unwrap();
    let login = concat!(
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"t\"]}\n",
        "{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n",
    );
    stream.write_all(login.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = timeout(SOON, lines.next_line()).await.unwrap().unwrap() {
        if line.contains("mining.notify\",\"params") {
            let metrics = translator.metrics.text();
            assert!(metrics.contains("translator_handshake_seconds_count 1"), "{metrics}");
            return;
        }
    }
    panic!("no job came");
}

#[tokio::test]
async fn an_address_may_have_a_limit_and_others_still_come_in() {
    let port = PoolPort::new().await;
    let limits = "[limits]\nconnections_per_address_max = 1\ntrusted_networks = []\n";
    let translator = translator_with(&port, 60, limits).await;
    let _pool = port.serve([1, 2]).await;
    let mut first = Miner::connect(&translator).await;
    first.job().await;
    let mut second = TcpStream::connect(translator.address).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(SOON, second.read_to_end(&mut rest)).await.unwrap();
    assert!(read.is_err() || rest.is_empty(), "closed as it came");
}

#[tokio::test]
async fn a_pool_with_a_wrong_key_gets_no_miner() {
    let port = PoolPort::new().await;
    let translator = translator(&port, 60).await;
    let (mut stream, _) = timeout(SOON, port.listener.accept()).await.unwrap().unwrap();
    let other = AuthoritySecret::generate(&mut StdRng::seed_from_u64(2));
    let now = service::clock::unix_now_seconds();
    let identity = ServerIdentity::certified(&other, 3600, [3; 32], now);
    let mut link = Link::server(Arc::new(identity), LIMITS, service::clock::fresh_seed());
    let mut act_1 = [0; 64];
    stream.read_exact(&mut act_1).await.unwrap();
    link.receive(&act_1).unwrap();
    let mut out = BytesMut::new();
    while link.poll_transmit(&mut out) {}
    stream.write_all(&out).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(read.is_err() || rest.is_empty(), "no SetupConnection for a stranger");
    drop(translator);
}

#[test]
fn the_config_that_is_shipped_is_usable_and_says_what_the_defaults_are() {
    let path =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/translator-v1.toml"));
    let text = std::fs::read_to_string(path).unwrap();
    let config: Config = service::config::parse(path, &text, "NONE", []).unwrap();
    config.check().unwrap();
    // Each commented setting, with its value, is one that exists.
    let mut alternatives = text.replace("authority_key_file = ", "# authority_key_file = ");
    for key in [
        "connections_max",
        "[limits]",
        "connections_per_address_max",
        "connections_per_network_max",
        "connections_unsettled_max",
        "trusted_networks",
        "lines_per_second_max",
        "faults_per_minute_max",
        "ban_seconds",
        "[shutdown]",
        "reconnect_to",
        "authority_key =",
        "work_without_upstream_seconds",
        "share_answer_seconds",
        "worker_names",
        "return_after_seconds",
        "[health]",
        "channels = ",
        "answers = ",
        "expect_payout = ",
        "expect_payout_basis_points",
        "address = \"127.0.0.1:9103\"",
    ] {
        assert!(alternatives.contains(&format!("# {key}")), "{key}");
        alternatives = alternatives.replace(&format!("# {key}"), key);
    }
    let full: Config = service::config::parse(path, &alternatives, "NONE", []).unwrap();
    full.check().unwrap();
    assert_eq!(full.listen.connections_max, config.listen.connections_max);
    assert_eq!(full.upstream.share_answer_max(), config.upstream.share_answer_max());
    assert_eq!(full.upstream.work_without_upstream(), config.upstream.work_without_upstream());
    assert!(full.health.address.is_some());
}

#[test]
fn settings_that_cannot_be_used_are_refused_by_name() {
    let good = "[listen]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"h:1\"\n\
                unauthenticated = true\nuser_identity = \"x\"\n";
    let check = |text: &str| {
        let path = std::path::Path::new("x.toml");
        let config: Result<Config, _> = service::config::parse(path, text, "NONE", []);
        config.and_then(|config| config.check()).map_err(|error| error.to_string())
    };
    assert_eq!(check(good), Ok(()));
    for (from, to, named) in [
        ("unauthenticated = true\n", "", "upstream.authority_key"),
        ("\"h:1\"", "\"stratum2+tcp://h\"", "upstream.address"),
        ("\"h:1\"", "\"stratum2+tcp://h:1\"", "upstream.address"),
        ("\"h:1\"", "\"stratum2+tcp://h:1/KEY\"", "upstream.address"),
        ("\"h:1\"", "\"h\"", "upstream.address"),
        ("user_identity", "user", "user"),
        (
            "user_identity = \"x\"\n",
            "user_identity = \"x\"\n[[backup_upstream]]\naddress = \"h\"\n",
            "backup_upstream[0].address",
        ),
        (
            "user_identity = \"x\"\n",
            "user_identity = \"x\"\n[[backup_upstream]]\naddress = \"h:2\"\n",
            "backup_upstream[0].authority_key",
        ),
        ("[upstream]", "[limits]\nban_seconds = 0\n[upstream]", "limits.ban_seconds"),
        ("[upstream]", "[shutdown]\nreconnect_to = \"x\"\n[upstream]", "shutdown.reconnect_to"),
        (
            "[upstream]",
            "[tls]\naddress = \"h:1\"\ncertificate_file = \"no.pem\"\nkey_file = \"no.pem\"\n\
             [upstream]",
            "tls.certificate_file: cannot use no.pem",
        ),
        ("[upstream]", "[upstream]\nexpect_payout = \"bob\"", "upstream.expect_payout: no address"),
        (
            "[upstream]",
            "[upstream]\nchannels = \"per-user\"\nexpect_payout = \"bob\"",
            "upstream.expect_payout: where each user",
        ),
        ("[upstream]", "[upstream]\nchannels = \"two\"", "per-miner"),
        ("[upstream]", "[upstream]\nanswers = \"never\"", "early"),
        ("[upstream]", "connections_max = 0\n[upstream]", "listen.connections_max"),
        ("[upstream]", "[vardiff]\nmin_difficulty = 0.0\n[upstream]", "vardiff.min_difficulty"),
        ("[upstream]", "[upstream]\nshare_answer_seconds = 0", "upstream.share_answer_seconds"),
    ] {
        let error = check(&good.replace(from, to)).unwrap_err();
        assert!(error.contains(named), "{named}: {error}");
    }
}
