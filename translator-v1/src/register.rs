//! Who is connected, for people: what the status page and `list-miners` show.
//!
//! Nothing here decides anything, and no password is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use service::clock;

use crate::downstream::Event;

/// Workers of one connection that are shown.
const WORKERS_SHOWN_MAX: usize = 8;

/// One connection, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerShown {
    /// Where it comes from.
    pub address: String,
    /// Names that it authorized with, at most eight.
    pub workers: Vec<String>,
    /// Its software's name for itself.
    pub agent: String,
    /// Difficulty of the last share.
    pub difficulty: f64,
    /// Hashes per second, as its shares tell.
    pub hashrate: f64,
    /// Shares that were answered with true.
    pub accepted: u64,
    /// Shares that were refused, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// When it connected, in seconds since 1970.
    pub connected_at: u64,
    /// When its last share was accepted, in seconds since 1970; none before the first.
    pub last_share_at: Option<u64>,
    /// Bytes of the longest coinbase that its kind of device cannot hold.
    pub coinbase_too_long: Option<usize>,
}

type Entry = Arc<Mutex<MinerShown>>;

/// All connections. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

/// One connection's entry; it is taken out when this is dropped.
#[derive(Debug)]
pub struct Registered {
    register: Register,
    number: u64,
    entry: Entry,
}

impl Register {
    /// Enters a connection from `peer`.
    pub fn enter(&self, peer: SocketAddr) -> Registered {
        let entry = Arc::new(Mutex::new(MinerShown {
            address: peer.to_string(),
            workers: Vec::new(),
            agent: String::new(),
            difficulty: 0.0,
            hashrate: 0.0,
            accepted: 0,
            rejected: BTreeMap::new(),
            connected_at: clock::unix_now_seconds().into(),
            last_share_at: None,
            coinbase_too_long: None,
        }));
        let mut all = lock(&self.0);
        let number = all.next;
        all.next = number.wrapping_add(1);
        all.entries.insert(number, Arc::clone(&entry));
        Registered { register: self.clone(), number, entry }
    }

    /// All connections in the order in which they came.
    pub fn shown(&self) -> Vec<MinerShown> {
        let entries: Vec<_> = lock(&self.0).entries.values().cloned().collect();
        entries.iter().map(|entry| lock(entry).clone()).collect()
    }
}

impl Registered {
    /// Notes what a session tells.
    pub fn note(&self, event: &Event) {
        let mut shown = lock(&self.entry);
        match event {
            Event::Authorized { worker, agent } => {
                shown.agent = agent.to_string();
                if shown.workers.len() < WORKERS_SHOWN_MAX {
                    shown.workers.push(worker.to_string());
                }
            }
            Event::Named { agent } => shown.agent = agent.to_string(),
            Event::Hashrate(hashrate) => shown.hashrate = *hashrate,
            Event::Difficulty(difficulty) => shown.difficulty = *difficulty,
            Event::CoinbaseTooLong { bytes, .. } => shown.coinbase_too_long = Some(*bytes),
            Event::Answered { answer: Ok(()), .. } => {
                shown.accepted += 1;
                shown.last_share_at = Some(clock::unix_now_seconds().into());
            }
            Event::Answered { answer: Err(error), .. } => {
                *shown.rejected.entry(error.reason().to_owned()).or_default() += 1;
            }
            // It was counted as accepted when it was answered.
            Event::LateVerdict { outcome: Err(error) } => {
                shown.accepted = shown.accepted.saturating_sub(1);
                *shown.rejected.entry(error.reason().to_owned()).or_default() += 1;
            }
            Event::LateVerdict { outcome: Ok(()) }
            | Event::Resumed
            | Event::SlowedDown
            | Event::Submit { .. }
            | Event::SubmitBlock { .. }
            | Event::BlockFound { .. } => {}
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.register.0).entries.remove(&self.number);
    }
}

/// A panic while it was held would leave whole values behind: the lock is taken all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::submit::ShareError;

    #[test]
    fn a_connection_is_shown_with_what_it_did_until_it_ends() {
        let register = Register::default();
        let entry = register.enter("10.0.0.7:4028".parse().unwrap());
        entry.note(&Event::Authorized { worker: "a.b".into(), agent: "x/1".into() });
        entry.note(&Event::Hashrate(5e12));
        entry.note(&Event::Difficulty(64.0));
        for answer in [Ok(()), Ok(()), Err(ShareError::upstream_lost())] {
            let (worker, difficulty, is_upstreams) = ("a.b".into(), 64.0, true);
            entry.note(&Event::Answered { worker, difficulty, is_upstreams, answer });
        }
        let [shown] = &register.shown()[..] else { panic!("one connection") };
        assert_eq!((shown.address.as_str(), shown.agent.as_str()), ("10.0.0.7:4028", "x/1"));
        assert_eq!((shown.accepted, shown.hashrate, shown.difficulty), (2, 5e12, 64.0));
        assert_eq!(shown.rejected.get("upstream_lost"), Some(&1));
        drop(entry);
        assert!(register.shown().is_empty());
    }
}
