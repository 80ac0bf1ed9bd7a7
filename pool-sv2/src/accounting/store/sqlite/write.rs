//! What a chunk changes in the SQLite store; the caller makes it one transaction.

use rusqlite::{Transaction, params};

use super::scope::id_of;
use super::{int, money, read, split};
use crate::accounting::log::cursor::Place;
use crate::accounting::store::{Added, Chunk, ChunkEvent, Round, Scope, Span, Total};

pub(super) fn apply(
    transaction: &Transaction<'_>,
    node: u32,
    chunk: &Chunk,
    next: Place,
) -> rusqlite::Result<()> {
    if chunk.has_block() {
        let query = "UPDATE total SET best_of_round = NULL WHERE best_of_round IS NOT NULL";
        transaction.execute(query, [])?;
        transaction.execute("UPDATE round SET work_high = 0, work_low = 0, rejects = 0", [])?;
    }
    add_to_round(transaction, chunk.round())?;
    for (scope, added) in chunk.by_scope() {
        let id = id_of(transaction, scope)?;
        add_spans(transaction, id, Span::Slice, &added)?;
        add_spans(transaction, id, Span::Day, &added)?;
        add_to_total(transaction, id, &added)?;
        add_rejects(transaction, id, &added)?;
    }
    for event in chunk.events() {
        add_event(transaction, node, event)?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO position VALUES (?1, ?2, ?3)")?
        .execute(params![node, int(next.epoch), int(next.sequence)])?;
    Ok(())
}

fn add_spans(
    transaction: &Transaction<'_>,
    id: i64,
    span: Span,
    added: &Added,
) -> rusqlite::Result<()> {
    let (table, spans) = match span {
        Span::Slice => ("slice", &added.slices),
        Span::Day => ("day", &added.days),
    };
    let query = format!(
        "INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
         shares = shares + excluded.shares, \
         work_high = work_high + excluded.work_high + ((work_low + excluded.work_low) >> 40), \
         work_low = (work_low + excluded.work_low) & 0xffffffffff"
    );
    let mut statement = transaction.prepare_cached(&query)?;
    for (start_s, (shares, work)) in spans {
        let (high, low) = split(*work);
        statement.execute(params![int(*start_s), id, int(*shares), high, low])?;
    }
    Ok(())
}

fn add_to_total(transaction: &Transaction<'_>, id: i64, added: &Added) -> rusqlite::Result<()> {
    let Some((first_ms, last_ms)) = added.times_ms else {
        return Ok(());
    };
    let known = read::sums_of(transaction, id)?;
    let (known, mut rates) = known.unwrap_or_default();
    rates.add_rates(added.rates);
    let either = |one: Option<u128>, other: Option<u128>| one.into_iter().chain(other).min();
    let sum = Total {
        shares: known.shares.saturating_add(added.shares),
        work: known.work.saturating_add(added.work),
        first_ms: if known.shares == 0 { first_ms } else { known.first_ms.min(first_ms) },
        last_ms: known.last_ms.max(last_ms),
        best_ever: either(known.best_ever, added.best_ever),
        best_of_round: either(known.best_of_round, added.best_of_round),
    };
    let (high, low) = split(sum.work);
    let blob = |best: Option<u128>| best.map(u128::to_be_bytes);
    let [m1, m5, h1, d1, d7] = rates.per_second;
    let query = "INSERT OR REPLACE INTO total \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    transaction.prepare_cached(query)?.execute(params![
        id,
        int(sum.shares),
        high,
        low,
        int(sum.first_ms),
        int(sum.last_ms),
        blob(sum.best_ever),
        blob(sum.best_of_round),
        int(rates.at_ms),
        m1,
        m5,
        h1,
        d1,
        d7
    ])?;
    Ok(())
}

fn add_to_round(transaction: &Transaction<'_>, added: Round) -> rusqlite::Result<()> {
    let round = read::round(transaction)?;
    let (high, low) = split(round.work.saturating_add(added.work));
    let rejects = int(round.rejects.saturating_add(added.rejects));
    let query = "UPDATE round SET work_high = ?1, work_low = ?2, rejects = ?3";
    transaction.prepare_cached(query)?.execute(params![high, low, rejects]).map(drop)
}

fn add_rejects(transaction: &Transaction<'_>, id: i64, added: &Added) -> rusqlite::Result<()> {
    let query = "INSERT INTO reject VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET \
                 count = count + excluded.count";
    let mut statement = transaction.prepare_cached(query)?;
    for (reason, count) in &added.rejects {
        statement.execute(params![id, reason.code(), int(*count)])?;
    }
    Ok(())
}

fn add_event(transaction: &Transaction<'_>, node: u32, event: &ChunkEvent) -> rusqlite::Result<()> {
    match event {
        ChunkEvent::Block { time_ms, finder, block } => {
            let finder = id_of(transaction, Scope::Worker(&finder.account, &finder.worker))?;
            let query = "INSERT OR IGNORE INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            transaction.prepare_cached(query)?.execute(params![
                block.hash,
                block.height,
                int(*time_ms),
                finder,
                block.prev_hash,
                block.nbits,
                int(block.coinbase_value)
            ])?;
        }
        ChunkEvent::State { time_ms, state } => {
            let query = "INSERT INTO block_state VALUES (?1, ?2, ?3)";
            let row = params![state.hash, int(*time_ms), state.code];
            transaction.prepare_cached(query)?.execute(row)?;
        }
        ChunkEvent::Payout { place, time_ms, payout } => {
            let query = "INSERT OR IGNORE INTO payout VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction.prepare_cached(query)?.execute(params![
                node,
                int(place.epoch),
                int(place.sequence),
                int(*time_ms),
                payout.version,
                payout.bytes()
            ])?;
            money::take(transaction, *time_ms, payout)?;
        }
    }
    Ok(())
}
