//! What is asked of the SQLite store: each question is answered from few rows, however many
//! accounts, workers and years there are.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::scope::known_id;
use super::{int, joined, natural};
use crate::accounting::log::cursor::Place;
use crate::accounting::store::rates::Rates;
use crate::accounting::store::{
    Active, After, Block, Line, Round, Scope, SilentWorker, Slice, Span, Total,
};
use crate::shares::{BlockFound, Reason};

/// What `sums_from` reads, in its order.
const SUMS: &str = "shares, work_high, work_low, first_ms, last_ms, best_ever, best_of_round, \
                    rates_at_ms, rate_1m, rate_5m, rate_1h, rate_1d, rate_7d";

pub(super) fn next_place(connection: &Connection, node: u32) -> rusqlite::Result<Place> {
    let query = "SELECT epoch, sequence FROM position WHERE node = ?1";
    let place = connection.prepare_cached(query)?.query_row([node], |row| {
        Ok(Place { epoch: natural(row.get(0)?), sequence: natural(row.get(1)?) })
    });
    Ok(place.optional()?.unwrap_or_default())
}

/// Zeros for who is not known.
pub(super) fn sums(connection: &Connection, scope: Scope<'_>) -> rusqlite::Result<(Total, Rates)> {
    let Some(id) = known_id(connection, scope)? else {
        return Ok(Default::default());
    };
    Ok(sums_of(connection, id)?.unwrap_or_default())
}

pub(super) fn sums_of(
    connection: &Connection,
    id: i64,
) -> rusqlite::Result<Option<(Total, Rates)>> {
    let query = format!("SELECT {SUMS} FROM total WHERE scope = ?1");
    connection.prepare_cached(&query)?.query_row([id], |row| sums_from(row, 0)).optional()
}

/// The columns of `SUMS`, which begin with the one numbered `first`.
fn sums_from(row: &Row<'_>, first: usize) -> rusqlite::Result<(Total, Rates)> {
    let best = |index| row.get::<_, Option<[u8; 16]>>(index);
    let total = Total {
        shares: natural(row.get(first)?),
        work: joined(row.get(first + 1)?, row.get(first + 2)?),
        first_ms: natural(row.get(first + 3)?),
        last_ms: natural(row.get(first + 4)?),
        best_ever: best(first + 5)?.map(u128::from_be_bytes),
        best_of_round: best(first + 6)?.map(u128::from_be_bytes),
    };
    let mut rates = Rates { at_ms: natural(row.get(first + 7)?), per_second: [0.0; 5] };
    for (index, rate) in rates.per_second.iter_mut().enumerate() {
        *rate = row.get(first + 8 + index)?;
    }
    Ok((total, rates))
}

pub(super) fn active(connection: &Connection, since_ms: u64) -> rusqlite::Result<Active> {
    let query = "SELECT count(*) FILTER (WHERE kind = 1), count(*) FILTER (WHERE kind = 2) \
                 FROM total JOIN scope ON scope.id = total.scope WHERE last_ms >= ?1";
    connection.prepare_cached(query)?.query_row([int(since_ms)], |row| {
        Ok(Active { accounts: natural(row.get(0)?), workers: natural(row.get(1)?) })
    })
}

pub(super) fn round(connection: &Connection) -> rusqlite::Result<Round> {
    let query = "SELECT work_high, work_low, rejects FROM round";
    connection.prepare_cached(query)?.query_row([], |row| {
        let work = joined(row.get(0)?, row.get(1)?);
        Ok(Round { work, rejects: natural(row.get(2)?) })
    })
}

pub(super) fn rejects(
    connection: &Connection,
    scope: Scope<'_>,
) -> rusqlite::Result<Vec<(Reason, u64)>> {
    let Some(id) = known_id(connection, scope)? else {
        return Ok(Vec::new());
    };
    let query = "SELECT reason, count FROM reject WHERE scope = ?1 ORDER BY reason";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement
        .query_map([id], |row| Ok((Reason::from_code(row.get(0)?), natural(row.get(1)?))))?;
    rows.collect()
}

