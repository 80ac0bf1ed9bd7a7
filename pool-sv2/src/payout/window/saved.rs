//! A window as it stands on disk.

use std::collections::BTreeMap;

use mining::target::Hashes;
use serde::{Deserialize, Serialize};

use super::{Slice, TIERS, Window};
use crate::payout::names::Names;

/// All that a [`Window`] holds, with numbers for names.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedWindow {
    /// By tier, the finest first.
    tiers: Vec<Vec<SavedSlice>>,
}

/// Start and work, which is text: JSON's numbers end before 128 bits.
#[derive(Debug, Serialize, Deserialize)]
struct SavedSlice(u64, Vec<(u32, String)>);

impl Window {
    /// All of it, for the disk.
    pub fn saved(&self, names: &mut Names) -> SavedWindow {
        let mut slice = |slice: &Slice| {
            let work = slice.work.iter();
            SavedSlice(
                slice.start,
                work.map(|(name, work)| (names.number(name), work.0.to_string())).collect(),
            )
        };
        let tiers = self.tiers.iter().map(|tier| tier.iter().map(&mut slice).collect()).collect();
        SavedWindow { tiers }
    }

    /// The same window again; `None` if it is none, or names somebody whom `names` do not know.
    pub fn restored(saved: SavedWindow, names: &Names) -> Option<Self> {
        let mut this = Self::default();
        if saved.tiers.len() != TIERS.len() {
            return None;
        }
        for (tier, slices) in this.tiers.iter_mut().zip(saved.tiers) {
            for SavedSlice(start, credited) in slices {
                let mut slice = Slice { start, work: BTreeMap::new(), total: Hashes::default() };
                for (name, work) in credited {
                    slice.credit(names.name(name)?, Hashes(work.parse().ok()?));
                }
                tier.push_back(slice);
            }
        }
        Some(this)
    }
}
