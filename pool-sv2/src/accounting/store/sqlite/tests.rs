//! The SQLite store against the log that feeds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mining::target::Hashes;

use super::*;
use crate::accounting::feed::feed;
use crate::accounting::log::cursor::Cursor;
use crate::accounting::log::disk::Folder;
use crate::accounting::log::writer::{LogSettings, LogWriter};
use crate::accounting::store::{DAY_SECONDS, SLICE_SECONDS};
use crate::shares::{BlockFound, BlockState, Earner, Entry, PayoutRecord, ShareRecord};

const NOW_MS: u64 = 1_700_000_000_000;
const NODE: u32 = 5;

struct Table {
    folder: tempfile::TempDir,
    writer: LogWriter<Folder>,
    store: SqliteStore,
    reader: SqliteReader,
}

fn open_log(folder: &Path) -> LogWriter<Folder> {
    let settings = LogSettings { node: NODE, segment_bytes: 3_000 };
    LogWriter::open(Folder(folder.to_owned()), settings, NOW_MS, 7).unwrap().0
}

impl Table {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = open_log(folder.path());
        let store = SqliteStore::open(&folder.path().join("store.sqlite")).unwrap();
        let reader = SqliteReader::open(&folder.path().join("store.sqlite")).unwrap();
        Self { folder, writer, store, reader }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("store.sqlite")
    }

    fn share(&mut self, at_ms: u64, account: &str, worker: &str, work: u128, quality: u8) {
        let mut hash = [0; 32];
        hash[24] = quality;
        let earner = Arc::new(Earner::named(account, worker));
        self.writer.push_share(NOW_MS + at_ms, &ShareRecord { earner, work: Hashes(work), hash });
    }

    /// Commits, and feeds all of it.
    fn feed(&mut self) {
        self.writer.commit().unwrap();
        let place = self.store.next_place(NODE).unwrap();
        let mut cursor = Cursor::new(Folder(self.folder.path().to_owned()), place);
        let end = self.writer.durable_end();
        while feed(&mut self.store, NODE, &mut cursor, Some(end), 0).unwrap() > 0 {}
    }

    fn block(&mut self, at_ms: u64, hash: u8) {
        let block = Box::new(BlockFound {
            hash: [hash; 32],
            height: Some(7),
            prev_hash: [9; 32],
            nbits: 0x1d00_ffff,
            coinbase_value: 5_000_000_000,
        });
        let finder = Arc::new(Earner::named("a", "rig"));
        self.writer.push_entry(NOW_MS + at_ms, Entry::BlockFound { finder, block });
    }

    /// Everything in the two weeks around the tests' time.
    fn history(&self, scope: Scope<'_>, span: Span) -> Vec<Slice> {
        let now_s = NOW_MS / 1_000;
        let (from_s, to_s) = (now_s - 7 * DAY_SECONDS, now_s + 7 * DAY_SECONDS);
        self.reader.history(scope, span, from_s, to_s).unwrap()
    }

    fn slices(&self) -> Vec<Slice> {
        self.history(Scope::Pool, Span::Slice)
    }
}

#[test]
fn sums_are_those_of_the_log_and_exact_beyond_64_bits() {
    let mut table = Table::new();
    let large = (1 << 70) + (1 << 40) - 1;
    for round in 0..50 {
        table.share(round, "a", "rig", large, 3);
        table.share(round, "a", "", 5, 2);
        table.share(round, "b", "", 7, 1);
        table.feed();
    }
    let total = |scope| table.reader.total(scope).map(|it| (it.shares, it.work)).unwrap();
    assert_eq!(total(Scope::Pool), (150, 50 * (large + 12)));
    assert_eq!(total(Scope::Account("a")), (100, 50 * (large + 5)));
    assert_eq!(total(Scope::Worker("a", "rig")), (50, 50 * large));
    assert_eq!(total(Scope::Worker("b", "rig")), (0, 0));
    assert_eq!(table.slices().iter().map(|it| it.work).sum::<u128>(), 50 * (large + 12));
}

#[test]
fn nothing_is_counted_twice_however_often_it_is_fed() {
    let mut table = Table::new();
    table.share(0, "a", "", 5, 1);
    table.feed();
    table.feed();
    // As after a crash: the store is opened again, and the log goes on in another epoch.
    table.store = SqliteStore::open(&table.file()).unwrap();
    table.writer = open_log(table.folder.path());
    table.share(1, "a", "", 6, 1);
    table.feed();
    assert_eq!(table.reader.total(Scope::Pool).unwrap().work, 11);
}

