//! Reckons the payout of a block again, from the log alone.
//!
//! Whoever has the log can find out whether a block was shared as the rules say: the books are
//! folded anew up to the place that the block's record names, and what they give is held against
//! what the record says was paid.

use std::sync::Arc;

use bitcoin::{BlockHash, Network};

use super::bookkeeper::KeepError;
use super::books::Books;
use super::log::cursor::{Cursor, Located, Place};
use super::log::disk::Folder;
use super::log::record::Record;
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
}

/// A payout as it was recorded, and as it is reckoned from the log.
#[derive(Debug)]
pub struct Recomputed {
    /// All parts in one.
    pub recorded: BlockPayout,
    /// The same, reckoned anew; none if by the log nobody had worked.
    pub reckoned: Option<BlockPayout>,
}

impl Recomputed {
    /// True if it was shared as the rules say.
    pub fn is_right(&self) -> bool {
        self.reckoned.as_ref() == Some(&self.recorded)
    }
}

/// Reckons the payout of `block` again.
pub fn recompute(
    log: &Folder,
    network: Network,
    block: BlockHash,
) -> Result<Recomputed, RecomputeError> {
    let recorded = recorded(log, block)?;
    let books = books_at(log, network, recorded.position)?;
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
    Ok(Recomputed { recorded, reckoned })
}

/// The proof that an account's work counted for `block`; none if it had none.
pub fn prove(
    log: &Folder,
    network: Network,
    block: BlockHash,
    account: &str,
) -> Result<Option<(BlockPayout, Proof)>, RecomputeError> {
    let recorded = recorded(log, block)?;
    let books = books_at(log, network, recorded.position)?;
    let proof = books.work_tree(recorded.window).and_then(|tree| tree.proof(account));
    Ok(proof.map(|proof| (recorded, proof)))
}

/// What the log says about a shared block, its parts put together.
pub fn recorded(log: &Folder, block: BlockHash) -> Result<BlockPayout, RecomputeError> {
    let mut found: Option<BlockPayout> = None;
    let mut parts = 0;
    read(log, &mut |located| {
        let Some(part) = part_of(&located, block) else {
            return Ok(());
        };
        match &mut found {
            // A header that was sent twice has two records that say the same.
            Some(known) if part.part == parts && parts < known.parts => {
                known.lines.extend(part.lines);
            }
            Some(_) => return Ok(()),
            None => found = Some(part),
        }
        parts += 1;
        Ok(())
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

/// The books as they were at `position`.
pub fn books_at(
    log: &Folder,
    network: Network,
    position: Position,
) -> Result<Books, RecomputeError> {
    let mut books = Books::new(network);
    let Position { epoch, sequence } = position;
    let end = Place { epoch, sequence };
    read(log, &mut |located| match located.place < end {
        true => books.take(&located).map_err(KeepError::from),
        false => Ok(()),
    })?;
    Ok(books)
}

/// Gives every record of the log.
fn read(
    log: &Folder,
    take: &mut dyn FnMut(Located) -> Result<(), KeepError>,
) -> Result<(), KeepError> {
    let mut cursor = Cursor::new(log.clone(), Place::default());
    let mut taken = Ok(());
    loop {
        let any = cursor.read_frame(None, &mut |located| {
            if taken.is_ok() {
                taken = take(located);
            }
        })?;
        std::mem::replace(&mut taken, Ok(()))?;
        if !any {
            return Ok(());
        }
    }
}
