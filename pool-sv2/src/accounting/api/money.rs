//! `/api/v1/payouts` and what an account got of them. Amounts are satoshis, work is text.

use serde_json::{Value, json};

use super::{Asked, Refusal, block_state};
use crate::accounting::store::{Credit, Reader, Settled, SettledBy};

impl Asked<'_> {
    pub(super) fn payouts(&self) -> Result<Value, Refusal> {
        let payouts = self.reader.settlements(self.after()?, self.limit()?)?;
        let next = payouts.last().map(next);
        let payouts: Vec<_> = payouts.iter().map(settled).collect();
        Ok(json!({ "payouts": payouts, "next": next }))
    }

    pub(super) fn payouts_of(&self, account: &str) -> Result<Value, Refusal> {
        let credits = self.reader.credits(account, self.after()?, self.limit()?)?;
        let next = credits.last().map(|it| next(&it.settled));
        let payouts: Vec<_> = credits.iter().map(credit).collect();
        Ok(json!({ "payouts": payouts, "next": next }))
    }

    /// What is owed to an account, and what it was sent; null where no block is shared.
    pub(super) fn balance(&self, account: &str) -> Result<Value, Refusal> {
        let Some(shelf) = &self.api.facts.shelf else {
            return Ok(Value::Null);
        };
        let balance = shelf.balance(account);
        let paid = self.reader.paid(account)?;
        Ok(json!({ "owed": balance.owed, "spendable": balance.spendable, "paid": paid }))
    }
}

fn next(settled: &Settled) -> String {
    super::cursor(settled.time_ms, &settled.hash)
}

fn settled(settled: &Settled) -> Value {
    let root = settled.root.as_ref().map(|(hash, work)| json!({ "hash": hash, "work": work }));
    json!({
        "kind": kind(settled.by),
        "hash": mining::hash::display(&settled.hash),
        "time_ms": settled.time_ms,
        "state": state(settled),
        "value": settled.value,
        "fee": settled.fee,
        "pool_output": settled.pool_output,
        "window": settled.window,
        "root": root,
    })
}

fn credit(credit: &Credit) -> Value {
    let Credit { settled, work, entitled, paid } = credit;
    json!({
        "kind": kind(settled.by),
        "hash": mining::hash::display(&settled.hash),
        "time_ms": settled.time_ms,
        "state": state(settled),
        "work": work,
        "window_work": settled.root.as_ref().map(|(_, work)| work),
        "entitled": entitled,
        "paid": paid,
    })
}

fn kind(by: SettledBy) -> &'static str {
    match by {
        SettledBy::Block => "block",
        SettledBy::Wallet => "wallet",
    }
}

/// A block's stage; of a transaction whether it is in the chain for good.
fn state(settled: &Settled) -> &'static str {
    match settled.by {
        SettledBy::Block => block_state(settled.state),
        SettledBy::Wallet if settled.is_confirmed => "confirmed",
        SettledBy::Wallet => "sent",
    }
}