/// One look-up for each span from `range.0` on and before `range.1`.
pub(super) fn history(
    connection: &Connection,
    scope: Scope<'_>,
    span: Span,
    range: (u64, u64),
) -> rusqlite::Result<Vec<Slice>> {
    let Some(id) = known_id(connection, scope)? else {
        return Ok(Vec::new());
    };
    let table = match span {
        Span::Slice => "slice",
        Span::Day => "day",
    };
    let seconds = span.seconds();
    let first_s = range.0.div_ceil(seconds).saturating_mul(seconds);
    let query = format!(
        "WITH RECURSIVE span (start_s) AS \
         (SELECT ?2 WHERE ?2 < ?3 UNION ALL \
         SELECT start_s + {seconds} FROM span WHERE start_s + {seconds} < ?3) \
         SELECT start_s, shares, work_high, work_low \
         FROM span CROSS JOIN {table} USING (start_s) WHERE scope = ?1"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![id, int(first_s), int(range.1)], |row| {
        Ok(Slice {
            start_s: natural(row.get(0)?),
            shares: natural(row.get(1)?),
            work: joined(row.get(2)?, row.get(3)?),
        })
    })?;
    rows.collect()
}

pub(super) fn accounts(
    connection: &Connection,
    after: &str,
    count: u32,
) -> rusqlite::Result<Vec<Line>> {
    let query = format!(
        "SELECT account, {SUMS} FROM scope JOIN total ON total.scope = scope.id \
         WHERE kind = 1 AND account > ?1 ORDER BY account LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![after, count], line)?;
    rows.collect()
}

/// All of those that have sent a share since `since_ms`, in no order.
pub(super) fn active_accounts(
    connection: &Connection,
    since_ms: u64,
) -> rusqlite::Result<Vec<Line>> {
    let query = format!(
        "SELECT account, {SUMS} FROM total JOIN scope ON scope.id = total.scope \
         WHERE last_ms >= ?1 AND kind = 1"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map([int(since_ms)], line)?;
    rows.collect()
}

pub(super) fn workers(
    connection: &Connection,
    account: &str,
    after: Option<&str>,
    count: u32,
) -> rusqlite::Result<Vec<Line>> {
    // A worker's name may be empty.
    let query = format!(
        "SELECT worker, {SUMS} FROM scope JOIN total ON total.scope = scope.id \
         WHERE kind = 2 AND account = ?1 AND worker >= ?2 AND worker IS NOT ?3 \
         ORDER BY worker LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows =
        statement.query_map(params![account, after.unwrap_or_default(), after, count], line)?;
    rows.collect()
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    let (total, rates) = sums_from(row, 1)?;
    Ok(Line { name: row.get(0)?, total, rates })
}

pub(super) fn silent_workers(
    connection: &Connection,
    from_ms: u64,
    to_ms: u64,
    count: u32,
) -> rusqlite::Result<Vec<SilentWorker>> {
    // The slices of the hour are found by their key, one after the other.
    let slices: Vec<_> =
        (0..=6).map(|it| format!("last_ms / 1000 / 600 * 600 - {}", it * 600)).collect();
    let query = format!(
        "SELECT account, worker, last_ms, (SELECT coalesce(sum(slice.shares), 0) FROM slice \
         WHERE slice.scope = total.scope AND start_s IN ({})) \
         FROM total JOIN scope ON scope.id = total.scope \
         WHERE kind = 2 AND last_ms >= ?1 AND last_ms < ?2 ORDER BY last_ms DESC LIMIT ?3",
        slices.join(", ")
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![int(from_ms), int(to_ms), count], |row| {
        Ok(SilentWorker {
            account: row.get(0)?,
            worker: row.get(1)?,
            last_ms: natural(row.get(2)?),
            shares_in_hour: natural(row.get(3)?),
        })
    })?;
    rows.collect()
}

pub(super) fn block_count(connection: &Connection) -> rusqlite::Result<u64> {
    let query = "SELECT count(*) FROM block";
    connection.prepare_cached(query)?.query_row([], |row| Ok(natural(row.get(0)?)))
}

pub(super) fn blocks(
    connection: &Connection,
    after: After,
    count: u32,
) -> rusqlite::Result<Vec<Block>> {
    let query = "SELECT hash, height, time_ms, account, worker, prev_hash, nbits, coinbase_value, \
                 (SELECT state FROM block_state WHERE block_state.hash = block.hash \
                 ORDER BY block_state.rowid DESC LIMIT 1) \
                 FROM block JOIN scope ON scope.id = block.finder \
                 WHERE (time_ms, hash) < (?1, ?2) ORDER BY time_ms DESC, hash DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map(params![int(after.time_ms), after.hash, count], |row| {
        Ok(Block {
            found: BlockFound {
                hash: row.get(0)?,
                height: row.get(1)?,
                prev_hash: row.get(5)?,
                nbits: row.get(6)?,
                coinbase_value: natural(row.get(7)?),
            },
            time_ms: natural(row.get(2)?),
            account: row.get(3)?,
            worker: row.get(4)?,
            state: row.get(8)?,
        })
    })?;
    rows.collect()
}
