//! `vault`: found blocks that are kept, and what the nodes say of them now.

use std::io;
use std::time::Duration;

use clap::{Args, Subcommand};
use service::metrics::Metrics;
use service::program::{Failure, Server, Sources, block_on, say, tell};
use tokio::time::timeout;

use super::settings;
use crate::app::submission::Submissions;
use crate::app::{Config, TemplateProvider, disk, nodes_of};
use crate::node::submit::Verdict;
use crate::vault::{Entry, State, Vault};

/// How long the nodes are asked for each block; one without a verdict stays pending, and goes out
/// again at the next start of the server.
const VERDICT_MAX: Duration = Duration::from_secs(60);

/// How long it is waited for the nodes that did not give the verdict.
const OTHER_NODES_MAX: Duration = Duration::from_secs(60);

/// What can be done with the blocks that are kept.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Print the found blocks that are kept: those without a verdict, and those that were refused.
    List {
        /// The server's settings.
        #[command(flatten)]
        sources: Sources,
    },
    /// Submit blocks that are kept to all nodes, now; refused ones, too.
    Resubmit {
        /// The server's settings.
        #[command(flatten)]
        sources: Sources,
        /// Which blocks.
        #[command(flatten)]
        which: Which,
    },
}

/// Which blocks.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The block's hash, as `vault list` shows it.
    hash: Option<String>,
    /// All that are kept.
    #[arg(long)]
    all: bool,
}

impl VaultCommand {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::List { sources } => {
                let config = settings(&sources)?;
                let entries = disk::existing_vault(&config)?.entries().map_err(unreadable)?;
                if entries.is_empty() {
                    say(format_args!("no blocks are kept in {}", config.blocks_dir().display()));
                }
                entries.iter().for_each(|entry| say(line(entry)));
                Ok(())
            }
            Self::Resubmit { sources, which } => {
                let config = settings(&sources)?;
                block_on(TemplateProvider::NAME, |_| resubmit(config, which))
            }
        }
    }
}

fn line(entry: &Entry) -> String {
    let Entry { hash, state, height, parcels, age, bytes } = entry;
    let state = match state {
        State::Pending => "pending",
        State::Refused => "refused",
    };
    let height = height.map_or_else(|| "?".to_owned(), |height| height.to_string());
    let age = age.as_secs();
    format!("{hash} {state} height {height}, {bytes} bytes, {parcels} parcels, {age} s old")
}

async fn resubmit(config: Config, which: Which) -> Result<(), Failure> {
    let vault = disk::existing_vault(&config)?;
    // Nobody asks for them: this program ends when it has the verdicts.
    let metrics = Metrics::new("template_provider");
    let (nodes, outbox) = (nodes_of(&config)?, disk::open_outbox(&config)?);
    let submissions = Submissions::new(nodes, vault.clone(), outbox, &metrics);
    let kept = vault.entries().map_err(unreadable)?.into_iter().map(|entry| entry.hash);
    let chosen: Vec<String> =
        kept.filter(|hash| which.all || which.hash.as_ref() == Some(hash)).collect();
    if let (Some(hash), true) = (which.hash, chosen.is_empty()) {
        let remedy = "see `template-provider vault list`";
        return Err(Failure::Usage(format!("no block {hash} is kept; {remedy}")));
    }
    for hash in chosen {
        say(resubmit_one(&vault, &submissions, &hash).await);
    }
    // The first node's word is the verdict; the others shall have the blocks as well.
    if !submissions.couriers_back(OTHER_NODES_MAX).await {
        tell("not every node answered: one may not have all of these blocks");
    }
    Ok(())
}

async fn resubmit_one(vault: &Vault, submissions: &Submissions, hash: &str) -> String {
    let record = match vault.reopen(hash).and_then(|()| vault.read(hash)) {
        Ok(record) => record,
        Err(error) => return format!("{hash} cannot be read: {error}"),
    };
    match timeout(VERDICT_MAX, submissions.submit_again(record)).await {
        Ok(Verdict::Accepted) => format!("{hash} accepted"),
        Ok(Verdict::Refused(reason)) => format!("{hash} refused: {reason}"),
        Err(_) => format!("{hash} without a verdict after {VERDICT_MAX:?}: it stays pending"),
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Internal(anyhow::Error::new(error).context("the blocks cannot be read"))
}
