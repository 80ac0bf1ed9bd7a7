//! Starts the threads of the ledger, and shows how they stand in /health and /metrics.
//!
//! It decides nothing about shares; a store that does not work stands in nobody's way.

use std::time::{Duration, Instant};

use service::health::Health;
use service::metrics::{Gauge, Metrics};
use service::program::Failure;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::accounting::bookkeeper::Bookkeeper;
use crate::accounting::config::LedgerConfig;
use crate::accounting::feed::StoreState;
use crate::accounting::ledger::Ledger;
use crate::accounting::log::segment::DurableEnd;
use crate::accounting::webhook::Webhook;
use crate::accounting::webhook::config::Target;
use crate::shares::ShareQueue;

/// The ledger's name in /health; the providers have theirs in `providers`.
pub(super) const LEDGER: &str = "ledger";
/// The books'.
const BOOKS: &str = "books";
/// The webhook's.
const WEBHOOK: &str = "webhook";
/// The store's.
const STORE: &str = "store";
/// A store that lacks more records is behind.
const BEHIND_RECORDS: u64 = 1_000_000;
/// One that is behind or broken for longer makes /health answer 503: people look at old numbers.
const OVERDUE: Duration = Duration::from_secs(3_600);

/// The three threads.
pub(super) struct Bookkeeping {
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    feeder: JoinHandle<()>,
    teller: Option<JoinHandle<()>>,
}

impl Bookkeeping {
    /// Starts the one that writes the log, those that bring store and books up to it, and the one
    /// that tells of it, if anybody is to be told.
    pub(super) fn start(
        ledger: Ledger,
        queue: ShareQueue,
        keeper: Bookkeeper,
        webhook: Option<Target>,
        config: &LedgerConfig,
        health: &Health,
        metrics: &Metrics,
    ) -> Self {
        let (feeder, durable) = (config.feeder(), ledger.durable());
        let mut standing = Standing::new(health.clone(), metrics);
        let feeder = tokio::task::spawn_blocking(move || {
            feeder.run(&durable, &mut |state| standing.report(state));
        });
        let teller = webhook.map(|target| {
            let durable = ledger.durable();
            let end = *durable.borrow();
            start_teller(Webhook::new(target, config, end, metrics), durable, health)
        });
        let durable = ledger.durable();
        let (health, shown) = (health.clone(), health.clone());
        let report = move |kept: Result<(), String>| match kept {
            Ok(()) => shown.found(BOOKS, "kept"),
            Err(error) => shown.lost(BOOKS, error),
        };
        let keeper = tokio::task::spawn_blocking(move || keeper.run(&durable, &report));
        let report = move |written: Result<(), String>| match written {
            Ok(()) => health.found(LEDGER, "written"),
            Err(error) => health.lost(LEDGER, error),
        };
        let writer = tokio::task::spawn_blocking(move || ledger.run(queue, &report));
        Self { writer, keeper, feeder, teller }
    }

    /// Waits until all that was handed over is written; call it when nobody hands over any more.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.writer.await.map_err(|error| Failure::Internal(error.into()))?;
        self.keeper.await.map_err(|error| Failure::Internal(error.into()))?;
        if let Some(teller) = self.teller {
            teller.await.map_err(|error| Failure::Internal(error.into()))?;
        }
        self.feeder.await.map_err(|error| Failure::Internal(error.into()))
    }
}

/// Nobody waits for who is told: it is shown, and not missed.
fn start_teller(
    webhook: Webhook,
    durable: watch::Receiver<DurableEnd>,
    health: &Health,
) -> JoinHandle<()> {
    let (health, runtime) = (health.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        webhook.run(&durable, &runtime, &|told| match told {
            Ok(()) => health.found(WEBHOOK, "told"),
            Err(reason) => health.lost_spare(WEBHOOK, reason),
        });
    })
}

/// How the store stands, and since when it is not as it should be.
struct Standing {
    health: Health,
    lag: Gauge,
    broken: Gauge,
    well_at: Instant,
}

impl Standing {
    fn new(health: Health, metrics: &Metrics) -> Self {
        health.lost_spare(STORE, "not opened yet");
        let lag = metrics.gauge("store_lag_records", "Records of the log that the store lacks");
        let shown = lag.clone();
        health.shows("store_lag_records", move || Some(shown.get()));
        Self {
            health,
            lag,
            broken: metrics.gauge("store_broken", "1 while the store does not work"),
            well_at: Instant::now(),
        }
    }

    fn report(&mut self, state: StoreState) {
        match state {
            StoreState::Behind(records) => {
                self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
                self.broken.set(0);
                let detail = format!("{records} records behind the log");
                if records > BEHIND_RECORDS {
                    return self.not_well(detail);
                }
                self.well_at = Instant::now();
                // No number: what changes each second would wake who watches.
                self.health.found(STORE, "fed");
            }
            StoreState::Broken(why) => {
                self.broken.set(1);
                self.not_well(why);
            }
        }
    }

    fn not_well(&self, why: String) {
        match self.well_at.elapsed() > OVERDUE {
            true => self.health.lost(STORE, why),
            false => self.health.lost_spare(STORE, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_store_is_shown_at_once_and_missed_after_an_hour() {
        let (health, metrics) = (Health::new(&[]), Metrics::new("x"));
        let mut standing = Standing::new(health.clone(), &metrics);
        standing.report(StoreState::Behind(7));
        assert_eq!(health.shown(STORE), Some((true, "fed".to_owned())));
        assert!(metrics.text().contains("x_store_lag_records 7"), "{}", metrics.text());
        standing.report(StoreState::Broken("no room".to_owned()));
        assert_eq!(health.shown(STORE), Some((false, "no room".to_owned())));
        assert!(health.is_well(), "nobody waits for it yet");
        let Some(long_ago) = Instant::now().checked_sub(OVERDUE + Duration::from_secs(1)) else {
            return;
        };
        standing.well_at = long_ago;
        standing.report(StoreState::Behind(BEHIND_RECORDS + 1));
        assert!(!health.is_well());
        standing.report(StoreState::Behind(0));
        assert!(health.is_well() && metrics.text().contains("x_store_broken 0"));
    }
}
