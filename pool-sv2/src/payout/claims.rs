//! What everybody may claim of a shared block at one place in the log, and whose debts a block
//! leaves out. Pure.

use std::collections::BTreeSet;

use bitcoin::ScriptBuf;
use mining::target::Hashes;
use serde::{Deserialize, Serialize};

use super::proof::Node;

/// A place in the log: all records before it are meant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The start of the pool.
    pub epoch: u64,
    /// The number within it of the first record that is not meant.
    pub sequence: u64,
}

impl Position {
    /// All records there are.
    pub const END: Self = Self { epoch: u64::MAX, sequence: u64::MAX };
}

/// An account that has worked for the block, or is still owed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub account: Box<str>,
    /// Where it is paid.
    pub script: ScriptBuf,
    /// Its work in the window.
    pub work: Hashes,
    /// What it is owed from before, in satoshis; negative if it was paid too much, as when a block
    /// left the chain.
    pub balance: i64,
}

/// What everybody may claim at one place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    position: Position,
    window: Hashes,
    root: Option<Node>,
    /// In the order of the accounts' names.
    claims: Vec<Claim>,
}

impl Claims {
    /// One claim for each account, in any order; `root` commits to the work of all of them, and is
    /// none without any work.
    pub fn new(
        position: Position,
        window: Hashes,
        root: Option<Node>,
        mut claims: Vec<Claim>,
    ) -> Self {
        claims.sort_by(|a, b| a.account.cmp(&b.account));
        Self { position, window, root, claims }
    }

    /// The place.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How much of the newest work counts.
    pub fn window(&self) -> Hashes {
        self.window
    }

    /// What all of it is committed to by; none without any work.
    pub fn root(&self) -> Option<Node> {
        self.root
    }

    /// One for each account, in the order of their names.
    pub fn all(&self) -> &[Claim] {
        &self.claims
    }
}

/// Whose debts a block does not pay, although it might: what they are owed stays owed. It stands in
/// the block's record, so that who reckons the payout again leaves them out too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// All debts are paid, as far as there is room.
    #[default]
    Nobodys,
    /// The books do not know what was paid lately.
    Everybodys,
    /// The wallet pays these accounts at the moment.
    Of(BTreeSet<String>),
}

impl Withheld {
    /// True if no debt is left out.
    pub fn is_nobodys(&self) -> bool {
        *self == Self::Nobodys
    }

    /// The balance that counts; what an account owes always does.
    pub fn balance(&self, claim: &Claim) -> i64 {
        let is_paid = match self {
            Self::Nobodys => true,
            Self::Everybodys => false,
            Self::Of(accounts) => !accounts.contains(&*claim.account),
        };
        if is_paid { claim.balance } else { claim.balance.min(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(account: &str, balance: i64) -> Claim {
        let script = ScriptBuf::new();
        Claim { account: account.into(), script, work: Hashes(1), balance }
    }

    #[test]
    fn who_is_left_out_is_paid_no_debt_and_what_he_owes_counts() {
        let of = Withheld::Of(BTreeSet::from(["ann".to_owned()]));
        for (withheld, ann, bob) in
            [(Withheld::Nobodys, 7, 7), (Withheld::Everybodys, 0, 0), (of, 0, 7)]
        {
            assert_eq!(withheld.balance(&claim("ann", 7)), ann, "{withheld:?}");
            assert_eq!(withheld.balance(&claim("bob", 7)), bob, "{withheld:?}");
            assert_eq!(withheld.balance(&claim("ann", -7)), -7, "{withheld:?}");
        }
    }
}