#[test]
fn a_store_that_was_deleted_is_built_again_as_it_was() {
    let mut table = Table::new();
    for round in 0..200 {
        let at_ms = round * 40_000;
        table.share(at_ms, "a", "rig", 5 + u128::from(round), 3);
        let rejected = Arc::new(Earner::named("b", ""));
        let entry = Entry::Rejects { earner: rejected, reason: Reason::Stale, count: 2 };
        table.writer.push_entry(NOW_MS + at_ms, entry);
        if round == 100 {
            table.block(at_ms, 1);
        }
        table.feed();
    }
    let state = |table: &Table| {
        let reader = &table.reader;
        let sums = (
            table.slices(),
            table.history(Scope::Worker("a", "rig"), Span::Day),
            reader.total(Scope::Pool).unwrap(),
            reader.rejects(Scope::Account("b")).unwrap(),
            reader.blocks(After::START, 10).unwrap(),
        );
        (sums, reader.rates(Scope::Pool, NOW_MS + 10_000_000).unwrap())
    };
    let (before, rates_before) = state(&table);
    assert_eq!(before.3, [(Reason::Stale, 400)]);
    assert!(before.0.len() > 10);
    let other = table.folder.path().join("other.sqlite");
    table.store = SqliteStore::open(&other).unwrap();
    table.reader = SqliteReader::open(&other).unwrap();
    table.feed();
    let (after, rates_after) = state(&table);
    assert_eq!(after, before);
    // Other chunks, other roundings: rates are for people.
    for (after, before) in rates_after.per_second.iter().zip(rates_before.per_second) {
        assert!((after / before - 1.0).abs() < 1e-9, "{after} is not {before}");
    }
}

#[test]
fn the_best_share_of_the_round_begins_anew_with_a_block_and_the_best_ever_stays() {
    let mut table = Table::new();
    table.share(0, "a", "", 1, 4);
    table.share(0, "b", "", 1, 9);
    table.feed();
    let best = |table: &Table, scope| {
        let total = table.reader.total(scope).unwrap();
        [total.best_of_round, total.best_ever].map(|best| best.map(|hash| hash >> 64))
    };
    assert_eq!(best(&table, Scope::Pool), [Some(4), Some(4)]);
    table.share(1, "b", "", 1, 2);
    table.block(1, 1);
    table.share(2, "b", "", 1, 8);
    table.feed();
    assert_eq!(best(&table, Scope::Account("a")), [None, Some(4)]);
    assert_eq!(best(&table, Scope::Account("b")), [Some(8), Some(2)]);
}

fn after(block: &Block) -> After {
    After { time_ms: block.time_ms, hash: block.found.hash }
}

