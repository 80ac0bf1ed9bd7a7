//! Who is connected, for people: what the pages and `list-miners` show.
//!
//! Nothing here decides anything, knows a protocol, or keeps a password. Sums are made when
//! somebody looks, so that a share costs no more than its own connection's entry.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::clock;

use crate::recent::Recent;

/// Workers of one connection that are shown.
const WORKERS_SHOWN_MAX: usize = 8;
/// With fewer accepted shares a hashrate is still the operator's guess, more or less.
const SHARES_MEASURED: u64 = 5;
/// Verdicts whose mean wait is shown of one connection.
pub const VERDICTS_SHOWN: usize = 8;

/// One connection, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinerShown {
    /// Where it comes from.
    pub address: String,
    /// Names that it authorized with, at most eight.
    pub workers: Vec<String>,
    /// Its software's name for itself.
    pub agent: String,
    /// Difficulty of the last share.
    pub difficulty: f64,
    /// Hashes per second, as its shares tell; before there are five, what it is taken to have.
    pub hashrate: f64,
    /// Shares that were answered with true.
    pub accepted: u64,
    /// Those of them that the upstream counts.
    pub accepted_by_upstream: u64,
    /// Shares that were refused, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// How long the last eight shares waited for the upstream's verdict, in milliseconds, on an
    /// average; none before the first.
    pub verdict_ms: Option<f64>,
    /// When it connected, in seconds since 1970.
    pub connected_at: u64,
    /// When its last share was accepted, in seconds since 1970; none before the first.
    pub last_share_at: Option<u64>,
    /// Bytes of the longest coinbase that its kind of device cannot hold.
    pub coinbase_too_long: Option<usize>,
}

impl MinerShown {
    /// Hashes per second, once its shares tell.
    pub fn measured_hashrate(&self) -> Option<f64> {
        (self.accepted >= SHARES_MEASURED).then_some(self.hashrate)
    }

    /// Shares that were refused.
    pub fn refused(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// True if a name or the address has `text` in it, in whichever case. `text` is in lower case.
    fn is_like(&self, text: &str) -> bool {
        let names = self.workers.iter().chain([&self.address, &self.agent]);
        names.into_iter().any(|name| name.to_lowercase().contains(text))
    }
}

/// Shares since the register began, those of connections that are gone among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shares {
    /// Answered with true.
    pub accepted: u64,
    /// Those of them that the upstream counts.
    pub by_upstream: u64,
    /// Refused, by reason.
    pub rejected: BTreeMap<String, u64>,
}

impl Shares {
    fn add(&mut self, shown: &MinerShown) {
        self.accepted += shown.accepted;
        self.by_upstream += shown.accepted_by_upstream;
        for (reason, count) in &shown.rejected {
            match self.rejected.get_mut(reason) {
                Some(sum) => *sum += count,
                None => drop(self.rejected.insert(reason.clone(), *count)),
            }
        }
    }

    /// Refused, for whatever reason.
    pub fn refused(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// All connections together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// Connections.
    pub connections: usize,
    /// Those that have authorized a worker.
    pub miners: usize,
    /// Hashes per second of those of which it is known.
    pub hashrate: f64,
    /// Those whose kind cannot hold the coinbase that they were sent, by kind.
    pub too_long: BTreeMap<&'static str, TooLong>,
    /// Shares.
    pub shares: Shares,
}

/// Miners of one kind that cannot hold the coinbase that they were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TooLong {
    /// How many.
    pub miners: usize,
    /// Bytes of the longest coinbase.
    pub bytes: usize,
    /// Bytes that the kind can hold.
    pub bytes_max: usize,
}

/// Some connections, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The connections.
    pub miners: Vec<MinerShown>,
    /// The number of the last one, if there are further ones.
    pub next: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    shown: MinerShown,
    waits: Recent<VERDICTS_SHOWN>,
    /// The kind that cannot hold the coinbase, and the bytes that it can.
    kind: (&'static str, usize),
}

/// All connections. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    entries: BTreeMap<u64, Arc<Mutex<Entry>>>,
    /// Of connections that are gone.
    gone: Shares,
}

/// One connection's entry; it is taken out when this is dropped.
#[derive(Debug)]
pub struct Registered {
    register: Register,
    number: u64,
    entry: Arc<Mutex<Entry>>,
}

