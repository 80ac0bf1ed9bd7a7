//! Makes the note of a block, and makes it again for a block that is in the chain.
//!
//! The same block before, height and value always give the same note: it needs no state.

use super::cipher::{self, SealedNote};
use super::hash::NoteHash;
use super::note::{Commitment, Note, OwnerKey};
use super::secret::{NoteSecret, Place};

/// What all notes of one config have in common.
#[derive(Debug, Clone, Copy)]
pub struct NoteMaker {
    /// The chain's hash of notes.
    pub hash: NoteHash,
    /// Whose the notes are.
    pub owner: OwnerKey,
    /// Where their randomness comes from.
    pub secret: NoteSecret,
}

/// A note with all that is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeNote {
    /// The note, which is its owner's secret.
    pub note: Note,
    /// What stands in the coinbase.
    pub commitment: Commitment,
    /// What the sidecar gets.
    pub sealed: SealedNote,
}

impl NoteMaker {
    /// The note of a place.
    pub fn make(&self, place: &Place) -> MadeNote {
        let randomness = self.secret.randomness(place);
        let note = Note { value: place.value, owner: self.owner, randomness };
        let sealed = cipher::seal(self.hash, &note, self.secret.ephemeral_secret(place));
        MadeNote { commitment: note.commitment(self.hash), note, sealed }
    }

    /// The note that a block holds, made again: `scripts` are those of its coinbase's outputs,
    /// `values` what the note may be worth. `None` if it holds none of this secret and owner.
    pub fn recover(
        &self,
        prev_hash: [u8; 32],
        height: u32,
        values: &[u64],
        scripts: &[Vec<u8>],
    ) -> Option<MadeNote> {
        let notes =
            values.iter().map(|value| self.make(&Place { prev_hash, height, value: *value }));
        notes.into_iter().find(|made| scripts.contains(&made.commitment.output_script()))
    }
}
