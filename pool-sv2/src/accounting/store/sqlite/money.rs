//! What payout records say, as rows: which blocks were shared, which transactions the pool's wallet
//! has sent, and what each account got of them.
//!
//! It is for people. A record that cannot be read is left out here; who pays reads the log.

use bitcoin::hashes::Hash;
use rusqlite::{Connection, Transaction, params};

use super::scope::id_of;
use super::{int, natural};
use crate::accounting::store::{After, Credit, Scope, Settled, SettledBy};
use crate::payout::settlement::{
    BlockPayout, PAYOUT_VERSION, PayoutEntry, WalletOutcome, WalletPayout, sum,
};
use crate::shares::{BlockStage, BlockState, PayoutRecord};

pub(super) fn take(
    transaction: &Transaction<'_>,
    time_ms: u64,
    record: &PayoutRecord,
) -> rusqlite::Result<()> {
    if record.version != PAYOUT_VERSION {
        return Ok(());
    }
    match serde_json::from_slice(record.bytes()) {
        Ok(PayoutEntry::Block(block)) => take_block(transaction, time_ms, &block),
        Ok(PayoutEntry::Wallet(payout)) => take_wallet(transaction, time_ms, &payout),
        Ok(PayoutEntry::WalletConfirmed { transaction: id }) => {
            let query = "UPDATE settlement SET is_confirmed = 1 WHERE hash = ?1";
            transaction.prepare_cached(query)?.execute([id.to_byte_array()]).map(drop)
        }
        // Another transaction has taken its place, and a person has said what that means.
        Ok(PayoutEntry::WalletSettled { transaction: id, outcome }) => {
            settled_by_hand(transaction, &id.to_byte_array(), outcome)
        }
        Ok(PayoutEntry::Rate(_)) | Err(_) => Ok(()),
    }
}

/// Paid by the other one, or not at all: then it is as if it had never been sent.
fn settled_by_hand(
    transaction: &Transaction<'_>,
    hash: &[u8; 32],
    outcome: WalletOutcome,
) -> rusqlite::Result<()> {
    let queries: &[&str] = match outcome {
        WalletOutcome::Paid => &["UPDATE settlement SET is_confirmed = 1 WHERE hash = ?1"],
        WalletOutcome::Unpaid => {
            &["DELETE FROM credit WHERE hash = ?1", "DELETE FROM settlement WHERE hash = ?1"]
        }
    };
    for query in queries {
        transaction.prepare_cached(query)?.execute([hash])?;
    }
    Ok(())
}

/// One part of it. A block whose header was sent twice has the same records twice, with another
/// time: the first ones stay.
fn take_block(
    transaction: &Transaction<'_>,
    time_ms: u64,
    block: &BlockPayout,
) -> rusqlite::Result<()> {
    let hash = block.block.to_byte_array();
    let settled = Settled {
        by: SettledBy::Block,
        hash,
        time_ms,
        value: block.value,
        fee: block.fee,
        pool_output: block.pool_output,
        window: block.window.0.to_string(),
        root: block.root.map(|root| (root.hash.to_string(), root.work.0.to_string())),
        is_confirmed: false,
        state: None,
        paid: 0,
    };
    if block.part == 0 {
        settle(transaction, &settled)?;
    }
    let lines = block.lines.iter();
    let lines = lines.map(|it| (&*it.account, it.work.0.to_string(), it.entitled, it.paid));
    credit(transaction, &hash, lines)
}

fn take_wallet(
    transaction: &Transaction<'_>,
    time_ms: u64,
    payout: &WalletPayout,
) -> rusqlite::Result<()> {
    let hash = payout.transaction.to_byte_array();
    let settled = Settled {
        by: SettledBy::Wallet,
        hash,
        time_ms,
        value: sum(&payout.lines),
        fee: payout.fee,
        pool_output: 0,
        window: String::new(),
        root: None,
        is_confirmed: false,
        state: None,
        paid: 0,
    };
    settle(transaction, &settled)?;
    let lines = payout.lines.iter().map(|it| (&*it.account, "0".to_owned(), 0, it.amount));
    credit(transaction, &hash, lines)
}

fn settle(transaction: &Transaction<'_>, settled: &Settled) -> rusqlite::Result<()> {
    let (root, root_work) = settled.root.clone().unwrap_or_default();
    let query = "INSERT OR IGNORE INTO settlement \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0)";
    transaction.prepare_cached(query)?.execute(params![
        settled.hash,
        code(settled.by),
        int(settled.time_ms),
        int(settled.value),
        int(settled.fee),
        int(settled.pool_output),
        settled.window,
        root,
        root_work,
    ])?;
    Ok(())
}

/// Lines of account, work, entitlement and payment, under the time of the settlement.
fn credit<'a>(
    transaction: &Transaction<'_>,
    hash: &[u8; 32],
    lines: impl Iterator<Item = (&'a str, String, u64, u64)>,
) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO credit SELECT ?1, time_ms, ?2, ?3, ?4, ?5 \
                 FROM settlement WHERE hash = ?2";
    let mut statement = transaction.prepare_cached(query)?;
    let mut sum = 0_u64;
    for (account, work, entitled, paid) in lines {
        let scope = id_of(transaction, Scope::Account(account))?;
        let added = statement.execute(params![scope, hash, work, int(entitled), int(paid)])?;
        // What stands there already was counted when it came.
        sum = sum.saturating_add(if added > 0 { paid } else { 0 });
    }
    let query = "UPDATE settlement SET paid = paid + ?2 WHERE hash = ?1";
    transaction.prepare_cached(query)?.execute(params![hash, int(sum)]).map(drop)
}

