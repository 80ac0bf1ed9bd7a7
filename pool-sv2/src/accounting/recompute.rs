//! Reckons the payout of a block again, from the log alone.
//!
//! Whoever has the log can find out whether a block was shared as the rules say: the books are
//! folded anew up to the place that the block's record names, and what they give is held against
//! what the record says was paid. If the beginning of the log was moved away, a checkpoint may
//! stand in for it, and it is said so; without one, that too is said.

use std::sync::Arc;

use bitcoin::BlockHash;

use super::bookkeeper::{KeepError, Sources};
use super::books::Books;
use super::checkpoint::{self, Checkpoint, CheckpointError};
use super::log::cursor::{Cursor, Located, Place};
use super::log::disk::Folder;
use super::log::record::Record;
use super::log::recover::begins_after;
use super::log::segment::Follows;
use crate::payout::claims::Position;
use crate::payout::distribution::distribute;
use crate::payout::proof::{Node, Proof, WorkTree};
use crate::payout::settlement::{BlockPayout, PAYOUT_VERSION, PayoutEntry, lines};

/// Why a payout cannot be reckoned again.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// The log or what stands in it cannot be read.
    #[error(transparent)]
    Unreadable(#[from] KeepError),
    /// It is no block of this pool, or one that nobody shared.
    #[error("the log has no shared block {0}: a block that pays its finder or the pool has none")]
    NotShared(BlockHash),
    /// It is in the log, and its last part is not.
    #[error("the log lacks a part of what it says about block {0}")]
    Incomplete(BlockHash),
    /// They were moved away.
    #[error(
        "the shares that it needs are not there: the beginning of the log is not in its folder, \
         and no checkpoint stands before record {} of epoch {}; put the older segments back",
        .0.sequence, .0.epoch
    )]
    SharesGone(Position),
    /// The file of the checkpoint is of no use.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A payout as it was recorded, and as it is reckoned from the log.
#[derive(Debug)]
pub struct Recomputed {
    /// All parts in one.
    pub recorded: BlockPayout,
    /// The same, reckoned anew; none if by the log nobody had worked.
    pub reckoned: Option<BlockPayout>,
    /// The place of the checkpoint that it was reckoned from, if not from the log alone.
    pub from: Option<Place>,
}

impl Recomputed {
    /// True if it was shared as the rules say.
    pub fn is_right(&self) -> bool {
        self.reckoned.as_ref() == Some(&self.recorded)
    }
}

/// Reckons the payout of `block` again.
pub fn recompute(sources: &Sources, block: BlockHash) -> Result<Recomputed, RecomputeError> {
    let recorded = recorded(&sources.log, block)?;
    let (books, from) = books_at(sources, recorded.position)?;
    let claims = Arc::new(books.claims(recorded.window));
    let root = claims.root();
    let shared = distribute(recorded.value, &recorded.terms, &claims, &recorded.withheld);
    let reckoned = shared.map(|distribution| BlockPayout {
        root,
        position: books.position(),
        fee: distribution.fee(),
        pool_output: distribution.pool_output(),
        lines: lines(&distribution),
        ..recorded.clone()
    });
    Ok(Recomputed { recorded, reckoned, from })
}

/// The tree that proofs for `block` are taken from, and the root that was recorded; none if by the
/// log nobody had worked.
pub fn work_tree(
    sources: &Sources,
    block: BlockHash,
) -> Result<Option<(Node, WorkTree)>, RecomputeError> {
    let recorded = recorded(&sources.log, block)?;
    let (books, _) = books_at(sources, recorded.position)?;
    Ok(recorded.root.zip(books.work_tree(recorded.window)))
}

/// The proof that an account's work counted for `block`; none if it had none.
pub fn prove(
    sources: &Sources,
    block: BlockHash,
    account: &str,
) -> Result<Option<(BlockPayout, Proof)>, RecomputeError> {
    let recorded = recorded(&sources.log, block)?;
    let (books, _) = books_at(sources, recorded.position)?;
    let proof = books.work_tree(recorded.window).and_then(|tree| tree.proof(account));
    Ok(proof.map(|proof| (recorded, proof)))
}

