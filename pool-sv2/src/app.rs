//! Where the rooms meet: templates in, work out to all connections, shares to the ledger, blocks to
//! the providers.

use std::sync::Arc;
use std::time::Duration;

use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::template::{ChainTip, Template};
use service::authority::ExpectedKey;
use service::config::ConfigError;
use service::health::Health;
use service::program::{Failure, Server, say};
use service::{clock, listen};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use wire::sv2::keys::Sv2Url;

use crate::accounting::ledger::Ledger;
use crate::blocks::Solutions;
use crate::config::Config;
use crate::downstream::connection::Settings;
use crate::downstream::serve::Service;
use crate::payout::Payout;
use crate::shares;
use crate::template_receiver::choice::Choice;
use crate::template_receiver::session::Constraints;
use crate::template_receiver::supervise::{News, Supervisor, Update};
use crate::work::Work;

/// The neighbour's name in /health.
const PROVIDER: &str = "template_provider";
/// Updates that may wait to become work. A provider that finds it full waits.
const UPDATES_MAX: usize = 64;
/// Without news, the same template is sent again with a later nTime, for miners that take silence
/// for a dead pool (miner-clients rules 16 and 37).
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The pool as `main` sees it.
pub struct Pool;

impl Server for Pool {
    const NAME: &'static str = "pool-sv2";
    const ABOUT: &'static str = "Adit's Stratum V2 mining pool";
    const PREFIX: &'static str = "POOL_SV2";
    const HAS_AUTHORITY: bool = true;
    type Config = Config;

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        run(config, shutdown).await
    }
}

async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let authority = config.authority.open()?;
    let payout = Payout::from_config(&config.payout)?;
    let ledger = Ledger::open(&config.shares)?;
    let address = &config.listen.address;
    let cannot_listen =
        |error: std::io::Error| Failure::cannot_listen("listen.address", address, &error);
    let listener = listen::bind(address).await.map_err(cannot_listen)?;
    let local = listener.local_addr().map_err(cannot_listen)?;
    let health = Health::new(&[PROVIDER]);
    health.clone().start("health.address", &config.health, &shutdown).await?;
    let url = Sv2Url {
        host: local.ip().to_string(),
        port: local.port(),
        authority_key: Some(authority.public()),
    };
    say(format_args!("mining at {url}"));

    let (sender, queue) = shares::queue();
    let writer = tokio::task::spawn_blocking(move || ledger.run(queue));
    let (updates, incoming) = mpsc::channel(UPDATES_MAX);
    let solutions = Solutions::default();
    let settings = Arc::new(Settings {
        vardiff: config.vardiff.policy()?,
        limits: config.limits.clone(),
        extranonces: ExtranonceAllocator::default(),
    });
    let maker = WorkMaker {
        choice: Choice::new(config.template_provider.len()),
        work_without_provider: Duration::from_secs(config.limits.work_without_provider_seconds),
        served_until: None,
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
    let accepting = listen::accept(listener, connections, shutdown.clone(), serve);
    let providers = start_providers(&config, &maker.payout, &solutions, &updates, &shutdown)?;
    drop(updates);
    tokio::join!(accepting, maker.run(incoming, shutdown), providers);
    // Every connection is gone: the ledger writes what it has been given and ends.
    writer.await.map_err(|error| Failure::Internal(error.into()))
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

/// Turns templates into work.
struct WorkMaker {
    choice: Choice,
    /// How long miners keep their work without a provider.
    work_without_provider: Duration,
    /// When that is over, while there is none.
    served_until: Option<Instant>,
    payout: Payout,
    extranonces: ExtranonceAllocator,
    work: watch::Sender<Option<Arc<Work>>>,
    health: Health,
}

impl WorkMaker {
    async fn run(mut self, mut updates: mpsc::Receiver<Update>, shutdown: CancellationToken) {
        let mut keepalive = Instant::now() + KEEPALIVE;
        loop {
            let served_until = self.served_until;
            tokio::select! {
                () = shutdown.cancelled() => return,
                update = updates.recv() => match update {
                    Some(update) => self.take(update),
                    None => return,
                },
                () = sleep_until(keepalive) => self.repeat(),
                () = clock::until(served_until) => self.give_up(),
            }
            keepalive = Instant::now() + KEEPALIVE;
        }
    }

    /// No provider for too long: what miners do is worth nothing, and only a closed connection
    /// sends them to their next pool.
    fn give_up(&mut self) {
        self.served_until = None;
        warn!("no template provider for too long: miners are sent to their next pool");
        self.work.send_replace(None);
    }

    fn take(&mut self, update: Update) {
        let Update { provider, news } = update;
        let mineable = match news {
            News::Found => None,
            News::Lost(reason) => {
                let other = self.choice.lose(provider);
                if !self.choice.is_served() {
                    self.health.lost(PROVIDER, reason);
                    let bound = Instant::now() + self.work_without_provider;
                    self.served_until = self.served_until.or(Some(bound));
                }
                other
            }
            News::Template(mineable) => {
                self.health.found(PROVIDER, "it gives templates");
                self.served_until = None;
                self.choice.take(provider, mineable)
            }
        };
        if let Some((tip, template)) = mineable {
            self.publish(tip, template);
        }
    }

    fn publish(&self, tip: Arc<ChainTip>, template: Arc<Template>) {
        let before = self.work.borrow().as_ref().map(|work| Arc::clone(&work.job.tip));
        // The same block with another time frees no extranonce: its headers were paid.
        if before.as_ref().is_none_or(|before| before.hash != tip.hash) {
            self.extranonces.tip_moved();
        }
        if before.is_none_or(|before| before != tip) {
            let prev_hash = mining::hash::display(&tip.hash);
            info!(%prev_hash, height = template.height(), template = template.id, "new tip");
        } else {
            debug!(template = template.id, value = template.value_remaining, "new template");
        }
        let outputs = self.payout.outputs(template.value_remaining);
        match Job::new(tip, template, self.payout.tag(), &outputs) {
            Ok(job) => self.send(Arc::new(job)),
            Err(error) => error!(%error, "template not usable: miners keep the work before it"),
        }
    }

    /// The same job again, with a later nTime.
    fn repeat(&self) {
        let job = self.work.borrow().as_ref().map(|work| Arc::clone(&work.job));
        if let Some(job) = job {
            self.send(job);
        }
    }

    fn send(&self, job: Arc<Job>) {
        match Work::new(job, clock::unix_now_seconds(), clock::now()) {
            Ok(work) => drop(self.work.send_replace(Some(Arc::new(work)))),
            Err(error) => error!(%error, "template not usable: miners keep the work before it"),
        }
    }
}
