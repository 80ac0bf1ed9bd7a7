//! What the ledger keeps of a shared block: by which work it was shared, and who was paid what.
//!
//! A settlement is frozen when the job is made, so that a block is accounted for exactly as its
//! coinbase pays, however much is written between the job and the block. The form in which it
//! stands in the log is JSON: its fields may be added to, and none ever changes its meaning.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use mining::memo::BlockRecords;
use mining::target::Hashes;
use serde::{Deserialize, Serialize};

use super::claims::{Position, Withheld};
use super::distribution::{Distribution, Line, Terms};
use super::fixed::Rate;
use super::proof::{Node, text};

/// The version of the records that are made here.
pub const PAYOUT_VERSION: u16 = 1;
/// Lines of one record: at less than 200 bytes each they stay below what the ledger takes.
const LINES_MAX: usize = 4_000;

/// What a job's block would be accounted for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// By which rules.
    pub terms: Terms,
    /// Whose debts it leaves out.
    pub withheld: Withheld,
    /// Who gets what, and by which claims.
    pub distribution: Distribution,
}

/// What stands in the log about a payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PayoutEntry {
    /// A shared block was found.
    Block(BlockPayout),
    /// Balances are paid from the pool's wallet: written before the transaction is sent, so that
    /// it is sent again, and never made again, whatever happens in between.
    Wallet(WalletPayout),
    /// Such a transaction is in the chain for good.
    WalletConfirmed {
        /// Its id.
        #[serde(with = "text")]
        transaction: Txid,
    },
    /// What work is worth from here on, where shares are paid for at a fixed rate.
    Rate(Rate),
    /// Such a transaction can never be in the chain, and a person has said what that means.
    WalletSettled {
        /// Its id.
        #[serde(with = "text")]
        transaction: Txid,
        /// What it means.
        outcome: WalletOutcome,
    },
}

/// What became of those whom a transaction would have paid that another one took the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalletOutcome {
    /// The other one has paid them.
    Paid,
    /// Nobody has: they are owed as before.
    Unpaid,
}

/// One transaction that pays many balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletPayout {
    /// Its id: by it the payout is known.
    #[serde(with = "text")]
    pub transaction: Txid,
    /// The whole of it, signed, in hex.
    pub raw: String,
    /// What it costs the pool, in satoshis.
    pub fee: u64,
    /// Whom it pays.
    pub lines: Vec<WalletLine>,
}

/// What one account gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletLine {
    /// Whose: an address.
    pub account: String,
    /// Satoshis.
    pub amount: u64,
    /// What was earned at a fixed rate and is settled by it: part of them, or more, if it made up
    /// for a balance below zero too.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub earned: u64,
}

/// What all of them pay, in satoshis; as much as fits where lines say what cannot be true.
pub fn sum(lines: &[WalletLine]) -> u64 {
    lines.iter().fold(0, |sum, line| sum.saturating_add(line.amount))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_nothing(satoshis: &u64) -> bool {
    *satoshis == 0
}

/// A shared block. One that many share is cut into parts, which follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPayout {
    /// Its hash, in display order.
    #[serde(with = "text")]
    pub block: BlockHash,
    /// The place in the log up to which work and balances count.
    pub position: Position,
    /// How much of the newest work counts, in hashes.
    #[serde(with = "text")]
    pub window: Hashes,
    /// What all of it is committed to by.
    pub root: Option<Node>,
    /// The rules.
    pub terms: Terms,
    /// Whose debts were left out; in the first part alone.
    #[serde(default, skip_serializing_if = "Withheld::is_nobodys")]
    pub withheld: Withheld,
    /// Satoshis that were shared.
    pub value: u64,
    /// The pool's part of them.
    pub fee: u64,
    /// The pool's output: its fee, and what it holds in trust.
    pub pool_output: u64,
    /// Which part this is, from 0.
    pub part: usize,
    /// How many there are.
    pub parts: usize,
    /// The accounts of this part.
    pub lines: Vec<AccountPayout>,
}

/// One account's part of a block, in satoshis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPayout {
    /// Whose: an address.
    pub account: String,
    /// Its work in the window, in hashes.
    #[serde(with = "text")]
    pub work: Hashes,
    /// Its part by its work.
    pub entitled: u64,
    /// Its output in the coinbase; 0 for none.
    pub paid: u64,
}

