//! `pool-sv2 payout …`: what a person asks about payouts. It reads the log alone, beside a running
//! pool, and never disturbs it; to check a proof needs nothing but its file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bitcoin::hashes::sha256;
use bitcoin::{BlockHash, Txid};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use service::program::{Failure, Sources, say};
use tokio::runtime;

use super::bookkeeper::Sources as BookSources;
use super::log::cursor::Place;
use super::recompute::{Recomputed, books_at, prove, recompute};
use super::reserve::report;
use super::settle::{SettleError, check_conflict, settle};
use crate::app::Pool;
use crate::config::Config;
use crate::payout::accounts::Balance;
use crate::payout::claims::{Position, Withheld};
use crate::payout::proof::{Node, Proof};
use crate::payout::settlement::{AccountPayout, BlockPayout, WalletOutcome, WalletPayout, sum};

/// Longest file that is read as a proof: it is a few kilobytes.
const PROOF_BYTES_MAX: u64 = 1 << 20;

/// `pool-sv2 payout …`.
#[derive(Debug, Subcommand)]
pub enum PayoutCommand {
    /// Say what each account is owed, by the log alone.
    Balances(Sources),
    /// Reckon the payout of a shared block again, from the log alone; fails if it was another.
    Recompute {
        /// Its hash.
        block: BlockHash,
        /// Where the settings are.
        #[command(flatten)]
        sources: Sources,
    },
    /// Say what luck may cost a pool that pays for shares at a fixed rate (fpps), by the log.
    Reserve {
        /// Satoshis that the pool can spend beside what it owes.
        #[arg(long, value_name = "SATOSHIS")]
        reserve: u64,
        /// Over how many days: those of the past say how fast miners are.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
        /// Where the settings are.
        #[command(flatten)]
        sources: Sources,
    },
    /// Print the proof that an account's work counted for a shared block, as JSON.
    Proof {
        /// Its hash.
        block: BlockHash,
        /// Whose work: an address.
        account: String,
        /// Where the settings are.
        #[command(flatten)]
        sources: Sources,
    },
    /// Say what became of a payout from the wallet that is in conflict with another transaction,
    /// so that payouts go on. The pool must be stopped.
    Settle {
        /// The id of the pool's transaction.
        transaction: Txid,
        /// What became of it.
        #[command(flatten)]
        outcome: OutcomeArguments,
        /// Where the settings are.
        #[command(flatten)]
        sources: Sources,
    },
    /// Check such a proof; fails if it proves nothing.
    Check {
        /// The proof, as JSON.
        file: PathBuf,
        /// The root's hash as the pool has published it.
        #[arg(long)]
        root: Option<sha256::Hash>,
    },
}

/// What became of a payout; one of the two.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub struct OutcomeArguments {
    /// The other transaction pays the same accounts: nothing is owed for it any more.
    #[arg(long)]
    paid: bool,
    /// Nobody was paid, and the other transaction is in the chain for good: all of it is owed
    /// again, and paid with the next payout.
    #[arg(long)]
    unpaid: bool,
}

/// A proof with what it is about, as a miner gets it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProofFile {
    /// The block's hash, display order.
    pub(super) block: String,
    /// What the pool publishes.
    pub(super) root: Node,
    /// What leads to it.
    pub(super) proof: Proof,
}

/// Carries out `command`.
pub(super) fn execute(command: &PayoutCommand) -> Result<(), Failure> {
    match command {
        PayoutCommand::Balances(sources) => balances(&settings(sources)?),
        PayoutCommand::Recompute { block, sources } => {
            let recomputed = recompute(&settings(sources)?, *block);
            report(&recomputed.map_err(anyhow::Error::new)?)
        }
        PayoutCommand::Proof { block, account, sources } => {
            print_proof(&settings(sources)?, *block, account)
        }
        PayoutCommand::Reserve { reserve, days, sources } => {
            let config = sources.read::<Pool>()?.0;
            report::say_reserve(&books_of(&config), &config.coin.symbol, *reserve, *days)
        }
        PayoutCommand::Settle { transaction, outcome, sources } => {
            let config = sources.read::<Pool>()?.0;
            let outcome = if outcome.paid { WalletOutcome::Paid } else { WalletOutcome::Unpaid };
            settle_payout(&config, *transaction, outcome)
        }
        PayoutCommand::Check { file, root } => check(file, *root),
    }
}

fn settings(sources: &Sources) -> Result<BookSources, Failure> {
    Ok(books_of(&sources.read::<Pool>()?.0))
}

fn books_of(config: &Config) -> BookSources {
    BookSources::of(&config.ledger, config.payout.network.to_network())
}

fn settle_payout(
    config: &Config,
    transaction: Txid,
    outcome: WalletOutcome,
) -> Result<(), Failure> {
    let network = config.payout.network.to_network();
    if outcome == WalletOutcome::Unpaid {
        check_unpaid(config, transaction)?;
    }
    let settled = settle(&config.ledger, network, transaction, outcome);
    let payout = settled.map_err(not_settled)?;
    let amount = sum(&payout.lines);
    let accounts = payout.lines.len();
    say(match outcome {
        WalletOutcome::Paid => format!("{amount} sat to {accounts} accounts stay paid"),
        WalletOutcome::Unpaid => format!("{amount} sat are owed to {accounts} accounts again"),
    });
    Ok(())
}

