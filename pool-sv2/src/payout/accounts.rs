//! What the pool owes to whom, in satoshis.
//!
//! Double entry: what an account is owed beyond what it was paid is held in the pool's outputs, and
//! nowhere else; so the pool's balance is always the others' sum with the sign turned. A block that
//! leaves the chain takes all that it changed with it, and brings it back when it returns. Pure:
//! the same events in the same order give the same balances.

pub mod saved;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Mature blocks whose changes are remembered, should one leave the chain after all; what older
/// ones changed stays.
const MATURE_MAX: usize = 256;

/// Orphaned blocks whose changes are remembered, should one come back. Nobody asks for a block that
/// was found two days ago, and in two days no more are orphaned.
const ORPHANED_MAX: usize = 256;

/// A block's hash, internal byte order.
pub type BlockHash = [u8; 32];

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It counts; its coins cannot be spent yet.
    InChain,
    /// Deep enough for its coins to be spent.
    Mature,
    /// It counts for nothing, unless it comes back.
    Orphaned,
}

impl Standing {
    /// How often a block's changes count in what is owed.
    fn counts(self) -> i64 {
        match self {
            Self::InChain | Self::Mature => 1,
            Self::Orphaned => 0,
        }
    }

    /// How often they count in what can be spent.
    fn counts_as_spendable(self) -> i64 {
        match self {
            Self::Mature => 1,
            Self::InChain | Self::Orphaned => 0,
        }
    }
}

/// One account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Owed, by all blocks in the chain; negative if more was paid than was due.
    pub owed: i64,
    /// The part of it whose coins the pool can spend.
    pub spendable: i64,
}

/// What is recorded twice, or for nothing that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// Its changes would count twice.
    #[error("the block is recorded already")]
    KnownBlock,
    /// Nothing says what it changed.
    #[error("the block was never recorded")]
    UnknownBlock,
    /// The sum of all that can be owed is far below this.
    #[error("a balance does not fit into 64 bits: the record is not of this chain")]
    Overflow,
}

/// All accounts, and what each block has changed in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Of those who are owed something, or owe it: who is paid in full is not kept.
    balances: BTreeMap<Arc<str>, Balance>,
    blocks: BTreeMap<BlockHash, Entry>,
    /// Those that were mature once, oldest first.
    mature: VecDeque<BlockHash>,
    /// Those that are orphaned and remembered, oldest first.
    orphaned: VecDeque<BlockHash>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    standing: Standing,
    changes: Vec<(Arc<str>, i64)>,
}

impl Accounts {
    /// Records a block that was found, with the change of each account (what it was entitled to,
    /// less what its output paid).
    pub fn found(
        &mut self,
        block: BlockHash,
        changes: impl IntoIterator<Item = (Arc<str>, i64)>,
    ) -> Result<(), AccountsError> {
        if self.blocks.contains_key(&block) {
            return Err(AccountsError::KnownBlock);
        }
        let changes: Vec<_> = changes.into_iter().filter(|(_, change)| *change != 0).collect();
        let next = self.with(&changes, Standing::Orphaned, Standing::InChain)?;
        self.set(next);
        self.blocks.insert(block, Entry { standing: Standing::InChain, changes });
        Ok(())
    }

    /// Records where a block stands now. To hear the same twice changes nothing.
    pub fn stands(&mut self, block: &BlockHash, standing: Standing) -> Result<(), AccountsError> {
        let entry = self.blocks.get(block).ok_or(AccountsError::UnknownBlock)?;
        let next = self.with(&entry.changes, entry.standing, standing)?;
        self.set(next);
        if let Some(entry) = self.blocks.get_mut(block) {
            entry.standing = standing;
        }
        if standing == Standing::Mature && !self.mature.contains(block) {
            self.mature.push_back(*block);
        }
        self.orphaned.retain(|orphaned| orphaned != block);
        if standing == Standing::Orphaned {
            self.orphaned.push_back(*block);
        }
        self.forget_old();
        Ok(())
    }

    /// Takes back what a transaction changed that counted as mature, for it never will be in the
    /// chain. It says itself what that was: it may have been forgotten since.
    pub fn take_back(
        &mut self,
        id: &BlockHash,
        changes: &[(Arc<str>, i64)],
    ) -> Result<(), AccountsError> {
        let entry = self.blocks.get(id).ok_or(AccountsError::UnknownBlock)?;
        let next = self.with(changes, entry.standing, Standing::Orphaned)?;
        self.set(next);
        if let Some(entry) = self.blocks.get_mut(id) {
            *entry = Entry { standing: Standing::Orphaned, changes: Vec::new() };
        }
        Ok(())
    }

    /// True if the block, or the transaction, was recorded.
    pub fn has(&self, block: &BlockHash) -> bool {
        self.blocks.contains_key(block)
    }

    /// One account's balance; nothing for one that is not known.
    pub fn balance(&self, account: &str) -> Balance {
        self.balances.get(account).copied().unwrap_or_default()
    }

