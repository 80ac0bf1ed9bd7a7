//! How much more the channels of one owner may remember together.
//!
//! Limits of single channels do not bound what an owner of thousands of them holds. It knows
//! numbers alone, and not what they count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places that are left. Cheap to clone; all clones are one, of one owner: they are not used by two
/// threads at the same time.
#[derive(Debug, Clone)]
pub struct Room(Arc<AtomicUsize>);

impl Room {
    /// `places` to begin with.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(places)))
    }

    /// Places that are left.
    pub fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one place, if one is left.
    pub fn take(&self) {
        self.0.store(self.left().saturating_sub(1), Ordering::Relaxed);
    }

    /// Gives back places that were taken.
    pub fn give_back(&self, places: usize) {
        self.0.store(self.left().saturating_add(places), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_channel_takes_the_others_do_not_have() {
        let room = Room::new(2);
        let same = room.clone();
        room.take();
        same.take();
        assert_eq!((room.left(), same.left()), (0, 0));
        room.give_back(1);
        assert_eq!(same.left(), 1);
    }
}
