//! `pool-sv2 ledger …`: what a person asks of the ledger. All but `rebuild` and `archive` read
//! beside a running pool and never disturb it.

mod archive;
pub mod export;

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use service::clock;
use service::config::ConfigError;
use service::program::{Failure, Sources, say};

use self::archive::{Archived, Wanted as Archive, archive};
use self::export::{ExportError, Format, Wanted, export};
use super::alerts;
use super::alerts::command::AlertCommand;
use super::audit::{Comparison, compare};
use super::config::LedgerConfig;
use super::ledger;
use super::log::cursor::Place;
use super::log::disk::Folder;
use super::log::recover::begins_after;
use super::log::segment::Follows;
use super::log::verify::{Contents, verify};
use super::payouts;
pub use super::payouts::{OutcomeArguments, PayoutCommand};
use super::store::DAY_SECONDS;
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
    /// Messages to people.
    #[command(subcommand)]
    Alert(AlertCommand),
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
    /// Move the oldest segments of the log to another folder: those that no start needs. The pool
    /// must be stopped.
    Archive(ArchiveArguments),
}

/// `pool-sv2 ledger archive`.
#[derive(Debug, Args)]
pub struct ArchiveArguments {
    #[command(flatten)]
    sources: Sources,
    /// Where to; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Segments with younger records stay.
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    keep_days: u64,
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
            let contents = verify_log(&config)?;
            verify_store(&config, contents.begins_after)
        }
        Command::Ledger(LedgerCommand::Rebuild(sources)) => rebuild(&settings(sources)?),
        Command::Ledger(LedgerCommand::Export(arguments)) => export_log(arguments),
        Command::Ledger(LedgerCommand::Archive(arguments)) => archive_log(arguments),
        Command::Payout(command) => payouts::execute(command),
        Command::Alert(command) => alerts::command::execute(command),
    }
}

fn settings(sources: &Sources) -> Result<LedgerConfig, ConfigError> {
    Ok(sources.read::<Pool>()?.0.ledger)
}

fn verify_log(config: &LedgerConfig) -> Result<Contents, Failure> {
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
        0 => Ok(contents),
        count => Err(Failure::Internal(anyhow::anyhow!("the log has {count} faults"))),
    }
}

fn verify_store(config: &LedgerConfig, begins_after: Option<Place>) -> Result<(), Failure> {
    let (file, log) = (config.store_file(), config.log_directory());
    if !file.exists() {
        say(format_args!("{}: not there; the pool builds it when it starts", file.display()));
        return Ok(());
    }
    if begins_after.is_some() {
        // Its sums hold what was in those segments: it must not be deleted.
        say(format_args!("{}: not compared, for older segments are elsewhere", file.display()));
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
    let log = Folder(config.log_directory());
    if let Ok(Follows::Place(_)) = begins_after(&log) {
        return Err(Failure::Usage(format!(
            "{}: the log's older segments are elsewhere, and the sums of their time with them: put \
             them back first",
            log.0.display()
        )));
    }
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

fn archive_log(arguments: &ArchiveArguments) -> Result<(), Failure> {
    let config = arguments.sources.read::<Pool>()?.0;
    let log = config.ledger.log_directory();
    let days_ms = arguments.keep_days.saturating_mul(DAY_SECONDS).saturating_mul(1_000);
    let wanted = Archive {
        to: &arguments.to,
        before_ms: clock::unix_now_milliseconds().saturating_sub(days_ms),
        network: config.payout.network.to_network(),
        has_webhook: config.webhook.is_some(),
    };
    let Archived { segments, bytes, left } =
        archive(&config.ledger, &wanted).map_err(|error| failed(&log, error))?;
    let (from, to) = (log.display(), arguments.to.display());
    say(format_args!("{segments} segments of {bytes} bytes moved to {to}; {left} are in {from}"));
    Ok(())
}

fn failed<E>(path: &Path, error: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = path.display();
    Failure::Internal(anyhow::Error::new(error).context(format!("cannot read {path}")))
}
