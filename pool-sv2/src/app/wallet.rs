//! Pays balances from a wallet of the node, in one transaction at a time for many of them.
//!
//! Nobody is paid twice, wherever it is interrupted: a transaction is signed, and stands in the log
//! whole, before it is sent. From then on its balances count as paid, and all that can still be
//! done is to send the same transaction again. What happens before that leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Amount, Denomination, Network, Transaction};
use rpc::{NOT_FOUND, Rpc, RpcError};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::till::Pause;
use crate::accounting::bookkeeper::Shelf;
use crate::accounting::log::segment::DurableEnd;
use crate::payout::identity::read_address;
use crate::payout::settlement::{PAYOUT_VERSION, PayoutEntry, WalletLine, WalletPayout, sum};
use crate::payout::wallet::WalletConfig;
use crate::shares::{Entry, Gathered, PayoutRecord, ShareSender};
use service::advice;

/// How long the node may take: to choose among many coins takes it a while.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Balances of one transaction; those that are left come with the next.
const LINES_MAX: usize = 500;
/// Transactions on their way to the chain; with more nothing is paid until one has arrived.
const UNCONFIRMED_MAX: usize = 16;
/// Confirmations from which on a transaction is not looked after any more.
const CONFIRMATIONS: i64 = 6;
/// How often it is looked whether a record has come to the books.
const STEP: Duration = Duration::from_millis(20);
/// The transaction is in the chain, with outputs that nobody has spent (Bitcoin's
/// RPC_VERIFY_ALREADY_IN_UTXO_SET).
const ALREADY_IN_CHAIN: i64 = -27;

/// Why nothing is paid now.
#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("the wallet cannot sign all of it; it must hold its own keys and be unlocked")]
    NotSigned,
    #[error("what the wallet signed is not what it was asked for: {0}")]
    Wrong(String),
    #[error("{rate} sat/vB are more than fee_rate_max; it waits for a better time")]
    TooDear { rate: u64 },
    #[error(
        "{0} is in conflict with another transaction: see whom that one pays, stop the pool, and \
         say so with `pool-sv2 payout settle {0}` and --paid or --unpaid"
    )]
    InConflict(bitcoin::Txid),
    #[error("the books do not go on, so that nobody knows what is owed")]
    NotKept,
    #[error("balances have changed while the transaction was made")]
    Changed,
    #[error("payouts are paused by the operator")]
    Paused,
    #[error("the payout is too large for the log")]
    TooLarge,
    #[error("the ledger is closed")]
    Closed,
}

/// Who pays, and what it takes.
pub(super) struct Payer {
    /// The wallet.
    pub(super) wallet: Rpc,
    pub(super) config: WalletConfig,
    pub(super) network: Network,
    pub(super) shelf: Shelf,
    pub(super) shares: ShareSender,
    /// How far the log is durable.
    pub(super) durable: watch::Receiver<DurableEnd>,
    pub(super) pause: Pause,
}

#[derive(Deserialize)]
struct Known {
    confirmations: i64,
}

#[derive(Deserialize)]
struct Funded {
    hex: String,
    /// In bitcoins: read as text, for a float is no amount.
    fee: Box<RawValue>,
}

#[derive(Deserialize)]
struct Signed {
    hex: String,
    complete: bool,
}

