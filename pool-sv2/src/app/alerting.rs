//! Starts the threads that tell people, and shows how they stand in /health.
//!
//! Nobody waits for them, not at the end either: what was not told is told by the next start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use service::config::ConfigError;
use service::health::Health;
use service::metrics::Metrics;
use tokio::sync::watch;

use super::bookkeeping::LEDGER;
use crate::accounting::alerts::{AlertCounts, Alerts};
use crate::accounting::log::segment::DurableEnd;
use crate::config::Config;
use crate::work::Work;

/// Their name in /health.
const ALERTS: &str = "alerts";

/// Starts one thread for each receiver of the settings.
pub(super) fn start(
    config: &Config,
    durable: &watch::Receiver<DurableEnd>,
    work: &watch::Sender<Option<Arc<Work>>>,
    health: &Health,
    metrics: &Metrics,
) -> Result<(), ConfigError> {
    let receivers = config.alerts.receivers()?;
    if receivers.is_empty() {
        return Ok(());
    }
    let counts = AlertCounts::new(metrics);
    let wording = config.alerts.wording(&config.coin, config.payout.network.name());
    let standing = Standing::new(health.clone());
    for receiver in receivers {
        let (name, standing) = (receiver.name.clone(), standing.clone());
        let (durable, work) = (durable.clone(), work.subscribe());
        let end = *durable.borrow();
        let alerts = Alerts::new(receiver, wording.clone(), &config.ledger, end, counts.clone());
        let health = health.clone();
        tokio::task::spawn_blocking(move || {
            let is_written = || health.shown(LEDGER).is_none_or(|(is_up, _)| is_up);
            let is_serving = || work.borrow().is_some() && is_written();
            alerts.run(&durable, &is_serving, &|told| standing.report(&name, told));
        });
    }
    Ok(())
}

/// Who is not reached, and why: shown, and not missed.
#[derive(Clone)]
struct Standing {
    health: Health,
    failing: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Standing {
    fn new(health: Health) -> Self {
        Self { health, failing: Arc::default() }
    }

    fn report(&self, name: &str, told: Result<(), String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Ok(()) => drop(failing.remove(name)),
            Err(reason) => drop(failing.insert(name.to_owned(), reason)),
        }
        let all: Vec<_> =
            failing.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        match all.is_empty() {
            true => self.health.found(ALERTS, "told"),
            false => self.health.lost_spare(ALERTS, all.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_reached_is_named_until_all_are_and_nobody_waits_for_them() {
        let health = Health::new(&[]);
        let standing = Standing::new(health.clone());
        standing.report("phone", Ok(()));
        standing.report("mail", Err("HTTP 401".to_owned()));
        standing.report("phone", Err("no answer".to_owned()));
        let shown = "mail: HTTP 401; phone: no answer".to_owned();
        assert_eq!(health.shown(ALERTS), Some((false, shown)));
        assert!(health.is_well());
        standing.report("mail", Ok(()));
        standing.report("phone", Ok(()));
        assert_eq!(health.shown(ALERTS), Some((true, "told".to_owned())));
    }
}
