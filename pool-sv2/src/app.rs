//! Where the rooms meet: templates in, work out to all connections, shares to the ledger, blocks to
//! the providers.

mod alerting;
mod block_watch;
mod bookkeeping;
mod clerks;
pub mod command;
mod mined;
mod providers;
mod questions;
mod rates;
mod till;
mod wallet;
mod work_maker;
mod work_times;

use std::sync::Arc;
use std::time::Duration;

use mining::extranonce::ExtranonceAllocator;
use service::admin::Order;
use service::advice;
use service::authority::ExpectedKey;
use service::config::ConfigError;
use service::drop_in::DropIn;
use service::gate::Gate;
use service::health::Health;
use service::metrics::Metrics;
use service::program::{Failure, Server, say};
use service::{clock, listen};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;
use wire::sv2::keys::{AuthoritySecret, Sv2Url};

use crate::accounting::bookkeeper::{Beginning, Bookkeeper, Shelf, Sources};
use crate::accounting::ledger::Ledger;
use crate::accounting::webhook::config::WebhookConfig;
use crate::admin::{Admin, Till};
use crate::blocks::Solutions;
use crate::config::Config;
use crate::config::take_over::take_over;
use crate::downstream::close::LINGER;
use crate::downstream::connection::Settings;
use crate::downstream::drain::Drain;
use crate::downstream::limits::LimitCounts;
use crate::downstream::serve::Service;
use crate::payout::Payout;
use crate::roster::Roster;
use crate::shares;
use crate::template_receiver::choice::Choice;
use crate::template_receiver::session::Constraints;
use crate::template_receiver::supervise::{Supervisor, Update};
use crate::tip_reach::TipReach;
use crate::work::Work;
use block_watch::{NODE, SUBMITTED_MAX};
use bookkeeping::{Bookkeeping, LEDGER};
use clerks::{Clerks, Desk};
use command::Command;
use providers::Providers;
use questions::Open;
use till::{Pause, WalletTill};
use work_maker::WorkMaker;
use work_times::WorkTimes;

/// Updates that may wait to become work. A provider that finds it full waits.
const UPDATES_MAX: usize = 64;
/// The pool as `main` sees it.
pub struct Pool;

impl Server for Pool {
    const NAME: &'static str = "pool-sv2";
    const ABOUT: &'static str = "Adit's Stratum V2 mining pool";
    const PREFIX: &'static str = "POOL_SV2";
    const HAS_AUTHORITY: bool = true;
    type Config = Config;
    type More = Command;

    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
        take_over(keys)
    }

    /// Miners are told one after the other, and are served for a moment longer.
    fn farewell(config: &Config) -> Duration {
        config.drain.window() + LINGER
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    fn explain(config: &Config) -> Vec<String> {
        config.explain()
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        run(config, shutdown).await
    }

    fn more(command: Command) -> Result<(), Failure> {
        command::execute(&command)
    }
}

