//! What a program has asked of its disk, and when, from strace's word.
//!
//! strace writes a file for each thread, with all texts and paths in hexadecimal, when each call
//! began, and how long it took. Only calls that change files below one folder are kept.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that a pool and its SQLite change files with. One that is missing here would make
/// files look emptier than they are, which the test that replays them notices.
const CALLS: &str = "trace=openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,copy_file_range,sendfile,fsync,fdatasync,sync_file_range,msync,rename,renameat,\
    renameat2,link,linkat,unlink,unlinkat";
/// Longer than any write.
const BYTES_MAX: &str = "100000000";

/// What became of a file or of the names of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Opened so that it is there; emptied, if so.
    Open {
        is_emptied: bool,
    },
    /// `None` for where the write before has ended.
    Write {
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    Truncate {
        length: u64,
    },
    /// The content is durable.
    Sync,
    /// The names of a folder are durable.
    SyncNames,
    Rename {
        to: PathBuf,
    },
    Remove,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    /// Nanoseconds since 1970: of a sync the moment at which it had ended, else the moment at which
    /// it began. From then on, a power loss may find it done.
    pub(crate) time_ns: u128,
    /// Of the file or folder, as it was called then.
    pub(crate) path: PathBuf,
    pub(crate) change: Change,
}

/// A command that runs what it is given as further arguments, and leaves its traces in files whose
/// names start with `traces`.
pub(crate) fn arguments(traces: &Path) -> Vec<std::ffi::OsString> {
    let how = ["-ff", "--seccomp-bpf", "-y", "-xx", "--timestamps=unix,ns", "--syscall-times=ns"];
    let mut arguments: Vec<_> = how.iter().map(Into::into).collect();
    arguments.extend(["-s", BYTES_MAX, "-e", CALLS, "-o"].iter().map(Into::into));
    arguments.push(traces.into());
    arguments
}

/// Fails with a remedy where there is no strace, or none that may trace.
pub(crate) fn require_strace() {
    let mut strace = Command::new("strace");
    let tried =
        strace.args(["-f", "--seccomp-bpf", "-e", CALLS, "-o", "/dev/null", "true"]).status();
    let works = tried.is_ok_and(|status| status.success());
    assert!(
        works,
        "the power loss under the whole pool is watched by strace: install strace, \
        and in a container allow ptrace (--cap-add SYS_PTRACE)"
    );
}

/// All calls below `folder`, which must still be there, in the order of their times.
pub(crate) fn read(traces: &Path, folder: &Path) -> Vec<Traced> {
    let start = traces.file_name().unwrap().to_str().unwrap();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(traces.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with(start) {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            all.extend(text.lines().filter_map(traced));
        }
    }
    all.retain(|it| it.path.starts_with(folder));
    all.sort_by_key(|it| it.time_ns);
    all
}

/// `SECONDS.NANOSECONDS CALL(ARGUMENTS) = RESULT <SECONDS.NANOSECONDS>`; none for what changes no
/// file: a failed call, the end of a thread.
fn traced(line: &str) -> Option<Traced> {
    let (began, rest) = line.split_once(' ')?;
    let (call, rest) = rest.split_once('(')?;
    // Killed within: nobody knows how far it came.
    let (given, result) = rest.rsplit_once(" = ").unwrap_or((rest, "? <unfinished ...>"));
    if result.starts_with('-') {
        return None;
    }
    let given: Vec<&str> = given.split(", ").map(|it| it.trim_end_matches([')', ' '])).collect();
    let took =
        result.rsplit_once('<').and_then(|(_, took)| nanoseconds(took.trim_end_matches('>')));
    let began = nanoseconds(began)?;
    let (path, change) = changed(call, &given)?;
    let time_ns = match change {
        Change::Sync | Change::SyncNames => began + took?,
        _ => began,
    };
    Some(Traced { time_ns, path, change })
}

fn changed(call: &str, given: &[&str]) -> Option<(PathBuf, Change)> {
    let number = |at: usize| given[at].parse().unwrap();
    let of_descriptor = |change| Some((descriptor(given[0])?, change));
    match call {
        "openat" if given[2].contains("O_CREAT") || given[2].contains("O_TRUNC") => {
            Some((named(given[1]), Change::Open { is_emptied: given[2].contains("O_TRUNC") }))
        }
        "openat" => None,
        "write" => of_descriptor(Change::Write { offset: None, bytes: text(given[1]) }),
        "pwrite64" => {
            of_descriptor(Change::Write { offset: Some(number(3)), bytes: text(given[1]) })
        }
        "ftruncate" => of_descriptor(Change::Truncate { length: number(1) }),
        "fsync" | "fdatasync" if descriptor(given[0])?.is_dir() => of_descriptor(Change::SyncNames),
        "fsync" | "fdatasync" => of_descriptor(Change::Sync),
        "rename" => Some((named(given[0]), Change::Rename { to: named(given[1]) })),
        "unlink" => Some((named(given[0]), Change::Remove)),
        // To other things than files of ours.
        "writev" if descriptor(given[0]).is_none_or(|path| !path.is_absolute()) => None,
        other => {
            panic!("{other} is a call that this test does not know: teach it, or lose what it does")
        }
    }
}

/// The path of `5<\x2f…>`; none of a file that has no name any more.
fn descriptor(given: &str) -> Option<PathBuf> {
    let (_, path) = given.split_once('<').filter(|_| !given.ends_with("(deleted)"))?;
    Some(String::from_utf8(text(path)).ok()?.into())
}

fn named(given: &str) -> PathBuf {
    let path = PathBuf::from(String::from_utf8(text(given)).unwrap());
    assert!(path.is_absolute(), "{} is relative to an unknown folder", path.display());
    path
}

/// The bytes of `"\x68\x69"`.
fn text(given: &str) -> Vec<u8> {
    assert!(!given.ends_with("..."), "strace has cut a text off");
    let digits = given.trim_matches(['"', '<', '>']).split("\\x").skip(1);
    digits.map(|two| u8::from_str_radix(&two[..2], 16).unwrap()).collect()
}

/// Of `SECONDS.NANOSECONDS`.
fn nanoseconds(text: &str) -> Option<u128> {
    let (seconds, fraction) = text.split_once('.')?;
    let seconds: u128 = seconds.parse().ok()?;
    Some(seconds * 1_000_000_000 + fraction.parse::<u128>().ok()?)
}
