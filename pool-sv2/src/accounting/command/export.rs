//! `pool-sv2 ledger export`: the log as lines for other programs, straight from the files.
//!
//! It holds one frame at a time, however large the log is, and hides nothing that is in it.

use std::io::{self, Write};

use bitcoin::hex::DisplayHex;
use clap::ValueEnum;
use serde::Serialize;

use crate::accounting::log::LogError;
use crate::accounting::log::cursor::{Cursor, Located};
use crate::accounting::log::disk::Disk;
use crate::accounting::log::record::Record;

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values under one line of names.
    Csv,
}

/// Which records are wanted: those from the first second on and before the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Seconds since 1970.
    pub since_s: u64,
    /// Seconds since 1970.
    pub until_s: u64,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nobody takes the lines.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// A line. Work is text, for it may be larger than what JSON's readers take for a number; hashes
/// are as people write them, a share's the first half of it.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    epoch: u64,
    sequence: u64,
    time_ms: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payout_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coinbase_value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

const NAMES: &str = "epoch,sequence,time_ms,kind,account,worker,listener,payout_mode,work,hash,\
                     reason,count,height,prev_hash,nbits,coinbase_value,state,version,bytes";

/// Writes the wanted records of a log to `out`; says how many.
pub fn export<D: Disk>(
    log: D,
    wanted: Wanted,
    format: Format,
    out: &mut dyn Write,
) -> Result<u64, ExportError> {
    let mut cursor = Cursor::new(log, Default::default());
    let (mut lines, mut written) = (0, Ok(()));
    if format == Format::Csv {
        writeln!(out, "{NAMES}")?;
    }
    while written.is_ok() {
        let mut take = |located: Located| {
            let line = Line::of(&located);
            let Some(line) = line.filter(|line| wanted.holds(line.time_ms)) else { return };
            if written.is_ok() {
                written = line.write(format, out);
                lines += 1;
            }
        };
        if !cursor.read_frame(None, &mut take)? {
            break;
        }
    }
    written?;
    out.flush()?;
    Ok(lines)
}

impl Wanted {
    fn holds(self, time_ms: u64) -> bool {
        (self.since_s..self.until_s).contains(&(time_ms / 1_000))
    }
}

impl<'a> Line<'a> {
    /// `None` for what a later version wrote.
    fn of(located: &'a Located) -> Option<Self> {
        let Located { place, earner, record } = located;
        let mut line = Self { epoch: place.epoch, sequence: place.sequence, ..Self::default() };
        if let Some(earner) = earner {
            (line.account, line.worker) = (Some(&*earner.account), Some(&*earner.worker));
            (line.listener, line.payout_mode) = (Some(earner.listener), Some(earner.payout_mode));
        }
        match record {
            Record::Share(share) => {
                (line.kind, line.time_ms) = ("share", share.time_ms);
                line.work = Some(share.work.to_string());
                line.hash = Some(format!("{:032x}", share.hash_high));
            }
            Record::Rejects { time_ms, reason, count, .. } => {
                (line.kind, line.time_ms) = ("rejects", *time_ms);
                (line.reason, line.count) = (Some(reason.name()), Some(*count));
            }
            Record::BlockFound { time_ms, block, .. } => {
                (line.kind, line.time_ms) = ("block-found", *time_ms);
                (line.hash, line.height) = (Some(shown(block.hash)), block.height);
                line.prev_hash = Some(shown(block.prev_hash));
                line.nbits = Some(format!("{:08x}", block.nbits));
                line.coinbase_value = Some(block.coinbase_value);
            }
            Record::BlockState { time_ms, state } => {
                (line.kind, line.time_ms) = ("block-state", *time_ms);
                (line.hash, line.state) = (Some(shown(state.hash)), Some(state.code));
            }
            Record::Payout { time_ms, payout } => {
                (line.kind, line.time_ms) = ("payout", *time_ms);
                line.version = Some(payout.version);
                line.bytes = Some(payout.bytes().to_lower_hex_string());
            }
            Record::Earner { .. } | Record::Unknown { .. } => return None,
        }
        Some(line)
    }

    fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, self)?;
                writeln!(out)
            }
            Format::Csv => self.write_csv(out),
        }
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { epoch, sequence, time_ms, kind, .. } = self;
        write!(out, "{epoch},{sequence},{time_ms},{kind}")?;
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let text = |value: Option<&str>| value.map(quoted).unwrap_or_default();
        let name = |value: Option<&str>| value.map(harmless).unwrap_or_default();
        let fields = [
            name(self.account),
            name(self.worker),
            number(self.listener.map(u64::from)),
            number(self.payout_mode.map(u64::from)),
            text(self.work.as_deref()),
            text(self.hash.as_deref()),
            text(self.reason),
            number(self.count),
            number(self.height.map(u64::from)),
            text(self.prev_hash.as_deref()),
            text(self.nbits.as_deref()),
            number(self.coinbase_value),
            number(self.state.map(u64::from)),
            number(self.version.map(u64::from)),
            text(self.bytes.as_deref()),
        ];
        for field in fields {
            write!(out, ",{field}")?;
        }
        writeln!(out)
    }
}

/// What a miner has chosen, so that no spreadsheet takes it for a formula: an apostrophe before it
/// says that it is text.
fn harmless(name: &str) -> String {
    match name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => quoted(&format!("'{name}")),
        false => quoted(name),
    }
}

/// Quoted where it must be.
fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn shown(mut hash: [u8; 32]) -> String {
    hash.reverse();
    hash.to_lower_hex_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mining::target::Hashes;

    use super::*;
    use crate::accounting::log::disk::Folder;
    use crate::accounting::log::writer::{LogSettings, LogWriter};
    use crate::shares::{BlockState, Earner, Entry, ShareRecord};

    const NOW_MS: u64 = 1_700_000_000_000;

    fn exported(format: Format, wanted: Wanted) -> String {
        let folder = tempfile::tempdir().unwrap();
        let log = Folder(folder.path().to_owned());
        let settings = LogSettings { node: 1, segment_bytes: 1 << 20 };
        let (mut writer, _) = LogWriter::open(log.clone(), settings, NOW_MS, 7).unwrap();
        let earner = Arc::new(Earner::named("a \"b\"", "x,1"));
        let (work, hash) = (Hashes(1 << 70), [7; 32]);
        writer.push_share(NOW_MS, &ShareRecord { earner, work, hash });
        let state = BlockState { hash: [9; 32], code: 2 };
        writer.push_entry(NOW_MS + 5_000, Entry::BlockState(state));
        writer.commit().unwrap();
        let mut out = Vec::new();
        export(log, wanted, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const ALL: Wanted = Wanted { since_s: 0, until_s: u64::MAX };

    #[test]
    fn each_record_is_a_json_object_on_a_line_of_its_own() {
        let text = exported(Format::Jsonl, ALL);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [share, state] = &lines[..] else { panic!("{text}") };
        assert_eq!(share["account"], "a \"b\"");
        assert_eq!(share["work"], "1180591620717411303424");
        assert_eq!(share["hash"], "07".repeat(16));
        assert_eq!((&state["kind"], &state["state"]), (&"block-state".into(), &2.into()));
    }

    #[test]
    fn csv_has_as_many_columns_in_each_line_and_quotes_what_must_be() {
        let text = exported(Format::Csv, ALL);
        let [names, share, state] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(share.contains(",share,\"a \"\"b\"\"\",\"x,1\",0,0,1180591620717411303424,0707"));
        assert_eq!(state.split(',').count(), names.split(',').count());
    }

    #[test]
    fn no_name_is_a_formula_in_a_spreadsheet() {
        for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(harmless(name).trim_start_matches('"').starts_with('\''), "{name}");
        }
        assert_eq!(harmless("bc1q.rig=1"), "bc1q.rig=1");
        assert_eq!(harmless("=\"a\",b"), "\"'=\"\"a\"\",b\"");
    }

    #[test]
    fn only_the_wanted_time_is_written() {
        let from_s = NOW_MS / 1_000 + 5;
        let text = exported(Format::Jsonl, Wanted { since_s: from_s, until_s: u64::MAX });
        assert!(text.lines().count() == 1 && text.contains("block-state"), "{text}");
        let text = exported(Format::Jsonl, Wanted { since_s: 0, until_s: from_s });
        assert!(text.lines().count() == 1 && text.contains("\"share\""), "{text}");
    }
}
