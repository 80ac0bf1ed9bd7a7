//! Which debts are promised to be paid at the moment, and by whom: each by one of the jobs that are
//! mined or by the wallet, and by none twice.
//!
//! A job that lives may become a block, whoever holds it; it ends with the last channel that could
//! send a share for it. So the wallet leaves out everybody who has an output in a living job, and
//! while it pays an account no new job pays that account's debt. The lock is held for a moment: a
//! distribution is made outside of it, and made again if the rules have changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bitcoin::hashes::Hash;
use mining::memo::BlockRecords;
use tracing::warn;

use super::accounts::BlockHash;
use super::claims::{Claims, Position, Withheld};
use super::settlement::Settlement;

/// Jobs that pay debts, each of one template and port. With more, further ones pay no debts: what
/// is owed stays owed.
const LIVING_MAX: usize = 8_192;

/// What a job that is shared is made by.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// What everybody may claim.
    pub claims: Arc<Claims>,
    /// Where it is noted who is promised what.
    pub promises: Promises,
}

/// All promises. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Promises(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Counts changes of what follows.
    version: u64,
    stands_still: bool,
    /// Claims of an earlier place may hold debts that were paid since.
    settled: Position,
    /// Blocks that were found and are not in the books yet: what they have paid is not known. Their
    /// settlements live until their records are durable or lost, however long a disk takes.
    found: BTreeMap<BlockHash, Weak<Settlement>>,
    /// What the wallet pays at the moment.
    set_aside: BTreeSet<String>,
    /// What jobs promise.
    living: Vec<Weak<Settlement>>,
}

impl State {
    fn withheld(&mut self, position: Position) -> Withheld {
        self.living.retain(|known| known.strong_count() > 0);
        let is_unknown = self.stands_still || position < self.settled || !self.found.is_empty();
        if is_unknown || self.living.len() >= LIVING_MAX {
            Withheld::Everybodys
        } else if self.set_aside.is_empty() {
            Withheld::Nobodys
        } else {
            Withheld::Of(self.set_aside.clone())
        }
    }
}

impl Promises {
    /// Makes a settlement by claims of `position` with the debts that may be promised, and notes it
    /// for as long as anybody holds it.
    pub fn promise(
        &self,
        position: Position,
        make: &dyn Fn(Withheld) -> Option<Settlement>,
    ) -> Option<Arc<Settlement>> {
        loop {
            let (version, withheld) = {
                let mut state = self.lock();
                (state.version, state.withheld(position))
            };
            let pays_debts = withheld != Withheld::Everybodys;
            let settlement = Arc::new(make(withheld)?);
            let mut state = self.lock();
            if state.version == version {
                if pays_debts {
                    state.living.push(Arc::downgrade(&settlement));
                }
                return Some(settlement);
            }
        }
    }

    /// Sets accounts aside for the wallet: those of `accounts` that have no output in any job. From
    /// then on no job pays their debts, until what is given back is dropped.
    pub fn set_aside(&self, accounts: impl IntoIterator<Item = String>) -> SetAside {
        let mut accounts: BTreeSet<_> = accounts.into_iter().collect();
        let mut state = self.lock();
        for settlement in state.living.iter().filter_map(Weak::upgrade) {
            for line in settlement.distribution.payees() {
                accounts.remove(&*line.claim.account);
            }
        }
        state.set_aside.extend(accounts.iter().cloned());
        state.version += 1;
        SetAside { promises: self.clone(), accounts }
    }

    /// A block was found: until the books have it, no job promises a debt that it may have paid.
    fn found(&self, block: BlockHash, settlement: &Arc<Settlement>) {
        let mut state = self.lock();
        state.found.insert(block, Arc::downgrade(settlement));
        state.version += 1;
    }

    /// Blocks that were found and are nobody's to record any more: what the log has of them is
    /// durable by now.
    pub fn let_go(&self) -> Vec<BlockHash> {
        let state = self.lock();
        let gone = state.found.iter().filter(|(_, settlement)| settlement.strong_count() == 0);
        let gone = gone.map(|(block, _)| *block).collect();
        // Who let go had made it durable before.
        fence(Ordering::Acquire);
        gone
    }