/// Whom the transaction pays is paid again only if it can never confirm.
fn check_unpaid(config: &Config, transaction: Txid) -> Result<(), Failure> {
    let named = config.node.as_ref().zip(config.payout.wallet.as_ref());
    let (node, wallet) = named.ok_or_else(|| {
        Failure::Usage("name [node] and [payout.wallet]: the wallet knows the payout".to_owned())
    })?;
    let mut wallet = node.wallet(&wallet.name)?;
    let waiting = runtime::Builder::new_current_thread().enable_all().build();
    let waiting = waiting.map_err(anyhow::Error::from)?;
    waiting.block_on(check_conflict(&mut wallet, transaction)).map_err(not_settled)
}

fn not_settled(error: SettleError) -> Failure {
    match error {
        SettleError::Locked(_) | SettleError::NotOnItsWay(_) | SettleError::MayConfirm(_) => {
            Failure::Usage(error.to_string())
        }
        error => Failure::Internal(anyhow::Error::new(error)),
    }
}

fn balances(sources: &BookSources) -> Result<(), Failure> {
    let (books, _) = books_at(sources, Position::END).map_err(anyhow::Error::new)?;
    for (account, Balance { owed, spendable }) in books.balances() {
        say(format_args!("{account}: owed {owed} sat, {spendable} sat of mature blocks"));
    }
    for (account, earned) in books.earned() {
        say(format_args!("{account}: earned {earned} sat at a fixed rate"));
    }
    for payout in books.unconfirmed() {
        let WalletPayout { transaction, lines, fee, .. } = payout;
        let (amount, accounts) = (sum(lines), lines.len());
        say(format_args!("{transaction} pays {amount} sat to {accounts} accounts for {fee} sat"));
    }
    Ok(())
}

fn report(recomputed: &Recomputed) -> Result<(), Failure> {
    let Recomputed { recorded, reckoned, from } = recomputed;
    print(recorded);
    if let Some(Place { epoch, sequence }) = from {
        say(format_args!(
            "reckoned from the checkpoint at record {sequence} of start {epoch}: the log's \
             beginning is not there, and work from before it is taken on trust"
        ));
    }
    if recomputed.is_right() {
        say("the log gives the same: paid by the rules");
        return Ok(());
    }
    say("by the log it should have been:");
    match reckoned {
        Some(reckoned) => print(reckoned),
        None => say("nobody had worked"),
    }
    Err(Failure::Internal(anyhow!("block {} was not shared by the rules", recorded.block)))
}

fn print(payout: &BlockPayout) {
    let BlockPayout { block, position, window, value, fee, pool_output, terms, .. } = payout;
    say(format_args!("block {block}"));
    say(format_args!(
        "{value} sat shared by the newest {window} hashes before record {} of start {}",
        position.sequence, position.epoch
    ));
    if let Some(Node { hash, work }) = &payout.root {
        say(format_args!("root {hash} over {work} hashes"));
    }
    match &payout.withheld {
        Withheld::Nobodys => {}
        Withheld::Everybodys => {
            say("it paid no debts: the books did not know what was paid lately");
        }
        Withheld::Of(accounts) => {
            say(format_args!(
                "it paid no debts of {} accounts that the wallet paid",
                accounts.len()
            ));
        }
    }
    for AccountPayout { account, work, entitled, paid } in &payout.lines {
        say(format_args!("{account}: {work} hashes, entitled to {entitled} sat, paid {paid} sat"));
    }
    let percent = f64::from(terms.fee_basis_points) / 100.0;
    say(format_args!("fee {fee} sat ({percent} %), pool's output {pool_output} sat"));
}

fn print_proof(sources: &BookSources, block: BlockHash, account: &str) -> Result<(), Failure> {
    let proved = prove(sources, block, account).map_err(anyhow::Error::new)?;
    let Some((recorded, proof)) = proved else {
        let what = format!("{account} had no work in the window of block {block}");
        return Err(Failure::Usage(what));
    };
    let root = recorded.root.context("the record of the block has no root")?;
    // What is wrong with the books must not leave the house as a proof.
    proof.check(&root).map_err(anyhow::Error::new)?;
    let file = ProofFile { block: block.to_string(), root, proof };
    say(serde_json::to_string_pretty(&file).map_err(anyhow::Error::new)?);
    Ok(())
}

fn check(file: &Path, published: Option<sha256::Hash>) -> Result<(), Failure> {
    let shown = file.display();
    let usage = |what: String| Failure::Usage(format!("{shown}: {what}"));
    let length = fs::metadata(file).map_err(|error| usage(error.to_string()))?.len();
    if length > PROOF_BYTES_MAX {
        return Err(usage("it is too long for a proof".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(|error| usage(error.to_string()))?;
    let proof: ProofFile = serde_json::from_str(&text)
        .map_err(|error| usage(format!("it is no proof of a pool: {error}")))?;
    let ProofFile { block, root, proof } = proof;
    proof.check(&root).map_err(|error| Failure::Internal(anyhow!("{shown}: {error}")))?;
    if published.is_some_and(|published| published != root.hash) {
        let what = anyhow!("{shown}: it leads to the root {}, which is another one", root.hash);
        return Err(Failure::Internal(what));
    }
    let Proof { account, work, .. } = &proof;
    say(format_args!("{account} worked {work} of {} hashes that block {block} pays", root.work));
    if published.is_none() {
        say(format_args!("compare the root with the one that the pool shows: {}", root.hash));
    }
    Ok(())
}
