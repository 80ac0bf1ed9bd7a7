//! `pool-sv2 payout settle`: writes into the log what a person has found out about a payout that is
//! in conflict with another transaction. The pool must be stopped, for a log has one writer.

use std::io;
use std::time::Duration;

use bitcoin::{Network, Txid};
use rpc::{Rpc, RpcError};
use serde::Deserialize;
use serde_json::json;
use service::clock;

use super::bookkeeper::Sources;
use super::config::LedgerConfig;
use super::ledger::{self, ClockBehind, OpenError};
use super::log::LogError;
use super::recompute::{RecomputeError, books_at};
use crate::payout::claims::Position;
use crate::payout::settlement::{PAYOUT_VERSION, PayoutEntry, WalletOutcome, WalletPayout};
use crate::shares::{Entry, PayoutRecord};

/// Of the other transaction, before balances are owed again.
const CONFIRMATIONS: i64 = 6;
/// How long the node may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why nothing was settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Another program writes the log.
    #[error("{0}; stop the pool first, for a log has one writer, and start it again afterwards")]
    Locked(io::Error),
    /// It was paid and confirmed, or settled before, or it is none of the pool's.
    #[error("{0} is no payout that is on its way; `pool-sv2 payout balances` names those that are")]
    NotOnItsWay(Txid),
    /// Who is paid again might be paid twice.
    #[error(
        "{0} may still come into the chain: the transaction that it is in conflict with must have \
         {CONFIRMATIONS} confirmations first"
    )]
    MayConfirm(Txid),
    /// Only the wallet knows.
    #[error("the node's wallet does not say whether the payout can still confirm: {0}")]
    Wallet(#[from] RpcError),
    /// The books cannot be read.
    #[error(transparent)]
    Books(#[from] RecomputeError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The settlement would be of an earlier time than what it settles.
    #[error(transparent)]
    Clock(#[from] ClockBehind),
    /// Nothing was written.
    #[error("the log cannot be written: {0}")]
    NotWritten(io::Error),
}

impl From<OpenError> for SettleError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Log(error) => Self::Log(error),
            OpenError::Clock(error) => Self::Clock(error),
        }
    }
}

/// Fails unless the wallet knows that the transaction can never be in the chain: another one, deep
/// enough in it, has spent its coins.
pub async fn check_conflict(wallet: &mut Rpc, transaction: Txid) -> Result<(), SettleError> {
    #[derive(Deserialize)]
    struct Known {
        /// Below zero: those of the other transaction.
        confirmations: i64,
    }
    let params = json!([transaction.to_string()]);
    let known = wallet.ask::<Known>("gettransaction", params, ANSWER_MAX).await?;
    match known.confirmations <= -CONFIRMATIONS {
        true => Ok(()),
        false => Err(SettleError::MayConfirm(transaction)),
    }
}

/// Settles a transaction, and gives what it would have paid.
pub fn settle(
    config: &LedgerConfig,
    network: Network,
    transaction: Txid,
    outcome: WalletOutcome,
) -> Result<WalletPayout, SettleError> {
    let _lock = ledger::prepare(config).map_err(SettleError::Locked)?;
    let (books, _) = books_at(&Sources::of(config, network), Position::END)?;
    let mut on_their_way = books.unconfirmed().iter();
    let payout = on_their_way.find(|payout| payout.transaction == transaction);
    let payout = payout.ok_or(SettleError::NotOnItsWay(transaction))?.clone();
    let entry = PayoutEntry::WalletSettled { transaction, outcome };
    // A txid and a word: it always fits.
    let bytes =
        serde_json::to_vec(&entry).map_err(|error| SettleError::NotWritten(error.into()))?;
    let record = PayoutRecord::new(PAYOUT_VERSION, bytes);
    let (mut writer, _) = ledger::open_log(config)?;
    let entry = record.map(Entry::Payout).into_iter();
    entry.for_each(|entry| writer.push_entry(clock::unix_now_milliseconds(), entry));
    writer.commit().map_err(SettleError::NotWritten)?;
    Ok(payout)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use service::metrics::Metrics;

    use super::super::ledger::Ledger;
    use super::*;

    fn transaction() -> Txid {
        Txid::from_byte_array([3; 32])
    }

    fn settle_in(config: &LedgerConfig) -> Result<WalletPayout, SettleError> {
        settle(config, Network::Regtest, transaction(), WalletOutcome::Paid)
    }

    #[test]
    fn what_is_not_on_its_way_and_a_log_that_a_pool_writes_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_owned();
        let config = LedgerConfig { directory, ..LedgerConfig::default() };
        let pool = Ledger::open(&config, &Metrics::new("x")).unwrap();
        let error = settle_in(&config).unwrap_err();
        assert!(error.to_string().contains("stop the pool first"), "{error}");
        drop(pool);
        let error = settle_in(&config).unwrap_err();
        assert!(matches!(error, SettleError::NotOnItsWay(_)), "{error}");
    }
}