    /// The books have all that was durable after [`Self::let_go`] named these: those that are still
    /// missing were lost, with their miner's connection, and are waited for no longer.
    pub fn give_up(&self, gone: &[BlockHash]) {
        let mut state = self.lock();
        for block in gone {
            let is_gone = state.found.get(block).is_some_and(|it| it.strong_count() == 0);
            if is_gone {
                state.found.remove(block);
                state.version += 1;
                let block = bitcoin::BlockHash::from_byte_array(*block);
                warn!(%block, "block not waited for any more: its record was lost with its \
                    connection, or was in the books before");
            }
        }
    }

    /// What is owed has changed at `position`: claims from before it promise no debts. The books
    /// say which blocks they have by now.
    pub fn settled_at(&self, position: Position, has_block: &dyn Fn(&BlockHash) -> bool) {
        let mut state = self.lock();
        state.settled = position;
        state.found.retain(|block, _| !has_block(block));
        state.version += 1;
    }

    /// The books do not go on: no debt is promised until they do.
    pub fn stand_still(&self) {
        let mut state = self.lock();
        state.stands_still = true;
        state.version += 1;
    }

    /// The books are up to the log again.
    pub fn go_on(&self) {
        let mut state = self.lock();
        state.stands_still = false;
        state.version += 1;
    }