    /// All accounts that are owed something, or owe it.
    pub fn open(&self) -> impl Iterator<Item = (&Arc<str>, Balance)> {
        self.balances.iter().map(|(account, balance)| (account, *balance))
    }

    /// Whose balances are open, or were changed by what is remembered.
    pub fn names(&self) -> BTreeSet<Arc<str>> {
        let changed = self.blocks.values().flat_map(|entry| &entry.changes);
        let changed = changed.map(|(account, _)| account);
        self.balances.keys().chain(changed).map(Arc::clone).collect()
    }

    /// The pool's balance: the others' with the sign turned.
    pub fn pool(&self) -> i128 {
        -self.balances.values().map(|balance| i128::from(balance.owed)).sum::<i128>()
    }

    fn set(&mut self, balances: BTreeMap<Arc<str>, Balance>) {
        for (account, balance) in balances {
            match balance == Balance::default() {
                true => self.balances.remove(&account),
                false => self.balances.insert(account, balance),
            };
        }
    }

    /// Keeps memory bounded over the years.
    fn forget_old(&mut self) {
        while self.mature.len() > MATURE_MAX {
            let oldest = self.mature.pop_front().and_then(|hash| self.blocks.get_mut(&hash));
            if let Some(entry) = oldest.filter(|entry| entry.standing == Standing::Mature) {
                entry.changes = Vec::new();
            }
        }
        while self.orphaned.len() > ORPHANED_MAX {
            let oldest = self.orphaned.pop_front().and_then(|hash| self.blocks.get_mut(&hash));
            if let Some(entry) = oldest {
                entry.changes = Vec::new();
            }
        }
    }

    /// The balances that `changes` touch, as they are after the step from one standing to another.
    fn with(
        &self,
        changes: &[(Arc<str>, i64)],
        before: Standing,
        after: Standing,
    ) -> Result<BTreeMap<Arc<str>, Balance>, AccountsError> {
        let owed = after.counts() - before.counts();
        let spendable = after.counts_as_spendable() - before.counts_as_spendable();
        let mut next = BTreeMap::new();
        for (account, change) in changes {
            let balance: &mut Balance =
                next.entry(Arc::clone(account)).or_insert_with(|| self.balance(account));
            balance.owed = add(balance.owed, *change, owed)?;
            balance.spendable = add(balance.spendable, *change, spendable)?;
        }
        Ok(next)
    }
}

