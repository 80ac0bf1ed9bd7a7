//! A small farm in virtual time: its shares go into a real log, and from there into a real store.

use std::sync::Arc;

use mining::target::Hashes;

use super::*;
use crate::accounting::config::LedgerConfig;
use crate::accounting::log::disk::Folder;
use crate::accounting::log::recover::end_place;
use crate::accounting::log::writer::{LogSettings, LogWriter};
use crate::accounting::store::sqlite::SqliteReader;
use crate::shares::{Earner, ShareRecord};

const START_MS: u64 = 1_700_000_000_000;
const STEP_MS: u64 = 60_000;
const SHARES_A_STEP: usize = 4;
const AFTER: Duration = Duration::from_secs(600);

struct Farm {
    folder: tempfile::TempDir,
    writer: LogWriter<Folder>,
    watch: WorkerWatch,
    start: Instant,
    now_ms: u64,
    /// How far the clock is off.
    clock_ms: u64,
    is_serving: bool,
    is_fed: bool,
    /// Who mines, and in how many steps some shares come.
    mining: Vec<(&'static str, &'static str, u64)>,
}

impl Farm {
    fn new(mining: &[(&'static str, &'static str, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Self::writer(&folder, START_MS);
        let watch = Self::watch(&folder, &[], START_MS);
        Self {
            folder,
            writer,
            watch,
            start: Instant::now(),
            now_ms: START_MS,
            clock_ms: 0,
            is_serving: true,
            is_fed: true,
            mining: mining.to_vec(),
        }
    }

    fn config(folder: &tempfile::TempDir) -> LedgerConfig {
        let directory = folder.path().to_owned();
        // The farm lives in the past.
        LedgerConfig { directory, slice_days: 100_000, ..LedgerConfig::default() }
    }

    fn writer(folder: &tempfile::TempDir, now_ms: u64) -> LogWriter<Folder> {
        let config = Self::config(folder);
        fs::create_dir_all(config.log_directory()).unwrap();
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        LogWriter::open(Folder(config.log_directory()), settings, now_ms, 3).unwrap().0
    }

    fn watch(folder: &tempfile::TempDir, accounts: &[&str], now_ms: u64) -> WorkerWatch {
        let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
        WorkerWatch::open(folder.path().join("alert-x.workers"), AFTER, accounts, now_ms).unwrap()
    }

    /// The pool ends and is started again so much later.
    fn restart_after(&mut self, minutes: u64) {
        self.now_ms += minutes * 60_000;
        self.writer = Self::writer(&self.folder, self.now_ms);
        self.watch = Self::watch(&self.folder, &[], self.now_ms);
        self.start = Instant::now();
    }

    /// What is told in that time; each message is taken at once.
    fn minutes(&mut self, minutes: u64) -> Vec<WorkerNews> {
        let mut told = Vec::new();
        for step in 0..minutes * 60_000 / STEP_MS {
            self.now_ms += STEP_MS;
            self.shares(step);
            if self.is_fed {
                Self::config(&self.folder).feeder().catch_up().unwrap();
            }
            let passed = Duration::from_millis(self.now_ms - START_MS);
            let now_ms = self.now_ms + self.clock_ms;
            self.watch.observe(self.is_serving, now_ms, self.start + passed);
            let end = Folder(Self::config(&self.folder).log_directory());
            let end = end_place(&end, self.writer.durable_end()).unwrap();
            let store = SqliteReader::open(&Self::config(&self.folder).store_file()).unwrap();
            let news = self.watch.look(&store, 0, end, now_ms).unwrap();
            if let Some(news) = news.filter(|news| !news.is_empty()) {
                self.watch.settle(&news).unwrap();
                told.push(news);
            }
        }
        told
    }

    fn shares(&mut self, step: u64) {
        if !self.is_serving {
            return;
        }
        for (account, worker, steps) in &self.mining {
            if step.is_multiple_of(*steps) {
                let earner = Arc::new(Earner::named(account, worker));
                let share = ShareRecord { earner, work: Hashes(1), hash: [0; 32] };
                for _ in 0..SHARES_A_STEP {
                    self.writer.push_share(self.now_ms + self.clock_ms, &share);
                }
            }
        }
        self.writer.commit().unwrap();
    }
}

fn names(workers: &[Silent]) -> Vec<String> {
    workers.iter().map(|it| miner(&it.account, &it.worker)).collect()
}

const TWO: [(&str, &str, u64); 2] = [("ann", "a", 1), ("bob", "b", 1)];

#[test]
fn a_worker_is_told_of_once_when_it_stops_and_once_when_it_is_back() {
    let mut farm = Farm::new(&TWO);
    assert_eq!(farm.minutes(30), []);
    farm.mining.pop();
    assert_eq!(farm.minutes(9), []);
    let told = farm.minutes(60);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((names(&told[0].offline), names(&told[0].back)), (vec!["bob.b".into()], vec![]));
    assert_eq!(told[0].offline[0].offline_line(), "bob.b: no share for 11 minutes.");
    farm.mining = TWO.to_vec();
    let told = farm.minutes(30);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].back[0].back_line(), "bob.b: back after 70 minutes.");
}