/// What the log says about a shared block, its parts put together.
pub fn recorded(log: &Folder, block: BlockHash) -> Result<BlockPayout, RecomputeError> {
    let mut found: Option<BlockPayout> = None;
    let mut parts = 0;
    read(log, Place::default(), &mut |located| {
        let Some(part) = part_of(&located, block) else {
            return Ok(Next::GoOn);
        };
        match &mut found {
            // A header that was sent twice has two records that say the same.
            Some(known) if part.part == parts && parts < known.parts => {
                known.lines.extend(part.lines);
            }
            Some(_) => return Ok(Next::GoOn),
            None => found = Some(part),
        }
        parts += 1;
        let is_whole = found.as_ref().is_some_and(|known| parts >= known.parts);
        Ok(if is_whole { Next::Stop } else { Next::GoOn })
    })?;
    let recorded = found.ok_or(RecomputeError::NotShared(block))?;
    if parts < recorded.parts {
        return Err(RecomputeError::Incomplete(block));
    }
    Ok(recorded)
}

fn part_of(located: &Located, block: BlockHash) -> Option<BlockPayout> {
    let Record::Payout { payout, .. } = &located.record else {
        return None;
    };
    let entry = (payout.version == PAYOUT_VERSION).then(|| payout.bytes())?;
    match serde_json::from_slice(entry).ok()? {
        PayoutEntry::Block(part) => Some(part).filter(|part| part.block == block),
        _ => None,
    }
}

/// The books as they were at `position`: by the log alone if it is whole, and else from the
/// checkpoint on, whose place is given too.
pub fn books_at(
    sources: &Sources,
    position: Position,
) -> Result<(Books, Option<Place>), RecomputeError> {
    let Position { epoch, sequence } = position;
    let end = Place { epoch, sequence };
    let (mut books, from) = match begins_after(&sources.log).map_err(KeepError::from)? {
        Follows::Place(_) => {
            let found = checkpoint::read(&sources.checkpoint, sources.network)?;
            let found = found.filter(|found| found.next <= end);
            let Checkpoint { next, books } = found.ok_or(RecomputeError::SharesGone(position))?;
            (books, Some(next))
        }
        Follows::Nothing | Follows::Unknown => (Books::new(sources.network), None),
    };
    read(&sources.log, from.unwrap_or_default(), &mut |located| match located.place < end {
        true => books.take(&located).map(|()| Next::GoOn).map_err(KeepError::from),
        false => Ok(Next::Stop),
    })?;
    Ok((books, from))
}