impl Payer {
    /// Pays until `shutdown`, which may come at any moment; `payer` is none where nobody pays.
    pub(super) async fn run(payer: Option<Self>, shutdown: CancellationToken) {
        let Some(mut this) = payer else {
            return;
        };
        let every = Duration::from_secs(this.config.every_seconds);
        // What an interrupted payout left is sent at once.
        let mut tick = interval_at(Instant::now(), every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                paid = this.round() => match paid {
                    Ok(()) => {}
                    Err(error @ (PayError::TooDear { .. } | PayError::Paused)) => {
                        info!(%error, "no payout now");
                    }
                    Err(error) => warn!(%error, "no payout now"),
                }
            }
        }
    }

    /// Looks after what was paid, and pays what is due.
    async fn round(&mut self) -> Result<(), PayError> {
        // One that is in trouble keeps nobody from looking after the others.
        let mut brought = Ok(());
        for payout in self.shelf.unconfirmed() {
            brought = brought.and(self.bring(&payout).await);
        }
        brought?;
        let due = self.due();
        self.pause.show();
        if self.shelf.unconfirmed().len() >= UNCONFIRMED_MAX || due.is_empty() {
            return Ok(());
        }
        if self.pause.holds() {
            return Err(PayError::Paused);
        }
        // From here to the end no job is made that pays one of them too.
        let aside = self.shelf.promises().set_aside(due.into_iter().map(|line| line.account));
        self.catch_up().await?;
        let mut due = self.due();
        let all = due.len();
        due.retain(|line| aside.holds(&line.account));
        if due.len() < all {
            debug!(accounts = all - due.len(), "balances left out that the next block pays");
        }
        due.truncate(LINES_MAX);
        if due.is_empty() {
            return Ok(());
        }
        let amount = sum(&due);
        if self.config.dry_run {
            info!(accounts = due.len(), amount, "payout due: a dry run pays nothing");
            return Ok(());
        }
        let payout = self.make(due).await?;
        let (transaction, accounts, fee) = (payout.transaction, payout.lines.len(), payout.fee);
        self.check_still_due(&payout.lines).await?;
        // To make a transaction takes its time: a word that came meanwhile still counts.
        if self.pause.holds() {
            return Err(PayError::Paused);
        }
        self.write(&PayoutEntry::Wallet(payout.clone())).await?;
        info!(%transaction, accounts, amount, fee, "payout written");
        // Before jobs pay these accounts again, and before the next round, the books must know.
        self.wait_for_books(|unconfirmed| {
            unconfirmed.iter().any(|it| it.transaction == transaction)
        })
        .await;
        drop(aside);
        self.send(&payout).await
    }

    /// Who is to be paid, the largest first. What cannot be true is left out: the node would refuse
    /// the whole transaction for it.
    fn due(&self) -> Vec<WalletLine> {
        let mut due = self.shelf.payable(self.config.threshold_sat);
        due.retain(|WalletLine { account, amount, .. }| {
            let is_money = *amount <= Amount::MAX_MONEY.to_sat();
            if !is_money {
                error!(code = advice::BALANCE_IMPOSSIBLE,
                    %account, amount, "balance left out: there are not so many coins; \
                    see what the log says of it with `pool-sv2 payout balances`");
            }
            is_money
        });
        due
    }

    /// Fails unless all of it is owed still: to make a transaction takes its time.
    async fn check_still_due(&self, lines: &[WalletLine]) -> Result<(), PayError> {
        self.catch_up().await?;
        let due = self.shelf.payable(self.config.threshold_sat);
        let due: BTreeMap<_, _> = due.iter().map(|line| (&line.account, line.amount)).collect();
        let is_due = |line: &WalletLine| due.get(&line.account) >= Some(&line.amount);
        if lines.iter().all(is_due) { Ok(()) } else { Err(PayError::Changed) }
    }

    /// Returns when all that was handed to the ledger by now is in the books.
    async fn catch_up(&self) -> Result<(), PayError> {
        self.hand_over(Gathered::default()).await?;
        let end = *self.durable.borrow();
        if self.shelf.has_folded(end).await { Ok(()) } else { Err(PayError::NotKept) }
    }

    async fn wait_for_books(&self, is_there: impl Fn(&[WalletPayout]) -> bool) {
        while !is_there(&self.shelf.unconfirmed()) {
            sleep(STEP).await;
        }
    }

    /// Has it in the chain, or sends it again.
    async fn bring(&mut self, payout: &WalletPayout) -> Result<(), PayError> {
        let transaction = payout.transaction;
        let params = json!([transaction.to_string()]);
        match self.wallet.ask::<Known>("gettransaction", params, ANSWER_MAX).await {
            Ok(Known { confirmations: CONFIRMATIONS.. }) => {
                self.write(&PayoutEntry::WalletConfirmed { transaction }).await?;
                info!(%transaction, "payout confirmed");
                self.wait_for_books(|unconfirmed| {
                    unconfirmed.iter().all(|it| it.transaction != transaction)
                })
                .await;
                Ok(())
            }
            Ok(Known { confirmations: 1.. }) => Ok(()),
            Ok(Known { confirmations: 0 }) => self.send(payout).await,
            Ok(_) => {
                error!(code = advice::PAYOUT_IN_CONFLICT,
                    %transaction, "payout in conflict with another transaction");
                Err(PayError::InConflict(transaction))
            }
            Err(RpcError::Node { code: NOT_FOUND, .. }) => self.send(payout).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what stands in the log. To send it twice is to send it once.
    async fn send(&mut self, payout: &WalletPayout) -> Result<(), PayError> {
        // 0: what it costs was looked at before it was written.
        let params = json!([payout.raw, 0]);
        match self.wallet.ask::<String>("sendrawtransaction", params, ANSWER_MAX).await {
            Ok(_) | Err(RpcError::Node { code: ALREADY_IN_CHAIN, .. }) => {
                info!(transaction = %payout.transaction, "payout sent");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A signed transaction that pays `due`.
    async fn make(&mut self, due: Vec<WalletLine>) -> Result<WalletPayout, PayError> {
        let outputs: Vec<_> = due
            .iter()
            .map(|line| {
                let amount = Amount::from_sat(line.amount).to_string_in(Denomination::Bitcoin);
                json!({ line.account.as_str(): amount })
            })
            .collect();
        let wallet = &mut self.wallet;
        let bare: String =
            wallet.ask("createrawtransaction", json!([[], outputs]), ANSWER_MAX).await?;
        let options = json!({ "conf_target": self.config.confirm_within_blocks });
        let funded: Funded =
            wallet.ask("fundrawtransaction", json!([bare, options]), ANSWER_MAX).await?;
        let params = json!([funded.hex]);
        let signed: Signed = wallet.ask("signrawtransactionwithwallet", params, ANSWER_MAX).await?;
        if !signed.complete {
            return Err(PayError::NotSigned);
        }
        let wrong = |what: String| PayError::Wrong(what);
        let transaction: Transaction =
            deserialize_hex(&signed.hex).map_err(|error| wrong(error.to_string()))?;
        let fee = Amount::from_str_in(funded.fee.get(), Denomination::Bitcoin);
        let fee = fee.map_err(|error| wrong(error.to_string()))?.to_sat();
        self.check(&transaction, &due)?;
        let bytes = u64::try_from(transaction.vsize()).unwrap_or(1).max(1);
        let rate = fee.div_ceil(bytes);
        if rate > self.config.fee_rate_max {
            return Err(PayError::TooDear { rate });
        }
        let id = transaction.compute_txid();
        Ok(WalletPayout { transaction: id, raw: signed.hex, fee, lines: due })
    }

    /// Fails unless it pays everybody what is due, and nobody else but the wallet's own change.
    fn check(&self, transaction: &Transaction, due: &[WalletLine]) -> Result<(), PayError> {
        let outputs: BTreeSet<_> = transaction
            .output
            .iter()
            .map(|output| (output.script_pubkey.clone(), output.value.to_sat()))
            .collect();
        for line in due {
            let paid = read_address(&line.account, self.network);
            let script = paid.map_err(|error| PayError::Wrong(error.to_string()))?.script;
            if !outputs.contains(&(script, line.amount)) {
                return Err(PayError::Wrong(format!("{} is not paid its part", line.account)));
            }
        }
        match transaction.output.len() <= due.len().saturating_add(1) {
            true => Ok(()),
            false => Err(PayError::Wrong("it pays somebody else".to_owned())),
        }
    }

    /// Returns when the entry is durable.
    async fn write(&self, entry: &PayoutEntry) -> Result<(), PayError> {
        let bytes = serde_json::to_vec(entry).map_err(|_| PayError::TooLarge)?;
        let record = PayoutRecord::new(PAYOUT_VERSION, bytes).ok_or(PayError::TooLarge)?;
        let entries = vec![Entry::Payout(record)];
        self.hand_over(Gathered { entries, ..Gathered::default() }).await
    }

    /// Returns when all of it is durable.
    async fn hand_over(&self, mut gathered: Gathered) -> Result<(), PayError> {
        let mut watermark = self.shares.watermark();
        let ticket = self.shares.send(&mut gathered).await.ok_or(PayError::Closed)?;
        while watermark.durable() <= ticket {
            watermark.moved().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
