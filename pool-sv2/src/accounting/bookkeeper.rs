//! The thread that keeps the books up to the log, and lays out for others what they read of them.
//!
//! It reads what is durable, beside the ledger's thread, and never stands in its way; the books are
//! its own, so that nobody waits for it either.
//!
//! Books that cannot go on do not learn what a block has paid: they share blocks by the work that
//! they know, and pay no debt, which each block would pay again.

use std::time::{Duration, Instant};

use bitcoin::Network;
use tokio::sync::watch;
use tracing::{error, info};

use super::books::{Books, BooksError};
use super::log::LogError;
use super::log::cursor::{Cursor, Place};
use super::log::disk::Folder;
use super::log::writer::DurableEnd;
pub use super::shelf::Shelf;

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

/// Keeps the books.
pub struct Bookkeeper {
    cursor: Cursor<Folder>,
    books: Books,
    shelf: Shelf,
    /// What of the money was laid out last.
    laid_out: u64,
    /// True if work was credited since the claims were added up.
    is_stale: bool,
    /// No claims are added up before, unless they are needed.
    rests_until: Instant,
    /// Why the books stand still.
    trouble: Option<Trouble>,
}

/// Why the books stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The log cannot be read at the moment.
    Log,
    /// Half of a frame is in them: only a new start reads it again.
    Closed,
}

impl Bookkeeper {
    /// Reads the whole log up to its durable `end`.
    pub fn open(
        log: Folder,
        network: Network,
        end: DurableEnd,
    ) -> Result<(Self, Shelf), KeepError> {
        let started = Instant::now();
        let shelf = Shelf::new(end);
        let mut this = Self {
            cursor: Cursor::new(log, Place::default()),
            books: Books::new(network),
            shelf: shelf.clone(),
            laid_out: 0,
            is_stale: false,
            rests_until: started,
            trouble: None,
        };
        while this.fold(end)? {}
        this.lay_out();
        let accounts = this.books.balances().count();
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
        loop {
            let is_over = durable.has_changed().is_err();
            let end = *durable.borrow();
            match self.fold_up_to(end) {
                Ok(()) => self.goes_on(end, report),
                Err(error) => self.stands_still(&error, report),
            }
            if self.shelf.wanted_window().is_some() {
                self.add_up();
                self.shelf.tell();
            }
            if is_over {
                return;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Lays out what is new; all before `end` is in the books.
    fn goes_on(&mut self, end: DurableEnd, report: &dyn Fn(Result<(), String>)) {
        // They stay as they are.
        if self.trouble == Some(Trouble::Closed) {
            return;
        }
        let stood_still = self.trouble.take().is_some();
        if stood_still || self.books.changes() != self.laid_out {
            self.lay_out();
            self.shelf.promises().go_on();
            self.shelf.tell();
        } else if self.is_stale && Instant::now() >= self.rests_until {
            self.add_up();
        }
        self.shelf.come_to(end);
        if stood_still {
            report(Ok(()));
        }
    }

    /// Pays no debts from now on; a log that cannot be read is tried again after a while.
    fn stands_still(&mut self, error: &KeepError, report: &dyn Fn(Result<(), String>)) {
        let trouble = match error {
            KeepError::Log(_) => Trouble::Log,
            KeepError::Books(_) => Trouble::Closed,
        };
        if self.trouble.replace(trouble).is_none() {
            self.shelf.stand_still();
            self.shelf.tell();
            report(Err(error.to_string()));
        }
        error!(%error, "books not kept: blocks are shared by earlier work, and pay no debts");
        std::thread::sleep(RETRY);
    }

    /// What changes with blocks and payouts, and the claims if anybody has asked for any. The
    /// claims that lie there are no longer right: from now on none of them is promised a debt.
    fn lay_out(&mut self) {
        self.shelf.promises().settled_at(self.books.position());
        self.add_up();
        self.shelf.lay_out_money(&self.books);
        self.laid_out = self.books.changes();
    }

    fn add_up(&mut self) {
        let began = Instant::now();
        if let Some(window) = self.shelf.window() {
            self.shelf.lay_out_claims(self.books.claims(window));
        }
        self.is_stale = false;
        self.rests_until = Instant::now() + began.elapsed() * IDLE_PARTS;
    }

    /// Takes all records before `end`.
    fn fold_up_to(&mut self, end: DurableEnd) -> Result<(), KeepError> {
        while self.trouble != Some(Trouble::Closed) && self.fold(end)? {
            self.is_stale = true;
        }
        Ok(())
    }

    /// Takes the records of the next frame; false if there is none before `end`.
    fn fold(&mut self, end: DurableEnd) -> Result<bool, KeepError> {
        let (mut taken, books) = (Ok(()), &mut self.books);
        let any = self.cursor.read_frame(Some(end), &mut |located| {
            if taken.is_ok() {
                taken = books.take(&located);
            }
        })?;
        taken?;
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mining::target::Hashes;

    use super::super::log::writer::{LogSettings, LogWriter};
    use super::*;
    use crate::payout::claims::{Claims, Withheld};
    use crate::payout::promises::Sharing;
    use crate::payout::settlement::Settlement;
    use crate::shares::{Earner, PAYS_ALL, ShareRecord};

    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn log(folder: &tempfile::TempDir) -> (Folder, LogWriter<Folder>) {
        let disk = Folder(folder.path().to_owned());
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let opened = LogWriter::open(disk.clone(), settings, 1_700_000_000_000, 3);
        (disk, opened.unwrap().0)
    }

    fn write_share(writer: &mut LogWriter<Folder>) {
        let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(ANN, "") });
        writer
            .push_share(1_700_000_000_000, &ShareRecord { earner, work: Hashes(9), hash: [1; 32] });
        writer.commit().unwrap();
    }

    /// Claims of a window, as soon as they are of it.
    async fn claims_of(shelf: &Shelf, window: Hashes) -> Arc<Claims> {
        let mut news = shelf.news();
        loop {
            let Sharing { claims, .. } = shelf.sharing(window).await;
            if claims.window() == window {
                return claims;
            }
            news.changed().await.unwrap();
        }
    }

    #[tokio::test]
    async fn claims_that_were_asked_for_follow_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, mut writer) = log(&folder);
        let (keeper, shelf) =
            Bookkeeper::open(disk, Network::Regtest, writer.durable_end()).unwrap();
        let durable = watch::Sender::new(writer.durable_end());
        let receiver = durable.subscribe();
        let thread = std::thread::spawn(move || keeper.run(&receiver, &drop));
        assert!(claims_of(&shelf, Hashes(50)).await.all().is_empty());
        for _ in 0..3 {
            write_share(&mut writer);
        }
        durable.send_replace(writer.durable_end());
        assert!(shelf.has_folded(writer.durable_end()).await);
        drop(durable);
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        let claims = claims_of(&shelf, Hashes(50)).await;
        assert_eq!((claims.all().len(), claims.all()[0].work), (1, Hashes(27)));
        assert_eq!(claims.position().sequence, 4, "the earner and three shares");
    }

