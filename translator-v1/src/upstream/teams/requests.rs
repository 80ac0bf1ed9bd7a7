//! Which teams wait for a channel, and which have asked the upstream for one.
//!
//! Few ask at a time, and the next one with each answer: thousands of requests at once are more
//! than a slow link takes, and each new connection would end as the last one did.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::teams::TeamId;

/// Open requests that may be without an answer.
const UNANSWERED_MAX: usize = 64;

/// Teams without a channel.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Those that have not asked; the team that is there longest is the first.
    queue: BTreeSet<TeamId>,
    /// Those that have, in the order in which they did.
    unanswered: VecDeque<Request>,
}

#[derive(Debug)]
struct Request {
    id: u32,
    team: TeamId,
    /// Then no answer is waited for any more.
    until: Instant,
}

impl Requests {
    /// The team wants a channel.
    pub(super) fn queue(&mut self, team: TeamId) {
        self.queue.insert(team);
    }

    /// The team wants none any more. A request that is on its way will still be answered.
    pub(super) fn forget(&mut self, team: TeamId) {
        self.queue.remove(&team);
    }

    /// Takes the next team that may ask now.
    pub(super) fn pop(&mut self) -> Option<TeamId> {
        match self.unanswered.len() < UNANSWERED_MAX {
            true => self.queue.pop_first(),
            false => None,
        }
    }

    /// The team has asked by the request `id`.
    pub(super) fn note(&mut self, id: u32, team: TeamId, until: Instant) {
        self.unanswered.push_back(Request { id, team, until });
    }

    /// The request has its answer: whose it was.
    pub(super) fn take(&mut self, id: u32) -> Option<TeamId> {
        let index = self.unanswered.iter().position(|request| request.id == id)?;
        self.unanswered.remove(index).map(|request| request.team)
    }

    /// Forgets the requests that have waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.unanswered.pop_front_if(|request| request.until <= now).is_some() {}
    }

    /// When the oldest request has waited for too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unanswered.front().map(|request| request.until)
    }
}
