//! The books: who has worked how much lately, what is owed to whom, and which blocks are on their
//! way to maturity.
//!
//! They are folded from the records of the log and from nothing else: the same records in the same
//! order give the same books, at every start and for everybody who recomputes a payout.

pub mod saved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{Network, ScriptBuf, Txid};
use mining::target::Hashes;
use tracing::warn;

use super::log::cursor::{Located, Place};
use super::log::record::{LoggedShare, Record};
use crate::payout::accounts::{Accounts, AccountsError, Balance, BlockHash, Standing};
use crate::payout::claims::{Claim, Claims, Position};
use crate::payout::fixed::{FixedRate, Rate};
use crate::payout::identity::read_address;
use crate::payout::proof::WorkTree;
use crate::payout::settlement::{
    AccountPayout, BlockPayout, PAYOUT_VERSION, PayoutEntry, WalletLine, WalletOutcome,
    WalletPayout,
};
use crate::payout::window::Window;
use crate::shares::{BlockStage, BlockState, Earner, PAYS_ALL, PAYS_SHARES, PayoutRecord};

/// Milliseconds of the shortest slices.
const MINUTE_MS: u64 = 60_000;
/// So many times the window of the last shared block is remembered: its settings may change.
const WINDOWS_KEPT: u128 = 8;
/// Accounts that the books know. While there are so many, the work of further ones counts for
/// nothing, and it is said so once a minute: an account leaves when its work is beyond all windows,
/// or is among the least, nothing is owed, and no block that is remembered has changed its balance.
/// What is owed is never refused.
pub const ACCOUNTS_MAX: usize = 1 << 16;
/// One of so many accounts leaves at a time for having the least work.
const FORGOTTEN_PART: usize = 16;
/// Blocks whose fate is waited for; of more the oldest are given up.
const OPEN_BLOCKS_MAX: usize = 1_024;

/// Why the books cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// Written by a later version of the pool, or by none.
    #[error("a payout in the log cannot be read ({0}); use the version of the pool that wrote it")]
    Unreadable(String),
    /// It would leave a debt below zero.
    #[error("a payout in the log pays {0} more than was earned; the log is of another pool")]
    NotEarned(String),
    /// Sums that no chain has.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// A block that is not settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenBlock {
    /// Its hash, internal byte order.
    pub hash: BlockHash,
    /// Its height, if the template told it.
    pub height: Option<u32>,
    /// When it was found, milliseconds since 1970.
    pub found_ms: u64,
    /// What is known of it.
    pub stage: BlockStage,
}

/// Somebody with work or a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: Arc<str>,
    /// None if the name is no address of this network.
    script: Option<ScriptBuf>,
}

/// The state after all records before `position`.
#[derive(Debug, PartialEq, Eq)]
pub struct Books {
    network: Network,
    position: Position,
    window: Window,
    accounts: Accounts,
    fixed: FixedRate,
    known: HashMap<Box<str>, Account>,
    blocks: Vec<OpenBlock>,
    /// Transactions of the pool's wallet that are not in the chain for good.
    unconfirmed: Vec<WalletPayout>,
    /// Parts of a payout whose last one has not come yet.
    parts: Vec<AccountPayout>,
    /// Counts records of anything but work and what it is worth.
    changes: u64,
    /// `ACCOUNTS_MAX`, but in tests.
    accounts_max: usize,
    /// The last minute since 1970 in which there was one account too many.
    crowded_at: u64,
}