async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let authority = config.authority.open()?;
    let payout = Payout::from_config(&config.payout, instance())?;
    let payout = Arc::new(payout.clone().with_rooms(config.rooms(&payout)));
    let listeners = bind_all(&config).await?;
    // After the port: a second start is refused before it touches the log of the first.
    let metrics = Metrics::new("pool_sv2");
    let ledger = Ledger::open(&config.ledger, &metrics)?;
    let (keeper, shelf) = open_books(&config, &payout, &ledger)?;
    let (work, durable) = (watch::Sender::new(None), ledger.durable());
    let (roster, tip_reach) = (Roster::default(), TipReach::new(&metrics));
    let open = Open::new(&config, &payout, &listeners, &authority, &roster, &tip_reach);
    let health = health(&open, &metrics, &shelf, &work, &shutdown)?;
    health.clone().start("health.address", &config.health, &shutdown).await?;
    announce(&listeners, &authority)?;
    let (sender, queue) = shares::queue();
    let told = config.webhook.as_ref().map(WebhookConfig::target).transpose()?;
    let books = Bookkeeping::start(ledger, queue, keeper, told, &config.ledger, &health, &metrics);
    alerting::start(&config, &durable, &work, &health, &metrics)?;
    let (solutions, (updates, incoming)) = (Solutions::default(), mpsc::channel(UPDATES_MAX));
    let extranonces = ExtranonceAllocator::new(config.limits.channels_max);
    let settings = settings(&config, &payout, (&metrics, &tip_reach), &extranonces)?;
    info!(bytes = config.limits.session_bytes_max(), "most memory that one connection can take");
    let addresses = config.template_provider.iter().map(|provider| provider.address.clone());
    let maker = WorkMaker {
        choice: Choice::new(config.template_provider.len()),
        work_without_provider: Duration::from_secs(config.limits.work_without_provider_seconds),
        served_until: None,
        tip_epoch: 0,
        shelf: config.shares_blocks(&payout).then(|| shelf.clone()),
        payout,
        extranonces,
        work,
        providers: Providers::new(addresses, health.clone()),
    };
    let (submitted, hashes) = mpsc::channel(SUBMITTED_MAX);
    let (shares, work) = (sender.clone(), maker.work.subscribe());
    let gate = gate(&config, &metrics, &health);
    let (pause, till) = pause(&config, &shelf, &health);
    let desk = Desk { shelf, shares, durable, submitted: hashes, work, health, pause };
    let clerks = Clerks::new(&config, &maker.payout, desk)?;
    let (certificates, handshakes) =
        (config.authority.certificates(authority), config.limits.handshakes(&metrics));
    let drain = Arc::new(Drain::new(config.drain.window()));
    let service = |settings| Service {
        settings: Arc::new(settings),
        certificates: certificates.clone(),
        work: maker.work.subscribe(),
        shares: sender.clone(),
        solutions: solutions.clone(),
        handshakes: handshakes.clone(),
        shutdown: shutdown.clone(),
        drain: Arc::clone(&drain),
        roster: roster.clone(),
    };
    let ports: Vec<_> = listeners.into_iter().zip(settings.into_iter().map(service)).collect();
    drop(sender);
    open_admin(&config, (roster, gate.clone(), till), (&ports, &shutdown)).await?;
    // Work and providers stay until no miner is left that could find a block.
    let miners_gone = CancellationToken::new();
    let accepting = accept_all(ports, &gate, &miners_gone);
    let outlets = Outlets { solutions, submitted, updates };
    let providers = start_providers(&config, &maker.payout, &outlets, &miners_gone)?;
    drop(outlets);
    let making = maker.run(incoming, miners_gone.clone());
    let writing = clerks.run(miners_gone.clone());
    tokio::join!(accepting, making, providers, writing);
    // Every connection is gone: the ledger writes what it has been given and ends.
    books.finish().await
}

/// What holds payouts back, and how an operator sees them; none of it where no wallet pays.
fn pause(
    config: &Config,
    shelf: &Shelf,
    health: &Health,
) -> (Option<Pause>, Option<Box<dyn Till>>) {
    let Some(wallet) = &config.payout.wallet else {
        return (None, None);
    };
    let pause = Pause::new(&config.ledger.directory, health.clone());
    let (shelf, config) = (shelf.clone(), wallet.clone());
    let till = WalletTill { shelf, config, pause: pause.clone() };
    (Some(pause), Some(Box::new(till)))
}

/// Takes the operator's orders, if the settings want it.
async fn open_admin(
    config: &Config,
    (roster, gate, till): (Roster, Gate, Option<Box<dyn Till>>),
    (ports, shutdown): (&[(TcpListener, Service)], &CancellationToken),
) -> Result<(), Failure> {
    let Some(entry) = config.admin.entry()? else {
        return Ok(());
    };
    let ports = ports.iter().map(|(listener, _)| Ok(listener.local_addr()?.port()));
    let ports: std::io::Result<Vec<u16>> = ports.collect();
    let ports = ports.map_err(|error| Failure::Internal(error.into()))?;
    // Secrets are left out of every Debug.
    let settings = format!("{config:#?}\n");
    let admin = Admin { roster, gate, ports, till, settings };
    entry.open(Arc::new(move |order: &Order| admin.obey(order)), shutdown).await
}

/// Who lets connections in, and says how many there are.
fn gate(config: &Config, metrics: &Metrics, health: &Health) -> Gate {
    let gate = Gate::new(config.limits.gate(), metrics);
    let shown = gate.clone();
    health.shows("connections", move || Some(shown.connections()));
    gate
}

/// What people and monitors are shown.
fn health(
    open: &Open<'_>,
    metrics: &Metrics,
    shelf: &Shelf,
    work: &watch::Sender<Option<Arc<Work>>>,
    shutdown: &CancellationToken,
) -> Result<Health, Failure> {
    let health = Health::new(&neighbours(open.config)).with_metrics(metrics.clone());
    tokio::spawn(WorkTimes::new(metrics).shown_in(&health).follow(work.subscribe()));
    questions::shown(health, open, shelf, work.subscribe(), shutdown)
}

