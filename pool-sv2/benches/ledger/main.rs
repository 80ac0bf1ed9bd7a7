//! Shares a second through log and store, what their acknowledgement costs in time, and how long
//! each question of the API takes with a store of a year and ten thousand workers. A program, not a
//! test: it prints what it measures and judges nothing.
//!
//! `cargo bench -p pool-sv2 --bench ledger -- flow` and `-- questions`; without a name both run.
//! `DAYS=7` makes the store of the questions smaller.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark may fail loudly"
)]

mod answers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use bitcoin::{Address, Network, ScriptBuf, WPubkeyHash};
use mining::target::Hashes;
use pool_sv2::accounting::config::LedgerConfig;
use pool_sv2::accounting::feed::StoreState;
use pool_sv2::accounting::ledger::Ledger;
use pool_sv2::accounting::log::cursor::{Located, Place};
use pool_sv2::accounting::log::record::{LoggedShare, Record};
use pool_sv2::accounting::store::sqlite::{SqliteReader, SqliteStore};
use pool_sv2::accounting::store::{
    After, Chunk, DAY_SECONDS, Reader, SLICE_SECONDS, Scope, Span, Store,
};
use pool_sv2::shares::{Earner, Gathered, ShareRecord, ShareSender, queue};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use service::clock;
use service::metrics::Metrics;

const WORKERS: usize = 10_000;
const ACCOUNTS: usize = 2_500;
const CONNECTIONS: usize = 500;

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if is_wanted("flow") {
        flow("50,000 shares a second", Duration::from_millis(50), 5);
        flow("as many as go, 50 in flight a connection", Duration::ZERO, 50);
    }
    if is_wanted("questions") {
        questions();
    }
}

fn earners() -> Vec<Arc<Earner>> {
    let earner = |number: usize| {
        let account = address(number % ACCOUNTS);
        Arc::new(Earner::named(&account, &format!("rig{:05}", number / ACCOUNTS)))
    };
    (0..WORKERS).map(earner).collect()
}

/// One that exists: shared blocks pay no other.
fn address(number: usize) -> String {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&number.to_be_bytes());
    let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(key));
    Address::from_script(&script, Network::Bitcoin).unwrap().to_string()
}

/// Seconds of processor time that this process has used.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

/// Connections hand over `shares` every `period`, or as soon as the last ones are acknowledged.
fn flow(what: &str, period: Duration, shares: usize) {
    const SECONDS: u64 = 20;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = folder.path().join("ledger");
    let config = LedgerConfig { directory, ..LedgerConfig::default() };
    let (sender, queue) = queue();
    let ledger = Ledger::open(&config, &Metrics::new("x")).unwrap();
    let (feeder, durable) = (config.feeder(), ledger.durable());
    let (lag, lag_max) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, most) = (Arc::clone(&lag), Arc::clone(&lag_max));
    let feeding = std::thread::spawn(move || {
        feeder.run(&durable, &mut |state| {
            let StoreState::Behind(records) = state else { panic!("{state:?}") };
            seen.store(records, Ordering::Relaxed);
            most.fetch_max(records, Ordering::Relaxed);
        });
    });
    let writing = std::thread::spawn(move || ledger.run(queue, &drop));
    let (began, processor) = (Instant::now(), processor_seconds());
    let mut latencies = send_all(sender, period, shares, began + Duration::from_secs(SECONDS));
    let took = began.elapsed().as_secs_f64();
    let count = latencies.len() * shares;
    writing.join().unwrap();
    feeding.join().unwrap();
    let records = config.feeder().catch_up().unwrap();
    let stored = began.elapsed().as_secs_f64();
    let processor = processor_seconds() - processor;
    latencies.sort_unstable();
    println!("{what}: {count} shares of {WORKERS} workers on {CONNECTIONS} connections");
    println!("  acknowledged: {:.0} a second", count as f64 / took);
    println!("  in the store: {:.0} a second ({records} after the last)", count as f64 / stored);
    println!("  store behind at most: {} records", lag_max.load(Ordering::Relaxed));
    println!("  acknowledgement: {}", spread(&latencies));
    println!("  processor: {:.2} us a share, all threads", processor * 1e6 / count as f64);
    let bytes = size_of(&config.log_directory());
    println!("  log: {:.1} bytes a share", bytes as f64 / count as f64);
}

