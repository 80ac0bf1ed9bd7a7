//! Offers and transactions for the tests of this room.

use std::sync::Arc;

use crate::block_template::{BlockTemplate, Limits, SIGOPS_LIMIT, Transaction, WEIGHT_LIMIT};

/// What a regtest node offers at height 200, with `transactions`.
pub(crate) fn offer(transactions: &[Arc<Transaction>]) -> BlockTemplate {
    let fees = crate::block_template::fees(transactions);
    BlockTemplate {
        prev_hash: [1; 32],
        height: 200,
        version: 0x2000_0000,
        nbits: 0x207f_ffff,
        curtime: 1_700_000_000,
        mintime: 1_600_000_000,
        coinbase_value: 2_500_000_000 + fees,
        transactions: transactions.to_vec(),
        limits: Limits { weight: WEIGHT_LIMIT, sigops: SIGOPS_LIMIT },
        segwit: true,
        witness_commitment: None,
    }
}
