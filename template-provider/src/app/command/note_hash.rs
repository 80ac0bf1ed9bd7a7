//! `note-hash`: which hash makes the commitment of a note that is known to be right.

use clap::{Args, Subcommand};
use service::program::{Failure, say};

use crate::coinbase::shielded::hash::NoteHash;
use crate::coinbase::shielded::note::{Commitment, Note, OwnerKey, Randomness};

/// What can be asked about the hash of notes.
#[derive(Debug, Subcommand)]
pub enum NoteHashCommand {
    /// Print the `note_hash` that makes the commitment of a known note.
    Detect(KnownNote),
}

/// A note and its commitment, from a wallet of the chain.
#[derive(Debug, Args)]
pub struct KnownNote {
    /// What it is worth, in the chain's smallest unit.
    #[arg(long)]
    value: u64,
    /// Its owner's public key, 64 hex digits.
    #[arg(long)]
    pubkey: OwnerKey,
    /// Its randomness, 64 hex digits.
    #[arg(long)]
    randomness: Randomness,
    /// Its commitment, 64 hex digits.
    #[arg(long)]
    commitment: Commitment,
}

impl NoteHashCommand {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let Self::Detect(KnownNote { value, pubkey, randomness, commitment }) = self;
        let note = Note { value, owner: pubkey, randomness };
        let Some(hash) = NoteHash::detect(&note, commitment) else {
            return Err(Failure::Usage(
                "no note_hash makes this commitment of this note; check the four values, and \
                 whether the wallet shows hashes reversed"
                    .to_owned(),
            ));
        };
        say(format_args!("note_hash = \"{hash}\""));
        Ok(())
    }
}
