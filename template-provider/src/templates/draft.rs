//! A template of the node made ready to be published, and cut to each client's room from then on.

use std::sync::{Arc, OnceLock};

use super::build::{self, BuildError, Contents, Extensions};
use super::fallback::Fullness;
use super::trim::{Load, Room};
use crate::block_template::BlockTemplate;
use crate::dependencies::{self, Parents};

/// What can be published.
#[derive(Debug)]
pub struct Draft {
    /// What the node said, without what was left out because the node would refuse it.
    pub block: Arc<BlockTemplate>,
    /// What else stands in the coinbase.
    pub extensions: Extensions,
    /// All of it, made into work.
    pub whole: Arc<Contents>,
    /// What the whole leaves of a block; `None` if less than nothing.
    spare: Option<Load>,
    /// Of the block's transactions; read when the first client needs more room.
    parents: OnceLock<Vec<Parents>>,
}

impl Draft {
    /// Uses everything.
    pub fn new(block: Arc<BlockTemplate>, extensions: Extensions) -> Result<Self, BuildError> {
        let whole = Arc::new(build::build(&block, &extensions)?);
        let spare = build::spare(&block, &whole);
        Ok(Self { block, extensions, whole, spare, parents: OnceLock::new() })
    }

    /// Uses as much as `fullness` says.
    pub fn with(
        block: &Arc<BlockTemplate>,
        extensions: &Extensions,
        fullness: Fullness,
    ) -> Result<Self, BuildError> {
        let mandatory = || extensions.iter().filter(|extension| extension.is_mandatory());
        let extensions = match fullness.optional_outputs {
            true => Arc::clone(extensions),
            false => mandatory().cloned().collect(),
        };
        let block = match fullness.transactions {
            true => Arc::clone(block),
            false => Arc::new(build::without_transactions(block)?),
        };
        Self::new(block, extensions)
    }

    /// True if all that the node offers can stay beside the outputs of a client.
    pub fn fits(&self, room: Room) -> bool {
        self.spare.is_some_and(|spare| room.load().is_within(spare))
    }

    /// As much of it as leaves `room`.
    pub fn with_room(&self, room: Room) -> Result<Arc<Contents>, BuildError> {
        if self.fits(room) {
            return Ok(Arc::clone(&self.whole));
        }
        let parents = self.parents.get_or_init(|| dependencies::parents(&self.block.transactions));
        build::build_with_room(&self.block, parents, &self.extensions, room).map(Arc::new)
    }
}

/// What of `block` and `extensions` a template can do without.
pub fn parts(block: &BlockTemplate, extensions: &Extensions) -> Fullness {
    Fullness {
        // Without the fees it is not known what is left when transactions go.
        transactions: !block.transactions.is_empty()
            && block.transactions.iter().all(|transaction| transaction.fee.is_some()),
        optional_outputs: extensions.iter().any(|extension| !extension.is_mandatory()),
    }
}
