//! `pool-sv2 ledger …`: what a person asks of the ledger. All but `rebuild` read beside a running
//! pool and never disturb it.

pub mod export;

use std::io::{self, BufWriter};
use std::path::Path;

use clap::{Args, Subcommand};
use service::config::ConfigError;
use service::program::{Failure, Sources, say};

use self::export::{ExportError, Format, Wanted, export};
use super::audit::{Comparison, compare};
use super::config::LedgerConfig;
use super::ledger;
use super::log::cursor::Place;
use super::log::disk::Folder;
use super::log::verify::verify;
use super::payouts;
pub use super::payouts::{OutcomeArguments, PayoutCommand};
use super::store::sqlite::{SqliteReader, SqliteStore};
use crate::app::Pool;

/// The subcommands that the pool has besides those of every server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What stands in the ledger.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Whom shared blocks paid, and by which work.
    #[command(subcommand)]
    Payout(PayoutCommand),
}

/// `pool-sv2 ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Read the whole log and say what is in it; fails if anything in it is damaged, or if the
    /// store does not add up to it.
    Verify(Sources),
    /// Delete the store and build it again from the log. The pool must be stopped; a running one
    /// builds it again by itself once store.sqlite is deleted.
    Rebuild(Sources),
    /// Write all records of the log to standard output.
    Export(ExportArguments),
}

/// `pool-sv2 ledger export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    sources: Sources,
    /// How a record is written.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Leave out what is older: seconds since 1970.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    since: u64,
    /// Leave out what came from this second on: seconds since 1970.
    #[arg(long, value_name = "SECONDS", default_value_t = u64::MAX, hide_default_value = true)]
    until: u64,
}

/// Carries out `command`.
pub fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ledger(LedgerCommand::Verify(sources)) => {
            let config = settings(sources)?;
            verify_log(&config)?;
            verify_store(&config)
        }
        Command::Ledger(LedgerCommand::Rebuild(sources)) => rebuild(&settings(sources)?),
        Command::Ledger(LedgerCommand::Export(arguments)) => export_log(arguments),
        Command::Payout(command) => payouts::execute(command),
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
    if let Some(Place { epoch, sequence }) = contents.begins_after {
        say(format_args!(
            "what was before record {sequence} of epoch {epoch} is not in the folder"
        ));
    }
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

fn verify_store(config: &LedgerConfig) -> Result<(), Failure> {
    let (file, log) = (config.store_file(), config.log_directory());
    if !file.exists() {
        say(format_args!("{}: not there; the pool builds it when it starts", file.display()));
        return Ok(());
    }
    let reader = SqliteReader::open(&file).map_err(anyhow::Error::new)?;
    let compared = reader.at_one_moment(|reader| compare(Folder(log), reader, config.node));
    let compared = compared.map_err(anyhow::Error::new)?;
    let found = compared.map_err(|error| failed(&file, error))?;
    let Comparison { records, shares, scopes, differences } = found;
    say(format_args!(
        "{}: fed with {records} records, {shares} shares among them; {scopes} sums compared",
        file.display()
    ));
    for difference in &differences {
        say(difference);
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Failure::Internal(anyhow::anyhow!(
            "the store does not add up to the log: delete it, and it is built again"
        ))),
    }
}

fn rebuild(config: &LedgerConfig) -> Result<(), Failure> {
    let file = config.store_file();
    let _lock = ledger::prepare(config).map_err(|error| failed(&config.directory, error))?;
    SqliteStore::delete(&file).map_err(anyhow::Error::new)?;
    let records = config.feeder().catch_up().map_err(|error| failed(&file, error))?;
    say(format_args!("{}: built from {records} records", file.display()));
    Ok(())
}

fn export_log(arguments: &ExportArguments) -> Result<(), Failure> {
    let log = settings(&arguments.sources)?.log_directory();
    let wanted = Wanted { since_s: arguments.since, until_s: arguments.until };
    let mut out = BufWriter::new(io::stdout().lock());
    match export(Folder(log.clone()), wanted, arguments.format, &mut out) {
        Ok(_) => Ok(()),
        // Who reads has seen enough.
        Err(ExportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(failed(&log, error)),
    }
}

fn failed<E>(path: &Path, error: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = path.display();
    Failure::Internal(anyhow::Error::new(error).context(format!("cannot read {path}")))
}