impl Books {
    /// Empty ones, for addresses of `network`.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            position: Position::default(),
            window: Window::default(),
            accounts: Accounts::default(),
            fixed: FixedRate::default(),
            known: HashMap::new(),
            blocks: Vec::new(),
            unconfirmed: Vec::new(),
            parts: Vec::new(),
            changes: 0,
            accounts_max: ACCOUNTS_MAX,
            crowded_at: 0,
        }
    }

    /// Takes the next record.
    pub fn take(&mut self, located: &Located) -> Result<(), BooksError> {
        match &located.record {
            Record::Share(share) => {
                if let Some(earner) = &located.earner {
                    self.credit(earner, share);
                }
            }
            Record::BlockFound { time_ms, block, .. } => {
                let (hash, height, found_ms) = (block.hash, block.height, *time_ms);
                self.changes += 1;
                self.found(OpenBlock { hash, height, found_ms, stage: BlockStage::Found });
            }
            Record::BlockState { state, .. } => {
                self.changes += 1;
                self.stands(*state)?;
            }
            Record::Payout { time_ms, payout } => self.take_payout(time_ms / MINUTE_MS, payout)?,
            Record::Earner { .. } | Record::Rejects { .. } | Record::Unknown { .. } => {}
        }
        let Place { epoch, sequence } = located.place;
        self.position = Position { epoch, sequence: sequence.saturating_add(1) };
        Ok(())
    }

    /// True if the payout of this block is in them.
    pub fn has_payout_of(&self, block: &BlockHash) -> bool {
        self.accounts.has(block)
    }

    /// The place behind the last record that was taken.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Changes whenever blocks, payouts or balances may have changed; not by work alone.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What everybody may claim if the newest `window` of work counts.
    pub fn claims(&self, window: Hashes) -> Claims {
        let work = self.window.newest_work(window);
        let tree = WorkTree::new(work.iter().map(|(name, work)| (name.to_string(), *work)));
        let mut claims = BTreeMap::new();
        for (name, work) in work {
            claims.insert(name, work);
        }
        let owed = self.accounts.open().filter(|(_, balance)| balance.owed > 0);
        for (name, _) in owed {
            claims.entry(Arc::clone(name)).or_default();
        }
        let claims = claims.into_iter().filter_map(|(name, work)| self.claim(&name, work));
        let root = tree.and_then(|tree| tree.root());
        Claims::new(self.position, window, root, claims.collect())
    }

    /// The tree over the same work.
    pub fn work_tree(&self, window: Hashes) -> Option<WorkTree> {
        let work = self.window.newest_work(window);
        WorkTree::new(work.into_iter().map(|(name, work)| (name.to_string(), work)))
    }

    /// Blocks whose fate is not known for good.
    pub fn open_blocks(&self) -> &[OpenBlock] {
        &self.blocks
    }

    /// Transactions of the pool's wallet that are not in the chain for good, in their order.
    pub fn unconfirmed(&self) -> &[WalletPayout] {
        &self.unconfirmed
    }

    /// Who is owed satoshis that the pool can spend, and how many: the largest first. Who was paid
    /// too much by blocks has it taken off what he earned at a fixed rate.
    pub fn payable(&self) -> Vec<WalletLine> {
        let mut owed: BTreeMap<&Arc<str>, (i64, u64)> = BTreeMap::new();
        for (name, balance) in self.accounts.open() {
            owed.insert(name, (balance.owed.min(balance.spendable), 0));
        }
        for (name, earned) in self.fixed.open() {
            owed.entry(name).or_default().1 = earned;
        }
        let lines = owed.into_iter().filter_map(|(name, (shared, earned))| {
            self.known.get(&**name)?.script.as_ref()?;
            let amount = i128::from(shared).saturating_add(earned.into()).max(0);
            let (account, amount) = (name.to_string(), u64::try_from(amount).unwrap_or(u64::MAX));
            (amount > 0).then_some(WalletLine { account, amount, earned })
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort_by(|a, b| b.amount.cmp(&a.amount).then_with(|| a.account.cmp(&b.account)));
        lines
    }

    /// All accounts that are owed something, or owe it.
    ///
    /// Names are lent, and never shared: by who holds one, the books know whom they still need.
    pub fn balances(&self) -> impl Iterator<Item = (&str, Balance)> {
        self.accounts.open().map(|(name, balance)| (&**name, balance))
    }

    /// What was earned at a fixed rate and is owed: all accounts with at least a satoshi.
    pub fn earned(&self) -> impl Iterator<Item = (&str, u64)> {
        self.fixed.open().map(|(name, earned)| (&**name, earned))
    }

    /// What work is worth now, where shares are paid for at a fixed rate.
    pub fn rate(&self) -> Option<Rate> {
        self.fixed.rate()
    }

    fn claim(&self, name: &Arc<str>, work: Hashes) -> Option<Claim> {
        let script = self.known.get(&**name)?.script.clone()?;
        let balance = self.accounts.balance(name).owed;
        // A copy of the name: by who holds it, the books know whom they still need.
        Some(Claim { account: Box::from(&**name), script, work, balance })
    }

    /// Credits a share by the rules of its port.
    fn credit(&mut self, earner: &Earner, share: &LoggedShare) {
        let (minute, work) = (share.time_ms / MINUTE_MS, Hashes(share.work));
        if !matches!(earner.payout_mode, PAYS_ALL | PAYS_SHARES) {
            return;
        }
        let Some(name) = self.name_to_credit(&earner.account, minute) else {
            return;
        };
        match earner.payout_mode {
            PAYS_ALL => self.window.credit(minute, &name, work),
            _ => self.fixed.credit(minute, &name, work),
        }
    }

    /// None if there are too many accounts for one more.
    fn name_to_credit(&mut self, account: &str, minute: u64) -> Option<Arc<str>> {
        if !self.known.contains_key(account) && self.known.len() >= self.accounts_max {
            // Looked for once a minute: by the records' time, so that all books do it alike.
            if self.crowded_at == minute {
                return None;
            }
            self.crowded_at = minute;
            self.forget_strangers(minute);
            if self.known.len() >= self.accounts_max {
                let gone = self.forget_smallest();
                warn!(
                    accounts = self.known.len(),
                    gone,
                    account,
                    "too many accounts: the work of the smallest, and of further ones while there \
                     is no room, counts for nothing"
                );
            }
            if self.known.len() >= self.accounts_max {
                return None;
            }
        }
        Some(Arc::clone(&self.account(account).name))
    }

    fn account(&mut self, name: &str) -> &Account {
        let network = self.network;
        self.known.entry(name.into()).or_insert_with(|| {
            let script = read_address(name, network);
            if let Err(error) = &script {
                warn!(account = name, %error, "the work of an account counts for nothing");
            }
            Account { name: name.into(), script: script.ok().map(|paid| paid.script) }
        })
    }

    fn found(&mut self, block: OpenBlock) {
        // Who sends the same header again has found it once.
        if self.blocks.iter().any(|known| known.hash == block.hash) {
            return;
        }
        if self.blocks.len() >= OPEN_BLOCKS_MAX {
            self.blocks.remove(0);
        }
        self.blocks.push(block);
    }

    fn stands(&mut self, state: BlockState) -> Result<(), BooksError> {
        let stage = state.stage();
        if stage == BlockStage::Mature {
            self.blocks.retain(|block| block.hash != state.hash);
        }
        if let Some(block) = self.blocks.iter_mut().find(|block| block.hash == state.hash) {
            block.stage = stage;
        }
        let standing = match stage {
            BlockStage::Found | BlockStage::Submitted | BlockStage::Accepted => Standing::InChain,
            BlockStage::Mature => Standing::Mature,
            BlockStage::Orphaned => Standing::Orphaned,
            BlockStage::Other => return Ok(()),
        };
        match self.accounts.stands(&state.hash, standing) {
            // A block that nobody shares.
            Err(AccountsError::UnknownBlock) => Ok(()),
            stands => Ok(stands?),
        }
    }

    fn take_payout(&mut self, minute: u64, record: &PayoutRecord) -> Result<(), BooksError> {
        let unreadable = |reason: String| BooksError::Unreadable(reason);
        if record.version != PAYOUT_VERSION {
            return Err(unreadable(format!("its version is {}", record.version)));
        }
        let entry = serde_json::from_slice(record.bytes());
        let entry = entry.map_err(|error| unreadable(error.to_string()))?;
        // A rate changes what is owed to nobody.
        if !matches!(entry, PayoutEntry::Rate(_)) {
            self.changes += 1;
        }
        match entry {
            PayoutEntry::Block(block) => self.take_block(minute, block),
            PayoutEntry::Wallet(payout) => self.take_wallet(payout),
            PayoutEntry::Rate(rate) => {
                self.fixed.set_rate(rate);
                Ok(())
            }
            PayoutEntry::WalletConfirmed { transaction } => {
                self.unconfirmed.retain(|payout| payout.transaction != transaction);
                Ok(())
            }
            PayoutEntry::WalletSettled { transaction, outcome } => {
                self.settle_wallet(transaction, outcome)
            }
        }
    }

    fn take_block(&mut self, minute: u64, block: BlockPayout) -> Result<(), BooksError> {
        if block.part == 0 {
            self.parts.clear();
        }
        self.parts.extend(block.lines);
        if block.part.saturating_add(1) < block.parts {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.parts);
        let changes: Vec<_> = lines
            .iter()
            .map(|line| (Arc::clone(&self.account(&line.account).name), line.change()))
            .collect();
        match self.accounts.found(block.block.to_byte_array(), changes) {
            // Its header was sent twice.
            Ok(()) | Err(AccountsError::KnownBlock) => {}
            Err(error) => return Err(error.into()),
        }
        self.window.forget_beyond(Hashes(block.window.0.saturating_mul(WINDOWS_KEPT)));
        self.forget_strangers(minute);
        Ok(())
    }

    /// What is sent is paid: a transaction that is not in the chain yet is sent again until it is.
    fn take_wallet(&mut self, payout: WalletPayout) -> Result<(), BooksError> {
        let id = payout.transaction.to_byte_array();
        let changes = self.changes_of(&payout)?;
        match self.accounts.found(id, changes) {
            Ok(()) => self.accounts.stands(&id, Standing::Mature)?,
            Err(AccountsError::KnownBlock) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for line in &payout.lines {
            if !self.fixed.pay(&line.account, line.earned) {
                return Err(BooksError::NotEarned(line.account.clone()));
            }
        }
        self.unconfirmed.push(payout);
        Ok(())
    }

    /// A transaction that was settled before, or has confirmed, stays as it is.
    fn settle_wallet(
        &mut self,
        transaction: Txid,
        outcome: WalletOutcome,
    ) -> Result<(), BooksError> {
        let mut unconfirmed = self.unconfirmed.iter();
        let Some(place) = unconfirmed.position(|payout| payout.transaction == transaction) else {
            return Ok(());
        };
        let payout = self.unconfirmed.remove(place);
        match outcome {
            WalletOutcome::Paid => Ok(()),
            WalletOutcome::Unpaid => {
                let changes = self.changes_of(&payout)?;
                for line in &payout.lines {
                    let name = Arc::clone(&self.account(&line.account).name);
                    self.fixed.take_back(&name, line.earned);
                }
                Ok(self.accounts.take_back(&transaction.to_byte_array(), &changes)?)
            }
        }
    }

    /// What a transaction takes off balances, beside what was earned at a fixed rate; it adds to
    /// them what earnings made up for.
    fn changes_of(&mut self, payout: &WalletPayout) -> Result<Vec<(Arc<str>, i64)>, BooksError> {
        let mut changes = Vec::new();
        for line in &payout.lines {
            let change = i128::from(line.earned).saturating_sub(line.amount.into());
            let change = i64::try_from(change).map_err(|_| AccountsError::Overflow)?;
            changes.push((Arc::clone(&self.account(&line.account).name), change));
        }
        Ok(changes)
    }

    /// Takes those out who have the least work, a sixteenth of all, so that whoever mines a little
    /// for each of very many addresses keeps nobody out who works more. Nobody goes who is owed
    /// something or owes it, or whose balance a remembered block has changed. Says how many went.
    fn forget_smallest(&mut self) -> usize {
        let before = self.known.len();
        let work = self.window.newest_work(Hashes(u128::MAX));
        let needed = self.accounts.names();
        let mut smallest: Vec<_> = self
            .known
            .values()
            .map(|account| &account.name)
            .filter(|name| !needed.contains(*name) && self.fixed.owed(name) == 0)
            .map(|name| (work.get(name).copied().unwrap_or_default(), self.fixed.dust(name), name))
            .collect();
        smallest.sort_unstable();
        let gone = smallest.into_iter().take(self.accounts_max / FORGOTTEN_PART);
        let gone: BTreeSet<Arc<str>> = gone.map(|(_, _, name)| Arc::clone(name)).collect();
        self.window.forget(&gone);
        self.fixed.forget(&gone);
        // By who holds a name, it is known who is still needed.
        drop((work, needed, gone));
        self.known.retain(|_, account| Arc::strong_count(&account.name) > 1);
        before - self.known.len()
    }

    /// Accounts that have neither work nor a balance, nor were changed by a block that may still
    /// leave the chain, are known by nobody else. Nothing outside of the books holds their names,
    /// so that all books forget alike, read from the log or from a checkpoint.
    fn forget_strangers(&mut self, minute: u64) {
        self.fixed.forget_dust(minute);
        self.known.retain(|_, account| Arc::strong_count(&account.name) > 1);
    }
}

#[cfg(test)]
mod tests;
