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
use crate::payout::proof::Proof;
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