    /// A holder that panicked has changed nothing half.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a job keeps of its settlement.
#[derive(Debug)]
pub struct Promised {
    /// Who gets what.
    pub settlement: Arc<Settlement>,
    /// Where it is noted.
    pub promises: Promises,
}

/// Whoever asks for a block's records has found it.
impl BlockRecords for Promised {
    fn records(&self, hash: &[u8; 32]) -> Vec<Vec<u8>> {
        self.promises.found(*hash, &self.settlement);
        self.settlement.records(hash)
    }
}

/// Accounts whose debts no new job pays while this lives.
#[derive(Debug)]
pub struct SetAside {
    promises: Promises,
    accounts: BTreeSet<String>,
}

impl SetAside {
    /// True if the account is among them.
    pub fn holds(&self, account: &str) -> bool {
        self.accounts.contains(account)
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        let mut state = self.promises.lock();
        for account in &self.accounts {
            state.set_aside.remove(account);
        }
        state.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::ScriptBuf;
    use mining::target::Hashes;

    use super::super::claims::Claim;
    use super::super::distribution::{Terms, distribute};
    use super::*;

    const TERMS: Terms =
        Terms { fee_basis_points: 0, output_min: 1_000, outputs_max: 1, output_bytes_max: 1_000 };

    fn claims(sequence: u64) -> Arc<Claims> {
        let claim = |account: &str, balance| Claim {
            account: account.into(),
            script: ScriptBuf::new(),
            work: Hashes(1),
            balance,
        };
        let claims = vec![claim("ann", 5_000), claim("bob", 3_000)];
        Arc::new(Claims::new(Position { epoch: 1, sequence }, Hashes(1), None, claims))
    }

    /// One output: the larger due's.
    fn promise(promises: &Promises, claims: &Arc<Claims>) -> Arc<Settlement> {
        let settle = |withheld: Withheld| {
            let distribution = distribute(20_000, &TERMS, claims, &withheld)?;
            Some(Settlement { terms: TERMS, withheld, distribution })
        };
        promises.promise(claims.position(), &settle).unwrap()
    }

    fn both() -> [String; 2] {
        ["ann", "bob"].map(str::to_owned)
    }

    #[test]
    fn the_wallet_leaves_out_who_has_an_output_in_a_job_that_lives() {
        let promises = Promises::default();
        let job = promise(&promises, &claims(1));
        let aside = promises.set_aside(both());
        assert_eq!((aside.holds("ann"), aside.holds("bob")), (false, true));
        drop((aside, job));
        assert!(promises.set_aside(both()).holds("ann"), "nobody can mine it any more");
    }

    #[test]
    fn a_job_pays_no_debt_that_the_wallet_pays() {
        let promises = Promises::default();
        let aside = promises.set_aside(["ann".to_owned()]);
        let paid = |job: &Settlement| -> Vec<_> {
            job.distribution.payees().map(|it| (it.claim.account.to_string(), it.paid)).collect()
        };
        let job = promise(&promises, &claims(1));
        assert_eq!(paid(&job), [("bob".to_owned(), 13_000)]);
        drop(aside);
        let job = promise(&promises, &claims(1));
        assert_eq!(paid(&job), [("ann".to_owned(), 15_000)]);
    }

    #[test]
    fn claims_from_before_a_payment_promise_no_debts() {
        let promises = Promises::default();
        promises.settled_at(Position { epoch: 1, sequence: 5 }, &|_| false);
        assert_eq!(promise(&promises, &claims(4)).withheld, Withheld::Everybodys);
        assert_eq!(promise(&promises, &claims(5)).withheld, Withheld::Nobodys);
    }

    /// Two blocks in a row would pay the same debts.
    #[test]
    fn a_block_that_the_books_do_not_know_yet_may_have_paid_all_debts() {
        let promises = Promises::default();
        let settlement = promise(&promises, &claims(1));
        let job = Promised { settlement, promises: promises.clone() };
        assert_eq!(job.records(&[7; 32]).len(), 1);
        assert_eq!(promise(&promises, &claims(1)).withheld, Withheld::Everybodys);
        let position = Position { epoch: 1, sequence: 2 };
        promises.settled_at(position, &|block| *block == [8; 32]);
        assert_eq!(promise(&promises, &claims(2)).withheld, Withheld::Everybodys);
        promises.settled_at(position, &|block| *block == [7; 32]);
        assert_eq!(promise(&promises, &claims(2)).withheld, Withheld::Nobodys);
    }

    /// A full disk may keep a record for hours; one that is lost is not waited for for ever.
    #[test]
    fn a_block_is_waited_for_as_long_as_somebody_may_record_it() {
        let promises = Promises::default();
        let settlement = promise(&promises, &claims(1));
        let job = Promised { settlement, promises: promises.clone() };
        let _records = job.records(&[9; 32]);
        assert!(promises.let_go().is_empty());
        promises.give_up(&[[9; 32]]);
        assert_eq!(promise(&promises, &claims(1)).withheld, Withheld::Everybodys);
        drop(job);
        assert_eq!(promise(&promises, &claims(1)).withheld, Withheld::Everybodys);
        assert_eq!(promises.let_go(), [[9; 32]]);
        promises.give_up(&[[9; 32]]);
        assert_eq!(promise(&promises, &claims(1)).withheld, Withheld::Nobodys);
    }

    #[test]
    fn books_that_stand_still_promise_no_debts_until_they_go_on() {
        let promises = Promises::default();
        promises.stand_still();
        let job = promise(&promises, &claims(1));
        assert_eq!(job.withheld, Withheld::Everybodys);
        assert!(promises.set_aside(both()).holds("ann"), "it pays no debt of hers");
        promises.go_on();
        assert_eq!(promise(&promises, &claims(1)).withheld, Withheld::Nobodys);
    }

    #[test]
    fn a_rule_that_changes_while_a_job_is_made_holds_for_it() {
        let (promises, claims) = (Promises::default(), claims(1));
        let made = std::cell::RefCell::new(Vec::new());
        let aside = std::cell::RefCell::new(None);
        let settle = |withheld: Withheld| {
            made.borrow_mut().push(withheld.clone());
            let mut aside = aside.borrow_mut();
            aside.get_or_insert_with(|| promises.set_aside(both()));
            let distribution = distribute(20_000, &TERMS, &claims, &withheld)?;
            Some(Settlement { terms: TERMS, withheld, distribution })
        };
        let job = promises.promise(claims.position(), &settle).unwrap();
        assert_eq!(*made.borrow(), [Withheld::Nobodys, Withheld::Of(both().into())]);
        assert_eq!(job.withheld, Withheld::Of(both().into()));
    }

    #[test]
    fn more_jobs_than_are_noted_pay_no_debts() {
        let (promises, claims) = (Promises::default(), claims(1));
        let jobs: Vec<_> = (0..LIVING_MAX).map(|_| promise(&promises, &claims)).collect();
        assert_eq!(promise(&promises, &claims).withheld, Withheld::Everybodys);
        drop(jobs);
        assert_eq!(promise(&promises, &claims).withheld, Withheld::Nobodys);
    }
}
