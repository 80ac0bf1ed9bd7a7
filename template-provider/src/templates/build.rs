//! From what the node offers to what a client mines on.

use std::sync::Arc;

use bitcoin::TxOut;
use bitcoin::consensus::deserialize_partial;
use bytes::{Bytes, BytesMut};
use mining::merkle;
use tracing::{debug, error};

use super::coinbase::{bip34_prefix, is_witness_commitment, serialise_output, witness_commitment};
use super::trim::{self, Load, Room};
use crate::block_template::{BlockTemplate, Output, Transaction, all_fees, fees};
use crate::dependencies::Parents;
use crate::extension::{Addition, Extension, Facts, Parcel};
use service::advice;

/// How often a template is trimmed until the extensions' outputs fit: signature operations that
/// stand in them by chance are known only once they are made, and hardly differ the second time.
const TRIMS_MAX: u32 = 3;

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

/// Leaves out as much as a client and the extensions need room for. `parents` are those of the
/// offer's transactions.
pub fn build_with_room(
    offer: &BlockTemplate,
    parents: &[Parents],
    extensions: &Extensions,
    room: Room,
) -> Result<Contents, BuildError> {
    // What the extensions add is known only after trimming, for it may depend on the fees: so much
    // is kept free for them as they may need at most.
    let most = Load::of_bytes(output_bytes_max(extensions));
    let mut own = Load::of_outputs(given(offer)).plus(most);
    for _ in 0..TRIMS_MAX {
        let kept = trim::trim(offer, parents, room.load().plus(own))?;
        let value = value_of(offer, &kept)?;
        let contents = contents(offer, extensions, kept, value)?;
        let taken = contents.own_load();
        if taken.is_within(own) {
            return Ok(contents);
        }
        own = own.plus(taken.above(own));
    }
    Err(BuildError::Outputs)
}

/// The most that the outputs of all extensions can take, in bytes.
pub fn output_bytes_max(extensions: &Extensions) -> u32 {
    let most = extensions.iter().map(|extension| extension.output_bytes_max());
    most.fold(0, u32::saturating_add)
}

/// What the node offers without its transactions: a block of the coinbase alone.
pub fn without_transactions(offer: &BlockTemplate) -> Result<BlockTemplate, BuildError> {
    let coinbase_value = value_of(offer, &[])?;
    let transactions = Vec::new();
    // The node's commitment is for its transactions.
    Ok(BlockTemplate { coinbase_value, transactions, witness_commitment: None, ..offer.clone() })
}

/// What a coinbase may spend if only `kept` stay.
fn value_of(offer: &BlockTemplate, kept: &[Arc<Transaction>]) -> Result<u64, BuildError> {
    if kept.len() == offer.transactions.len() {
        return Ok(offer.coinbase_value);
    }
    // What the node does not state counts as nothing in `fees`, so it must be known here.
    let all = all_fees(&offer.transactions).ok_or(BuildError::UnknownFees)?;
    let left_out = all.saturating_sub(fees(kept));
    offer.coinbase_value.checked_sub(left_out).ok_or(BuildError::FeesAboveValue)
}

/// What is left of a block for a client's outputs beside `whole`, which is all of the offer; `None`
/// if that is less than nothing.
pub fn spare(offer: &BlockTemplate, whole: &Contents) -> Option<Load> {
    trim::spare(offer)?.checked_minus(whole.own_load())
}

impl Contents {
    /// The outputs that come last in the coinbase, read back.
    pub fn outputs(&self) -> Vec<TxOut> {
        let (mut outputs, mut rest) = (Vec::new(), &self.coinbase_outputs[..]);
        while let Ok((output, length)) = deserialize_partial::<TxOut>(rest) {
            outputs.push(output);
            rest = rest.get(length..).unwrap_or_default();
        }
        outputs
    }

    /// What they take of a block, but for the commitment, for which there is always room.
    fn own_load(&self) -> Load {
        let outputs = self.outputs();
        let scripts = outputs.iter().map(|output| &output.script_pubkey);
        let scripts = scripts.filter(|script| !is_witness_commitment(script.as_bytes()));
        let loads = scripts.map(|script| Load::of_output(script));
        loads.fold(Load::default(), Load::plus)
    }
}

fn contents(
    offer: &BlockTemplate,
    extensions: &Extensions,
    transactions: Vec<Arc<Transaction>>,
    value: u64,
) -> Result<Contents, BuildError> {
    let mut added = add(offer, extensions, value, all_fees(&transactions))?;
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
        fees: fees(&transactions),
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
    fees: Option<u64>,
) -> Result<Added, BuildError> {
    let outputs = given(offer).cloned().collect();
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
        match checked_outputs(extension.as_ref(), facts) {
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

/// The outputs that the node wants. Not commitments to witnesses: the one that counts is ours.
fn given(offer: &BlockTemplate) -> impl Iterator<Item = &Output> {
    offer.given_outputs.iter().filter(|output| !is_witness_commitment(&output.script))
}

/// What the extension adds, if it keeps to what it may take: blocks with more would be refused.
fn checked_outputs(extension: &dyn Extension, facts: Facts<'_>) -> Result<Addition, String> {
    let (name, value, bytes_max) = (extension.name(), facts.value, extension.output_bytes_max());
    let addition = extension.outputs(facts)?;
    let bytes = addition.outputs.iter().map(Output::serialised_length);
    let values = addition.outputs.iter().map(|output| output.value);
    let spent = values.fold(addition.value_left, u64::saturating_add);
    let broken = match (bytes.fold(0, u64::saturating_add), spent) {
        (bytes, _) if bytes > bytes_max.into() => {
            format!("its outputs take {bytes} bytes, and it reserves {bytes_max}")
        }
        (_, spent) if spent > value => {
            format!("it spends or leaves {spent} satoshis, and there are {value}")
        }
        _ => return Ok(addition),
    };
    error!(code = advice::EXTENSION_BROKEN,
        name, reason = %broken, "extension broke its promise: its outputs are left out");
    Err(broken)
}

fn serialised(outputs: &[Output]) -> Bytes {
    let mut bytes = BytesMut::new();
    outputs.iter().for_each(|output| serialise_output(output, &mut bytes));
    bytes.freeze()
}

#[cfg(test)]
mod tests;
