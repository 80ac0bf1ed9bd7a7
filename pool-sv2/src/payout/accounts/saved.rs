//! Accounts as they stand on disk.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Accounts, Balance, BlockHash, Entry, Standing};
use crate::payout::names::Names;

/// All that [`Accounts`] know, with numbers for names.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedAccounts {
    /// Name, owed, spendable.
    balances: Vec<(u32, i64, i64)>,
    /// In the order of their hashes.
    blocks: Vec<SavedBlock>,
    /// Those that were mature once, oldest first.
    mature: Vec<BlockHash>,
    /// Those that are orphaned and remembered, oldest first; without it those that are.
    #[serde(default)]
    orphaned: Option<Vec<BlockHash>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBlock {
    hash: BlockHash,
    standing: Standing,
    changes: Vec<(u32, i64)>,
}

impl Accounts {
    /// All of it, for the disk.
    pub fn saved(&self, names: &mut Names) -> SavedAccounts {
        let balances = self.balances.iter();
        let balances = balances.map(|(name, it)| (names.number(name), it.owed, it.spendable));
        let balances = balances.collect();
        let block = |(hash, entry): (&BlockHash, &Entry)| SavedBlock {
            hash: *hash,
            standing: entry.standing,
            changes: entry.changes.iter().map(|(name, it)| (names.number(name), *it)).collect(),
        };
        let blocks = self.blocks.iter().map(block).collect();
        let mature = self.mature.iter().copied().collect();
        let orphaned = Some(self.orphaned.iter().copied().collect());
        SavedAccounts { balances, blocks, mature, orphaned }
    }

    /// The same accounts again; `None` if they name somebody whom `names` do not know.
    pub fn restored(saved: SavedAccounts, names: &Names) -> Option<Self> {
        let mut this = Self { mature: saved.mature.into(), ..Self::default() };
        let mut balances = BTreeMap::new();
        for (name, owed, spendable) in saved.balances {
            balances.insert(names.name(name)?.clone(), Balance { owed, spendable });
        }
        // One that was written before may name accounts that are owed nothing.
        this.set(balances);
        for SavedBlock { hash, standing, changes } in saved.blocks {
            let named = |(name, change): (u32, i64)| Some((names.name(name)?.clone(), change));
            let changes = changes.into_iter().map(named).collect::<Option<_>>()?;
            this.blocks.insert(hash, Entry { standing, changes });
        }
        let remembered = |(hash, entry): (&BlockHash, &Entry)| {
            (entry.standing == Standing::Orphaned && !entry.changes.is_empty()).then_some(*hash)
        };
        let orphaned = saved.orphaned.map(VecDeque::from);
        let found = || this.blocks.iter().filter_map(remembered).collect();
        this.orphaned = orphaned.unwrap_or_else(found);
        Some(this)
    }
}
