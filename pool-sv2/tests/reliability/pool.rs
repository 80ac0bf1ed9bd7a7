//! SIGKILL of the real pool at random moments, at its start and under load. Whatever the moment is,
//! each share whose acknowledgement a miner has read is in the log, none is there twice, and the
//! store is what the log says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pool_sv2::accounting::audit::compare;
use pool_sv2::accounting::config::LedgerConfig;
use pool_sv2::accounting::log::cursor::{Cursor, Located, Place};
use pool_sv2::accounting::log::disk::Folder;
use pool_sv2::accounting::log::record::Record;
use pool_sv2::accounting::log::verify::verify;
use pool_sv2::accounting::store::sqlite::SqliteReader;
use rand::Rng;
use testkit::program::{Launch, Program};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::sv2::keys::Sv2Url;

use super::miner::{Heard, acknowledged_beyond, mine};
use super::provider::Provider;

/// How often the pool is killed.
const KILLS: &str = "ADIT_KILLS";
const KILLS_DEFAULT: u32 = 25;
/// So many lives share a ledger; then a new one is begun, for all of it is compared after each.
const LIVES: u32 = 25;
/// Each life of this number is ended by the clock, while the pool starts.
const EARLY: u32 = 5;
/// The latest moment of a kill: after the start of the process, and after the first
/// acknowledgement.
const START_MS_MAX: u64 = 200;
const LOAD_MS_MAX: u64 = 300;
const MINERS: u32 = 8;
/// How long a first acknowledgement may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen over all lives.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    kills: u32,
    /// Kills before anything was acknowledged.
    early: u32,
    pub(crate) acknowledged: usize,
    logged: usize,
    pub(crate) missing: usize,
    pub(crate) twice: usize,
    /// Logs with an unfinished commit at their end.
    torn: u32,
    /// Stores that were compared as they were found, and those of them that were behind.
    pub(crate) stores: usize,
    behind: u32,
}

/// One ledger and all that is known of it.
pub(crate) struct Ledger {
    folder: tempfile::TempDir,
    cursor: Cursor<Folder>,
    logged: HashSet<u128>,
}

impl Ledger {
    pub(crate) fn new(provider: &Provider) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(settings(folder.path()), text(provider, folder.path())).unwrap();
        let cursor = Cursor::new(Folder(config(folder.path()).log_directory()), Place::default());
        Self { folder, cursor, logged: HashSet::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> LedgerConfig {
        config(self.folder.path())
    }

    /// What a pool that was killed left behind; `acknowledged` is what its miners have heard.
    pub(crate) fn examine(&mut self, acknowledged: &[u128], seen: &mut Seen) {
        let log = Folder(self.config().log_directory());
        if !log.0.exists() {
            assert!(acknowledged.is_empty());
            return;
        }
        let contents = verify(&log).unwrap();
        assert_eq!(contents.faults, [""; 0]);
        seen.torn += u32::from(contents.unfinished_bytes > 0);
        let before = self.logged.len();
        let logged = &mut self.logged;
        let mut take = |located: Located| {
            if let Record::Share(share) = located.record {
                seen.twice += usize::from(!logged.insert(share.hash_high));
            }
        };
        while self.cursor.read_frame(None, &mut take).unwrap() {}
        seen.logged += self.logged.len() - before;
        seen.acknowledged += acknowledged.len();
        let missing = acknowledged.iter().filter(|hash| !self.logged.contains(hash)).count();
        seen.missing += missing;
        self.examine_store(seen);
    }

    fn examine_store(&self, seen: &mut Seen) {
        let config = self.config();
        // Killed before it was made, or within that.
        let Ok(reader) = SqliteReader::open(&config.store_file()) else { return };
        let log = || Folder(config.log_directory());
        let found = compare(log(), &reader, config.node).unwrap();
        assert_eq!(found.differences, [""; 0], "the store holds what the log does not");
        seen.stores += 1;
        seen.behind += u32::from(found.shares < self.logged.len() as u64);
        // Every other time it is brought up to the log here, and else by the next pool.
        if seen.kills.is_multiple_of(2) {
            config.feeder().catch_up().unwrap();
            let found = compare(log(), &reader, config.node).unwrap();
            assert_eq!(found.differences, [""; 0], "the store is not the log");
            assert_eq!(found.shares, self.logged.len() as u64, "the store has not taken all");
        }
    }
}

pub(crate) fn settings(folder: &Path) -> PathBuf {
    folder.join("pool.toml")
}

fn config(folder: &Path) -> LedgerConfig {
    LedgerConfig { directory: folder.join("ledger"), ..LedgerConfig::default() }
}

fn text(provider: &Provider, folder: &Path) -> String {
    let (address, key, folder) = (provider.address, provider.key, folder.display());
    // A target that any hash meets, which vardiff leaves alone; segments end often.
    format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nsecret_key_file = \"{folder}/pool.key\"\n\
         [[template_provider]]\naddress = \"{address}\"\nauthority_key = \"{key}\"\n\
         [payout]\nnetwork = \"mainnet\"\n\
         address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
         [vardiff]\nshares_per_minute = 10000000.0\nmin_difficulty = 0.000000000001\n\
         [ledger]\ndirectory = \"{folder}/ledger\"\nack_interval_ms = 5\n\
         segment_megabytes = 1\n\
         [limits]\nshares_per_second_max = 1000000\nrequests_per_second_max = 1000000\n"
    )
}