fn code(by: SettledBy) -> u8 {
    match by {
        SettledBy::Block => 0,
        SettledBy::Wallet => 1,
    }
}

/// What `settled_from` reads, in its order.
const SETTLED: &str = "settlement.hash, kind, settlement.time_ms, value, fee, pool_output, \
                       counted_work, root, root_work, is_confirmed, \
                       (SELECT state FROM block_state WHERE block_state.hash = settlement.hash \
                       ORDER BY block_state.rowid DESC LIMIT 1) AS stage, settlement.paid";
/// Columns of it.
const SETTLED_COLUMNS: usize = 12;

pub(super) fn settlements(
    connection: &Connection,
    before: After,
    count: u32,
) -> rusqlite::Result<Vec<Settled>> {
    settled(connection, "TRUE", before, count)
}

/// Those that have sent something and stand.
pub(super) fn payments(
    connection: &Connection,
    before: After,
    count: u32,
) -> rusqlite::Result<Vec<Settled>> {
    let stands = format!("settlement.paid > 0 AND stage IS NOT {}", orphaned());
    settled(connection, &stands, before, count)
}

fn orphaned() -> u8 {
    BlockState::new([0; 32], BlockStage::Orphaned).code
}

fn settled(
    connection: &Connection,
    condition: &str,
    before: After,
    count: u32,
) -> rusqlite::Result<Vec<Settled>> {
    let query = format!(
        "SELECT {SETTLED} FROM settlement \
         WHERE (settlement.time_ms, settlement.hash) < (?1, ?2) AND {condition} \
         ORDER BY settlement.time_ms DESC, settlement.hash DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let key = params![int(before.time_ms), before.hash, count];
    let rows = statement.query_map(key, settled_from)?;
    rows.collect()
}

pub(super) fn credits(
    connection: &Connection,
    scope: i64,
    before: After,
    count: u32,
) -> rusqlite::Result<Vec<Credit>> {
    credited(connection, "TRUE", scope, (before, count))
}

/// Those that were sent and stand.
pub(super) fn payments_of(
    connection: &Connection,
    scope: i64,
    before: After,
    count: u32,
) -> rusqlite::Result<Vec<Credit>> {
    let stands = format!("credit.paid > 0 AND stage IS NOT {}", orphaned());
    credited(connection, &stands, scope, (before, count))
}

fn credited(
    connection: &Connection,
    condition: &str,
    scope: i64,
    (before, count): (After, u32),
) -> rusqlite::Result<Vec<Credit>> {
    let query = format!(
        "SELECT {SETTLED}, credit.work, credit.entitled, credit.paid \
         FROM credit JOIN settlement USING (hash) \
         WHERE scope = ?1 AND (credit.time_ms, credit.hash) < (?2, ?3) AND {condition} \
         ORDER BY credit.time_ms DESC, credit.hash DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let key = params![scope, int(before.time_ms), before.hash, count];
    let rows = statement.query_map(key, |row| {
        Ok(Credit {
            settled: settled_from(row)?,
            work: row.get(SETTLED_COLUMNS)?,
            entitled: natural(row.get(SETTLED_COLUMNS + 1)?),
            paid: natural(row.get(SETTLED_COLUMNS + 2)?),
        })
    })?;
    rows.collect()
}

fn settled_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Settled> {
    let root: String = row.get(7)?;
    let root_work = row.get(8)?;
    Ok(Settled {
        hash: row.get(0)?,
        by: if row.get::<_, u8>(1)? == 0 { SettledBy::Block } else { SettledBy::Wallet },
        time_ms: natural(row.get(2)?),
        value: natural(row.get(3)?),
        fee: natural(row.get(4)?),
        pool_output: natural(row.get(5)?),
        window: row.get(6)?,
        root: (!root.is_empty()).then_some((root, root_work)),
        is_confirmed: row.get::<_, u8>(9)? != 0,
        state: row.get(10)?,
        paid: natural(row.get(11)?),
    })
}

/// All that an account ever got, in coinbases of blocks that stand and from the wallet.
pub(super) fn paid(connection: &Connection, scope: i64) -> rusqlite::Result<u64> {
    let query = "SELECT coalesce(sum(paid), 0) FROM credit WHERE scope = ?1 AND paid > 0 AND \
                 coalesce((SELECT state FROM block_state WHERE block_state.hash = credit.hash \
                 ORDER BY block_state.rowid DESC LIMIT 1), 0) <> ?2";
    let mut statement = connection.prepare_cached(query)?;
    statement.query_row(params![scope, orphaned()], |row| Ok(natural(row.get(0)?)))
}

/// The same of all accounts together: of everything, less the few that are orphaned.
pub(super) fn paid_to_all(connection: &Connection) -> rusqlite::Result<u64> {
    let orphaned = orphaned();
    let query = format!(
        "SELECT coalesce((SELECT sum(paid) FROM settlement), 0) - \
         coalesce((SELECT sum(paid) FROM settlement \
         WHERE hash IN (SELECT hash FROM block_state WHERE state = {orphaned}) AND \
         (SELECT state FROM block_state WHERE block_state.hash = settlement.hash \
         ORDER BY block_state.rowid DESC LIMIT 1) = {orphaned}), 0)"
    );
    connection.prepare_cached(&query)?.query_row([], |row| Ok(natural(row.get(0)?)))
}
