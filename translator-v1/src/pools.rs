//! Which upstreams there are and how they do, for people. Nothing here decides anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use service::clock;

use crate::recent::Recent;

/// Verdicts whose mean wait is shown of one upstream.
pub const VERDICTS_SHOWN: usize = 64;

/// What an upstream is good for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolState {
    /// Nothing.
    #[default]
    Gone,
    /// It gives work that nobody mines.
    Ready,
    /// It is mined on.
    MinedOn,
}

/// One upstream, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolShown {
    /// Its name in /health.
    pub name: &'static str,
    /// `HOST:PORT`.
    pub address: String,
    /// Whether it gives work: mined on or ready.
    pub up: bool,
    /// What it is good for.
    pub state: PoolState,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why it is gone, or what else is to be known of it; mostly nothing.
    pub detail: String,
    /// How long the last 64 shares waited for its verdict, in milliseconds, on an average; none
    /// before the first.
    pub verdict_ms: Option<f64>,
    /// Connections to it that ended since the start.
    pub lost: u64,
}

#[derive(Debug)]
struct Pool {
    shown: PoolShown,
    waits: Recent<VERDICTS_SHOWN>,
}

/// All upstreams, best first. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Pools(Arc<[Mutex<Pool>]>);

impl Pools {
    /// None of them was reached yet.
    pub fn new(names: &[&'static str], addresses: impl IntoIterator<Item = String>) -> Self {
        let since_ms = clock::unix_now_milliseconds();
        let pools = names.iter().zip(addresses).map(|(name, address)| {
            let shown = PoolShown {
                name,
                address,
                up: false,
                state: PoolState::Gone,
                since_ms,
                detail: "not reached yet".to_owned(),
                verdict_ms: None,
                lost: 0,
            };
            Mutex::new(Pool { shown, waits: Recent::default() })
        });
        Self(pools.collect())
    }

    /// How they are.
    pub fn shown(&self) -> Vec<PoolShown> {
        let shown = |pool: &Mutex<Pool>| {
            let pool = lock(pool);
            let verdict_ms = pool.waits.mean().map(|mean| mean.as_secs_f64() * 1_000.0);
            PoolShown { verdict_ms, ..pool.shown.clone() }
        };
        self.0.iter().map(shown).collect()
    }

    /// The upstream is good for that, or gone for that reason.
    pub fn set(&self, index: usize, state: PoolState, detail: &str) {
        let Some(mut pool) = self.0.get(index).map(lock) else { return };
        if pool.shown.state != state {
            pool.shown.since_ms = clock::unix_now_milliseconds();
        }
        (pool.shown.state, pool.shown.up) = (state, state != PoolState::Gone);
        detail.clone_into(&mut pool.shown.detail);
    }

    /// A connection to it has ended.
    pub fn count_loss(&self, index: usize) {
        if let Some(pool) = self.0.get(index) {
            lock(pool).shown.lost += 1;
        }
    }

    /// Its verdict on a share took so long.
    pub fn waited(&self, index: usize, wait: Duration) {
        if let Some(pool) = self.0.get(index) {
            lock(pool).waits.push(wait);
        }
    }
}

/// A panic while it was held would leave whole values behind: the lock is taken all the same.
fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_shown_as_it_is_now_with_its_last_verdicts() {
        let addresses = ["a:1", "b:2"].map(str::to_owned);
        let pools = Pools::new(&["upstream", "upstream 2"], addresses);
        pools.set(0, PoolState::MinedOn, "");
        pools.set(1, PoolState::Gone, "refused");
        pools.waited(0, Duration::from_millis(3));
        pools.count_loss(1);
        let [first, second] = &pools.shown()[..] else { panic!("two") };
        assert_eq!((first.up, first.verdict_ms, first.lost), (true, Some(3.0), 0));
        assert_eq!((second.up, second.detail.as_str(), second.lost), (false, "refused", 1));
        let json = serde_json::to_value(first).unwrap();
        assert_eq!(json["state"], "mined_on");
        // One that is not there changes nothing.
        pools.set(2, PoolState::Ready, "");
        assert_eq!(pools.shown().len(), 2);
    }
}