/// Gives the time of each batch's acknowledgement.
fn send_all(sender: ShareSender, period: Duration, shares: usize, end: Instant) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connections = tokio::task::JoinSet::new();
        for (number, earners) in earners().chunks(WORKERS / CONNECTIONS).enumerate() {
            let (sender, earners) = (sender.clone(), earners.to_vec());
            connections.spawn(async move {
                let first = period.mul_f64(number as f64 / CONNECTIONS as f64);
                connection(sender, earners, period, shares, (Instant::now() + first, end)).await
            });
        }
        drop(sender);
        let mut latencies = Vec::new();
        while let Some(more) = connections.join_next().await {
            latencies.extend(more.unwrap());
        }
        latencies
    })
}

async fn connection(
    sender: ShareSender,
    earners: Vec<Arc<Earner>>,
    period: Duration,
    shares: usize,
    (start, end): (Instant, Instant),
) -> Vec<Duration> {
    let mut luck = StdRng::from_entropy();
    let (mut watermark, mut latencies) = (sender.watermark(), Vec::new());
    let mut waiting = std::collections::VecDeque::new();
    let mut next = start;
    while next < end {
        while Instant::now() < next {
            let until_next = tokio::time::timeout_at(next.into(), watermark.moved());
            let _ = until_next.await;
            heard(&mut watermark, &mut waiting, &mut latencies);
        }
        let share = |_| {
            let earner = Arc::clone(&earners[luck.gen_range(0..earners.len())]);
            ShareRecord { earner, work: Hashes(1 << 44), hash: luck.r#gen() }
        };
        let shares = (0..shares).map(share).collect();
        let mut gathered = Gathered { shares, ..Gathered::default() };
        let sent = Instant::now();
        waiting.push_back((sender.send(&mut gathered).await.unwrap(), sent));
        if period.is_zero() {
            while !waiting.is_empty() {
                watermark.moved().await;
                heard(&mut watermark, &mut waiting, &mut latencies);
            }
            next = Instant::now();
        } else {
            next += period;
        }
    }
    while !waiting.is_empty() {
        watermark.moved().await;
        heard(&mut watermark, &mut waiting, &mut latencies);
    }
    latencies
}

fn heard(
    watermark: &mut pool_sv2::shares::Watermark,
    waiting: &mut std::collections::VecDeque<(u64, Instant)>,
    latencies: &mut Vec<Duration>,
) {
    let durable = watermark.durable();
    while let Some((ticket, sent)) = waiting.front().copied()
        && ticket < durable
    {
        waiting.pop_front();
        latencies.push(sent.elapsed());
    }
}

/// A store of so many days, and what it is asked while another chunk is written each moment.
fn questions() {
    let days: u64 = std::env::var("DAYS").map_or(90, |days| days.parse().unwrap());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("store.sqlite");
    let now_s = u64::from(clock::unix_now_seconds());
    let began = Instant::now();
    let mut store = SqliteStore::open(&file).unwrap();
    // Names, totals and rates come as from the log; the past is written as it would stand there.
    let mut chunk = Chunk::new(0);
    for earner in earners() {
        chunk.take(share_of(earner, now_s * 1_000));
    }
    store.apply(0, &chunk, Place { epoch: 1, sequence: 1 }).unwrap();
    fill(&file, days, now_s);
    let desk = answers::Desk::new(&file, earners(), now_s * 1_000);
    println!(
        "{days} days of slices and 365 of days, {WORKERS} workers, {ACCOUNTS} accounts: \
         {:.1} GB, made in {:.0} s",
        size_of(folder.path()) as f64 / 1e9,
        began.elapsed().as_secs_f64()
    );
    let reader = SqliteReader::open(&file).unwrap();
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let writing = std::thread::spawn(move || {
        let (mut sequence, mut slowest) = (1_000_000, Duration::ZERO);
        while !over.load(Ordering::Relaxed) {
            let mut chunk = Chunk::new(0);
            for earner in earners().into_iter().step_by(10) {
                chunk.take(share_of(earner, now_s * 1_000));
            }
            sequence += 1;
            let began = Instant::now();
            store.apply(0, &chunk, Place { epoch: 1, sequence }).unwrap();
            slowest = slowest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
        slowest
    });
    ask_all(&reader, days, now_s);
    desk.ask_all();
    is_over.store(true, Ordering::Relaxed);
    let slowest = writing.join().unwrap();
    println!("  1,000 shares of 1,000 workers written meanwhile, slowest: {slowest:.1?}");
}

fn share_of(earner: Arc<Earner>, time_ms: u64) -> Located {
    let hash_high = rand::random();
    let share = LoggedShare { time_ms, earner: 0, work: 1 << 44, hash_high };
    Located { place: Place::default(), earner: Some(earner), record: Record::Share(share) }
}

fn fill(file: &Path, days: u64, now_s: u64) {
    let mut connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;").unwrap();
    let scopes: i64 =
        connection.query_row("SELECT max(id) FROM scope", [], |row| row.get(0)).unwrap();
    for (table, seconds, count) in [("slice", SLICE_SECONDS, days * 144), ("day", DAY_SECONDS, 365)]
    {
        let last = now_s / seconds * seconds;
        let insert = format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2, 1000, 16000, 12345)");
        for part in (1..=count).rev().collect::<Vec<_>>().chunks(144) {
            let transaction = connection.transaction().unwrap();
            let mut statement = transaction.prepare_cached(&insert).unwrap();
            for back in part {
                let start_s = i64::try_from(last - back * seconds).unwrap();
                for scope in 1..=scopes {
                    statement.execute([start_s, scope]).unwrap();
                }
            }
            drop(statement);
            transaction.commit().unwrap();
        }
    }
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}

fn ask_all(reader: &SqliteReader, days: u64, now_s: u64) {
    let now_ms = now_s * 1_000;
    let earners = earners();
    let mut luck = StdRng::seed_from_u64(1);
    let mut any = || Arc::clone(&earners[luck.gen_range(0..WORKERS)]);
    let ago = |days: u64| now_s - days * DAY_SECONDS;
    let history = |scope: Scope<'_>, span, days: u64| {
        reader.history(scope, span, ago(days), now_s).unwrap().len()
    };
    ask("a worker: sums, rates, rejects", || {
        let it = any();
        let scope = Scope::Worker(&it.account, &it.worker);
        reader.total(scope).unwrap();
        reader.rates(scope, now_ms).unwrap();
        reader.rejects(scope).unwrap().len()
    });
    ask("a worker: a day of slices", || {
        let it = any();
        history(Scope::Worker(&it.account, &it.worker), Span::Slice, 1)
    });
    ask("a worker: a week of slices", || {
        let it = any();
        history(Scope::Worker(&it.account, &it.worker), Span::Slice, 7.min(days))
    });
    ask("a worker: as many slices as one answer holds", || {
        let it = any();
        history(Scope::Worker(&it.account, &it.worker), Span::Slice, days)
    });
    ask("a worker: a year of days", || {
        let it = any();
        history(Scope::Worker(&it.account, &it.worker), Span::Day, 365)
    });
    ask("an account: a year of days", || history(Scope::Account(&any().account), Span::Day, 365));
    ask("the pool: sums, rates, rejects", || {
        reader.total(Scope::Pool).unwrap();
        reader.rates(Scope::Pool, now_ms).unwrap();
        reader.rejects(Scope::Pool).unwrap().len()
    });
    ask("the pool: a week of slices", || history(Scope::Pool, Span::Slice, 7.min(days)));
    ask("the pool: a year of days", || history(Scope::Pool, Span::Day, 365));
    ask("100 accounts from any on", || reader.accounts(&any().account, 100, now_ms).unwrap().len());
    ask("an account's workers", || {
        reader.workers(&any().account, None, 100, now_ms).unwrap().len()
    });
    ask("50 blocks", || reader.blocks(After::START, 50).unwrap().len());
}

fn ask(what: &str, mut question: impl FnMut() -> usize) {
    let mut rows = 0;
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let began = Instant::now();
            rows = question();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("  {what}: {} ({rows} rows)", spread(&times));
}

fn spread(sorted: &[Duration]) -> String {
    let at = |part: usize| sorted[(sorted.len() - 1) * part / 100];
    format!("p50 {:.2?}, p99 {:.2?}, slowest {:.2?}", at(50), at(99), at(100))
}

fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
