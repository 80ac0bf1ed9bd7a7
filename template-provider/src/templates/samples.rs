//! Offers and transactions for the tests of this room.

use std::sync::Arc;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness};

use super::build::Extensions;
use crate::block_template::{BlockTemplate, Limits, SIGOPS_LIMIT, Transaction, WEIGHT_LIMIT, fees};

/// A chain without extensions.
pub(crate) fn none() -> Extensions {
    Extensions::from([])
}

/// What a regtest node offers at height 200, with `transactions`.
pub(crate) fn offer(transactions: &[Arc<Transaction>]) -> BlockTemplate {
    BlockTemplate {
        prev_hash: [1; 32],
        height: 200,
        version: 0x2000_0000,
        nbits: 0x207f_ffff,
        curtime: 1_700_000_000,
        mintime: 1_600_000_000,
        coinbase_value: 2_500_000_000 + fees(transactions),
        transactions: transactions.to_vec(),
        limits: Limits { weight: WEIGHT_LIMIT, sigops: SIGOPS_LIMIT },
        segwit: true,
        witness_commitment: None,
        given_outputs: Vec::new(),
        is_stopgap: false,
    }
}

/// A transaction with a witness that spends an output of each of `parents`, and says of itself what
/// it takes of a block. `name` makes it differ from others.
pub(crate) fn transaction(
    name: u32,
    parents: &[&Arc<Transaction>],
    fee: u64,
    weight: u64,
    sigops: u64,
) -> Arc<Transaction> {
    let outside = [Txid::from_byte_array([0xee; 32])];
    let inside = parents.iter().map(|parent| Txid::from_byte_array(parent.txid));
    let inputs = outside.into_iter().chain(inside).map(|txid| TxIn {
        previous_output: OutPoint { txid, vout: name },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[7_u8; 64]]),
    });
    let transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: inputs.collect(),
        output: vec![TxOut { value: Amount::from_sat(1000), script_pubkey: ScriptBuf::new() }],
    };
    Arc::new(Transaction {
        data: serialize(&transaction).into(),
        txid: transaction.compute_txid().to_byte_array(),
        wtxid: transaction.compute_wtxid().to_byte_array(),
        fee: Some(fee),
        sigops: Some(sigops),
        weight,
    })
}
