//! From what the node offers to what a client mines on.

use std::sync::Arc;

use bytes::Bytes;
use mining::merkle;

use super::coinbase::{bip34_prefix, valueless_output, witness_commitment};
use super::trim::{self, Room};
use crate::block_template::{BlockTemplate, Transaction, fees};

/// Why no template can be made of what the node offers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The node's commitment is not the one that BIP141 gives for its transactions.
    #[error(
        "the node's witness commitment does not fit its transactions: a block with it would be \
         refused"
    )]
    Commitment,
    /// More is reserved than a block has.
    #[error("the client reserves more room for its outputs than a block has")]
    NoRoom,
    /// Transactions must be left out, and it is not known what they pay.
    #[error("the template must be trimmed, and the node does not state the fees")]
    UnknownFees,
    /// The fees of what is left out exceed what the coinbase may spend.
    #[error("the fees of the node's transactions exceed its coinbase value")]
    FeesAboveValue,
}

/// What a client mines on, but for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Hash of the block to build on.
    pub prev_hash: [u8; 32],
    /// Height of the block.
    pub height: u32,
    /// Header version.
    pub version: u32,
    /// nBits of the header.
    pub nbits: u32,
    /// Start of the scriptSig.
    pub coinbase_prefix: Bytes,
    /// Outputs that come last in the coinbase, serialised without a count.
    pub coinbase_outputs: Bytes,
    /// How many these are.
    pub coinbase_outputs_count: u32,
    /// Satoshis for the client's outputs.
    pub value_remaining: u64,
    /// Merkle path of the coinbase, deepest first.
    pub merkle_path: Vec<[u8; 32]>,
    /// All transactions but the coinbase, in block order.
    pub transactions: Vec<Arc<Transaction>>,
    /// True if the coinbase must carry the witness reserved value.
    pub segwit: bool,
    /// Sum of the fees, in satoshis.
    pub fees: u64,
}

/// Uses everything that the node offers.
pub fn build(offer: &BlockTemplate) -> Result<Contents, BuildError> {
    let contents = contents(offer, offer.transactions.clone(), offer.coinbase_value)?;
    if let Some(expected) = &offer.witness_commitment
        && !contents.coinbase_outputs.ends_with(expected)
    {
        return Err(BuildError::Commitment);
    }
    Ok(contents)
}

/// Leaves out as much as a client needs room for.
pub fn build_with_room(offer: &BlockTemplate, room: Room) -> Result<Contents, BuildError> {
    let kept = trim::trim(offer, room)?;
    // What the node does not state counts as nothing in `fees`, so it must be known here.
    if offer.transactions.iter().any(|transaction| transaction.fee.is_none()) {
        return Err(BuildError::UnknownFees);
    }
    let left_out = offer.fees().saturating_sub(fees(&kept));
    let value = offer.coinbase_value.checked_sub(left_out).ok_or(BuildError::FeesAboveValue)?;
    contents(offer, kept, value)
}

fn contents(
    offer: &BlockTemplate,
    transactions: Vec<Arc<Transaction>>,
    value_remaining: u64,
) -> Result<Contents, BuildError> {
    let txids: Vec<_> = transactions.iter().map(|transaction| transaction.txid).collect();
    let wtxids: Vec<_> = transactions.iter().map(|transaction| transaction.wtxid).collect();
    // BIP141 wants the last commitment in the coinbase to be the right one: it is the last output.
    let commitment = offer.segwit.then(|| witness_commitment(&wtxids));
    let outputs = commitment.as_deref().and_then(valueless_output);
    Ok(Contents {
        prev_hash: offer.prev_hash,
        height: offer.height,
        version: offer.version,
        nbits: offer.nbits,
        coinbase_prefix: bip34_prefix(offer.height).into(),
        coinbase_outputs_count: u32::from(outputs.is_some()),
        coinbase_outputs: outputs.unwrap_or_default(),
        value_remaining,
        merkle_path: merkle::path_of_coinbase(&txids),
        segwit: offer.segwit,
        fees: fees(&transactions),
        transactions,
    })
}
