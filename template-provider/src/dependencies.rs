//! Which transactions of a block spend from which others of it.
//!
//! Read from the transactions themselves: nodes count `depends` from 1 or from 0, or leave it out.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;

use crate::block_template::Transaction;

/// Which transactions of the block one spends from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parents {
    /// Those at these positions.
    At(Vec<usize>),
    /// It cannot be read: perhaps all before it.
    Unknown,
}

/// The parents of each transaction, by position.
pub fn parents(transactions: &[Arc<Transaction>]) -> Vec<Parents> {
    let positions: HashMap<[u8; 32], usize> =
        transactions.iter().enumerate().map(|(index, one)| (one.txid, index)).collect();
    let of = |transaction: &Arc<Transaction>| match deserialize::<bitcoin::Transaction>(
        &transaction.data,
    ) {
        Ok(read) => {
            let spent = read.input.iter().map(|input| input.previous_output.txid);
            let positions = spent.filter_map(|id| positions.get(&id.to_byte_array()).copied());
            Parents::At(positions.collect())
        }
        Err(_) => Parents::Unknown,
    };
    transactions.iter().map(of).collect()
}
