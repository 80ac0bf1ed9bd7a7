//! Where the present work lies for the hashing threads.
//!
//! A thread looks at one atomic number between batches of nonces; only when that has changed does
//! it take the lock. Nothing here knows what a work is good for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::work::Work;

/// The present work, for many threads.
#[derive(Debug, Default)]
pub struct Desk {
    /// Counts the changes of `state`.
    generation: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    work: Option<Arc<Work>>,
    closed: bool,
}

impl Desk {
    /// Lays down `work`; `None` lets the threads rest.
    pub fn put(&self, work: Option<Arc<Work>>) {
        self.change(|state| state.work = work);
    }

    /// Sends the threads home.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Changes whenever the work does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Waits until there is work, and gives it with its generation; `None` once the desk is closed.
    pub fn wait(&self) -> Option<(u64, Arc<Work>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(work) = &state.work {
                return Some((self.generation(), Arc::clone(work)));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        // Under the lock, so that `wait` never pairs a work with another's generation.
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    /// The state is whole after every change, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
