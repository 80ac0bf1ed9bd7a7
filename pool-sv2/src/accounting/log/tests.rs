//! The log on a real folder: what comes back, what is cut off and what is refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mining::target::Hashes;

use super::LogError;
use super::disk::Folder;
use super::reader::SegmentReader;
use super::record::Record;
use super::recover::segments;
use super::verify::verify;
use super::writer::{LogSettings, LogWriter};
use crate::shares::{Earner, Entry, PayoutRecord, ShareRecord};

const NOW_MS: u64 = 1_700_000_000_000;

fn share(user: &str, number: u8) -> ShareRecord {
    let earner = Arc::new(Earner::named(user, ""));
    ShareRecord { earner, work: Hashes(number.into()), hash: [number; 32] }
}

fn open(folder: &Path, segment_bytes: u64) -> Result<LogWriter<Folder>, LogError> {
    let settings = LogSettings { node: 1, segment_bytes };
    LogWriter::open(Folder(folder.to_owned()), settings, NOW_MS, 7).map(|(writer, _)| writer)
}

/// The users of all shares, by reading the files, and whether each segment stood alone.
fn users(folder: &Path) -> Vec<String> {
    let disk = Folder(folder.to_owned());
    let mut users = Vec::new();
    for id in segments(&disk).unwrap() {
        let mut reader = SegmentReader::open(&disk, id).unwrap();
        let (length, mut names) = (reader.len().unwrap(), Vec::new());
        while let Some(frame) = reader.next_frame(length).unwrap() {
            for record in frame.records() {
                match record.unwrap().1 {
                    Record::Earner { number, earner } => {
                        assert_eq!(usize::try_from(number).unwrap(), names.len());
                        names.push(earner.to_string());
                    }
                    Record::Share(share) => {
                        users.push(names[usize::try_from(share.earner).unwrap()].clone());
                    }
                    _ => {}
                }
            }
        }
    }
    users
}

fn last_file(folder: &Path) -> std::path::PathBuf {
    let id = *segments(&Folder(folder.to_owned())).unwrap().last().unwrap();
    folder.join(id.to_string())
}

#[test]
fn what_was_committed_comes_back_from_segments_that_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 200).unwrap();
    for round in 0..10 {
        writer.push_share(NOW_MS, &share("a.rig", round));
        writer.push_share(NOW_MS + 9, &share("b", round));
        writer.commit().unwrap();
    }
    assert!(segments(&Folder(folder.path().to_owned())).unwrap().len() > 3);
    assert_eq!(users(folder.path()), ["a.rig", "b"].repeat(10));
    let contents = verify(&Folder(folder.path().to_owned())).unwrap();
    assert_eq!((contents.shares, contents.work, &contents.faults[..]), (20, 90, &[][..]));
}

#[test]
fn each_start_has_a_higher_epoch_even_if_the_clock_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let epochs: Vec<_> =
        (0..3).map(|_| open(folder.path(), 1 << 20).unwrap().durable_end().segment.epoch).collect();
    assert_eq!(epochs, [NOW_MS / 1_000, NOW_MS / 1_000 + 1, NOW_MS / 1_000 + 2]);
}

#[test]
fn an_unfinished_commit_is_cut_off_and_what_was_before_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 1 << 20).unwrap();
    writer.push_share(NOW_MS, &share("kept", 1));
    writer.commit().unwrap();
    let whole = fs::read(last_file(folder.path())).unwrap();
    writer.push_share(NOW_MS, &share("torn", 2));
    writer.commit().unwrap();
    let (file, torn) = (last_file(folder.path()), fs::read(last_file(folder.path())).unwrap());
    for length in whole.len()..torn.len() {
        fs::write(&file, &torn[..length]).unwrap();
        let settings = LogSettings { node: 1, segment_bytes: 1 << 20 };
        let disk = Folder(folder.path().to_owned());
        let (_, recovered) = LogWriter::open(disk, settings, NOW_MS, 7).unwrap();
        assert_eq!(recovered.cut_bytes, u64::try_from(length - whole.len()).unwrap());
        assert_eq!(fs::read(&file).unwrap(), whole);
        fs::remove_file(last_file(folder.path())).unwrap();
    }
}

#[test]
fn a_damaged_byte_before_what_is_durable_is_refused_with_file_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 1 << 20).unwrap();
    for round in 0..3 {
        writer.push_share(NOW_MS, &share("user", round));
        writer.commit().unwrap();
    }
    let file = last_file(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[64 + 50] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = open(folder.path(), 1 << 20).unwrap_err().to_string();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.starts_with(&format!("{name} is damaged at byte 64 (")), "{error}");
    assert!(error.contains("`pool-sv2 ledger verify`"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "a damaged file must stay as it is");
    assert_eq!(verify(&Folder(folder.path().to_owned())).unwrap().faults.len(), 1);
}

#[test]
fn damage_in_an_earlier_segment_is_no_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 1 << 20).unwrap();
    writer.push_share(NOW_MS, &share("user", 1));
    writer.commit().unwrap();
    let file = last_file(folder.path());
    drop(writer);
    drop(open(folder.path(), 1 << 20).unwrap());
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let error = open(folder.path(), 1 << 20).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 100).unwrap();
    for round in 0..3 {
        writer.push_share(NOW_MS, &share("user", round));
        writer.commit().unwrap();
    }
    drop(writer);
    let second = segments(&Folder(folder.path().to_owned())).unwrap()[1];
    fs::remove_file(folder.path().join(second.to_string())).unwrap();
    let error = open(folder.path(), 100).unwrap_err();
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
}

#[test]
fn a_segment_that_a_crash_left_without_a_header_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("0000000009-0000000000000000.seg"), [0; 30]).unwrap();
    open(folder.path(), 100).unwrap();
    assert_eq!(segments(&Folder(folder.path().to_owned())).unwrap().len(), 1);
}

/// A worker's name may hold any text: even a frame is only a text there.
#[test]
fn a_text_that_looks_like_a_frame_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 1 << 20).unwrap();
    let mut forged = b"FRAM".to_vec();
    forged.extend_from_slice(&[0; 36]);
    writer.push_entry(NOW_MS, Entry::Payout(PayoutRecord::new(1, forged).unwrap()));
    writer.commit().unwrap();
    let file = last_file(folder.path());
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    open(folder.path(), 1 << 20).unwrap();
}

#[test]
fn a_large_commit_is_several_frames_and_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), 1 << 30).unwrap();
    let record = share("user", 3);
    for _ in 0..60_000 {
        writer.push_share(NOW_MS, &record);
    }
    assert_eq!(writer.pending_records(), 60_001);
    writer.commit().unwrap();
    assert_eq!(writer.durable_end().sequence, 60_001);
    assert_eq!(verify(&Folder(folder.path().to_owned())).unwrap().shares, 60_000);
}

mod unbegun;
