//! The number under which the store knows a scope: the pool, an account, or a worker.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::accounting::store::Scope;

/// The number of `scope`, if anything was written of it.
pub(super) fn known_id(connection: &Connection, scope: Scope<'_>) -> rusqlite::Result<Option<i64>> {
    let (kind, account, worker) = names(scope);
    let query = "SELECT id FROM scope WHERE kind = ?1 AND account = ?2 AND worker = ?3";
    let key = params![kind, account, worker];
    connection.prepare_cached(query)?.query_row(key, |row| row.get(0)).optional()
}

/// The number of `scope`, which it is given if it has none.
pub(super) fn id_of(transaction: &Transaction<'_>, scope: Scope<'_>) -> rusqlite::Result<i64> {
    if let Some(id) = known_id(transaction, scope)? {
        return Ok(id);
    }
    let (kind, account, worker) = names(scope);
    let query = "INSERT INTO scope (kind, account, worker) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(query)?.insert(params![kind, account, worker])
}

/// Kind, account and worker, as they stand in the table of that name.
fn names<'a>(scope: Scope<'a>) -> (u8, &'a str, &'a str) {
    match scope {
        Scope::Pool => (0, "", ""),
        Scope::Account(account) => (1, account, ""),
        Scope::Worker(account, worker) => (2, account, worker),
    }
}