    /// Difficulty changes: a new tip does not wait until the claims are added up for it.
    #[tokio::test]
    async fn claims_of_another_window_are_given_at_once_and_then_there_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, writer) = log(&folder);
        let end = writer.durable_end();
        let (mut keeper, shelf) = Bookkeeper::open(disk, Network::Regtest, end).unwrap();
        let first = tokio::spawn({
            let shelf = shelf.clone();
            async move { shelf.sharing(Hashes(50)).await.claims.window() }
        });
        while shelf.window().is_none() {
            tokio::task::yield_now().await;
        }
        keeper.add_up();
        shelf.tell();
        assert_eq!(first.await.unwrap(), Hashes(50));
        // The keeper does nothing now, and nobody waits for it.
        assert_eq!(shelf.sharing(Hashes(70)).await.claims.window(), Hashes(50));
        let durable = watch::Sender::new(end);
        let receiver = durable.subscribe();
        let thread = std::thread::spawn(move || keeper.run(&receiver, &drop));
        assert_eq!(claims_of(&shelf, Hashes(70)).await.window(), Hashes(70));
        drop(durable);
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    }

    /// Which debts a job would leave out.
    fn withheld(shelf: &Shelf, claims: &Arc<Claims>) -> Withheld {
        let seen = std::cell::RefCell::new(Withheld::default());
        let look = |withheld: Withheld| -> Option<Settlement> {
            *seen.borrow_mut() = withheld;
            None
        };
        assert!(shelf.promises().promise(claims.position(), &look).is_none());
        seen.into_inner()
    }

    /// Claims as they were asked for, after the log was damaged.
    #[tokio::test]
    async fn books_that_stand_still_share_by_work_and_pay_no_debt_until_they_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, mut writer) = log(&folder);
        write_share(&mut writer);
        let before = writer.durable_end();
        let (keeper, shelf) = Bookkeeper::open(disk, Network::Regtest, before).unwrap();
        write_share(&mut writer);
        let file = folder.path().join(writer.durable_end().segment.to_string());
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let (sender, durable) = watch::channel(writer.durable_end());
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            keeper.run(&durable, &|report| drop(said.send(report)));
        });
        assert_eq!(heard.recv().await, Some(Ok(())));
        assert!(heard.recv().await.unwrap().unwrap_err().contains("damaged"));
        let known = claims_of(&shelf, Hashes(50)).await;
        assert_eq!(
            (known.all()[0].work, withheld(&shelf, &known)),
            (Hashes(9), Withheld::Everybodys)
        );
        assert!(!shelf.has_folded(writer.durable_end()).await);
        std::fs::write(&file, whole).unwrap();
        while heard.recv().await.unwrap().is_err() {}
        assert!(shelf.has_folded(writer.durable_end()).await);
        drop(sender);
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        let known = claims_of(&shelf, Hashes(50)).await;
        assert_eq!(
            (known.all()[0].work, withheld(&shelf, &known)),
            (Hashes(18), Withheld::Nobodys)
        );
    }
}
