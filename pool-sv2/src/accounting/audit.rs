//! Does the store say what the log says? Asked by `ledger verify`, and by tests after each crash.
//!
//! It reads both and changes neither.

use super::feed::FeedError;
use super::log::cursor::{Cursor, Place};
use super::log::disk::Disk;
use super::store::{Added, Chunk, Reader, Scope, StoreError};

/// Differences that are told one by one.
const DIFFERENCES_MAX: usize = 20;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Records of the log that the store has taken.
    pub records: u64,
    /// Shares among them.
    pub shares: u64,
    /// The pool, accounts and workers that were compared.
    pub scopes: usize,
    /// What differs, a sentence each; only the first ones.
    pub differences: Vec<String>,
}

/// Compares `store` with what `node` wrote into the log, up to where the store has come. The store
/// must not move meanwhile.
pub fn compare<D: Disk>(log: D, store: &dyn Reader, node: u32) -> Result<Comparison, FeedError> {
    let end = store.next_place(node)?;
    let mut cursor = Cursor::new(log, Place::default());
    let mut chunk = Chunk::new(u64::MAX);
    while cursor.next_place() < end
        && cursor.read_frame(None, &mut |located| {
            if located.place < end {
                chunk.take(located);
            }
        })?
    {}
    let scopes = chunk.by_scope();
    let mut found = Comparison {
        records: chunk.records(),
        shares: scopes.get(&Scope::Pool).map_or(0, |added| added.shares),
        scopes: scopes.len(),
        differences: Vec::new(),
    };
    if !scopes.contains_key(&Scope::Pool) {
        // Without any share, what the store has is from nowhere.
        compare_one(store, Scope::Pool, &Added::default(), &mut found.differences)?;
    }
    if store.round()? != chunk.round() {
        found.differences.push("the sums since the last block differ".to_owned());
    }
    for (scope, added) in &scopes {
        compare_one(store, *scope, added, &mut found.differences)?;
    }
    Ok(found)
}

fn compare_one(
    store: &dyn Reader,
    scope: Scope<'_>,
    logged: &Added,
    differences: &mut Vec<String>,
) -> Result<(), StoreError> {
    let total = store.total(scope)?;
    let same = (total.shares, total.work, total.best_ever, total.best_of_round)
        == (logged.shares, logged.work, logged.best_ever, logged.best_of_round);
    let rejects: Vec<_> = logged.rejects.iter().map(|(reason, count)| (*reason, *count)).collect();
    let same = same && store.rejects(scope)? == rejects;
    if !same && differences.len() < DIFFERENCES_MAX {
        differences.push(format!(
            "{scope:?}: {} shares of {} hashes in the log, {} of {} in the store",
            logged.shares, logged.work, total.shares, total.work
        ));
    }
    Ok(())
}
