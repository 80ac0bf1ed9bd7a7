//! A disk that is full, under the real pool: it acknowledges nothing more, says why, and goes on
//! when there is room again.
//!
//! What is full is the file: the system lets it grow no further (`ulimit -f`), and fails each write
//! beyond that, as it does without room on the disk.

use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use testkit::log::Mark;
use testkit::program::{Launch, Program};

use super::miner::{Heard, acknowledged_beyond};
use super::pool::{Ledger, Seen, runtime, settings, start_miners};
use super::provider::Provider;

/// How long the flood may take to fill the file, and the pool to see that there is room.
const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks of 512 bytes, less than a segment.
const FILE_BLOCKS_MAX: u32 = 700;
const ALARM: &str = "ledger not written: no share is acknowledged until it can be";
const ALL_CLEAR: &str = "ledger written again";

/// A pool whose files may not grow beyond the limit, and the shell's word on which process it is.
fn start_limited(ledger: &Ledger) -> (Program, std::path::PathBuf) {
    let pid_file = ledger.path().join("pid");
    let script = format!(
        "trap '' XFSZ; ulimit -S -f {FILE_BLOCKS_MAX}; echo $$ > {}; exec \"$0\" \"$@\"",
        pid_file.display()
    );
    let pool = Launch::server("pool-sv2", "sh", settings(ledger.path()), "info");
    let mut arguments: Vec<OsString> =
        vec!["-c".into(), script.into(), env!("CARGO_BIN_EXE_pool-sv2").into()];
    arguments.extend(pool.arguments.iter().cloned());
    (Program::start(Launch { arguments, ..pool }).unwrap(), pid_file)
}

fn heard_in_log(pool: &mut Program, from: Mark, message: &str) {
    pool.wait_for_log(from, PATIENCE, message, |event| event.is(message)).unwrap();
}

#[test]
fn a_full_disk_stops_acknowledgements_loudly_until_there_is_room() {
    let provider = Provider::start();
    let mut ledger = Ledger::new(&provider);
    let acknowledged = runtime().block_on(fill_and_make_room(&ledger));
    let mut seen = Seen::default();
    ledger.examine(&acknowledged, &mut seen);
    assert_eq!((seen.missing, seen.twice), (0, 0), "{seen:?}");
}

/// Gives what was acknowledged until the pool was killed at last.
async fn fill_and_make_room(ledger: &Ledger) -> Vec<u128> {
    let heard = Arc::new(Heard::default());
    let (mut pool, pid_file) = start_limited(ledger);
    let from = pool.log().end();
    let mut miners = start_miners(&mut pool, &heard);
    tokio::task::block_in_place(|| heard_in_log(&mut pool, from, ALARM));
    let (full, pid) = (pool.log().end(), std::fs::read_to_string(&pid_file).unwrap());
    // It tries again each second, in vain.
    tokio::task::block_in_place(|| heard_in_log(&mut pool, full, ALARM));
    let before = heard.count();
    assert!(before > 0, "the file was full before anything was acknowledged");

    let mut limit = Command::new("prlimit");
    let lifted = limit.args(["--pid", pid.trim(), "--fsize=unlimited:"]).status().unwrap();
    assert!(lifted.success());
    let room = pool.log().end();
    tokio::task::block_in_place(|| heard_in_log(&mut pool, room, ALL_CLEAR));
    acknowledged_beyond(&heard, before, PATIENCE).await;
    pool.kill();
    while miners.join_next().await.is_some() {}
    heard.take()
}
