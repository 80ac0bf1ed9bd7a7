//! Where the rooms meet: templates in, work out to all connections, shares to the ledger, blocks to
//! the providers.

mod work_maker;

use std::sync::Arc;
use std::time::Duration;

use mining::extranonce::ExtranonceAllocator;
use service::authority::ExpectedKey;
use service::config::ConfigError;
use service::drop_in::DropIn;
use service::health::Health;
use service::program::{Failure, NoMore, Server, say};
use service::{clock, listen};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::sv2::keys::Sv2Url;

use crate::accounting::ledger::Ledger;
use crate::blocks::Solutions;
use crate::config::Config;
use crate::config::take_over::take_over;
use crate::downstream::connection::Settings;
use crate::downstream::serve::Service;
use crate::payout::Payout;
use crate::shares;
use crate::template_receiver::choice::Choice;
use crate::template_receiver::session::Constraints;
use crate::template_receiver::supervise::{Supervisor, Update};
use work_maker::WorkMaker;

/// The neighbours' names in /health.
const PROVIDER: &str = "template_provider";
const SHARE_LOG: &str = "share_log";
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
    type More = NoMore;

    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
        take_over(keys)
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        run(config, shutdown).await
    }

    fn more(none: NoMore) -> Result<(), Failure> {
        match none {}
    }
}

async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let authority = config.authority.open()?;
    let payout = Payout::from_config(&config.payout, instance())?;
    let address = &config.listen.address;
    let cannot_listen =
        |error: std::io::Error| Failure::cannot_listen("listen.address", address, &error);
    let listener = listen::bind(address).await.map_err(cannot_listen)?;
    let local = listener.local_addr().map_err(cannot_listen)?;
    // After the port: a second start is refused before it touches the log of the first.
    let ledger = Ledger::open(&config.shares)?;
    let health = Health::new(&[PROVIDER, SHARE_LOG]);
    health.clone().start("health.address", &config.health, &shutdown).await?;
    let url = Sv2Url {
        host: local.ip().to_string(),
        port: local.port(),
        authority_key: Some(authority.public()),
    };
    say(format_args!("mining at {url}"));

    let (sender, queue) = shares::queue();
    let writer_health = health.clone();
    let report = move |written: Result<(), String>| match written {
        Ok(()) => writer_health.found(SHARE_LOG, "written"),
        Err(error) => writer_health.lost(SHARE_LOG, error),
    };
    let writer = tokio::task::spawn_blocking(move || ledger.run(queue, &report));
    let (updates, incoming) = mpsc::channel(UPDATES_MAX);
    let solutions = Solutions::default();
    let settings = Arc::new(Settings {
        vardiff: config.vardiff.policy()?,
        limits: config.limits.clone(),
        extranonces: ExtranonceAllocator::new(config.limits.channels_max),
    });
    let maker = WorkMaker {
        choice: Choice::new(config.template_provider.len()),
        work_without_provider: Duration::from_secs(config.limits.work_without_provider_seconds),
        served_until: None,
        tip_epoch: 0,
        payout,
        extranonces: settings.extranonces.clone(),
        work: watch::Sender::new(None),
        health,
    };
    let service = Service {
        settings,
        authority,
        certificate_validity_seconds: config.authority.certificate_validity_seconds,
        work: maker.work.subscribe(),
        shares: sender,
        solutions: solutions.clone(),
        shutdown: shutdown.clone(),
    };
    let connections = config.limits.connections_max;
    let serve = move |stream, peer| service.clone().serve(stream, peer);
    // Providers stay until no miner is left that could find a block.
    let miners_gone = CancellationToken::new();
    let accepting = async {
        listen::accept(listener, connections, shutdown.clone(), serve).await;
        miners_gone.cancel();
    };
    let providers = start_providers(&config, &maker.payout, &solutions, &updates, &miners_gone)?;
    drop(updates);
    tokio::join!(accepting, maker.run(incoming, shutdown.clone()), providers);
    // Every connection is gone: the ledger writes what it has been given and ends.
    writer.await.map_err(|error| Failure::Internal(error.into()))
}

/// What makes the coinbases of this start of the pool its own.
fn instance() -> [u8; 4] {
    clock::fresh_seed().first_chunk().copied().unwrap_or_default()
}

/// Starts the one supervisor of each provider; the future ends with all of them.
fn start_providers(
    config: &Config,
    payout: &Payout,
    solutions: &Solutions,
    updates: &mpsc::Sender<Update>,
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
            solutions: solutions.clone(),
            updates: updates.clone(),
        };
        supervisors.spawn(supervisor.run(shutdown.clone()));
    }
    Ok(async move { while supervisors.join_next().await.is_some() {} })
}
