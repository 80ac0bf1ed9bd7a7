//! What somebody wants to know again when a job has made a block.
//!
//! Whoever makes a job may put a memo into it; it travels with the job into the solution. Nobody
//! on the way reads it, and what it says is no business of this room.

use std::fmt;
use std::sync::Arc;

/// Makes the records of a block.
pub trait BlockRecords: Send + Sync {
    /// What is to be kept of the block with this hash (internal byte order), in order.
    fn records(&self, hash: &[u8; 32]) -> Vec<Vec<u8>>;
}

/// Nothing, or the records of any block that is made of one job.
#[derive(Clone, Default)]
pub struct Memo(Option<Arc<dyn BlockRecords>>);

impl Memo {
    /// One that makes these records.
    pub fn new(records: Arc<dyn BlockRecords>) -> Self {
        Self(Some(records))
    }

    /// The records of the block with this hash; none if there is nothing to be kept.
    pub fn records(&self, hash: &[u8; 32]) -> Vec<Vec<u8>> {
        self.0.as_ref().map_or_else(Vec::new, |records| records.records(hash))
    }
}

/// The same memo, not one that says the same.
impl PartialEq for Memo {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Memo {}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Memo(records)" } else { "Memo(nothing)" })
    }
}