impl AccountPayout {
    /// How the account's balance changes.
    pub fn change(&self) -> i64 {
        let change = i128::from(self.entitled) - i128::from(self.paid);
        i64::try_from(change).unwrap_or(i64::MAX)
    }
}

/// The accounts that a block changes.
pub fn lines(distribution: &Distribution) -> Vec<AccountPayout> {
    let changed = distribution.lines().filter(|line| line.claim.work.0 > 0 || line.paid > 0);
    let line = changed.map(|Line { claim, entitled, paid }| AccountPayout {
        account: claim.account.to_string(),
        work: claim.work,
        entitled,
        paid,
    });
    line.collect()
}

impl Settlement {
    /// What is kept of the block with this hash.
    pub fn parts(&self, block: BlockHash) -> Vec<BlockPayout> {
        let (lines, claims) = (lines(&self.distribution), self.distribution.claims());
        let withheld = |part| match part {
            0 => self.withheld.clone(),
            _ => Withheld::Nobodys,
        };
        let chunks: Vec<_> = lines.chunks(LINES_MAX).collect();
        let part = |(part, lines): (usize, &&[AccountPayout])| BlockPayout {
            block,
            position: claims.position(),
            window: claims.window(),
            root: claims.root(),
            terms: self.terms,
            withheld: withheld(part),
            value: self.distribution.value(),
            fee: self.distribution.fee(),
            pool_output: self.distribution.pool_output(),
            part,
            parts: chunks.len(),
            lines: lines.to_vec(),
        };
        chunks.iter().enumerate().map(part).collect()
    }
}

impl BlockRecords for Settlement {
    fn records(&self, hash: &[u8; 32]) -> Vec<Vec<u8>> {
        let parts = self.parts(BlockHash::from_byte_array(*hash)).into_iter();
        // Numbers, texts and lists: nothing that JSON could not hold.
        parts.filter_map(|part| serde_json::to_vec(&PayoutEntry::Block(part)).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bitcoin::ScriptBuf;

    use super::super::claims::{Claim, Claims};
    use super::super::distribution::distribute;
    use super::*;

    const TERMS: Terms =
        Terms { fee_basis_points: 100, output_min: 1_000, outputs_max: 2, output_bytes_max: 1_000 };

    fn settlement(accounts: u32) -> Settlement {
        let claim = |id: u32| Claim {
            account: format!("{id:062}").into(),
            script: ScriptBuf::from_bytes(vec![0x51; 22]),
            work: Hashes(u128::MAX / 100_000 + u128::from(id)),
            balance: 0,
        };
        let claims: Vec<_> = (0..accounts).map(claim).collect();
        let position = Position { epoch: 5, sequence: 9 };
        let claims = Arc::new(Claims::new(position, Hashes(7), None, claims));
        let withheld = Withheld::Everybodys;
        let distribution = distribute(312_500_000, &TERMS, &claims, &withheld).unwrap();
        Settlement { terms: TERMS, withheld, distribution }
    }

    #[test]
    fn the_records_of_many_accounts_are_parts_that_the_ledger_takes_and_come_back() {
        let settlement = settlement(10_001);
        let records = settlement.records(&[1; 32]);
        assert_eq!(records.len(), 3);
        let mut lines = Vec::new();
        for (index, record) in records.iter().enumerate() {
            assert!(record.len() < 1 << 20, "{}", record.len());
            let entry = serde_json::from_slice(record).unwrap();
            let PayoutEntry::Block(part) = entry else { panic!("{entry:?}") };
            assert_eq!((part.part, part.parts), (index, 3));
            assert_eq!(part.block.to_byte_array(), [1; 32]);
            assert_eq!(part.withheld.is_nobodys(), index > 0, "it is said once");
            lines.extend(part.lines);
        }
        assert_eq!(lines, super::lines(&settlement.distribution));
        let sum: i64 = lines.iter().map(AccountPayout::change).sum();
        let held = settlement.distribution.pool_output() - settlement.distribution.fee();
        assert_eq!(sum, i64::try_from(held).unwrap());
    }
}
