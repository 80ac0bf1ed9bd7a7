//! The subcommands that the pool has besides those of every server.

use clap::Subcommand;
use service::program::Failure;

use crate::accounting::command as accounting;
use crate::init::{self, InitArguments};

/// One of them, with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make settings and keys of the whole stack, from what a node says and an address.
    Init(InitArguments),
    /// What stands in the ledger.
    #[command(flatten)]
    Accounting(accounting::Command),
}

/// Carries out `command`.
pub(super) fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init::execute(arguments),
        Command::Accounting(command) => accounting::execute(command),
    }
}
