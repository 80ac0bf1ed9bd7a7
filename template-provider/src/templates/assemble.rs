//! From a solution to a whole block, checked before anybody is bothered with it.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bytes::{BufMut, Bytes, BytesMut};
use mining::header::Header;
use mining::merkle;
use mining::target::Target;
use mining::version::{BIP323_MASK, is_rolled_within};
use tracing::warn;

use super::build::Contents;
use super::coinbase::WITNESS_RESERVED_VALUE;
use crate::extension::Parcel;

/// What a client says it found (spec 7.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// Header version.
    pub version: u32,
    /// Header nTime.
    pub header_timestamp: u32,
    /// Header nonce.
    pub header_nonce: u32,
    /// The whole coinbase; its witness may be missing.
    pub coinbase_tx: Bytes,
}

/// A whole block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash, in internal byte order.
    pub hash: [u8; 32],
    /// Its height.
    pub height: u32,
    /// Consensus serialisation.
    pub bytes: Bytes,
    /// What to deliver once it is in the chain.
    pub parcels: Vec<Parcel>,
}

/// Why a solution is no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotABlock {
    /// Not a transaction, or not a coinbase.
    #[error("its coinbase_tx is no coinbase transaction: {0}")]
    Coinbase(String),
    /// The hash does not reach the target of the network.
    #[error("its hash {} is above the target of the network", mining::hash::display(.0))]
    AboveTarget([u8; 32]),
}

/// Puts the block of `template` together. Whatever reaches the target is one: what its client did
/// wrong besides is for the nodes to judge.
pub fn assemble(template: &Contents, solution: &Solution) -> Result<FoundBlock, NotABlock> {
    let coinbase = whole_coinbase(template, &solution.coinbase_tx)?;
    let txid = coinbase.compute_txid().to_byte_array();
    let header = Header {
        version: solution.version,
        prev_hash: template.prev_hash,
        merkle_root: merkle::root_from_path(txid, &template.merkle_path),
        ntime: solution.header_timestamp,
        nbits: template.nbits,
        nonce: solution.header_nonce,
    };
    let hash = header.hash();
    let target = Target::from_nbits(template.nbits);
    if !target.is_some_and(|target| target.is_met_by(&hash)) {
        return Err(NotABlock::AboveTarget(hash));
    }
    if !is_rolled_within(BIP323_MASK, template.version, solution.version) {
        let version = format_args!("{:#010x}", solution.version);
        warn!(%version, "block with version bits changed that are not the miner's");
    }
    let bytes = serialise(template, &header, &serialize(&coinbase));
    // What is delivered must be in it.
    let parcels = match holds_outputs(template, &coinbase) {
        true => template.parcels.clone(),
        false => Vec::new(),
    };
    Ok(FoundBlock { hash, height: template.height, bytes, parcels })
}

/// The coinbase with the witness that the block needs. Clients may leave it out or have one where
/// there is none; no header depends on it. One that put a commitment of its own behind the
/// template's may have a witness for it.
fn whole_coinbase(template: &Contents, bytes: &[u8]) -> Result<bitcoin::Transaction, NotABlock> {
    let mut coinbase: bitcoin::Transaction =
        deserialize(bytes).map_err(|error| NotABlock::Coinbase(error.to_string()))?;
    if !coinbase.is_coinbase() {
        return Err(NotABlock::Coinbase("it spends an output".to_owned()));
    }
    let has_ours = holds_outputs(template, &coinbase);
    for input in &mut coinbase.input {
        if !template.segwit {
            input.witness = bitcoin::Witness::new();
        } else if has_ours || input.witness.is_empty() {
            input.witness = bitcoin::Witness::from_slice(&[WITNESS_RESERVED_VALUE]);
        }
    }
    Ok(coinbase)
}

/// True if the coinbase ends with the outputs of the template, as it must (spec 7.2).
fn holds_outputs(template: &Contents, coinbase: &bitcoin::Transaction) -> bool {
    let count = usize::try_from(template.coinbase_outputs_count).unwrap_or(usize::MAX);
    let first = coinbase.output.len().checked_sub(count);
    let last = first.and_then(|first| coinbase.output.get(first..)).unwrap_or_default();
    let bytes: Vec<u8> = last.iter().flat_map(serialize).collect();
    bytes == template.coinbase_outputs
}

/// The block, as it goes over the wire.
pub(super) fn serialise(template: &Contents, header: &Header, coinbase: &[u8]) -> Bytes {
    let all = template.transactions.iter().map(|transaction| transaction.data.len());
    let mut block = BytesMut::with_capacity(80 + 9 + coinbase.len() + all.sum::<usize>());
    block.put_slice(&header.to_bytes());
    let count = u64::try_from(template.transactions.len()).unwrap_or(u64::MAX).saturating_add(1);
    block.put_slice(&serialize(&bitcoin::VarInt(count)));
    block.put_slice(coinbase);
    for transaction in &template.transactions {
        block.put_slice(&transaction.data);
    }
    block.freeze()
}

#[cfg(test)]
mod tests;
