//! Extra outputs of the coinbase, and what must happen once a block with them is in the chain: one
//! trait, which every chain's extension implements.
//!
//! The vocabulary between `templates`, which asks for outputs, `coinbase`, where the extensions
//! live, and `outbox`, which tells them of accepted blocks. It knows no chain, no disk and no
//! network.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::block_template::Output;

/// What an extension is told of the template that it adds to. Hashes are in internal byte order.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Hash of the block to build on.
    pub prev_hash: [u8; 32],
    /// Height of the block to be mined.
    pub height: u32,
    /// Satoshis that the coinbase may spend: subsidy and fees.
    pub value: u64,
    /// The part of `value` that is fees; `None` if the node does not state them all.
    pub fees: Option<u64>,
    /// Outputs that stand in the coinbase already: the node's own, then those of extensions before
    /// this one.
    pub present: &'a [Output],
}

/// What an extension puts into one template. Frozen with it: the block of a solution has exactly
/// these outputs, whatever the extension knows by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Outputs, in order.
    pub outputs: Vec<Output>,
    /// Satoshis that are left for the client's outputs, of the `value` that was there.
    pub value_left: u64,
    /// What to deliver once a block of this template is in the chain.
    pub parcels: Vec<Parcel>,
}

/// Something that must reach a neighbour because a block was accepted, and only then. Durable: it
/// is written down with the found block, before that is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// `Extension::name` of the one that made it and will deliver it.
    pub extension: String,
    /// Names what is delivered, in lower-case hex; a parcel of the same key is the same parcel.
    pub key: String,
    /// What the extension needs for delivering. May hold secrets: never logged.
    pub body: serde_json::Value,
}

/// A block in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedBlock {
    /// Its hash, in display order.
    pub hash: String,
    /// Its height.
    pub height: u32,
}

/// Where a block stands that was accepted: a reorganisation may have taken it out of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in the chain.
    InChain,
    /// It is not.
    OffChain {
        /// How many blocks the chain has above the block's height.
        above: u32,
    },
    /// No node that could say so answers.
    Unknown,
    /// The nodes do not answer such a question, or it cannot be asked of this block.
    Untold,
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It arrived now, or was there already.
    Done,
    /// The neighbour will never take it; a person must look. The reason holds no secret.
    Refused(String),
    /// Worth another try. The reason holds no secret.
    Failed(String),
    /// The neighbour does not take it, which may change within hours; past them a person must look.
    /// The reason holds no secret.
    Declined(String),
}

/// A future of a hook.
pub type Hook<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Adds outputs to coinbases.
pub trait Extension: Debug + Send + Sync {
    /// Its name in config, logs and parcels.
    fn name(&self) -> &'static str;

    /// False if a block may be mined without its outputs.
    fn is_mandatory(&self) -> bool;

    /// The most bytes that its outputs take, serialised (value, length, script).
    fn output_bytes_max(&self) -> u32;

    /// Another block is to be built upon, whose hash this is. Told before the first template on it
    /// is made; returns at once.
    fn tip_moved(&self, _prev_hash: [u8; 32]) {}

    /// The first hook: the outputs for one template. Runs while miners wait, so it uses what is
    /// known now and waits for nothing; without what it needs it adds nothing, or, if it is
    /// mandatory, says why there can be no template.
    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String>;

    /// The second hook: a block with this extension's parcel is in the chain. Called by the
    /// outbox's own worker, again and again until the delivery is done or refused, over restarts
    /// too; so it must be harmless to repeat, and may be slow.
    fn on_accepted<'a>(
        &'a self,
        block: &'a AcceptedBlock,
        parcel: &'a Parcel,
    ) -> Hook<'a, Delivery>;
}

impl Addition {
    /// Nothing added, everything left.
    pub fn nothing(facts: &Facts<'_>) -> Self {
        Self { outputs: Vec::new(), value_left: facts.value, parcels: Vec::new() }
    }
}
