//! The thread that keeps the books up to the log, and the shelf from which others read them.
//!
//! It reads what is durable, beside the ledger's thread, and never stands in its way. Whoever makes
//! a job finds the claims ready; only when the network's difficulty changed are they added up anew
//! while he waits.
//!
//! Books that cannot go on do not learn what a block has paid: they share blocks by the work that
//! they know, and pay no debt, which each block would pay again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::Network;
use mining::target::Hashes;
use tokio::sync::watch;
use tracing::{error, info};

use super::books::{Books, BooksError, OpenBlock};
use super::log::LogError;
use super::log::cursor::{Cursor, Place};
use super::log::disk::Folder;
use super::log::writer::DurableEnd;
use crate::payout::settlement::{Claims, WalletLine, WalletPayout};

/// How often the log's end is looked at.
const STEP: Duration = Duration::from_millis(20);
/// How long it waits before it tries again to read a log that could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// To add up the claims takes at most one part in so many of the thread's time.
const IDLE_PARTS: u32 = 4;

/// Why the books do not go on.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What stands in it cannot be understood.
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// The books for all who read them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    /// As they were asked for last, and brought up to date since.
    claims: Mutex<Option<Arc<Claims>>>,
    /// True while the books cannot go on.
    stands_still: AtomicBool,
}

impl Shelf {
    fn new(books: Books) -> Self {
        Self(Arc::new(Shared {
            books: Mutex::new(books),
            claims: Mutex::default(),
            stands_still: AtomicBool::default(),
        }))
    }

    /// What everybody may claim if the newest `window` of work counts.
    pub fn claims(&self, window: Hashes) -> Arc<Claims> {
        let known = lock(&self.0.claims).clone().filter(|known| known.window == window);
        known.unwrap_or_else(|| self.add_up(window))
    }

    /// Blocks whose fate is not known for good.
    pub fn open_blocks(&self) -> Vec<OpenBlock> {
        lock(&self.0.books).open_blocks().to_vec()
    }

    /// Transactions of the pool's wallet that are not in the chain for good, in their order.
    pub fn unconfirmed(&self) -> Vec<WalletPayout> {
        lock(&self.0.books).unconfirmed().to_vec()
    }

    /// Who is owed at least `threshold` satoshis that the pool can spend, the largest first; nobody
    /// while the books cannot go on.
    pub fn payable(&self, threshold: u64) -> Vec<WalletLine> {
        if self.0.stands_still.load(Ordering::SeqCst) {
            return Vec::new();
        }
        lock(&self.0.books).payable(threshold)
    }

    fn add_up(&self, window: Hashes) -> Arc<Claims> {
        let mut claims = lock(&self.0.books).claims(window);
        let mut known = lock(&self.0.claims);
        if self.0.stands_still.load(Ordering::SeqCst) {
            pay_no_debt(&mut claims);
        }
        Arc::clone(known.insert(Arc::new(claims)))
    }

    /// From now on no debt is paid.
    fn stand_still(&self) {
        let mut known = lock(&self.0.claims);
        if !self.0.stands_still.swap(true, Ordering::SeqCst)
            && let Some(claims) = known.as_mut()
        {
            pay_no_debt(Arc::make_mut(claims));
        }
    }

    /// The books are up to the log again.
    fn go_on(&self) {
        self.0.stands_still.store(false, Ordering::SeqCst);
    }

    /// Brings the claims up to date, if anybody has asked for any.
    fn refresh(&self) {
        let window = lock(&self.0.claims).as_ref().map(|known| known.window);
        if let Some(window) = window {
            self.add_up(window);
        }
    }
}

/// Leaves the work of the window, and what an account owes.
fn pay_no_debt(claims: &mut Claims) {
    for claim in &mut claims.claims {
        claim.balance = claim.balance.min(0);
    }
}

/// Keeps the books.
pub struct Bookkeeper {
    cursor: Cursor<Folder>,
    shelf: Shelf,
}

impl Bookkeeper {
    /// Reads the whole log up to its durable `end`.
    pub fn open(
        log: Folder,
        network: Network,
        end: DurableEnd,
    ) -> Result<(Self, Shelf), KeepError> {
        let started = Instant::now();
        let shelf = Shelf::new(Books::new(network));
        let mut this = Self { cursor: Cursor::new(log, Place::default()), shelf: shelf.clone() };
        while this.fold(end)? {}
        let accounts = lock(&shelf.0.books).balances().count();
        info!(seconds = started.elapsed().as_secs(), accounts, "books read from the log");
        Ok((this, shelf))
    }