#[test]
fn a_block_has_its_last_state_and_payouts_are_kept() {
    let mut table = Table::new();
    table.block(0, 1);
    table.block(5, 2);
    for code in [1, 3] {
        table.writer.push_entry(NOW_MS, Entry::BlockState(BlockState { hash: [1; 32], code }));
    }
    table.writer.push_entry(NOW_MS, Entry::Payout(PayoutRecord::new(1, vec![1, 2]).unwrap()));
    table.feed();
    let blocks = table.reader.blocks(After::START, 10).unwrap();
    let shown: Vec<_> = blocks.iter().map(|it| (it.found.hash[0], it.state)).collect();
    assert_eq!(shown, [(2, None), (1, Some(3))]);
    let newest = &blocks[0];
    assert_eq!((&*newest.account, &*newest.worker, newest.found.height), ("a", "rig", Some(7)));
    assert_eq!(table.reader.blocks(after(newest), 10).unwrap(), blocks[1..]);
    let payouts: i64 = table
        .store
        .connection
        .query_row("SELECT count(*) FROM payout WHERE bytes = x'0102'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(payouts, 1);
}

#[test]
fn old_slices_are_forgotten_and_days_and_totals_stay() {
    let mut table = Table::new();
    table.share(0, "a", "", 5, 1);
    table.share(10_000_000, "a", "", 6, 1);
    table.feed();
    table.store.forget_slices_before(NOW_MS / 1_000 + SLICE_SECONDS).unwrap();
    assert_eq!(table.slices().iter().map(|it| it.work).collect::<Vec<_>>(), [6]);
    assert_eq!(table.reader.total(Scope::Pool).unwrap().work, 11);
    let days = table.history(Scope::Account("a"), Span::Day);
    assert_eq!(days.iter().map(|it| it.work).sum::<u128>(), 11);
}

#[test]
fn slices_that_would_be_forgotten_at_once_are_not_written() {
    let mut table = Table::new();
    table.share(0, "a", "", 5, 1);
    table.share(10_000_000, "a", "", 6, 1);
    table.writer.commit().unwrap();
    let mut cursor = Cursor::new(Folder(table.folder.path().to_owned()), Place::default());
    let oldest_s = NOW_MS / 1_000 + SLICE_SECONDS;
    while feed(&mut table.store, NODE, &mut cursor, None, oldest_s).unwrap() > 0 {}
    assert_eq!(table.slices().iter().map(|it| it.work).collect::<Vec<_>>(), [6]);
    assert_eq!(table.reader.total(Scope::Pool).unwrap().work, 11);
}

#[test]
fn accounts_and_workers_are_listed_page_by_page() {
    let mut table = Table::new();
    for (account, worker) in [("b", "2"), ("b", ""), ("a", "x"), ("b", "1"), ("c", "")] {
        table.share(0, account, worker, 5, 1);
    }
    table.feed();
    let names = |lines: Vec<Line>| lines.into_iter().map(|line| line.name).collect::<Vec<_>>();
    assert_eq!(names(table.reader.accounts("", 2, NOW_MS).unwrap()), ["a", "b"]);
    assert_eq!(names(table.reader.accounts("b", 2, NOW_MS).unwrap()), ["c"]);
    let workers = |after| names(table.reader.workers("b", after, 2, NOW_MS).unwrap());
    assert_eq!(workers(None), ["", "1"]);
    assert_eq!(workers(Some("")), ["1", "2"]);
    assert_eq!(workers(Some("1")), ["2"]);
    let account = table.reader.accounts("a", 1, NOW_MS).unwrap().remove(0);
    assert_eq!((account.total.shares, account.total.work), (3, 15));
    assert_eq!(account.rates, table.reader.rates(Scope::Account("b"), NOW_MS).unwrap());
}

#[test]
fn who_reads_sees_whole_chunks_and_stands_in_nobodys_way() {
    let mut table = Table::new();
    table.share(0, "a", "", 5, 1);
    table.feed();
    let snapshot = table.reader.connection.unchecked_transaction().unwrap();
    let works = |table: &Table| table.reader.total(Scope::Pool).unwrap().work;
    assert_eq!(works(&table), 5);
    // Written while somebody reads.
    let folder = table.folder.path().to_owned();
    let mut cursor = Cursor::new(Folder(folder), table.store.next_place(NODE).unwrap());
    let earner = Arc::new(Earner::named("a", ""));
    table.writer.push_share(NOW_MS, &ShareRecord { earner, work: Hashes(6), hash: [1; 32] });
    table.writer.commit().unwrap();
    assert!(feed(&mut table.store, NODE, &mut cursor, None, 0).unwrap() > 0);
    assert_eq!(works(&table), 5, "as it was when the reading began");
    drop(snapshot);
    assert_eq!(works(&table), 11);
}

#[test]
fn rates_are_there_after_a_restart() {
    let mut table = Table::new();
    for second in 1..=600 {
        table.share(second * 1_000, "a", "rig", 1_000_000_000_000, 1);
    }
    table.feed();
    let before = table.reader.rates(Scope::Account("a"), NOW_MS + 600_000).unwrap();
    assert!((before.per_second[1] / 1e12 - 1.0).abs() < 0.05, "{before:?}");
    table.store = SqliteStore::open(&table.file()).unwrap();
    table.reader = SqliteReader::open(&table.file()).unwrap();
    let after = table.reader.rates(Scope::Worker("a", "rig"), NOW_MS + 600_000).unwrap();
    assert_eq!(after, before);
}

#[test]
fn what_is_no_store_is_refused_with_the_remedy_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.sqlite");
    std::fs::write(&file, "no database".repeat(100)).unwrap();
    let error = SqliteStore::open(&file).unwrap_err().to_string();
    assert!(error.contains("delete it"), "{error}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("no database"));
}

#[test]
fn a_file_of_the_same_name_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.sqlite");
    drop(SqliteStore::open(&file).unwrap());
    let before = FileIdentity::of(&file).unwrap();
    assert_eq!(FileIdentity::of(&file).unwrap(), before);
    SqliteStore::delete(&file).unwrap();
    assert!(FileIdentity::of(&file).is_err());
    drop(SqliteStore::open(&file).unwrap());
    assert_ne!(FileIdentity::of(&file).unwrap(), before);
}
