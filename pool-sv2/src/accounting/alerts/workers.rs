//! Who has stopped sending shares, and who sends them again: by the store, which knows the last
//! share of each worker.
//!
//! Nobody is called offline for the time in which the pool itself could take no shares, or did not
//! know of them: it judges only what it has watched without a break. What was told is on disk, so
//! that a restart tells nothing twice. Whoever dies with all others is told of with all others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::words::{miner, span};
use crate::accounting::log::cursor::Place;
use crate::accounting::store::{Reader, Scope, StoreError};
use crate::accounting::whole_file::replace;

/// Workers that are looked at, and remembered: with more, the latest to fall silent.
const WORKERS_MAX: usize = 4_096;
/// Who is silent for longer has left: he is told of no more, nor when he comes back.
const FORGOTTEN_MS: u64 = 24 * 3_600 * 1_000;
/// A worker is watched that would have sent so many shares in the time: fewer may be bad luck.
const SHARES_EXPECTED_MIN: u64 = 10;
/// A clock that is so far off its way has jumped.
const JUMP: Duration = Duration::from_secs(30);
const HOUR_MS: u64 = 3_600_000;

/// A worker that sends nothing, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silent {
    pub(super) account: String,
    pub(super) worker: String,
    /// When his last share came before it, milliseconds since 1970.
    pub(super) last_ms: u64,
    /// For how long he was silent.
    pub(super) silent_ms: u64,
}

impl Silent {
    pub(super) fn offline_line(&self) -> String {
        let name = miner(&self.account, &self.worker);
        format!("{name}: no share for {}.", span(self.silent_ms))
    }

    pub(super) fn back_line(&self) -> String {
        let name = miner(&self.account, &self.worker);
        format!("{name}: back after {}.", span(self.silent_ms))
    }
}

/// What is not told yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct WorkerNews {
    pub(super) offline: Vec<Silent>,
    pub(super) back: Vec<Silent>,
}

impl WorkerNews {
    pub(super) fn is_empty(&self) -> bool {
        self.offline.is_empty() && self.back.is_empty()
    }

    pub(super) fn title(&self) -> Option<String> {
        match (self.offline.as_slice(), self.back.as_slice()) {
            ([], []) => None,
            ([one], []) => Some(format!("{} offline", miner(&one.account, &one.worker))),
            ([], [one]) => Some(format!("{} back", miner(&one.account, &one.worker))),
            ([], back) => Some(format!("{} workers back", back.len())),
            (offline, []) => Some(format!("{} workers offline", offline.len())),
            (offline, back) => {
                let workers = if offline.len() == 1 { "worker" } else { "workers" };
                Some(format!("{} {workers} offline, {} back", offline.len(), back.len()))
            }
        }
    }

    /// The account's page if it is about one, or else the first page.
    pub(super) fn link(&self, base: &str) -> String {
        let mut all = self.offline.iter().chain(&self.back);
        let first = all.next().map_or("", |silent| &*silent.account);
        let is_plain = |one: u8| one.is_ascii_alphanumeric() || b"-_.".contains(&one);
        match !first.is_empty() && first.bytes().all(is_plain) && all.all(|it| it.account == first)
        {
            true => format!("{base}/miners/{first}"),
            false => format!("{base}/"),
        }
    }
}

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Who fell silent before is not told of.
    since_ms: u64,
    /// Account, worker, and when his last share had come.
    offline: Vec<(String, String, u64)>,
}

/// A moment, and where the log ended then.
#[derive(Debug, Clone, Copy)]
struct Moment {
    ms: u64,
    place: Place,
}

/// The watch of one receiver.
pub(super) struct WorkerWatch {
    after_ms: u64,
    /// Empty: of all.
    accounts: Vec<String>,
    file: PathBuf,
    since_ms: u64,
    told: BTreeMap<(String, String), u64>,
    /// The pool can take shares since then, as far as was seen; wall clock and the other one.
    serving: Option<(u64, Instant)>,
    /// To be judged as soon as the store has all of it.
    pending: Option<Moment>,
}

