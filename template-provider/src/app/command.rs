//! The program's own subcommands.

pub mod note_hash;

use clap::Subcommand;
use service::program::Failure;

/// What the program can do besides serving templates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find out how a chain with shielded coinbases hashes its notes.
    #[command(subcommand)]
    NoteHash(note_hash::NoteHashCommand),
}

impl Command {
    /// Does it; results are printed on standard output.
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::NoteHash(command) => command.carry_out(),
        }
    }
}
