//! `pool-sv2 ledger …`: what a person asks of the ledger. It reads beside a running pool and never
//! disturbs it.

use std::path::Path;

use clap::Subcommand;
use service::config::ConfigError;
use service::program::{Failure, Sources, say};

use super::config::LedgerConfig;
use super::log::LogError;
use super::log::disk::Folder;
use super::log::verify::verify;
use crate::app::Pool;

/// The subcommands that the pool has besides those of every server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What stands in the ledger.
    #[command(subcommand)]
    Ledger(LedgerCommand),
}

/// `pool-sv2 ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Read the whole log and say what is in it; fails if anything in it is damaged.
    Verify(Sources),
}

/// Carries out `command`.
pub fn execute(command: &Command) -> Result<(), Failure> {
    let Command::Ledger(command) = command;
    match command {
        LedgerCommand::Verify(sources) => verify_log(&settings(sources)?),
    }
}

fn settings(sources: &Sources) -> Result<LedgerConfig, ConfigError> {
    Ok(sources.read::<Pool>()?.0.ledger)
}

fn verify_log(config: &LedgerConfig) -> Result<(), Failure> {
    let directory = config.log_directory();
    let contents = verify(&Folder(directory.clone())).map_err(|error| failed(&directory, error))?;
    say(format_args!(
        "{}: {} segments, {} records: {} shares of {} hashes, {} blocks",
        directory.display(),
        contents.segments,
        contents.records,
        contents.shares,
        contents.work,
        contents.blocks
    ));
    if contents.unfinished_bytes > 0 {
        let bytes = contents.unfinished_bytes;
        say(format_args!("{bytes} bytes at the end are no whole commit: not acknowledged"));
    }
    for fault in &contents.faults {
        say(fault);
    }
    match contents.faults.len() {
        0 => Ok(()),
        count => Err(Failure::Internal(anyhow::anyhow!("the log has {count} faults"))),
    }
}

fn failed(directory: &Path, error: LogError) -> Failure {
    let directory = directory.display();
    Failure::Internal(anyhow::Error::new(error).context(format!("cannot read {directory}")))
}
