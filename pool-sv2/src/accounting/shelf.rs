//! Where others read the books: what the bookkeeper has laid out for them.
//!
//! Nobody waits here for anything to be added up: what lies here was made ready on the
//! bookkeeper's thread, and a lock is held for no longer than it takes to take a copy's handle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mining::target::Hashes;
use tokio::sync::watch;

use super::books::{Books, OpenBlock};
use super::log::segment::DurableEnd;
use crate::payout::accounts::Balance;
use crate::payout::claims::Claims;
use crate::payout::promises::{Promises, Sharing};
use crate::payout::settlement::{WalletLine, WalletPayout};

/// The books for all who read them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The window that claims are wanted for.
    wanted: Mutex<Option<Hashes>>,
    claims: Mutex<Option<Arc<Claims>>>,
    money: Mutex<Arc<Money>>,
    folded: watch::Sender<Folded>,
    /// Counts what makers of jobs should not miss.
    news: watch::Sender<u64>,
    promises: Promises,
}

/// How far the books have come.
#[derive(Debug, Clone, Copy)]
struct Folded {
    /// All before it is in them.
    end: DurableEnd,
    /// False while they cannot go on.
    is_kept: bool,
}

/// What is owed, and what is on its way.
#[derive(Debug, Default)]
struct Money {
    open_blocks: Vec<OpenBlock>,
    unconfirmed: Vec<WalletPayout>,
    /// The largest first.
    payable: Vec<WalletLine>,
    /// Of those who are owed something, or owe it.
    balances: BTreeMap<Box<str>, Balance>,
}

impl Shelf {
    /// An empty one, for books that have come to `end`.
    pub(super) fn new(end: DurableEnd) -> Self {
        Self(Arc::new(Shared {
            wanted: Mutex::default(),
            claims: Mutex::default(),
            money: Mutex::default(),
            folded: watch::Sender::new(Folded { end, is_kept: true }),
            news: watch::Sender::new(0),
            promises: Promises::default(),
        }))
    }

    /// What everybody may claim, if the newest `window` of work counts. Claims that are there are
    /// given at once, if they are of another window too: they are added up for this one, and then
    /// there is news. Only the very first ones are waited for.
    pub async fn sharing(&self, window: Hashes) -> Sharing {
        *lock(&self.0.wanted) = Some(window);
        let mut news = self.news();
        let claims = loop {
            if let Some(known) = lock(&self.0.claims).clone() {
                break known;
            }
            if news.changed().await.is_err() {
                break Arc::default();
            }
        };
        Sharing { claims, promises: self.promises().clone() }
    }

    /// Changes when jobs should be made anew: what is owed has changed, or the window has.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Which debts are promised to be paid.
    pub fn promises(&self) -> &Promises {
        &self.0.promises
    }

    /// Blocks whose fate is not known for good.
    pub fn open_blocks(&self) -> Vec<OpenBlock> {
        self.money().open_blocks.clone()
    }

    /// Transactions of the pool's wallet that are not in the chain for good, in their order.
    pub fn unconfirmed(&self) -> Vec<WalletPayout> {
        self.money().unconfirmed.clone()
    }

    /// Who is owed at least `threshold` satoshis that the pool can spend, the largest first; nobody
    /// while the books cannot go on.
    pub fn payable(&self, threshold: u64) -> Vec<WalletLine> {
        if !self.0.folded.borrow().is_kept {
            return Vec::new();
        }
        let money = self.money();
        let large = money.payable.iter().take_while(|line| line.amount >= threshold);
        large.cloned().collect()
    }

    /// What an account is owed, for people; nothing for one that is not known.
    pub fn balance(&self, account: &str) -> Balance {
        self.money().balances.get(account).copied().unwrap_or_default()
    }

    /// Waits until all before `end` is in the books; false if they cannot go on.
    pub async fn has_folded(&self, end: DurableEnd) -> bool {
        let mut folded = self.0.folded.subscribe();
        let place = |end: DurableEnd| (end.segment, end.offset);
        let has_come = folded.wait_for(|it| !it.is_kept || place(it.end) >= place(end)).await;
        has_come.is_ok_and(|it| it.is_kept)
    }

    /// The window that claims are wanted for, unless those that lie here are of it.
    pub(super) fn wanted_window(&self) -> Option<Hashes> {
        let known = lock(&self.0.claims).as_ref().map(|claims| claims.window());
        lock(&self.0.wanted).filter(|wanted| known != Some(*wanted))
    }

    /// The window of the claims that were asked for last; none if nobody has asked.
    pub(super) fn window(&self) -> Option<Hashes> {
        *lock(&self.0.wanted)
    }

    pub(super) fn lay_out_claims(&self, claims: Claims) {
        *lock(&self.0.claims) = Some(Arc::new(claims));
    }

    pub(super) fn lay_out_money(&self, books: &Books) {
        let money = Money {
            open_blocks: books.open_blocks().to_vec(),
            unconfirmed: books.unconfirmed().to_vec(),
            payable: books.payable(),
            balances: books.balances().map(|(name, balance)| (name.into(), balance)).collect(),
        };
        *lock(&self.0.money) = Arc::new(money);
    }

    /// All before `end` is in the books, and laid out.
    pub(super) fn come_to(&self, end: DurableEnd) {
        self.0.folded.send_if_modified(|folded| {
            let is_new = !folded.is_kept || folded.end != end;
            *folded = Folded { end, is_kept: true };
            is_new
        });
    }

    /// The books cannot go on.
    pub(super) fn stand_still(&self) {
        self.0.promises.stand_still();
        self.0.folded.send_modify(|folded| folded.is_kept = false);
    }

    /// Tells who makes jobs.
    pub(super) fn tell(&self) {
        self.0.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    fn money(&self) -> Arc<Money> {
        Arc::clone(&lock(&self.0.money))
    }
}

/// A holder that panicked has changed nothing half.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
