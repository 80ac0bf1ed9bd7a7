//! Where the rooms meet: work from the upstream to all miners, shares from them to the upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use service::config::ConfigError;
use service::drop_in::DropIn;
use service::gate::{Gate, GateLimits};
use service::health::Health;
use service::listen;
use service::metrics::Metrics;
use service::program::{Failure, NoMore, Server, say};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::extranonce::Seats;
use crate::bridge::notify::ChannelEpoch;
use crate::config::Config;
use crate::config::take_over::take_over;
use crate::downstream::serve::Service;
use crate::miners::Miners;
use crate::shares;
use crate::upstream::UpstreamSettings;
use crate::upstream::supervise::{NEIGHBOUR, Supervisor};

/// The translator as `main` sees it.
pub struct Translator;

impl Server for Translator {
    const NAME: &'static str = "translator-v1";
    const ABOUT: &'static str =
        "Adit's translator: Stratum V1 miners in, one Stratum V2 channel out";
    const PREFIX: &'static str = "TRANSLATOR_V1";
    const HAS_AUTHORITY: bool = false;
    type Config = Config;
    type More = NoMore;

    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
        take_over(keys)
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        let bound = Bound::new(config).await?;
        say(format_args!("mining at stratum+tcp://{}", bound.address));
        bound.run(shutdown).await
    }

    fn more(none: NoMore) -> Result<(), Failure> {
        match none {}
    }
}

/// A translator whose port is taken and that serves nobody yet.
pub struct Bound {
    config: Config,
    listener: TcpListener,
    /// Where miners connect.
    pub address: SocketAddr,
}

impl Bound {
    /// Takes the port.
    pub async fn new(config: Config) -> Result<Self, Failure> {
        let address = &config.listen.address;
        let cannot_listen =
            |error: std::io::Error| Failure::cannot_listen("listen.address", address, &error);
        let listener = listen::bind(address).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        Ok(Self { config, listener, address })
    }

    /// Serves until `shutdown`; then the miners go first, and the upstream when it has all shares.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Failure> {
        let Self { config, listener, .. } = self;
        let health = Health::new(&[NEIGHBOUR]);
        health.clone().start("health.address", &config.health, &shutdown).await?;
        let (sender, queue) = shares::queue();
        let miners = Miners::default();
        let work = watch::Sender::new(None);
        let service = Service {
            settings: Arc::new(config.miner_settings()),
            seats: Seats::default(),
            work: work.subscribe(),
            shares: sender,
            miners: miners.clone(),
            shutdown: shutdown.clone(),
        };
        let (host, port) = config.upstream.host_and_port()?;
        let supervisor = Supervisor {
            settings: UpstreamSettings {
                host,
                port,
                authority: None,
                user_identity: config.upstream.user_identity.clone(),
                initial_hashrate: config.vardiff.initial_hashrate,
                share_answer_max: config.upstream.share_answer_max(),
                first_epoch: ChannelEpoch(0),
            },
            key: config.upstream.expected_key()?,
            address: config.upstream.address.clone(),
            work_without_upstream: config.upstream.work_without_upstream(),
            shares: queue,
            miners: miners.subscribe(),
            work,
            health,
        };
        let connections = usize::try_from(config.listen.connections_max).unwrap_or(usize::MAX);
        let gate = Gate::new(GateLimits::of_connections(connections), &Metrics::new("translator"));
        let serve = move |stream, peer, place| service.clone().serve(stream, peer, place);
        let accepting = listen::accept(listener, gate, shutdown.clone(), serve);
        // What the miners sent last still has to go up: the upstream ends after them.
        let miners_gone = CancellationToken::new();
        let accepting = async {
            accepting.await;
            miners_gone.cancel();
        };
        tokio::join!(accepting, supervisor.run(miners_gone.clone()));
        Ok(())
    }
}