fn add(balance: i64, change: i64, times: i64) -> Result<i64, AccountsError> {
    let change = change.checked_mul(times);
    change.and_then(|change| balance.checked_add(change)).ok_or(AccountsError::Overflow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: BlockHash = [1; 32];

    fn changes(changes: &[(&str, i64)]) -> Vec<(Arc<str>, i64)> {
        changes.iter().map(|(account, change)| (Arc::from(*account), *change)).collect()
    }

    fn found() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.found(BLOCK, changes(&[("ann", 5), ("bob", -2), ("cy", 0)])).unwrap();
        accounts
    }

    #[test]
    fn what_is_owed_can_be_spent_when_its_block_is_mature() {
        let mut accounts = found();
        assert_eq!(accounts.balance("ann"), Balance { owed: 5, spendable: 0 });
        accounts.stands(&BLOCK, Standing::Mature).unwrap();
        assert_eq!(accounts.balance("ann"), Balance { owed: 5, spendable: 5 });
        assert_eq!(accounts.balance("bob"), Balance { owed: -2, spendable: -2 });
        assert_eq!(accounts.pool(), -3);
        assert_eq!(accounts.open().count(), 2);
    }

    #[test]
    fn an_orphaned_block_takes_its_changes_with_it_and_brings_them_back() {
        for before in [Standing::InChain, Standing::Mature] {
            let mut accounts = found();
            accounts.stands(&BLOCK, before).unwrap();
            let counted = accounts.clone();
            accounts.stands(&BLOCK, Standing::Orphaned).unwrap();
            assert_eq!((accounts.open().count(), accounts.pool()), (0, 0));
            assert!(accounts.balances.is_empty(), "nobody is kept who is owed nothing");
            accounts.stands(&BLOCK, before).unwrap();
            assert_eq!(accounts, counted);
        }
    }

    #[test]
    fn a_block_counts_once_however_often_it_is_heard_of() {
        let mut accounts = found();
        assert_eq!(accounts.found(BLOCK, changes(&[("ann", 5)])), Err(AccountsError::KnownBlock));
        accounts.stands(&BLOCK, Standing::InChain).unwrap();
        assert_eq!(accounts, found());
        let unknown = accounts.stands(&[2; 32], Standing::Mature);
        assert_eq!(unknown, Err(AccountsError::UnknownBlock));
    }

    #[test]
    fn what_long_mature_blocks_changed_stays_and_takes_no_memory() {
        let mut accounts = Accounts::default();
        for id in 0..=u16::try_from(MATURE_MAX).unwrap() {
            let mut hash = [0; 32];
            hash[..2].copy_from_slice(&id.to_le_bytes());
            accounts.found(hash, changes(&[("ann", 1)])).unwrap();
            accounts.stands(&hash, Standing::Mature).unwrap();
        }
        let all = i64::try_from(MATURE_MAX).unwrap() + 1;
        assert_eq!(accounts.balance("ann"), Balance { owed: all, spendable: all });
        assert!(accounts.blocks[&[0; 32]].changes.is_empty());
        accounts.stands(&[0; 32], Standing::Orphaned).unwrap();
        assert_eq!(accounts.balance("ann").owed, all);
        assert_eq!(accounts.found([0; 32], changes(&[])), Err(AccountsError::KnownBlock));
    }

    #[test]
    fn what_long_orphaned_blocks_changed_takes_no_memory_and_the_latest_may_come_back() {
        let mut accounts = Accounts::default();
        let hash = |id: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&id.to_le_bytes());
            hash
        };
        for id in 0..=ORPHANED_MAX {
            accounts.found(hash(id), changes(&[("ann", 1)])).unwrap();
            accounts.stands(&hash(id), Standing::Orphaned).unwrap();
        }
        let kept = accounts.blocks.values().filter(|entry| !entry.changes.is_empty());
        assert_eq!(kept.count(), ORPHANED_MAX);
        accounts.stands(&hash(0), Standing::InChain).unwrap();
        assert_eq!(accounts.balance("ann").owed, 0, "it is forgotten");
        accounts.stands(&hash(1), Standing::InChain).unwrap();
        assert_eq!(accounts.balance("ann").owed, 1);
        assert_eq!(accounts.orphaned.len(), ORPHANED_MAX - 1);
        assert_eq!(accounts.found(hash(0), changes(&[])), Err(AccountsError::KnownBlock));
    }

    #[test]
    fn a_transaction_is_taken_back_by_what_it_says_itself_however_old_it_is() {
        let mut accounts = found();
        accounts.stands(&BLOCK, Standing::Mature).unwrap();
        let paid = changes(&[("ann", -5)]);
        accounts.found([2; 32], paid.clone()).unwrap();
        accounts.stands(&[2; 32], Standing::Mature).unwrap();
        assert_eq!(accounts.balance("ann"), Balance::default());
        accounts.blocks.get_mut(&[2; 32]).unwrap().changes = Vec::new();
        accounts.take_back(&[2; 32], &paid).unwrap();
        assert_eq!(accounts.balance("ann"), Balance { owed: 5, spendable: 5 });
        accounts.take_back(&[2; 32], &paid).unwrap();
        assert_eq!(accounts.balance("ann").owed, 5, "once");
    }

    #[test]
    fn an_account_named_twice_gets_both() {
        let mut accounts = Accounts::default();
        accounts.found(BLOCK, changes(&[("ann", 5), ("ann", 7)])).unwrap();
        assert_eq!(accounts.balance("ann").owed, 12);
    }

    #[test]
    fn what_overflows_is_refused_and_changes_nothing() {
        let mut accounts = found();
        let before = accounts.clone();
        let error = accounts.found([2; 32], changes(&[("bob", 3), ("ann", i64::MAX)]));
        assert_eq!((error, accounts), (Err(AccountsError::Overflow), before));
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![Just(Standing::InChain), Just(Standing::Mature), Just(Standing::Orphaned)]
    }

    proptest! {
        /// The reference: balances are summed anew from where each block stands in the end.
        #[test]
        fn balances_are_the_sums_of_the_blocks_that_count(
            blocks in prop::collection::vec(prop::collection::vec(-1_000..1_000_i64, 3), 1..8),
            moves in prop::collection::vec((0..8_u8, standing()), 0..60),
        ) {
            let names = ["ann", "bob", "cy"];
            let mut accounts = Accounts::default();
            let mut standings = BTreeMap::new();
            for (id, block) in (0_u8..).zip(&blocks) {
                let block: Vec<_> = names.into_iter().zip(block.iter().copied()).collect();
                accounts.found([id; 32], changes(&block)).unwrap();
                standings.insert(id, Standing::InChain);
            }
            for (id, standing) in moves {
                let known = accounts.stands(&[id; 32], standing).is_ok();
                prop_assert_eq!(known, standings.contains_key(&id));
                standings.entry(id).and_modify(|now| *now = standing);
            }
            for (index, name) in names.into_iter().enumerate() {
                let sum = |counts: &dyn Fn(Standing) -> bool| -> i64 {
                    let counted = (0_u8..).zip(&blocks).filter(|(id, _)| counts(standings[id]));
                    counted.map(|(_, block)| block[index]).sum()
                };
                let balance = accounts.balance(name);
                prop_assert_eq!(balance.owed, sum(&|standing| standing != Standing::Orphaned));
                prop_assert_eq!(balance.spendable, sum(&|standing| standing == Standing::Mature));
            }
        }
    }
}
