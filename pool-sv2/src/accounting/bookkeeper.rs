//! The thread that keeps the books up to the log, and lays out for others what they read of them.
//!
//! It reads what is durable, beside the ledger's thread, and never stands in its way; the books are
//! its own, so that nobody waits for it either.
//!
//! Books that cannot go on do not learn what a block has paid: they share blocks by the work that
//! they know, and pay no debt, which each block would pay again.
//!
//! Now and then, and when it ends, it writes a checkpoint, from which the next start goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bitcoin::Network;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::books::{Books, BooksError};
use super::checkpoint::{self, Checkpoint};
use super::config::LedgerConfig;
use super::log::LogError;
use super::log::cursor::{Cursor, Place};
use super::log::disk::Folder;
use super::log::recover::begins_after;
use super::log::segment::DurableEnd;
use super::log::segment::Follows;
pub use super::shelf::Shelf;
use service::advice;

/// How often the log's end is looked at.
const STEP: Duration = Duration::from_millis(20);
/// How long it waits before it tries again to read a log that could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// To add up the claims takes at most one part in so many of the thread's time.
const IDLE_PARTS: u32 = 4;

/// How often a checkpoint is written: so much of the log is read at most after a crash.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(900);
/// A start that has read the log for so long writes one at once: the next start is to be faster.
const READING_LONG: Duration = Duration::from_secs(10);

/// Why the books do not go on.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What stands in it cannot be understood.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Nothing says what was owed before the log that is there.
    #[error(
        "the beginning of the log is not in {folder}, and {checkpoint}: what is owed is not known; \
         put the older segments or the checkpoint back"
    )]
    NoBeginning {
        /// The log's folder.
        folder: String,
        /// What is wrong with the checkpoint.
        checkpoint: String,
    },
}

/// Where books come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The log.
    pub log: Folder,
    /// The file of the checkpoint.
    pub checkpoint: PathBuf,
    /// Whose addresses are paid.
    pub network: Network,
}

/// Whether books are of use without what was before the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Balances are paid.
    Needed,
    /// They are kept for the fate of blocks alone.
    NotNeeded,
}

impl Sources {
    /// Those of a ledger.
    pub fn of(config: &LedgerConfig, network: Network) -> Self {
        let (log, checkpoint) = (Folder(config.log_directory()), config.checkpoint_file());
        Self { log, checkpoint, network }
    }

    /// Books to begin with and the place in the log where they go on: the checkpoint's, or empty
    /// ones where the log is whole.
    fn begin(&self, beginning: Beginning) -> Result<(Books, Place), KeepError> {
        let found = checkpoint::read(&self.checkpoint, self.network);
        if let Ok(Some(Checkpoint { next, books })) = found {
            return Ok((books, next));
        }
        let empty = (Books::new(self.network), Place::default());
        if let Err(error) = &found {
            warn!(%error, "checkpoint of the books not used: the log is read from its beginning");
        }
        match begins_after(&self.log)? {
            Follows::Place(_) if beginning == Beginning::Needed => Err(KeepError::NoBeginning {
                folder: self.log.0.display().to_string(),
                checkpoint: match found {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("{} is not there", self.checkpoint.display()),
                },
            }),
            _ => Ok(empty),
        }
    }
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
    checkpoints: Checkpoints,
}

