//! What is told of a record, as JSON. Fields may be added to messages; none ever changes its
//! meaning.

use serde_json::{Value, json};

use super::config::EventKind;
use crate::accounting::log::cursor::Located;
use crate::accounting::log::record::Record;
use crate::payout::settlement::{BlockPayout, PAYOUT_VERSION, PayoutEntry, WalletPayout, sum};
use crate::shares::PayoutRecord;

/// Accounts of one message; those of many are told in several.
const ACCOUNTS_MAX: usize = 500;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The record's place and a number: the same message has the same, however often it is told.
    pub(super) id: String,
    pub(super) kind: EventKind,
    pub(super) body: Vec<u8>,
}

/// What is to be told of a record.
pub(super) fn events_of(located: &Located) -> Vec<Event> {
    let mut messages = Vec::new();
    let time_ms = match &located.record {
        Record::BlockFound { time_ms, block, .. } => {
            let finder = located.earner.as_ref();
            let data = json!({
                "block": mining::hash::display(&block.hash),
                "height": block.height,
                "prev_hash": mining::hash::display(&block.prev_hash),
                "account": finder.map(|finder| &*finder.account),
                "worker": finder.map(|finder| &*finder.worker),
                "coinbase_sat": block.coinbase_value,
            });
            messages.push((EventKind::BlockFound, data));
            *time_ms
        }
        Record::BlockState { time_ms, state } => {
            let block = mining::hash::display(&state.hash);
            let data = json!({ "block": block, "state": state.stage().name() });
            messages.push((EventKind::BlockState, data));
            *time_ms
        }
        Record::Payout { time_ms, payout } => {
            messages = of_payout(payout);
            *time_ms
        }
        _ => return Vec::new(),
    };
    let event = |(number, (kind, data)): (usize, (EventKind, Value))| {
        let id = format!("{}-{}-{number}", located.place.epoch, located.place.sequence);
        let body = json!({ "id": id, "event": kind.name(), "time_ms": time_ms, "data": data });
        Event { id, kind, body: body.to_string().into_bytes() }
    };
    messages.into_iter().enumerate().map(event).collect()
}

fn of_payout(record: &PayoutRecord) -> Vec<(EventKind, Value)> {
    let entry = (record.version == PAYOUT_VERSION).then(|| serde_json::from_slice(record.bytes()));
    match entry {
        Some(Ok(PayoutEntry::Block(block))) => of_block(&block),
        Some(Ok(PayoutEntry::Wallet(payout))) => of_wallet(&payout),
        // The books say so, loudly, when a record cannot be read.
        _ => Vec::new(),
    }
}

fn of_block(block: &BlockPayout) -> Vec<(EventKind, Value)> {
    let changed = block.lines.iter().filter(|line| line.change() != 0);
    let changes: Vec<_> = changed
        .map(|line| json!({ "account": line.account, "change_sat": line.change() }))
        .collect();
    let cause = json!({ "kind": "block", "block": block.block.to_string() });
    balances(&cause, &changes)
}

fn of_wallet(payout: &WalletPayout) -> Vec<(EventKind, Value)> {
    let transaction = payout.transaction.to_string();
    let amount = sum(&payout.lines);
    let sent = json!({
        "transaction": transaction,
        "accounts": payout.lines.len(),
        "amount_sat": amount,
        "fee_sat": payout.fee,
    });
    let changes: Vec<_> = payout
        .lines
        .iter()
        .map(|line| json!({ "account": line.account, "change_sat": -i128::from(line.amount) }))
        .collect();
    let cause = json!({ "kind": "payout", "transaction": transaction });
    let mut messages = vec![(EventKind::PayoutSent, sent)];
    messages.extend(balances(&cause, &changes));
    messages
}

fn balances(cause: &Value, changes: &[Value]) -> Vec<(EventKind, Value)> {
    let message =
        |part: &[Value]| (EventKind::BalanceChanged, json!({ "cause": cause, "changes": part }));
    changes.chunks(ACCOUNTS_MAX).map(message).collect()
}
