//! From what the node offers to what a client mines on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mining::merkle;
use tracing::debug;

use super::coinbase::{bip34_prefix, serialise_output, witness_commitment};
use super::trim::{self, Room};
use crate::block_template::{BlockTemplate, Output, Transaction, fees};
use crate::extension::{Extension, Facts, Parcel};

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
    /// An extension without whose outputs no block may be mined has none.
    #[error("the extension {name} has no outputs for it: {reason}")]
    Extension {
        /// Which one.
        name: &'static str,
        /// Why, in its words.
        reason: String,
    },
    /// The outputs are too many or too long for the coinbase.
    #[error("its outputs are more than a coinbase can hold")]
    Outputs,
}

/// The extensions of a template, in the order of their outputs.
pub type Extensions = Arc<[Arc<dyn Extension>]>;

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
    /// What to deliver once a block of it is in the chain.
    pub parcels: Vec<Parcel>,
}

/// Uses everything that the node offers.
pub fn build(offer: &BlockTemplate, extensions: &Extensions) -> Result<Contents, BuildError> {
    let value = offer.coinbase_value;
    let contents = contents(offer, extensions, offer.transactions.clone(), value)?;
    if let Some(expected) = &offer.witness_commitment
        && !contents.coinbase_outputs.ends_with(expected)
    {
        return Err(BuildError::Commitment);
    }
    Ok(contents)
}

/// Leaves out as much as a client and the extensions need room for.
pub fn build_with_room(
    offer: &BlockTemplate,
    extensions: &Extensions,
    room: Room,
) -> Result<Contents, BuildError> {
    let kept = trim::trim(offer, whole_room(offer, extensions, room))?;
    // What the node does not state counts as nothing in `fees`, so it must be known here.
    if offer.transactions.iter().any(|transaction| transaction.fee.is_none()) {
        return Err(BuildError::UnknownFees);
    }
    let left_out = offer.fees().saturating_sub(fees(&kept));
    let value = offer.coinbase_value.checked_sub(left_out).ok_or(BuildError::FeesAboveValue)?;
    contents(offer, extensions, kept, value)
}

/// True if all that the node offers can stay beside the outputs of a client and the extensions.
pub fn fits(offer: &BlockTemplate, extensions: &Extensions, room: Room) -> bool {
    trim::fits(offer, whole_room(offer, extensions, room))
}

/// What is needed besides the transactions: for the client, the node's own outputs (which the node
/// did not count, for it does not know what stands beside them) and those of the extensions.
fn whole_room(offer: &BlockTemplate, extensions: &Extensions, room: Room) -> Room {
    let given = u32::try_from(serialised(&offer.given_outputs).len()).unwrap_or(u32::MAX);
    let most = extensions.iter().map(|extension| extension.output_bytes_max());
    let extra = most.fold(given, u32::saturating_add);
    Room { output_bytes: room.output_bytes.saturating_add(extra), ..room }
}

fn contents(
    offer: &BlockTemplate,
    extensions: &Extensions,
    transactions: Vec<Arc<Transaction>>,
    value: u64,
) -> Result<Contents, BuildError> {
    let fees = fees(&transactions);
    let mut added = add(offer, extensions, value, fees)?;
    let txids: Vec<_> = transactions.iter().map(|transaction| transaction.txid).collect();
    let wtxids: Vec<_> = transactions.iter().map(|transaction| transaction.wtxid).collect();
    // BIP141 wants the last commitment in the coinbase to be the right one: it is the last output.
    added.outputs.extend(offer.segwit.then(|| Output::valueless(witness_commitment(&wtxids))));
    Ok(Contents {
        prev_hash: offer.prev_hash,
        height: offer.height,
        version: offer.version,
        nbits: offer.nbits,
        coinbase_prefix: bip34_prefix(offer.height).into(),
        coinbase_outputs_count: u32::try_from(added.outputs.len())
            .map_err(|_| BuildError::Outputs)?,
        coinbase_outputs: serialised(&added.outputs),
        value_remaining: added.value_left,
        merkle_path: merkle::path_of_coinbase(&txids),
        segwit: offer.segwit,
        fees,
        parcels: added.parcels,
        transactions,
    })
}

/// What stands in the coinbase before the commitment.
struct Added {
    outputs: Vec<Output>,
    value_left: u64,
    parcels: Vec<Parcel>,
}

fn add(
    offer: &BlockTemplate,
    extensions: &Extensions,
    value: u64,
    fees: u64,
) -> Result<Added, BuildError> {
    let outputs = offer.given_outputs.clone();
    let mut added = Added { outputs, value_left: value, parcels: Vec::new() };
    for extension in extensions.iter() {
        let name = extension.name();
        let facts = Facts {
            prev_hash: offer.prev_hash,
            height: offer.height,
            value: added.value_left,
            fees,
            present: &added.outputs,
        };
        match extension.outputs(facts) {
            Ok(addition) => {
                added.outputs.extend(addition.outputs);
                added.value_left = addition.value_left;
                added.parcels.extend(addition.parcels);
            }
            Err(reason) if extension.is_mandatory() => {
                return Err(BuildError::Extension { name, reason });
            }
            Err(reason) => debug!(name, %reason, "no outputs of this extension"),
        }
    }
    Ok(added)
}

fn serialised(outputs: &[Output]) -> Bytes {
    let mut bytes = BytesMut::new();
    outputs.iter().for_each(|output| serialise_output(output, &mut bytes));
    bytes.freeze()
}