/// Whether what follows is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// Gives the records of the log from `first` on.
fn read(
    log: &Folder,
    first: Place,
    take: &mut dyn FnMut(Located) -> Result<Next, KeepError>,
) -> Result<(), KeepError> {
    let mut cursor = Cursor::new(log.clone(), first);
    let mut taken = Ok(Next::GoOn);
    loop {
        let any = cursor.read_frame(None, &mut |located| {
            if matches!(taken, Ok(Next::GoOn)) {
                taken = take(located);
            }
        })?;
        let next = std::mem::replace(&mut taken, Ok(Next::GoOn))?;
        if !any || next == Next::Stop {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::hashes::Hash;
    use mining::memo::BlockRecords;
    use mining::target::Hashes;

    use super::super::log::recover::segments;
    use super::super::log::writer::{LogSettings, LogWriter};
    use super::*;
    use crate::payout::claims::Withheld;
    use crate::payout::distribution::Terms;
    use crate::payout::settlement::Settlement;
    use crate::shares::{Earner, Entry, PAYS_ALL, PayoutRecord, ShareRecord};

    /// BIP173's and BIP350's examples, on regtest.
    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const BOB: &str = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6";
    const TERMS: Terms =
        Terms { fee_basis_points: 100, output_min: 1_000, outputs_max: 1, output_bytes_max: 1_000 };
    const NOW_MS: u64 = 1_700_000_000_000;

    /// A log in which each commit is a segment.
    struct Pool {
        sources: Sources,
        writer: LogWriter<Folder>,
    }

    impl Pool {
        fn start(folder: &tempfile::TempDir) -> Self {
            let log = Folder(folder.path().to_owned());
            let settings = LogSettings { node: 0, segment_bytes: 1 };
            let (mut writer, _) = LogWriter::open(log.clone(), settings, NOW_MS, 3).unwrap();
            for (account, work) in [(ANN, 60), (BOB, 40)] {
                let earner = Earner { payout_mode: PAYS_ALL, ..Earner::named(account, "") };
                let (earner, work) = (Arc::new(earner), Hashes(work));
                writer.push_share(NOW_MS, &ShareRecord { earner, work, hash: [1; 32] });
                writer.commit().unwrap();
            }
            let checkpoint = folder.path().join("books.checkpoint");
            Self { sources: Sources { log, checkpoint, network: Network::Regtest }, writer }
        }

        /// A block that leaves out these debts, and that says so or not.
        fn block(&mut self, id: u8, withheld: &Withheld, said: Withheld) -> BlockHash {
            let (books, _) = books_at(&self.sources, Position::END).unwrap();
            let claims = Arc::new(books.claims(Hashes(1_000)));
            let distribution = distribute(100_000, &TERMS, &claims, withheld).unwrap();
            let settlement = Settlement { terms: TERMS, withheld: said, distribution };
            for bytes in settlement.records(&[id; 32]) {
                let record = PayoutRecord::new(PAYOUT_VERSION, bytes).unwrap();
                self.writer.push_entry(NOW_MS, Entry::Payout(record));
            }
            self.writer.commit().unwrap();
            BlockHash::from_byte_array([id; 32])
        }

        fn is_right(&self, block: BlockHash) -> bool {
            recompute(&self.sources, block).unwrap().is_right()
        }
    }

    #[test]
    fn a_block_that_was_found_while_the_books_stood_still_is_right_as_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut pool = Pool::start(&folder);
        // Bob has no output, and is owed his part.
        let first = pool.block(1, &Withheld::Nobodys, Withheld::Nobodys);
        let still = pool.block(2, &Withheld::Everybodys, Withheld::Everybodys);
        let of = Withheld::Of([BOB.to_owned()].into());
        let wallet = pool.block(3, &of, of.clone());
        assert!(pool.is_right(first) && pool.is_right(still) && pool.is_right(wallet));
        let silent = pool.block(4, &Withheld::Everybodys, Withheld::Nobodys);
        assert!(!pool.is_right(silent), "it paid by other debts than it says");
    }

    #[test]
    fn without_the_shares_that_it_needs_it_says_so_and_from_a_checkpoint_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut pool = Pool::start(&folder);
        let first = pool.block(1, &Withheld::Nobodys, Withheld::Nobodys);
        let end = pool.writer.durable_end();
        let next = Place { epoch: end.segment.epoch, sequence: end.sequence };
        let (books, _) = books_at(&pool.sources, Position::END).unwrap();
        let second = pool.block(2, &Withheld::Nobodys, Withheld::Nobodys);
        let oldest = segments(&pool.sources.log).unwrap()[0].to_string();
        std::fs::remove_file(folder.path().join(oldest)).unwrap();
        for block in [first, second] {
            let error = recompute(&pool.sources, block).unwrap_err();
            assert!(error.to_string().starts_with("the shares that it needs are not there"));
        }
        checkpoint::write(&pool.sources.checkpoint, next, &books).unwrap();
        let recomputed = recompute(&pool.sources, second).unwrap();
        assert!(recomputed.is_right() && recomputed.from == Some(next));
        let error = recompute(&pool.sources, first).unwrap_err();
        assert!(matches!(error, RecomputeError::SharesGone(_)), "it is from before: {error}");
    }
}
