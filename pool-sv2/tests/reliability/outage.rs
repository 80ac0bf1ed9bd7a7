//! Power loss under the whole pool. strace writes down what the pool asks of its disk while miners
//! flood it, and when; from that, what a disk may hold at any moment is made: all that was synced,
//! and of the rest each sector old, new or zero, each name there or not. Whatever it is, all that
//! miners had heard by then is in the log, once, and the pool starts on it and goes on.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pool_sv2::accounting::log::disk::{Disk, DiskFile};
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use testkit::program::{Launch, Program};
use testkit::wait::until;

use super::disk::FragileDisk;
use super::miner::{Heard, Said, acknowledged_beyond};
use super::pool::{Ledger, Seen, runtime, settings, start_miners};
use super::provider::Provider;
use super::trace::{self, Change, Traced};

/// At how many moments the power is lost.
const OUTAGES: &str = "ADIT_OUTAGES";
const OUTAGES_DEFAULT: usize = 8;
/// So many of them are of one traced life of a pool.
const OF_A_LIFE: usize = 50;
/// Shares of a traced life: some segments of the log, and some checkpoints of the store.
const SHARES: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// One life of a pool, as its disk and its miners saw it.
struct Life {
    changes: Vec<Traced>,
    said: Vec<Said>,
    folder: PathBuf,
}

/// The disk under a folder, with the folders in it, which all were there before.
#[derive(Default)]
struct Machine {
    folders: BTreeMap<PathBuf, FragileDisk>,
    /// Where the last write without an offset ended.
    ends: HashMap<PathBuf, u64>,
}

impl Machine {
    fn take(&mut self, traced: &Traced) {
        let Traced { path, change, .. } = traced;
        if *change == Change::SyncNames {
            return self.folder(path).sync_names().unwrap();
        }
        let (folder, name) = (self.folder(path.parent().unwrap()), name(path));
        match change {
            Change::SyncNames => {}
            Change::Open { is_emptied } => {
                if folder.open(name).is_err() {
                    folder.create(name).unwrap();
                } else if *is_emptied {
                    folder.open(name).unwrap().set_len(0).unwrap();
                }
                self.ends.insert(path.clone(), 0);
            }
            Change::Write { offset, bytes } => {
                let end = self.ends.entry(path.clone()).or_default();
                let start = offset.unwrap_or(*end);
                folder.open(name).unwrap().write_at(start, bytes).unwrap();
                *end = if offset.is_none() { start + bytes.len() as u64 } else { *end };
            }
            Change::Truncate { length } => folder.open(name).unwrap().set_len(*length).unwrap(),
            Change::Sync => folder.open(name).unwrap().sync().unwrap(),
            Change::Rename { to } => folder.rename(name, self::name(to)),
            Change::Remove => folder.remove(name).unwrap(),
        }
    }

    fn folder(&mut self, path: &Path) -> FragileDisk {
        self.folders.entry(path.to_owned()).or_default().clone()
    }

    /// Lays what a power loss leaves below `from` into `to`.
    fn lose_power(&self, from: &Path, to: &Path, luck: &mut StdRng) {
        for (folder, disk) in &self.folders {
            let folder = to.join(folder.strip_prefix(from).unwrap());
            std::fs::create_dir_all(&folder).unwrap();
            let left = disk.after_power_loss(luck.r#gen());
            for name in left.list().unwrap() {
                // What SQLite shares between processes is not on any disk.
                if !name.ends_with("-shm") {
                    std::fs::write(folder.join(&name), left.content(&name)).unwrap();
                }
            }
        }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Runs a pool under strace and floods it; kills it when miners have heard of enough shares.
async fn live(provider: &Provider) -> Life {
    let ledger = Ledger::new(provider);
    let (traces, pid_file) = (ledger.path().join("trace"), ledger.path().join("pid"));
    let heard = Arc::new(Heard::default());
    let mut pool = Program::start(traced(&ledger, &traces, &pid_file)).unwrap();
    let mut miners = start_miners(&mut pool, &heard);
    acknowledged_beyond(&heard, SHARES, PATIENCE).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    // strace ends when it has written down what the pool did.
    until("strace to end", PATIENCE, || pool.ending()).unwrap();
    while miners.join_next().await.is_some() {}
    let folder = ledger.path().join("ledger");
    Life { changes: trace::read(&traces, &folder), said: heard.said(), folder }
}

fn traced(ledger: &Ledger, traces: &Path, pid_file: &Path) -> Launch {
    let pool = Launch::server("pool-sv2", "strace", settings(ledger.path()), "warn");
    let script = format!("echo $$ > {}; exec \"$0\" \"$@\"", pid_file.display());
    let mut arguments: Vec<OsString> = trace::arguments(traces);
    let path = env!("CARGO_BIN_EXE_pool-sv2");
    arguments.extend(["sh", "-c", &script, path].iter().map(Into::into));
    arguments.extend(pool.arguments.iter().cloned());
    Launch { arguments, ..pool }
}

/// A pool starts on what a power loss left, and acknowledges again.
async fn go_on(ledger: &Ledger) -> Vec<u128> {
    let launch =
        Launch::server("pool-sv2", env!("CARGO_BIN_EXE_pool-sv2"), settings(ledger.path()), "warn");
    let mut pool = Program::start(launch).unwrap();
    let heard = Arc::new(Heard::default());
    let mut miners = start_miners(&mut pool, &heard);
    acknowledged_beyond(&heard, 0, PATIENCE).await;
    pool.kill();
    while miners.join_next().await.is_some() {}
    heard.take()
}

/// Loses the power of one life at some moments, in their order.
fn lose_power_in(life: &Life, provider: &Provider, outages: usize, luck: &mut StdRng) -> Seen {
    let (mut machine, mut seen, mut done) = (Machine::default(), Seen::default(), 0);
    let mut moments = sample(luck, life.changes.len(), outages).into_vec();
    moments.sort_unstable();
    for moment in moments {
        // The power goes right after this change was asked for, or had ended if it is a sync.
        life.changes[done..=moment].iter().for_each(|traced| machine.take(traced));
        done = moment + 1;
        let now_ns = life.changes[moment].time_ns;
        let heard = life.said.iter().take_while(|said| said.time_ns <= now_ns);
        let mut acknowledged: Vec<u128> = heard.map(|said| said.hash).collect();

        let mut ledger = Ledger::new(provider);
        machine.lose_power(&life.folder, &ledger.path().join("ledger"), luck);
        acknowledged.extend(runtime().block_on(go_on(&ledger)));
        ledger.examine(&acknowledged, &mut seen);
        assert_eq!((seen.missing, seen.twice), (0, 0), "{seen:?} at change {moment}");
    }
    seen
}

#[test]
fn no_share_that_a_pool_acknowledged_is_lost_or_doubled_when_the_power_goes() {
    let mut left = std::env::var(OUTAGES).map_or(OUTAGES_DEFAULT, |it| it.parse().unwrap());
    let provider = Provider::start();
    while left > 0 {
        trace::require_strace();
        let seed = rand::thread_rng().r#gen();
        let mut luck = StdRng::seed_from_u64(seed);
        let life = runtime().block_on(live(&provider));
        let outages = left.min(OF_A_LIFE);
        println!("seed {seed}, {} changes of the disk, {outages} outages", life.changes.len());
        let seen = lose_power_in(&life, &provider, outages, &mut luck);
        println!("{seen:?}");
        assert!(seen.acknowledged > 0, "nothing was acknowledged: nothing was tried");
        assert_eq!(seen.stores, outages, "a pool has not brought its store back");
        left -= outages;
    }
}