    /// Goes on until nothing more is written; all of it is in the books then. `report` hears
    /// whether they are kept, each time that changes.
    pub fn run(
        mut self,
        durable: &watch::Receiver<DurableEnd>,
        report: &dyn Fn(Result<(), String>),
    ) {
        report(Ok(()));
        let mut is_kept = true;
        let mut rested_until = Instant::now();
        let mut is_stale = false;
        loop {
            let is_over = durable.has_changed().is_err();
            let end = *durable.borrow();
            let folded = self.fold(end);
            let is_at_end = matches!(folded, Ok(false));
            if let Err(error) = &folded {
                self.shelf.stand_still();
                report(Err(error.to_string()));
                is_kept = false;
            } else if is_at_end && !is_kept {
                self.shelf.go_on();
                report(Ok(()));
                (is_kept, is_stale) = (true, true);
            }
            match folded {
                Ok(any) => is_stale |= any,
                Err(KeepError::Log(error)) if !is_over => {
                    error!(%error, "books not kept: blocks are shared by earlier work until then");
                    std::thread::sleep(RETRY);
                }
                // Half of a frame is in them: only a new start reads it again.
                Err(error) => {
                    error!(%error, "books closed: blocks are shared by earlier work from now on");
                    return;
                }
            }
            let now = Instant::now();
            if is_stale && is_at_end && (is_over || now >= rested_until) {
                self.shelf.refresh();
                is_stale = false;
                rested_until = Instant::now() + now.elapsed() * IDLE_PARTS;
            }
            if is_at_end {
                if is_over {
                    return;
                }
                std::thread::sleep(STEP);
            }
        }
    }

    /// Takes the records of the next frame; false if there is none before `end`.
    fn fold(&mut self, end: DurableEnd) -> Result<bool, KeepError> {
        let mut taken = Ok(());
        let books = &self.shelf.0.books;
        let mut records = Vec::new();
        let any = self.cursor.read_frame(Some(end), &mut |located| records.push(located))?;
        let mut books = lock(books);
        for located in &records {
            taken = taken.and_then(|()| books.take(located));
        }
        taken?;
        Ok(any)
    }
}

/// A holder that panicked has changed nothing half.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use mining::target::Hashes;

    use super::super::log::writer::{LogSettings, LogWriter};
    use super::*;
    use crate::payout::distribution::Claim;
    use crate::shares::{Earner, PAYS_ALL, ShareRecord};

    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    #[test]
    fn claims_that_were_asked_for_follow_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder(folder.path().to_owned());
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let (mut writer, _) =
            LogWriter::open(disk.clone(), settings, 1_700_000_000_000, 3).unwrap();
        let (keeper, shelf) =
            Bookkeeper::open(disk, Network::Regtest, writer.durable_end()).unwrap();
        assert!(shelf.claims(Hashes(50)).claims.is_empty());
        let durable = watch::Sender::new(writer.durable_end());
        let receiver = durable.subscribe();
        let thread = std::thread::spawn(move || keeper.run(&receiver, &drop));
        let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(ANN, "") });
        for _ in 0..3 {
            let record =
                ShareRecord { earner: Arc::clone(&earner), work: Hashes(9), hash: [1; 32] };
            writer.push_share(1_700_000_000_000, &record);
            writer.commit().unwrap();
        }
        durable.send_replace(writer.durable_end());
        drop(durable);
        thread.join().unwrap();
        let claims = shelf.claims(Hashes(50));
        assert_eq!((claims.claims.len(), claims.claims[0].work), (1, Hashes(27)));
        assert_eq!(claims.position.sequence, 4, "the earner and three shares");
    }

    /// Claims as they are asked for, with a debt, after the log was damaged.
    #[test]
    fn books_that_stand_still_share_by_work_and_pay_no_debt_until_they_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder(folder.path().to_owned());
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let (mut writer, _) =
            LogWriter::open(disk.clone(), settings, 1_700_000_000_000, 3).unwrap();
        let before = writer.durable_end();
        let (keeper, shelf) = Bookkeeper::open(disk, Network::Regtest, before).unwrap();
        let claim = |account: &str, balance| Claim {
            account: account.to_owned(),
            script: bitcoin::ScriptBuf::new(),
            work: Hashes(5),
            balance,
        };
        let mut claims = Claims::clone(&shelf.claims(Hashes(50)));
        claims.claims = vec![claim("owed", 700), claim("owing", -30)];
        *lock(&shelf.0.claims) = Some(Arc::new(claims));
        let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(ANN, "") });
        writer.push_share(1, &ShareRecord { earner, work: Hashes(9), hash: [1; 32] });
        writer.commit().unwrap();
        let file = folder.path().join(writer.durable_end().segment.to_string());
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let (sender, durable) = watch::channel(writer.durable_end());
        let (said, heard) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            keeper.run(&durable, &|report| drop(said.send(report)));
        });
        assert_eq!(heard.recv(), Ok(Ok(())));
        assert!(heard.recv().unwrap().unwrap_err().contains("damaged"));
        let known = shelf.claims(Hashes(50));
        let balances: Vec<_> = known.claims.iter().map(|claim| claim.balance).collect();
        assert_eq!((balances, known.claims[0].work), (vec![0, -30], Hashes(5)));
        std::fs::write(&file, whole).unwrap();
        while heard.recv().unwrap().is_err() {}
        drop(sender);
        thread.join().unwrap();
        assert_eq!(shelf.claims(Hashes(50)).claims[0].work, Hashes(9));
        assert!(!shelf.0.stands_still.load(Ordering::SeqCst));
    }
}
