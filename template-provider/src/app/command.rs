//! The program's own subcommands.

pub mod note_hash;
pub mod notes;
pub mod outbox;
pub mod vault;

use clap::Subcommand;
use service::config::ConfigError;
use service::program::{Failure, Sources};

use super::{Config, TemplateProvider};

/// What the program can do besides serving templates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find out how a chain with shielded coinbases hashes its notes.
    #[command(subcommand)]
    NoteHash(note_hash::NoteHashCommand),
    /// Make the notes of shielded coinbases again.
    #[command(subcommand)]
    Notes(notes::NotesCommand),
    /// See and resubmit found blocks that are kept on disk.
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// See and retry what must be delivered for accepted blocks.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
}

impl Command {
    /// Does it; results are printed on standard output.
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::NoteHash(command) => command.carry_out(),
            Self::Notes(command) => command.carry_out(),
            Self::Vault(command) => command.carry_out(),
            Self::Outbox(command) => command.carry_out(),
        }
    }
}

/// The settings of the server. What is to be said of a `.env` file, `check-config` says.
fn settings(sources: &Sources) -> Result<Config, ConfigError> {
    Ok(sources.read::<TemplateProvider>()?.0)
}