impl WorkerWatch {
    /// Goes on from `file`, or begins anew at `now_ms`.
    pub(super) fn open(
        file: PathBuf,
        after: Duration,
        accounts: Vec<String>,
        now_ms: u64,
    ) -> io::Result<Self> {
        let told = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let what = format!("{error}; remove it to begin with what comes next");
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let told = Told { since_ms: now_ms, offline: Vec::new() };
                write(&file, &told)?;
                told
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            accounts,
            file,
            since_ms: told.since_ms,
            told: told.offline.into_iter().map(|(a, w, last_ms)| ((a, w), last_ms)).collect(),
            serving: None,
            pending: None,
        })
    }

    /// To be called each moment: whether the pool can take shares now. A clock that jumps is no
    /// silence either.
    pub(super) fn observe(&mut self, is_serving: bool, now_ms: u64, now: Instant) {
        if !is_serving {
            (self.serving, self.pending) = (None, None);
            return;
        }
        let (since_ms, since) = *self.serving.get_or_insert((now_ms, now));
        let passed_ms = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        let jump_ms = since_ms.saturating_add(passed_ms).abs_diff(now_ms);
        if Duration::from_millis(jump_ms) > JUMP {
            (self.serving, self.pending) = (Some((now_ms, now)), None);
        }
    }

    /// What there is to tell, by what the store knows; `end` is where the log ends now. None while
    /// nothing can be said.
    pub(super) fn look(
        &mut self,
        store: &impl Reader,
        node: u32,
        end: Place,
        now_ms: u64,
    ) -> Result<Option<WorkerNews>, StoreError> {
        let Some((serving_ms, _)) = self.serving else {
            return Ok(None);
        };
        let fed = store.next_place(node)?;
        let ready = self.pending.filter(|pending| pending.place <= fed);
        if self.pending.is_none() || ready.is_some() {
            self.pending = Some(Moment { ms: now_ms, place: end });
        }
        let judged = ready.filter(|at| at.ms.saturating_sub(self.after_ms) >= serving_ms);
        judged.map(|at| self.judge(store, at.ms)).transpose()
    }

    fn judge(&mut self, store: &impl Reader, at_ms: u64) -> Result<WorkerNews, StoreError> {
        let oldest_ms = at_ms.saturating_sub(FORGOTTEN_MS);
        self.told.retain(|_, last_ms| *last_ms >= oldest_ms);
        let mut news = WorkerNews::default();
        for ((account, worker), last_ms) in &self.told {
            let now_ms = store.total(Scope::Worker(account, worker))?.last_ms;
            if now_ms > *last_ms && at_ms.saturating_sub(now_ms) < self.after_ms {
                let (account, worker) = (account.clone(), worker.clone());
                let silent_ms = now_ms - last_ms;
                news.back.push(Silent { account, worker, last_ms: now_ms, silent_ms });
            }
        }
        let range = (oldest_ms.max(self.since_ms), at_ms.saturating_sub(self.after_ms));
        let count = u32::try_from(WORKERS_MAX).unwrap_or(u32::MAX);
        for silent in store.silent_workers(range.0, range.1, count)? {
            let is_wanted = self.accounts.is_empty() || self.accounts.contains(&silent.account);
            let expected = silent.shares_in_hour.saturating_mul(self.after_ms) / HOUR_MS;
            let key = (silent.account, silent.worker);
            if is_wanted && expected >= SHARES_EXPECTED_MIN && !self.told.contains_key(&key) {
                let ((account, worker), last_ms) = (key, silent.last_ms);
                let silent_ms = at_ms.saturating_sub(last_ms);
                news.offline.push(Silent { account, worker, last_ms, silent_ms });
            }
        }
        Ok(news)
    }

    /// All of it was told.
    pub(super) fn settle(&mut self, news: &WorkerNews) -> io::Result<()> {
        for silent in &news.back {
            self.told.remove(&(silent.account.clone(), silent.worker.clone()));
        }
        for silent in &news.offline {
            let key = (silent.account.clone(), silent.worker.clone());
            self.told.insert(key, silent.last_ms);
        }
        while self.told.len() > WORKERS_MAX {
            let oldest = self.told.iter().min_by_key(|(_, last_ms)| **last_ms);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.told.remove(&oldest);
        }
        let offline = self.told.iter();
        let offline = offline.map(|((a, w), last_ms)| (a.clone(), w.clone(), *last_ms)).collect();
        write(&self.file, &Told { since_ms: self.since_ms, offline })
    }
}

fn write(path: &Path, told: &Told) -> io::Result<()> {
    replace(path, &[&serde_json::to_vec(told)?])
}

#[cfg(test)]
mod tests;
