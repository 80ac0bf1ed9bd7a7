//! `outbox`: what waits for its delivery, and what will never be taken unless a person helps.

use std::io;
use std::path::Path;

use clap::{Args, Subcommand};
use service::program::{Failure, Sources, say};

use super::settings;
use crate::app::disk;
use crate::outbox::store::{Pending, Store};

/// What can be done with the outbox.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Print what waits and what was refused; nothing that would be secret.
    List {
        /// The server's settings.
        #[command(flatten)]
        sources: Sources,
    },
    /// Let refused parcels wait for their delivery again: a running server notices by itself.
    Retry {
        /// The server's settings.
        #[command(flatten)]
        sources: Sources,
        /// Which parcels.
        #[command(flatten)]
        which: Which,
    },
}

/// Which parcels.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The parcel's key, as `outbox list` shows it.
    key: Option<String>,
    /// All that were refused.
    #[arg(long)]
    all_dead: bool,
}

impl OutboxCommand {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::List { sources } => {
                let config = settings(&sources)?;
                let store = disk::existing_outbox(&config)?;
                list(&store, &config.outbox_dir()).map_err(unreadable)
            }
            Self::Retry { sources, which } => {
                retry(&disk::existing_outbox(&settings(&sources)?)?, &which)
            }
        }
    }
}

fn list(store: &Store, directory: &Path) -> io::Result<()> {
    let (pending, dead) = (store.all_pending()?, store.all_dead()?);
    if pending.is_empty() && dead.is_empty() {
        say(format_args!("the outbox in {} is empty", directory.display()));
    }
    pending.iter().for_each(|one| say(format_args!("{} pending", line(one))));
    dead.iter().for_each(|one| {
        say(format_args!("{} refused: {}", line(&one.pending), one.reason));
    });
    Ok(())
}

fn line(pending: &Pending) -> String {
    let Pending { block, parcel, .. } = pending;
    let age = pending.waited().as_secs();
    let (key, extension) = (&parcel.key, &parcel.extension);
    format!("{key} of {extension}, block {} at height {}, {age} s", block.hash, block.height)
}

fn retry(store: &Store, which: &Which) -> Result<(), Failure> {
    let dead = store.all_dead().map_err(unreadable)?.into_iter().map(|dead| dead.pending);
    let is_chosen = |one: &Pending| which.all_dead || which.key.as_ref() == Some(&one.parcel.key);
    let chosen: Vec<_> = dead.filter(is_chosen).collect();
    if let (Some(key), true) = (&which.key, chosen.is_empty()) {
        let remedy = "see `template-provider outbox list`";
        return Err(Failure::Usage(format!("no parcel {key} was refused; {remedy}")));
    }
    for one in &chosen {
        store.revive(&one.name()).map_err(unreadable)?;
        say(format_args!("{} waits for its delivery again", one.parcel.key));
    }
    Ok(())
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Internal(anyhow::Error::new(error).context("the outbox cannot be used"))
}