impl Register {
    /// Enters a connection from `peer`.
    pub fn enter(&self, peer: SocketAddr) -> Registered {
        let shown = MinerShown {
            address: peer.to_string(),
            connected_at: clock::unix_now_seconds().into(),
            ..MinerShown::default()
        };
        let entry = Entry { shown, waits: Recent::default(), kind: ("", 0) };
        let entry = Arc::new(Mutex::new(entry));
        let mut all = lock(&self.0);
        let number = all.next;
        all.next = number.wrapping_add(1);
        all.entries.insert(number, Arc::clone(&entry));
        Registered { register: self.clone(), number, entry }
    }

    /// All connections in the order in which they came.
    pub fn shown(&self) -> Vec<MinerShown> {
        self.entries_after(None).map(|(_, entry)| lock(&entry).shown()).collect()
    }

    /// At most `count` connections that came after the one with the number `after`, and whose names
    /// or address have `text` in them; an empty one is in all.
    pub fn page(&self, after: Option<u64>, text: &str, count: usize) -> Page {
        let (text, mut page, mut last) = (text.to_lowercase(), Page::default(), None);
        for (number, entry) in self.entries_after(after) {
            let entry = lock(&entry);
            if !entry.shown.is_like(&text) {
                continue;
            }
            if page.miners.len() == count {
                page.next = last;
                break;
            }
            page.miners.push(entry.shown());
            last = Some(number);
        }
        page
    }

    /// All connections added up.
    pub fn sums(&self) -> Sums {
        // Together, so that none of them is counted twice, or not at all.
        let all = lock(&self.0);
        let mut sums = Sums { shares: all.gone.clone(), ..Sums::default() };
        for entry in all.entries.values() {
            let Entry { shown, kind, .. } = &*lock(entry);
            sums.connections += 1;
            sums.miners += usize::from(!shown.workers.is_empty());
            sums.hashrate += shown.measured_hashrate().unwrap_or_default();
            if let Some(bytes) = shown.coinbase_too_long {
                let (name, bytes_max) = *kind;
                let sum = sums.too_long.entry(name).or_default();
                let (miners, bytes) = (sum.miners + 1, bytes.max(sum.bytes));
                *sum = TooLong { miners, bytes, bytes_max };
            }
            sums.shares.add(shown);
        }
        sums
    }

    fn entries_after(&self, after: Option<u64>) -> impl Iterator<Item = (u64, Arc<Mutex<Entry>>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = lock(&self.0);
        let range = all.entries.range((start, Bound::Unbounded));
        let entries: Vec<_> = range.map(|(number, entry)| (*number, Arc::clone(entry))).collect();
        entries.into_iter()
    }
}

impl Entry {
    fn shown(&self) -> MinerShown {
        let verdict_ms = self.waits.mean().map(|mean| mean.as_secs_f64() * 1_000.0);
        MinerShown { verdict_ms, ..self.shown.clone() }
    }
}

impl Registered {
    /// A worker may submit shares.
    pub fn authorized(&self, worker: &str, agent: &str) {
        let mut entry = lock(&self.entry);
        agent.clone_into(&mut entry.shown.agent);
        if entry.shown.workers.len() < WORKERS_SHOWN_MAX {
            entry.shown.workers.push(worker.to_owned());
        }
    }

    /// It says what it is.
    pub fn named(&self, agent: &str) {
        agent.clone_into(&mut lock(&self.entry).shown.agent);
    }

    /// What its hashrate is taken to be, in hashes per second.
    pub fn hashrate(&self, hashrate: f64) {
        lock(&self.entry).shown.hashrate = hashrate;
    }

    /// It was told a difficulty.
    pub fn difficulty(&self, difficulty: f64) {
        lock(&self.entry).shown.difficulty = difficulty;
    }

