//! Power loss at any operation, several lives in a row: nothing acknowledged is missing, nothing is
//! there twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use mining::target::Hashes;
use pool_sv2::accounting::log::reader::SegmentReader;
use pool_sv2::accounting::log::record::Record;
use pool_sv2::accounting::log::recover::segments;
use pool_sv2::accounting::log::writer::{LogSettings, LogWriter};
use pool_sv2::shares::{Earner, ShareRecord};
use proptest::prelude::*;

use super::disk::FragileDisk;

const NOW_MS: u64 = 1_700_000_000_000;

/// One life of a pool.
#[derive(Debug, Clone)]
struct Life {
    /// Shares of each commit.
    commits: Vec<u16>,
    /// Operations of the disk until the power goes.
    operations: u32,
    /// Operations that fail before that, the disk being full, and at which commit.
    full: Option<(usize, u32)>,
    /// What becomes of what was on its way.
    luck: u64,
}

fn life() -> impl Strategy<Value = Life> {
    let commits = prop::collection::vec(1_u16..120, 1..12);
    let full = prop::option::of((0_usize..12, 1_u32..5));
    (commits, 0_u32..60, full, any::<u64>()).prop_map(|(commits, operations, full, luck)| Life {
        commits,
        operations,
        full,
        luck,
    })
}

fn share(number: u64) -> ShareRecord {
    let earner = Arc::new(Earner::named(&format!("account{}", number % 7), "rig"));
    let mut hash = [0; 32];
    hash[16..24].copy_from_slice(&number.to_le_bytes());
    ShareRecord { earner, work: Hashes(1 << 40), hash }
}

/// Writes until the power goes; gives the numbers that were acknowledged.
fn live(disk: &FragileDisk, life: &Life, next: &mut u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    disk.fail_after(life.operations);
    // Small segments, so that many of them begin and end.
    let settings = LogSettings { node: 0, segment_bytes: 4_000 };
    let salt = u32::try_from(life.luck >> 32).unwrap();
    let Ok((mut writer, _)) = LogWriter::open(disk.clone(), settings, NOW_MS, salt) else {
        return acknowledged;
    };
    for (index, shares) in life.commits.iter().enumerate() {
        let numbers: Vec<_> = (0..u64::from(*shares)).map(|offset| *next + offset).collect();
        *next += u64::from(*shares);
        for number in &numbers {
            writer.push_share(NOW_MS + number, &share(*number));
        }
        let full = life.full.filter(|(at, _)| *at == index).map_or(0, |(_, count)| count);
        disk.be_full_for(full);
        // A full disk is tried again, as the ledger's thread does; more often than it is full.
        if (0..=full).any(|_| writer.commit().is_ok()) {
            acknowledged.extend(numbers);
        }
    }
    acknowledged
}

/// The numbers of all shares in the log, in order, with their place in it.
fn replay(disk: &FragileDisk) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    for id in segments(disk).unwrap() {
        let Ok(mut reader) = SegmentReader::open(disk, id) else { continue };
        let length = reader.len().unwrap();
        while let Some(frame) = reader.next_frame(length).unwrap() {
            for record in frame.records() {
                let (sequence, record) = record.unwrap();
                if let Record::Share(share) = record {
                    let number = u64::try_from(share.hash_high & u128::from(u64::MAX)).unwrap();
                    found.push((id.epoch, sequence, number));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_acknowledged_share_is_lost_or_doubled_by_a_power_loss(
        lives in prop::collection::vec(life(), 1..6),
    ) {
        let (mut disk, mut next) = (FragileDisk::default(), 0);
        let mut acknowledged = BTreeSet::new();
        for life in &lives {
            acknowledged.extend(live(&disk, life, &mut next));
            disk = disk.after_power_loss(life.luck);
            // Opened once more, so that what was torn is cut off, and begun anew.
            let settings = LogSettings { node: 0, segment_bytes: 4_000 };
            let opened = LogWriter::open(disk.clone(), settings, NOW_MS, 1);
            prop_assert!(opened.is_ok(), "{:?}", opened.err());
            let replayed = replay(&disk);
            let places: BTreeSet<_> = replayed.iter().map(|(epoch, at, _)| (*epoch, *at)).collect();
            prop_assert_eq!(places.len(), replayed.len(), "two records have one place");
            let numbers: BTreeSet<_> = replayed.iter().map(|(_, _, number)| *number).collect();
            prop_assert_eq!(numbers.len(), replayed.len(), "a share is there twice");
            let missing: Vec<_> = acknowledged.difference(&numbers).collect();
            prop_assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
        }
    }
}
