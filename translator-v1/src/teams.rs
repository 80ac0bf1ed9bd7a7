//! Miners that share an upstream channel of their own: those of one user, or each by itself.
//!
//! Where one channel serves all miners there are no teams. Nothing here knows a protocol: the
//! miners' side joins and tells hashrates, the upstream's side is told of changes and gives work.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::{broadcast, watch};

use crate::bridge::submit::{user_field, worker_field};
use crate::miners::{Hashrate, MinerPart, Miners, MinersTotal};
use crate::shares::Assigned;

/// Changes that may wait for an upstream; one that missed some looks at all teams.
const CHANGES_MAX: usize = 4096;

/// Which miners share a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// All of them.
    #[default]
    One,
    /// Those of one user, in whose name the channel is opened.
    PerUser,
    /// Nobody: each has its own.
    PerMiner,
}

impl Channels {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::One => "one channel for all miners",
            Self::PerUser => "a channel for each user",
            Self::PerMiner => "a channel for each miner",
        }
    }
}

/// A team's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamId(pub u64);

/// In whose name a team's channel is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamName {
    /// A user of the pool.
    User(Arc<str>),
    /// A worker of the user that the upstream is told otherwise.
    Worker(Arc<str>),
}

impl TeamName {
    /// The user identity for an upstream where the translator's own is `account`.
    pub fn identity(&self, account: &str) -> String {
        match self {
            Self::User(user) if !user.is_empty() => user.to_string(),
            Self::Worker(worker) if !worker.is_empty() => format!("{account}.{worker}"),
            Self::User(_) | Self::Worker(_) => account.to_owned(),
        }
    }
}

/// All teams. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Teams {
    channels: Channels,
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<TeamId>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_user: HashMap<Arc<str>, TeamId>,
    teams: BTreeMap<TeamId, Team>,
}

#[derive(Debug)]
struct Team {
    name: TeamName,
    members: usize,
    miners: Miners,
    work: watch::Sender<Option<Assigned>>,
}

impl Teams {
    /// No teams yet.
    pub fn new(channels: Channels) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        Self { channels, state: Arc::default(), changes }
    }

    /// True if no miner works on the channel that all upstreams have.
    pub fn are_used(&self) -> bool {
        self.channels != Channels::One
    }

    /// A miner that calls itself `worker` joins its team; none where there are none. Until that has
    /// a channel it is to see `present`.
    pub fn join(&self, worker: &str, present: Option<Assigned>) -> Option<Member> {
        let mut state = self.lock();
        let user: Arc<str> = user_field(worker).into();
        let (id, name) = match self.channels {
            Channels::One => return None,
            Channels::PerUser => (state.by_user.get(&user).copied(), TeamName::User(user)),
            Channels::PerMiner => (None, TeamName::Worker(worker_field(worker).into())),
        };
        let id = id.unwrap_or_else(|| state.found(name, present));
        let team = state.teams.get_mut(&id)?;
        team.members += 1;
        let (part, work) = (team.miners.part(), team.work.subscribe());
        Some(Member { teams: self.clone(), id, part: Some(part), work })
    }

    /// Tells of changes from now on, and of all teams that there are.
    pub fn watch(&self) -> Changes {
        let receiver = self.changes.subscribe();
        Changes { teams: self.clone(), receiver, queue: self.all() }
    }

    /// What the team is called and how many it has; none once all have left.
    pub fn wanted(&self, id: TeamId) -> Option<(TeamName, MinersTotal)> {
        let state = self.lock();
        let team = state.teams.get(&id)?;
        let total = team.miners.total();
        (total.miners > 0).then(|| (team.name.clone(), total))
    }

    /// Gives a team work of its own channel; none sends its miners to their next pool.
    pub fn give(&self, id: TeamId, work: Option<Assigned>) {
        if let Some(team) = self.lock().teams.get(&id) {
            team.work.send_replace(work);
        }
    }

    /// Nobody takes shares of the team's work for now.
    pub fn suspend(&self, id: TeamId) {
        if let Some(team) = self.lock().teams.get(&id) {
            team.suspend();
        }
    }

    /// The same for all teams.
    pub fn suspend_all(&self) {
        self.lock().teams.values().for_each(Team::suspend);
    }

    /// All miners are sent to their next pool.
    pub fn end_all(&self) {
        self.lock().teams.values().for_each(|team| drop(team.work.send_replace(None)));
    }

    fn all(&self) -> VecDeque<TeamId> {
        self.lock().teams.keys().copied().collect()
    }

    fn tell(&self, id: TeamId) {
        // It fails only where nobody listens.
        drop(self.changes.send(id));
    }

    /// A panic while it was held would leave whole values behind: the lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn found(&mut self, name: TeamName, present: Option<Assigned>) -> TeamId {
        let id = TeamId(self.next);
        self.next = id.0.wrapping_add(1);
        if let TeamName::User(user) = &name {
            self.by_user.insert(Arc::clone(user), id);
        }
        let (miners, work) = (Miners::default(), watch::Sender::new(present));
        self.teams.insert(id, Team { name, members: 0, miners, work });
        id
    }

    fn leave(&mut self, id: TeamId) {
        let Some(team) = self.teams.get_mut(&id) else { return };
        team.members = team.members.saturating_sub(1);
        if team.members > 0 {
            return;
        }
        if let Some(Team { name: TeamName::User(user), .. }) = self.teams.remove(&id) {
            self.by_user.remove(&user);
        }
    }
}