    /// It was sent so many bytes of coinbase, and is of a kind, with its name and what it can hold,
    /// that cannot.
    pub fn too_long(&self, kind: (&'static str, usize), bytes: usize) {
        let mut entry = lock(&self.entry);
        (entry.kind, entry.shown.coinbase_too_long) = (kind, Some(bytes));
    }

    /// A share was answered with true, by the upstream or here.
    pub fn accepted(&self, is_upstreams: bool) {
        let mut entry = lock(&self.entry);
        entry.shown.accepted += 1;
        entry.shown.accepted_by_upstream += u64::from(is_upstreams);
        entry.shown.last_share_at = Some(clock::unix_now_seconds().into());
    }

    /// A share was refused.
    pub fn refused(&self, reason: &str) {
        lock(&self.entry).refuse(reason);
    }

    /// The upstream counts a share that was answered with true before.
    pub fn confirmed(&self) {
        lock(&self.entry).shown.accepted_by_upstream += 1;
    }

    /// The upstream refused a share that was answered with true before.
    pub fn refused_late(&self, reason: &str) {
        let mut entry = lock(&self.entry);
        entry.shown.accepted = entry.shown.accepted.saturating_sub(1);
        entry.refuse(reason);
    }

    /// The upstream's verdict on a share took so long.
    pub fn waited(&self, wait: Duration) {
        lock(&self.entry).waits.push(wait);
    }
}

impl Entry {
    fn refuse(&mut self, reason: &str) {
        *self.shown.rejected.entry(reason.to_owned()).or_default() += 1;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = lock(&self.register.0);
        all.entries.remove(&self.number);
        all.gone.add(&lock(&self.entry).shown);
    }
}

/// A panic while it was held would leave whole values behind: the lock is taken all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Registered {
    /// Leaves the entry as a panic would that came while it was held.
    pub(crate) fn poison(&self) {
        let entry = Arc::clone(&self.entry);
        let panicked = std::thread::spawn(move || {
            let _held = lock(&entry);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.join().is_err() && self.entry.is_poisoned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(register: &Register, address: &str) -> Registered {
        register.enter(address.parse().unwrap())
    }

    #[test]
    fn a_connection_is_shown_with_what_it_did_until_it_ends() {
        let register = Register::default();
        let entry = entered(&register, "10.0.0.7:4028");
        entry.authorized("a.b", "x/1");
        entry.hashrate(5e12);
        entry.difficulty(64.0);
        entry.accepted(true);
        entry.accepted(false);
        entry.refused("upstream_lost");
        for wait_ms in [4, 8] {
            entry.waited(Duration::from_millis(wait_ms));
        }
        let [shown] = &register.shown()[..] else { panic!("one connection") };
        assert_eq!((shown.address.as_str(), shown.agent.as_str()), ("10.0.0.7:4028", "x/1"));
        assert_eq!((shown.accepted, shown.hashrate, shown.difficulty), (2, 5e12, 64.0));
        assert_eq!((shown.accepted_by_upstream, shown.verdict_ms), (1, Some(6.0)));
        assert_eq!(shown.rejected.get("upstream_lost"), Some(&1));
        drop(entry);
        assert!(register.shown().is_empty());
    }

    #[test]
    fn sums_keep_the_shares_of_those_who_are_gone() {
        let register = Register::default();
        let (first, second) = (entered(&register, "10.0.0.7:1"), entered(&register, "10.0.0.8:1"));
        first.authorized("a", "");
        first.hashrate(5e12);
        (0..5).for_each(|_| first.accepted(true));
        first.refused("stale");
        second.hashrate(7e12);
        second.accepted(false);
        second.refused_late("stale");
        second.too_long(("nerdminer", 255), 300);
        let sums = register.sums();
        assert_eq!((sums.connections, sums.miners), (2, 1));
        assert_eq!(sums.hashrate, 5e12, "without five shares it is the operator's guess");
        let too_long = TooLong { miners: 1, bytes: 300, bytes_max: 255 };
        assert_eq!(sums.too_long.get("nerdminer"), Some(&too_long));
        assert_eq!((sums.shares.accepted, sums.shares.by_upstream), (5, 5));
        let shares = sums.shares;
        assert_eq!(shares.rejected, BTreeMap::from([("stale".to_owned(), 2)]));
        drop((first, second));
        assert_eq!(register.sums(), Sums { shares, ..Sums::default() });
    }

    #[test]
    fn ten_thousand_connections_are_shown_page_by_page() {
        let register = Register::default();
        let entries: Vec<_> = (0..10_000_u16)
            .map(|port| {
                let entry = entered(&register, &format!("10.0.0.7:{port}"));
                entry.authorized(if port % 1_000 == 7 { "Rare.x" } else { "farm.x" }, "");
                entry
            })
            .collect();
        let (mut seen, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let page = register.page(after, "", 50);
            assert!(page.miners.len() <= 50);
            seen.extend(page.miners.into_iter().map(|shown| shown.address));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, 200);
        assert!(seen.iter().enumerate().all(|(at, it)| *it == format!("10.0.0.7:{at}")));
        let found = register.page(None, "rARE", 8);
        assert_eq!((found.miners.len(), found.next), (8, Some(7_007)));
        assert_eq!(register.page(found.next, "rARE", 8).miners.len(), 2);
        assert_eq!(register.page(None, "nobody", 50), Page::default());
        drop(entries);
    }
}
