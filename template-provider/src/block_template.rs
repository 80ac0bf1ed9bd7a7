//! What a node offers to be mined, parsed once into types that cannot be wrong.
//!
//! The vocabulary between `node`, which reads it from the wire, and `templates`, which makes work
//! of it. It knows neither JSON nor Stratum. Hashes are in internal byte order.

use std::sync::Arc;

use bytes::Bytes;

/// Weight that a block may have where the node does not say (BIP141).
pub const WEIGHT_LIMIT: u64 = 4_000_000;
/// Signature operation cost that a block may have where the node does not say (BIP141).
pub const SIGOPS_LIMIT: u64 = 80_000;

/// A block template of a node (BIP22, BIP23, BIP145).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTemplate {
    /// Hash of the block to build on.
    pub prev_hash: [u8; 32],
    /// Height of the block to be mined.
    pub height: u32,
    /// Header version.
    pub version: u32,
    /// nBits of the header.
    pub nbits: u32,
    /// The node's time, seconds since 1970.
    pub curtime: u32,
    /// The lowest nTime that the block may have.
    pub mintime: u32,
    /// Satoshis that the coinbase may spend: subsidy and fees.
    pub coinbase_value: u64,
    /// All transactions but the coinbase, in block order.
    pub transactions: Vec<Arc<Transaction>>,
    /// What the block may hold.
    pub limits: Limits,
    /// True where segwit is in force: the coinbase commits to the witnesses.
    pub segwit: bool,
    /// The node's own witness commitment for `transactions`, a whole scriptPubKey.
    pub witness_commitment: Option<Bytes>,
    /// Outputs without value that the node wants in the coinbase besides its commitment, in order
    /// (a drivechain enforcer's messages). Its sigops are none: they begin with OP_RETURN.
    pub given_outputs: Vec<Output>,
    /// True if it was made here from the tip alone, to be mined on until the node's own is there.
    pub is_stopgap: bool,
}

/// An output of the coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Satoshis.
    pub value: u64,
    /// scriptPubKey.
    pub script: Bytes,
}

impl Output {
    /// An output that carries a script and no value.
    pub fn valueless(script: impl Into<Bytes>) -> Self {
        Self { value: 0, script: script.into() }
    }

    /// Bytes that it takes in a transaction.
    pub fn serialised_length(&self) -> u64 {
        serialised_length(&self.script)
    }
}

/// Bytes that an output with this script takes in a transaction: value, length of the script,
/// script.
pub fn serialised_length(script: &[u8]) -> u64 {
    let script = u64::try_from(script.len()).unwrap_or(u64::MAX);
    let length = u64::try_from(bitcoin::VarInt(script).size()).unwrap_or(u64::MAX);
    script.saturating_add(length).saturating_add(8)
}

/// The limits of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Weight units.
    pub weight: u64,
    /// Signature operation cost (a legacy sigop costs 4).
    pub sigops: u64,
}

/// A transaction of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Consensus serialisation, witness included.
    pub data: Bytes,
    /// Hash without the witness.
    pub txid: [u8; 32],
    /// Hash with the witness.
    pub wtxid: [u8; 32],
    /// Satoshis; unknown where the node does not say (BIP22: not to be taken for zero).
    pub fee: Option<u64>,
    /// Signature operation cost; unknown where the node does not say.
    pub sigops: Option<u64>,
    /// Weight units.
    pub weight: u64,
}

impl BlockTemplate {
    /// Where nTime of a block starts: never below what consensus allows, even if the node's clock
    /// is behind its own chain (BIP94 chains, regtest after a burst of blocks).
    pub fn header_timestamp(&self) -> u32 {
        self.curtime.max(self.mintime)
    }
}

/// Sum of the fees in satoshis; `None` if one of them is not known.
pub fn all_fees(transactions: &[Arc<Transaction>]) -> Option<u64> {
    transactions.iter().try_fold(0_u64, |sum, one| Some(sum.saturating_add(one.fee?)))
}

/// Sum of the fees that are known, in satoshis.
pub fn fees(transactions: &[Arc<Transaction>]) -> u64 {
    let known = transactions.iter().filter_map(|transaction| transaction.fee);
    known.fold(0, u64::saturating_add)
}