impl Team {
    fn suspend(&self) {
        self.work.send_if_modified(|work| match work {
            Some(assigned) => std::mem::take(&mut assigned.work.is_live),
            None => false,
        });
    }
}

/// One miner's part of a team; it leaves when this is dropped.
#[derive(Debug)]
pub struct Member {
    teams: Teams,
    id: TeamId,
    /// Always there, until it leaves.
    part: Option<MinerPart>,
    work: watch::Receiver<Option<Assigned>>,
}

impl Member {
    /// The work of the team's channel.
    pub fn work(&self) -> watch::Receiver<Option<Assigned>> {
        self.work.clone()
    }

    /// Tells how fast the miner is.
    pub fn set(&mut self, hashrate: Hashrate) {
        if let Some(part) = &mut self.part {
            part.set(hashrate);
            self.teams.tell(self.id);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.part = None;
        self.teams.lock().leave(self.id);
        self.teams.tell(self.id);
    }
}

/// The teams of which something has changed, for one upstream.
#[derive(Debug)]
pub struct Changes {
    teams: Teams,
    receiver: broadcast::Receiver<TeamId>,
    queue: VecDeque<TeamId>,
}

impl Changes {
    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> TeamId {
        loop {
            if let Some(id) = self.queue.pop_front() {
                return id;
            }
            match self.receiver.recv().await {
                Ok(id) => return id,
                Err(broadcast::error::RecvError::Lagged(_)) => self.queue = self.teams.all(),
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_miners_of_a_user_are_one_team_and_it_ends_with_the_last() {
        let teams = Teams::new(Channels::PerUser);
        let mut changes = teams.watch();
        let rig = |name: &str, hashrate| {
            let mut member = teams.join(name, None).unwrap();
            member.set(Hashrate::shown(hashrate));
            member
        };
        let (first, second, other) = (rig("a.1", 5.0), rig("a.2", 7.0), rig("b.1", 1.0));
        assert_eq!((first.id, second.id == other.id), (second.id, false));
        let total = |id| teams.wanted(id).map(|(_, total)| (total.miners, total.hashrate));
        assert_eq!(total(first.id), Some((2, 12.0)));
        let id = first.id;
        drop(first);
        assert_eq!(total(id), Some((1, 7.0)));
        drop(second);
        assert_eq!(total(id), None);
        for expected in [id, id, other.id, id, id] {
            assert_eq!(changes.next().await, expected);
        }
        let again = rig("a.1", 5.0);
        assert_ne!(again.id, id, "no number is used twice");
        assert_eq!(teams.watch().next().await, other.id, "who comes later sees all");
    }

    #[tokio::test]
    async fn who_misses_changes_looks_at_all_teams() {
        let teams = Teams::new(Channels::PerMiner);
        let mut changes = teams.watch();
        let mut member = teams.join("a", None).unwrap();
        for hashrate in 0..CHANGES_MAX + 2 {
            member.set(Hashrate::shown(f64::from(u32::try_from(hashrate).unwrap())));
        }
        assert_eq!(changes.next().await, member.id);
        assert!(changes.queue.is_empty());
    }

    #[test]
    fn a_team_is_called_as_its_user_or_as_a_worker_of_the_account() {
        let identity = |channels, worker: &str| {
            let teams = Teams::new(channels);
            let mut member = teams.join(worker, None)?;
            member.set(Hashrate::shown(1.0));
            teams.wanted(member.id).map(|(name, _)| name.identity("farm"))
        };
        assert_eq!(identity(Channels::One, "u.rig"), None);
        assert_eq!(identity(Channels::PerUser, "u.rig").as_deref(), Some("u"));
        assert_eq!(identity(Channels::PerUser, "").as_deref(), Some("farm"));
        assert_eq!(identity(Channels::PerMiner, "u.rig").as_deref(), Some("farm.rig"));
        assert_eq!(identity(Channels::PerMiner, "").as_deref(), Some("farm"));
    }
}