/// Starts a pool, lets miners flood it, and kills it.
async fn live_and_die(ledger: &Ledger, is_early: bool) -> Vec<u128> {
    let path = env!("CARGO_BIN_EXE_pool-sv2");
    let launch = Launch::server("pool-sv2", path, settings(ledger.folder.path()), "warn");
    let mut pool = Program::start(launch).unwrap();
    let heard = Arc::new(Heard::default());
    let mut miners = JoinSet::new();
    let life_max = if is_early {
        START_MS_MAX
    } else {
        miners = start_miners(&mut pool, &heard);
        acknowledged_beyond(&heard, 0, PATIENCE).await;
        LOAD_MS_MAX
    };
    let life = Duration::from_millis(rand::thread_rng().gen_range(0..life_max));
    // Until then nothing is to happen but the flood.
    let _ = timeout(life, std::future::pending::<()>()).await;
    pool.kill();
    // They hear what was said before, and then that it is gone.
    while let Some(ended) = miners.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    heard.take()
}

/// Starts miners of a pool that is starting.
pub(crate) fn start_miners(pool: &mut Program, heard: &Arc<Heard>) -> JoinSet<anyhow::Result<()>> {
    let said = tokio::task::block_in_place(|| pool.wait_said("mining at ")).unwrap();
    let url: Sv2Url = said.parse().unwrap();
    let address = format!("{}:{}", url.host, url.port).parse().unwrap();
    let mut miners = JoinSet::new();
    for number in 0..MINERS {
        let name = format!("farm{}.rig{number}", number % 3);
        miners.spawn(mine(address, url.authority_key.unwrap(), name, Arc::clone(heard)));
    }
    miners
}

/// What miners run on.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn no_share_that_a_pool_acknowledged_is_lost_or_doubled_when_it_is_killed() {
    let kills = std::env::var(KILLS).map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());
    let (provider, mut seen) = (Provider::start(), Seen::default());
    let runtime = runtime();
    let mut ledger = Ledger::new(&provider);
    while seen.kills < kills {
        seen.kills += 1;
        if seen.kills.is_multiple_of(LIVES) {
            ledger = Ledger::new(&provider);
        }
        let is_early = seen.kills.is_multiple_of(EARLY);
        let acknowledged = runtime.block_on(live_and_die(&ledger, is_early));
        seen.early += u32::from(acknowledged.is_empty());
        ledger.examine(&acknowledged, &mut seen);
        assert_eq!((seen.missing, seen.twice), (0, 0), "{seen:?}");
    }
    println!("{seen:?}");
    assert!(seen.acknowledged > 0, "nothing was acknowledged: nothing was tried");
}
