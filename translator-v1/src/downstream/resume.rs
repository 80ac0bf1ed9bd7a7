//! Sessions that are over, kept for a while for miners that come back.
//!
//! A miner that lost its connection asks for its session with `mining.subscribe`, and submits what
//! it found meanwhile. It gets the session back only with its token, which nobody can guess, and
//! only here, where no session is that is still alive: two miners never do the same work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::MinerIdentity;
use super::difficulty::Carried;
use super::jobs::SentJobs;
use crate::bridge::extranonce::ExtranonceShape;

/// Sessions that are kept, of miners whose shares were taken; with one more the oldest is
/// forgotten. All of a large farm lose their connections at once. With `PARKED_BYTES_MAX` for what
/// each was given and found they take 32 MiB at most, and the jobs that they hold.
const PARKED_MAX: usize = 8_192;
/// How long each is kept: cgminer sends its old shares for two minutes.
const PARKED_TIME_MAX: Duration = Duration::from_secs(180);

/// What is kept of a session.
#[derive(Debug)]
pub(super) struct Parked {
    /// Its place in the search space, taken as long as it is kept, and its token.
    pub(super) identity: MinerIdentity,
    /// What it was told of its extranonce.
    pub(super) shape: ExtranonceShape,
    /// What it was given, and found.
    pub(super) jobs: SentJobs,
    /// The difficulty that it should have.
    pub(super) difficulty: Carried,
    /// Since when it is over.
    pub(super) at: Instant,
}

/// The sessions that are over. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Departed(Arc<Mutex<VecDeque<Parked>>>);

impl Departed {
    /// Keeps a session.
    pub(super) fn park(&self, session: Parked) {
        let mut all = self.lock();
        forget_old(&mut all, session.at);
        if all.len() == PARKED_MAX {
            all.pop_front();
        }
        all.push_back(session);
    }

    /// Takes the session with that token, if it can have the same extranonce now. Its jobs may be
    /// of another channel, or another upstream: a block of one still finds its way there.
    pub(super) fn take(&self, token: &str, shape: ExtranonceShape, now: Instant) -> Option<Parked> {
        let mut all = self.lock();
        forget_old(&mut all, now);
        let index = all.iter().position(|kept| kept.identity.session == token)?;
        let mut kept = all.remove(index).filter(|kept| kept.shape == shape)?;
        drop(all);
        kept.jobs.unfold();
        Some(kept)
    }

    /// Forgets all: their places are wanted by others.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// They are in the order in which they ended.
fn forget_old(all: &mut VecDeque<Parked>, now: Instant) {
    let is_old = |kept: &Parked| now.saturating_duration_since(kept.at) > PARKED_TIME_MAX;
    let count = all.iter().take_while(|kept| is_old(kept)).count();
    all.drain(..count);
}