/// When a checkpoint was written, and where.
struct Checkpoints {
    file: PathBuf,
    /// What the last one had; none where no checkpoint is worth anything.
    written: Option<Place>,
    due: Instant,
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
    /// Reads the log up to its durable `end`, from the checkpoint on if there is one.
    pub fn open(
        sources: &Sources,
        beginning: Beginning,
        end: DurableEnd,
    ) -> Result<(Self, Shelf), KeepError> {
        let started = Instant::now();
        let shelf = Shelf::new(end);
        let (books, next) = sources.begin(beginning)?;
        // Without the beginning of the log they are no books to begin with again.
        let is_whole =
            next != Place::default() || !matches!(begins_after(&sources.log)?, Follows::Place(_));
        let checkpoints = Checkpoints {
            file: sources.checkpoint.clone(),
            written: is_whole.then_some(next),
            due: started + CHECKPOINT_EVERY,
        };
        let mut this = Self {
            cursor: Cursor::new(sources.log.clone(), next),
            books,
            checkpoints,
            shelf: shelf.clone(),
            laid_out: 0,
            is_stale: false,
            rests_until: started,
            trouble: None,
        };
        while this.fold(end)? {}
        if is_due_at_once(next, started.elapsed()) {
            this.checkpoints.due = started;
        }
        this.lay_out();
        let accounts = this.books.balances().count();
        info!(
            seconds = started.elapsed().as_secs(),
            accounts,
            from_epoch = next.epoch,
            from_sequence = next.sequence,
            "books read from the log"
        );
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
            self.follow(durable, report);
            if self.shelf.wanted_window().is_some() {
                self.add_up();
                self.shelf.tell();
            }
            if is_over || Instant::now() >= self.checkpoints.due {
                self.write_checkpoint();
            }
            if is_over {
                return;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Takes what is durable by now.
    fn follow(
        &mut self,
        durable: &watch::Receiver<DurableEnd>,
        report: &dyn Fn(Result<(), String>),
    ) {
        // Before the end is looked at: what was recorded of them is before it.
        let gone = self.shelf.promises().let_go();
        let end = *durable.borrow();
        match self.fold_up_to(end) {
            Ok(()) => {
                self.goes_on(end, report);
                self.shelf.promises().give_up(&gone);
            }
            Err(error) => self.stands_still(&error, report),
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
            KeepError::Books(_) | KeepError::NoBeginning { .. } => Trouble::Closed,
        };
        if self.trouble.replace(trouble).is_none() {
            self.shelf.stand_still();
            self.shelf.tell();
            report(Err(error.to_string()));
        }
        error!(code = advice::BOOKS_NOT_KEPT,
            %error, "books not kept: blocks are shared by earlier work, and pay no debts");
        std::thread::sleep(RETRY);
    }

    /// Lets the next start begin here. The log has all of it: a disk that is full hurts nobody.
    fn write_checkpoint(&mut self) {
        let (next, began) = (self.cursor.next_place(), Instant::now());
        self.checkpoints.due = began + CHECKPOINT_EVERY;
        let is_new = self.checkpoints.written.is_some_and(|written| written != next);
        if !is_new || self.trouble.is_some() {
            return;
        }
        match checkpoint::write(&self.checkpoints.file, next, &self.books) {
            Ok(()) => {
                self.checkpoints.written = Some(next);
                let milliseconds = began.elapsed().as_millis();
                info!(epoch = next.epoch, sequence = next.sequence, %milliseconds,
                    "checkpoint of the books written");
            }
            Err(error) => {
                let file = self.checkpoints.file.display();
                warn!(%file, %error, "checkpoint of the books not written, the one before stays: \
                    starts take longer");
            }
        }
    }

    /// Lays out all of it after a block or a payout. The claims that lie there are no longer right:
    /// from now on none of them is promised a debt.
    fn lay_out(&mut self) {
        let (books, promises) = (&self.books, self.shelf.promises());
        promises.settled_at(books.position(), &|block| books.has_payout_of(block));
        self.add_up();
        self.laid_out = self.books.changes();
    }

    fn add_up(&mut self) {
        let began = Instant::now();
        if let Some(window) = self.shelf.window() {
            self.shelf.lay_out_claims(self.books.claims(window));
        }
        self.shelf.lay_out_money(&self.books);
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

/// Whether the next start would read as much of the log again as this one, which has begun `from`
/// there and took so long. Otherwise the checkpoint that is there will do for a while.
fn is_due_at_once(from: Place, reading: Duration) -> bool {
    from == Place::default() || reading >= READING_LONG
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mining::memo::BlockRecords;
    use mining::target::Hashes;

    use super::super::log::writer::{LogSettings, LogWriter};
    use super::*;
    use crate::payout::claims::{Claims, Withheld};
    use crate::payout::distribution::{Terms, distribute};
    use crate::payout::promises::{Promised, Sharing};
    use crate::payout::settlement::{PAYOUT_VERSION, Settlement};
    use crate::shares::{Earner, Entry, PAYS_ALL, PayoutRecord, ShareRecord};

    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn log(folder: &tempfile::TempDir) -> (Sources, LogWriter<Folder>) {
        log_at(folder, 1_700_000_000_000)
    }

    fn log_at(folder: &tempfile::TempDir, now_ms: u64) -> (Sources, LogWriter<Folder>) {
        let log = Folder(folder.path().to_owned());
        // Each commit begins a segment.
        let settings = LogSettings { node: 0, segment_bytes: 1 };
        let opened = LogWriter::open(log.clone(), settings, now_ms, 3);
        let checkpoint = folder.path().join("books.checkpoint");
        (Sources { log, checkpoint, network: Network::Regtest }, opened.unwrap().0)
    }

    fn open(sources: &Sources, end: DurableEnd) -> Result<(Bookkeeper, Shelf), KeepError> {
        Bookkeeper::open(sources, Beginning::Needed, end)
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
        let (sources, mut writer) = log(&folder);
        let (keeper, shelf) = open(&sources, writer.durable_end()).unwrap();
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
        assert_eq!(claims.position().sequence, 6, "three shares, each behind its earner");
    }

    /// Difficulty changes: a new tip does not wait until the claims are added up for it.
    #[tokio::test]
    async fn claims_of_another_window_are_given_at_once_and_then_there_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, writer) = log(&folder);
        let end = writer.durable_end();
        let (mut keeper, shelf) = open(&sources, end).unwrap();
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
        let (sources, mut writer) = log(&folder);
        write_share(&mut writer);
        let before = writer.durable_end();
        let (keeper, shelf) = open(&sources, before).unwrap();
        write_share(&mut writer);
        // The segment that the second share is in; the last one is empty.
        let file = folder.path().join(before.segment.to_string());
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

    /// A disk that is full for an hour: other records come, and the block's is still on its way.
    #[test]
    fn debts_are_withheld_until_a_blocks_record_is_in_the_books_or_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, mut writer) = log(&folder);
        write_share(&mut writer);
        let (sender, durable) = watch::channel(writer.durable_end());
        let (mut keeper, shelf) = open(&sources, writer.durable_end()).unwrap();
        let terms = Terms {
            fee_basis_points: 0,
            output_min: 1_000,
            outputs_max: 1,
            output_bytes_max: 1_000,
        };
        let promises = shelf.promises().clone();
        for is_lost in [false, true] {
            let claims = Arc::new(keeper.books.claims(Hashes(50)));
            assert_eq!(withheld(&shelf, &claims), Withheld::Nobodys);
            let settle = |withheld: Withheld| {
                let distribution = distribute(20_000, &terms, &claims, &withheld)?;
                Some(Settlement { terms, withheld, distribution })
            };
            let settlement = promises.promise(claims.position(), &settle).unwrap();
            let memo = Promised { settlement, promises: promises.clone() };
            let records = memo.records(&[u8::from(is_lost); 32]);
            for _ in 0..3 {
                write_share(&mut writer);
                sender.send_replace(writer.durable_end());
                keeper.follow(&durable, &drop);
                assert_eq!(withheld(&shelf, &claims), Withheld::Everybodys);
            }
            let records = records.into_iter().filter(|_| !is_lost);
            for record in records.filter_map(|it| PayoutRecord::new(PAYOUT_VERSION, it)) {
                writer.push_entry(1_700_000_000_000, Entry::Payout(record));
            }
            writer.commit().unwrap();
            sender.send_replace(writer.durable_end());
            drop(memo);
            assert_eq!(withheld(&shelf, &claims), Withheld::Everybodys, "not in the books yet");
            keeper.follow(&durable, &drop);
            let known = Arc::new(keeper.books.claims(Hashes(50)));
            assert_eq!(withheld(&shelf, &known), Withheld::Nobodys, "lost: {is_lost}");
        }
    }

    /// Reads the log, and ends as a pool does that is stopped.
    fn keep(sources: &Sources, writer: LogWriter<Folder>) -> Books {
        let (sender, durable) = watch::channel(writer.durable_end());
        let (keeper, _) = open(sources, writer.durable_end()).unwrap();
        drop((sender, writer));
        keeper.run(&durable, &drop);
        checkpoint::read(&sources.checkpoint, Network::Regtest).unwrap().unwrap().books
    }

    #[test]
    fn a_start_goes_on_from_the_checkpoint_and_needs_no_segment_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, mut writer) = log(&folder);
        (0..5).for_each(|_| write_share(&mut writer));
        keep(&sources, writer);
        let before = super::super::log::recover::segments(&sources.log).unwrap();
        for id in &before {
            std::fs::rename(
                folder.path().join(id.to_string()),
                folder.path().join(format!("{id}.moved")),
            )
            .unwrap();
        }
        // Only the one that is written goes on from where the checkpoint is.
        let (_, writer) = log_at(&folder, 1_700_000_001_000);
        let error = open(&sources, writer.durable_end()).err().unwrap().to_string();
        assert!(error.contains("put them back"), "all of it was moved away: {error}");
        drop(writer);
        for id in &before {
            let name = id.to_string();
            std::fs::rename(folder.path().join(format!("{name}.moved")), folder.path().join(name))
                .unwrap();
        }
        let (_, mut writer) = log(&folder);
        for id in &before {
            std::fs::remove_file(folder.path().join(id.to_string())).unwrap();
        }
        write_share(&mut writer);
        let books = keep(&sources, writer);
        let claims = books.claims(Hashes(u128::MAX));
        assert_eq!(claims.all()[0].work, Hashes(6 * 9));
    }

    #[test]
    fn the_first_checkpoint_is_written_at_once_only_where_it_saves_much_reading() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, mut writer) = log(&folder);
        write_share(&mut writer);
        let is_due = |keeper: &Bookkeeper| keeper.checkpoints.due <= Instant::now();
        let (keeper, _) = open(&sources, writer.durable_end()).unwrap();
        assert!(is_due(&keeper), "there is none yet");
        drop(keeper);
        keep(&sources, writer);
        let (_, writer) = log(&folder);
        let (keeper, _) = open(&sources, writer.durable_end()).unwrap();
        assert!(!is_due(&keeper), "the one that is there will do");
        let somewhere = Place { epoch: 7, sequence: 9 };
        assert!(is_due_at_once(somewhere, READING_LONG));
        assert!(!is_due_at_once(somewhere, READING_LONG / 2));
    }

    #[test]
    fn without_the_logs_beginning_and_without_a_checkpoint_nothing_is_paid() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, mut writer) = log(&folder);
        (0..3).for_each(|_| write_share(&mut writer));
        let all = super::super::log::recover::segments(&sources.log).unwrap();
        std::fs::remove_file(folder.path().join(all[0].to_string())).unwrap();
        let error = open(&sources, writer.durable_end()).err().unwrap().to_string();
        assert!(error.contains("put the older segments or the checkpoint back"), "{error}");
        std::fs::write(&sources.checkpoint, "ADITBOOKS 1 0 0").unwrap();
        let error = open(&sources, writer.durable_end()).err().unwrap().to_string();
        assert!(error.contains("damaged"), "{error}");
        let end = writer.durable_end();
        let (mut keeper, _) = Bookkeeper::open(&sources, Beginning::NotNeeded, end).unwrap();
        std::fs::remove_file(&sources.checkpoint).unwrap();
        keeper.write_checkpoint();
        assert!(!sources.checkpoint.exists(), "it would be taken for the whole");
    }

    #[test]
    fn a_damaged_checkpoint_of_a_whole_log_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, mut writer) = log(&folder);
        (0..3).for_each(|_| write_share(&mut writer));
        std::fs::write(&sources.checkpoint, "nothing").unwrap();
        let books = keep(&sources, writer);
        assert_eq!(books.claims(Hashes(u128::MAX)).all()[0].work, Hashes(27));
    }
}
