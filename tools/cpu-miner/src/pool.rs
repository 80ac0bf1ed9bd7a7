//! What both protocols say to the rest of the miner.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::work::{Work, WorkId};

/// What a session tells the miner.
#[derive(Debug, Clone)]
pub enum Event {
    /// The pool took the device and will send work.
    Ready,
    /// Mine on this from now on.
    Work(Arc<Work>),
    /// The pool accepted so many further shares.
    Accepted {
        /// How many.
        shares: u64,
    },
    /// The pool refused a share.
    Rejected {
        /// The pool's word for it.
        reason: String,
    },
    /// A share was not sent: its tip is gone, or a harder target came meanwhile.
    Withheld,
}

/// The jobs of the present tip by the names that this miner gave them.
#[derive(Debug)]
pub struct WorkNames<J> {
    connection: u32,
    last: u32,
    names: VecDeque<(WorkId, J)>,
}

/// Works of one tip whose shares are still sent. Older ones are so far behind that a pool has
/// forgotten their jobs too.
const NAMES_MAX: usize = 64;

impl<J> WorkNames<J> {
    /// Names for connection number `connection`.
    pub fn new(connection: u32) -> Self {
        Self { connection, last: 0, names: VecDeque::new() }
    }

    /// A name for a work on `job`.
    pub fn name(&mut self, job: J) -> WorkId {
        self.last = self.last.wrapping_add(1);
        let id = WorkId { connection: self.connection, number: self.last };
        if self.names.len() >= NAMES_MAX {
            self.names.pop_front();
        }
        self.names.push_back((id, job));
        id
    }

    /// The job of a work; `None` if it is of another connection or of a tip that is gone.
    pub fn job(&self, id: WorkId) -> Option<&J> {
        self.names.iter().find(|(name, _)| *name == id).map(|(_, job)| job)
    }

    /// Forgets all: the tip changed.
    pub fn clear(&mut self) {
        self.names.clear();
    }
}