#[test]
fn a_restart_tells_nothing_twice_and_gives_everybody_time_to_come_back() {
    let mut farm = Farm::new(&TWO);
    farm.minutes(30);
    farm.mining.pop();
    assert_eq!(farm.minutes(20).len(), 1);
    farm.restart_after(120);
    assert_eq!(farm.minutes(30), [], "ann was away with the pool, and bob was told of");
    farm.mining = TWO.to_vec();
    assert_eq!(names(&farm.minutes(15)[0].back), ["bob.b"]);
    farm.mining.clear();
    farm.restart_after(120);
    assert_eq!(farm.minutes(9), []);
    let told = farm.minutes(30);
    assert_eq!(told.len(), 1, "one message for all: {told:?}");
    assert_eq!(told[0].offline.len(), 2);
}

#[test]
fn nobody_is_offline_while_the_pool_could_take_no_shares_or_its_clock_has_jumped() {
    let mut farm = Farm::new(&TWO);
    farm.minutes(30);
    farm.is_serving = false;
    assert_eq!(farm.minutes(60), []);
    farm.is_serving = true;
    assert_eq!(farm.minutes(30), []);
    farm.clock_ms = 3_600_000;
    assert_eq!(farm.minutes(30), []);
    farm.mining.pop();
    assert_eq!(farm.minutes(15).len(), 1, "it is watched again");
}

#[test]
fn nobody_is_judged_by_a_store_that_is_behind() {
    let mut farm = Farm::new(&TWO);
    farm.minutes(30);
    farm.is_fed = false;
    assert_eq!(farm.minutes(60), []);
    farm.is_fed = true;
    assert_eq!(farm.minutes(30), []);
}

#[test]
fn who_sends_shares_rarely_has_bad_luck_and_others_are_others_concern() {
    let mut farm = Farm::new(&[("ann", "rare", 12), ("bob", "b", 1), ("eve", "e", 1)]);
    farm.watch = Farm::watch(&farm.folder, &["ann", "bob"], START_MS);
    farm.minutes(30);
    farm.mining.clear();
    let told = farm.minutes(30);
    assert_eq!(told.iter().map(|news| names(&news.offline)).collect::<Vec<_>>(), [["bob.b"]]);
}

#[test]
fn who_has_left_for_a_day_is_forgotten_and_who_left_before_the_first_start_was_never_known() {
    let mut farm = Farm::new(&TWO);
    farm.minutes(30);
    farm.mining.pop();
    assert_eq!(farm.minutes(15).len(), 1);
    farm.now_ms += FORGOTTEN_MS;
    farm.minutes(15);
    farm.mining = TWO.to_vec();
    assert_eq!(farm.minutes(15), [], "he is as a new one");
    farm.mining.clear();
    fs::remove_file(farm.folder.path().join("alert-x.workers")).unwrap();
    farm.now_ms += STEP_MS;
    farm.watch = Farm::watch(&farm.folder, &[], farm.now_ms);
    assert_eq!(farm.minutes(30), []);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alert-x.workers");
    fs::write(&file, "{").unwrap();
    let error = WorkerWatch::open(file, AFTER, Vec::new(), 0).err().unwrap();
    assert!(error.to_string().contains("remove it to begin"), "{error}");
}
