//! Where the rooms meet: work from the upstream to all miners, shares from them to the upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use service::config::ConfigError;
use service::drop_in::DropIn;
use service::gate::Gate;
use service::handshake::Handshakes;
use service::health::Health;
use service::listen;
use service::metrics::Metrics;
use service::program::{Failure, Server, say};
use service::site::Site;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::extranonce::Seats;
use crate::command::{self, Command};
use crate::config::Config;
use crate::config::take_over::take_over;
use crate::dashboard::Dashboard;
use crate::downstream::counts::Counts;
use crate::downstream::serve::Service;
use crate::downstream::tls::{HANDSHAKE_MAX, Tls};
use crate::miners::Miners;
use crate::pools::Pools;
use crate::register::Register;
use crate::status::StatusFiles;
use crate::teams::Teams;
use crate::upstream::supervise::{NAMES, Supervisor};

/// The translator as `main` sees it.
pub struct Translator;

impl Server for Translator {
    const NAME: &'static str = "translator-v1";
    const ABOUT: &'static str =
        "Adit's translator: Stratum V1 miners in, one Stratum V2 channel out";
    const PREFIX: &'static str = "TRANSLATOR_V1";
    const HAS_AUTHORITY: bool = false;
    type Config = Config;
    type More = Command;

    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
        take_over(keys)
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    fn explain(config: &Config) -> Vec<String> {
        config.explain()
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        let bound = Bound::new(config).await?;
        say(format_args!("mining at stratum+tcp://{}", bound.address));
        if let Some(address) = bound.tls_address {
            say(format_args!("mining at stratum+ssl://{address}"));
        }
        bound.run(shutdown).await
    }

    fn more(command: Command) -> Result<(), Failure> {
        command::execute(command)
    }
}

/// A translator whose ports are taken and that serves nobody yet.
pub struct Bound {
    config: Config,
    listener: TcpListener,
    tls: Option<(TcpListener, Tls)>,
    /// Where miners connect.
    pub address: SocketAddr,
    /// Where they connect with TLS.
    pub tls_address: Option<SocketAddr>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Bound {
    /// Takes the ports.
    pub async fn new(config: Config) -> Result<Self, Failure> {
        let connections_max = config.listen.connections_max;
        let (listener, address) =
            bind("listen.address", &config.listen.address, connections_max).await?;
        let (mut tls, mut tls_address) = (None, None);
        if let Some(settings) = &config.tls {
            let (listener, address) =
                bind("tls.address", &settings.address, connections_max).await?;
            tls = Some((listener, settings.read()?));
            tls_address = Some(address);
        }
        let metrics = Metrics::new("translator");
        Ok(Self { config, listener, tls, address, tls_address, metrics })
    }

    /// Serves until `shutdown`; then the miners go first, and the upstream when it has all shares.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Failure> {
        let Self { config, listener, tls, metrics, .. } = self;
        let upstreams = config.upstreams()?;
        let names = NAMES.get(..upstreams.len()).unwrap_or(&NAMES);
        let health = Health::new(names).with_metrics(metrics.clone());
        let register = Register::default();
        let addresses = upstreams.iter().map(|place| place.address.clone());
        let pools = Pools::new(names, addresses);
        let channels = config.upstream.channels.in_words();
        let files = StatusFiles { register: register.clone(), pools: pools.clone(), channels };
        with_pages(&health, &files).start("health.address", &config.health, &shutdown).await?;
        let (miners, teams) = (Miners::default(), Teams::new(config.upstream.channels));
        let work = watch::Sender::new(None);
        let service = Service {
            settings: Arc::new(config.miner_settings()),
            seats: Seats::default(),
            work: work.subscribe(),
            miners: miners.clone(),
            teams: teams.clone(),
            register,
            counts: Counts::new(&metrics),
            handshakes: Handshakes::new(Handshakes::usual_at_once(), HANDSHAKE_MAX, &metrics),
            elsewhere: config.shutdown.elsewhere()?,
            shutdown: shutdown.clone(),
        };
        let supervisor = Supervisor {
            upstreams,
            work_without_upstream: config.upstream.work_without_upstream(),
            return_after: config.upstream.return_after(),
            miners: miners.subscribe(),
            teams,
            work,
            health,
            pools,
            metrics: metrics.clone(),
        };
        let gate = Gate::new(config.limits.gate(config.listen.connections_max), &metrics);
        let accepting = accept(service, gate, listener, tls, shutdown);
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

/// Accepts miners on both ports until `shutdown`, and ends when the last one is gone.
async fn accept(
    service: Service,
    gate: Gate,
    listener: TcpListener,
    tls: Option<(TcpListener, Tls)>,
    shutdown: CancellationToken,
) {
    let (plain, plain_gate) = (service.clone(), gate.clone());
    let serve = move |stream, peer, place| plain.clone().serve(stream, peer, place);
    let plain = listen::accept(listener, plain_gate, shutdown.clone(), serve);
    let Some((listener, tls)) = tls else {
        return plain.await;
    };
    let serve =
        move |stream, peer, place| service.clone().serve_tls(tls.clone(), stream, peer, place);
    tokio::join!(plain, listen::accept(listener, gate, shutdown, serve));
}

async fn bind(
    field: &str,
    address: &str,
    connections_max: u32,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let cannot = |error: std::io::Error| Failure::cannot_listen(field, address, &error);
    let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
    let listener = listen::bind_for(address, connections_max).await.map_err(cannot)?;
    let local = listener.local_addr().map_err(cannot)?;
    Ok((listener, local))
}

/// What people and programs are shown, beside /health.
fn with_pages(health: &Health, files: &StatusFiles) -> Health {
    let StatusFiles { register, pools, channels } = files.clone();
    let (status, miners) = (files.clone(), files.clone());
    let dashboard = Dashboard::new(register, pools, channels);
    health
        .clone()
        .with_page("/status.json", "application/json", move || status.status_json())
        .with_page("/miners.json", "application/json", move || miners.miners_json())
        .with_site(Site::new(Arc::new(dashboard)))
}