/// Reads the books from the log, for as long as that takes. Who pays balances must know them.
fn open_books(
    config: &Config,
    payout: &Payout,
    ledger: &Ledger,
) -> Result<(Bookkeeper, Shelf), Failure> {
    let sources = Sources::of(&config.ledger, payout.network());
    let pays_balances = config.shares_blocks(payout) || config.payout.wallet.is_some();
    let beginning = if pays_balances { Beginning::Needed } else { Beginning::NotNeeded };
    let end = *ledger.durable().borrow();
    let opened = Bookkeeper::open(&sources, beginning, end);
    opened.map_err(|error| {
        let error = ConfigError::unusable("ledger.directory", error.to_string());
        error.explained_by(advice::LEDGER_NOT_OPENED).into()
    })
}

/// Says where miners connect.
fn announce(listeners: &[TcpListener], authority: &AuthoritySecret) -> Result<(), Failure> {
    for listener in listeners {
        let local = listener.local_addr().map_err(|error| Failure::Internal(error.into()))?;
        let authority_key = Some(authority.public());
        let url = Sv2Url { host: local.ip().to_string(), port: local.port(), authority_key };
        say(format_args!("mining at {url}"));
    }
    Ok(())
}

async fn bind_all(config: &Config) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for (index, port) in config.listen.0.iter().enumerate() {
        let listener = listen::bind_for(&port.address, config.limits.connections_max).await;
        let field = format!("{}.address", config.listen.section(index));
        let listener =
            listener.map_err(|error| Failure::cannot_listen(&field, &port.address, &error))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves miners on all ports, by the rules of each, until the shutdown; cancels `miners_gone` when
/// the last one has left.
async fn accept_all(
    ports: Vec<(TcpListener, Service)>,
    gate: &Gate,
    miners_gone: &CancellationToken,
) {
    let mut accepting = tokio::task::JoinSet::new();
    for (listener, service) in ports {
        let connections_max = service.settings.limits.connections_max;
        let shutdown = service.shutdown.clone();
        let serve = move |stream, peer, place| service.clone().serve(stream, peer, place);
        let gate = gate.of_port(connections_max);
        accepting.spawn(listen::accept(listener, gate, shutdown, serve));
    }
    while accepting.join_next().await.is_some() {}
    miners_gone.cancel();
}

/// What all connections of a port have in common, port by port.
fn settings(
    config: &Config,
    payout: &Payout,
    (metrics, tip_reach): (&Metrics, &TipReach),
    extranonces: &ExtranonceAllocator,
) -> Result<Vec<Settings>, ConfigError> {
    let counts = LimitCounts::new(metrics);
    let ports = config.listen.0.iter().enumerate();
    let settings = ports.map(|(index, port)| {
        Ok(Settings {
            vardiff: port.vardiff(&config.vardiff).policy(&config.listen.section(index))?,
            user_min_difficulty: config.vardiff.user_min_difficulty.clone(),
            limits: port.limits(&config.limits),
            counts: counts.clone(),
            tip_reach: tip_reach.clone(),
            extranonces: extranonces.clone(),
            identities: payout.identities(port.payout, port.room(payout.room())),
            listener: u16::try_from(index).unwrap_or(u16::MAX),
            reconnect_to: config.drain.reconnect_to()?,
        })
    });
    settings.collect()
}

/// Whom /health knows.
fn neighbours(config: &Config) -> Vec<&'static str> {
    let providers = config.template_provider.len();
    let node = config.node.as_ref().map(|_| NODE);
    providers::NAMES.into_iter().take(providers).chain([LEDGER]).chain(node).collect()
}

/// What makes the coinbases of this start of the pool its own.
fn instance() -> [u8; 4] {
    clock::fresh_seed().first_chunk().copied().unwrap_or_default()
}

/// What passes between the pool and its template providers.
struct Outlets {
    solutions: Solutions,
    submitted: mpsc::Sender<[u8; 32]>,
    updates: mpsc::Sender<Update>,
}

/// Starts the one supervisor of each provider; the future ends with all of them.
fn start_providers(
    config: &Config,
    payout: &Payout,
    outlets: &Outlets,
    shutdown: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, ConfigError> {
    let keys: Result<Vec<ExpectedKey>, _> =
        config.template_provider.iter().map(|provider| provider.expected_key()).collect();
    let mut supervisors = tokio::task::JoinSet::new();
    for (provider, (settings, key)) in config.template_provider.iter().zip(keys?).enumerate() {
        let supervisor = Supervisor {
            provider,
            config: settings.clone(),
            key,
            constraints: Constraints {
                output_bytes_max: payout.reserved_bytes(),
                sigops_max: payout.reserved_sigops(),
            },
            solutions: outlets.solutions.clone(),
            submitted: outlets.submitted.clone(),
            updates: outlets.updates.clone(),
        };
        supervisors.spawn(supervisor.run(shutdown.clone()));
    }
    Ok(async move { while supervisors.join_next().await.is_some() {} })
}
