//! SIGKILL at random moments: a process writes shares and says which are acknowledged; whatever
//! moment it is killed at, they are in its ledger, once, and the store adds up to the log.
//!
//! The process is this test program, started again with `WRITER` in its environment.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::target::Hashes;
use pool_sv2::accounting::audit::{Comparison, compare};
use pool_sv2::accounting::config::LedgerConfig;
use pool_sv2::accounting::ledger::Ledger;
use pool_sv2::accounting::log::cursor::{Cursor, Located, Place};
use pool_sv2::accounting::log::disk::Folder;
use pool_sv2::accounting::log::record::Record;
use pool_sv2::accounting::store::sqlite::SqliteReader;
use pool_sv2::shares::{Earner, Gathered, ShareRecord, queue};
use rand::Rng;
use service::metrics::Metrics;

/// The ledger's folder, for the process that writes.
const WRITER: &str = "ADIT_RELIABILITY_WRITER";
/// How often the process is killed.
const KILLS: &str = "ADIT_KILLS";
const KILLS_DEFAULT: u32 = 12;
/// The latest moment of a kill, in milliseconds after the first acknowledgement.
const LIFE_MS_MAX: u64 = 120;

fn config(directory: &Path) -> LedgerConfig {
    let directory = directory.to_owned();
    LedgerConfig { directory, ack_interval_ms: 3, segment_megabytes: 1, ..LedgerConfig::default() }
}

fn share(number: u64) -> ShareRecord {
    let earner = Arc::new(Earner::named(&format!("account{}", number % 50), "rig"));
    let mut hash = [0; 32];
    hash[16..24].copy_from_slice(&number.to_le_bytes());
    ShareRecord { earner, work: Hashes(1 << 40), hash }
}

/// What the killed process does: connections that hand over shares, and say what is durable.
fn write_until_killed(directory: &Path, first: u64) {
    let (sender, queue) = queue();
    let ledger = Ledger::open(&config(directory), &Metrics::new("x")).unwrap();
    let (feeder, durable) = (config(directory).feeder(), ledger.durable());
    std::thread::spawn(move || feeder.run(&durable, &mut drop));
    std::thread::spawn(move || ledger.run(queue, &drop));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut watermark, mut next) = (sender.watermark(), first);
        let mut sent = std::collections::VecDeque::new();
        loop {
            for _ in 0..20 {
                let shares: Vec<_> = (next..next + 50).map(share).collect();
                next += 50;
                let mut gathered = Gathered { shares, ..Gathered::default() };
                sent.push_back((sender.send(&mut gathered).await.unwrap(), next));
            }
            watermark.moved().await;
            let durable = watermark.durable();
            while let Some((ticket, end)) = sent.front().copied()
                && ticket < durable
            {
                sent.pop_front();
                // A line that is there whole is an acknowledgement that a miner has heard.
                println!("acknowledged {end}");
                std::io::stdout().flush().unwrap();
            }
        }
    });
}

/// Starts the process, kills it, and gives the end of what it acknowledged: all numbers from
/// `first` up to there.
fn live_and_die(directory: &Path, first: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed", "--nocapture"])
        .env(WRITER, format!("{first} {}", directory.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = first;
    // The harness may have begun a line before the first one.
    let number =
        |line: &str| Some(line.split_once("acknowledged ")?.1.trim().parse::<u64>().unwrap());
    let (life, mut deadline) = (rand::thread_rng().gen_range(0..LIFE_MS_MAX), None);
    for line in lines.by_ref() {
        acknowledged = number(&line.unwrap()).unwrap_or(acknowledged);
        let begun = acknowledged > first;
        let until = Instant::now() + Duration::from_millis(life);
        if begun && *deadline.get_or_insert(until) <= Instant::now() {
            break;
        }
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died was heard too; a last line may be cut off.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    let whole = rest.len().saturating_sub(1);
    rest[..whole].iter().filter_map(|line| number(line)).fold(acknowledged, u64::max)
}

/// The numbers of the shares that `cursor` has not given yet.
fn replay(cursor: &mut Cursor<Folder>) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut take = |located: Located| {
        if let Record::Share(share) = located.record {
            numbers.push(u64::try_from(share.hash_high & u128::from(u64::MAX)).unwrap());
        }
    };
    while cursor.read_frame(None, &mut take).unwrap() {}
    numbers
}

/// Brings the store up to the log, as a pool that starts does, and compares all of it.
fn compared(config: &LedgerConfig) -> Comparison {
    config.feeder().catch_up().unwrap();
    let reader = SqliteReader::open(&config.store_file()).unwrap();
    compare(Folder(config.log_directory()), &reader, config.node).unwrap()
}

/// Writes where its environment says; without that it is nobody's process and has nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Ok(told) = std::env::var(WRITER) else { return };
    let (first, directory) = told.split_once(' ').unwrap();
    write_until_killed(Path::new(directory), first.parse().unwrap());
}

#[test]
fn no_acknowledged_share_is_lost_or_doubled_by_a_kill() {
    let kills = std::env::var(KILLS).map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("ledger");
    let (mut first, mut acknowledged) = (0, 0);
    let (mut promised, mut replayed) = (Vec::new(), Vec::new());
    let mut cursor = Cursor::new(Folder(config(&directory).log_directory()), Place::default());
    for _ in 0..kills {
        let end = live_and_die(&directory, first);
        promised.push(first..end);
        acknowledged += end - first;
        // A pool that starts cuts off what is torn.
        drop(Ledger::open(&config(&directory), &Metrics::new("x")).unwrap());
        replayed.extend(replay(&mut cursor));
        let compared = compared(&config(&directory));
        assert_eq!(compared.differences, [""; 0], "the store is not the log");
        assert_eq!(compared.shares, replayed.len() as u64, "the store has not taken all");
        // Numbers of the next life are far from any of this one.
        first += 1 << 32;
    }
    let known: BTreeSet<_> = replayed.iter().copied().collect();
    assert_eq!(known.len(), replayed.len(), "a share is there twice");
    let missing = promised.into_iter().flatten().filter(|number| !known.contains(number)).count();
    println!("{kills} kills, {acknowledged} shares acknowledged, {} kept", replayed.len());
    assert_eq!(missing, 0, "acknowledged shares are missing");
    assert!(acknowledged > 0, "nothing was acknowledged: nothing was tried");
}
