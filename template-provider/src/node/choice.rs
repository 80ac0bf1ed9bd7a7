//! Which node gives the templates: the first that is there, but never one that would lead miners
//! back to a chain with less work.
//!
//! Pure: what is known of the nodes and the time come as arguments.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

/// How long the active node may be behind another one. Blocks travel for seconds, and a node that
/// is late by one block catches up by itself; one that does not has lost its peers or its disk.
const BEHIND_MAX: Duration = Duration::from_secs(30);
/// How long a node must have been there before work goes back to it: one that fails now and then
/// would make work jump with it. And how long nodes that did not answer yet are waited for at the
/// start.
const STEADY_MIN: Duration = Duration::from_secs(5);

/// Work of a chain: 256 bits, big-endian, so that more work compares as more.
pub type ChainWork = [u8; 32];

/// Does a node answer?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answers {
    /// It has not had the time to: at the start the order in which nodes answer decides nothing.
    #[default]
    NotAskedYet,
    /// Without a break since then.
    Since(Instant),
    /// Not when it was last asked.
    No,
}

impl Answers {
    /// It answered at `now`.
    pub fn again(self, now: Instant) -> Self {
        match self {
            Self::Since(since) => Self::Since(since),
            Self::NotAskedYet | Self::No => Self::Since(now),
        }
    }
}

/// Is a node on the network that the settings name?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnNetwork {
    /// It is, or cannot say, or they name none.
    #[default]
    Yes,
    /// It has not said yet.
    Unknown,
    /// What it gives is for another chain than the one that clients mine for.
    No,
}

/// What is known of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Does it answer, and since when?
    pub answers: Answers,
    /// True if it refused to give a template when it was last asked for one.
    pub refuses: bool,
    /// Is it on the network that is asked for?
    pub network: OnNetwork,
    /// Hash of its tip, in internal byte order.
    pub tip: Option<[u8; 32]>,
    /// The work of the chain that ends with the tip of this hash.
    pub work: Option<([u8; 32], ChainWork)>,
}

impl Candidate {
    fn is_there(&self) -> bool {
        let gives = matches!(self.answers, Answers::Since(_)) && !self.refuses;
        gives && self.network == OnNetwork::Yes
    }

    fn is_lost(&self) -> bool {
        self.answers == Answers::No || self.refuses || self.network == OnNetwork::No
    }

    /// True if it is not known yet whether it is there.
    fn is_unheard(&self) -> bool {
        let is_unknown = self.answers == Answers::NotAskedYet || self.network == OnNetwork::Unknown;
        is_unknown && !self.is_lost()
    }

    fn is_steady(&self, now: Instant) -> bool {
        let is_old = matches!(self.answers, Answers::Since(since) if now - since >= STEADY_MIN);
        self.is_there() && is_old
    }

    /// The work of its present tip, if that is known by now.
    fn work_of_tip(&self) -> Option<ChainWork> {
        self.work.filter(|(tip, _)| Some(*tip) == self.tip).map(|(_, work)| work)
    }
}

/// The chain that clients were led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served {
    tip: [u8; 32],
    work: LeastWork,
}

/// What is known of a chain's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeastWork {
    Exactly(ChainWork),
    /// It is longer than one whose work is known; `None` if none is.
    MoreThan(Option<ChainWork>),
}

/// What came of a look at the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The active node stays: it is there, or it is too early to say who else is.
    Stays,
    /// The active node is not there, and no other one may take its place.
    NobodyElse,
    /// Another node is active from now on; in words why.
    Switched(&'static str),
}

/// The choice that was made, and what the next one depends on.
#[derive(Debug)]
pub struct Choice {
    active: usize,
    /// When the nodes were first looked at.
    started_at: Option<Instant>,
    served: Option<Served>,
    /// Since when another node has been ahead of the active one.
    behind_since: Option<Instant>,
}

impl Choice {
    /// The first node, until something is known.
    pub fn first() -> Self {
        Self { active: 0, started_at: None, served: None, behind_since: None }
    }

    /// Position of the node that gives templates.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Looks at the nodes, by priority. To be called after each change, and every few seconds.
    pub fn look(&mut self, now: Instant, nodes: &[Candidate]) -> Verdict {
        let Some(active) = nodes.get(self.active).copied() else { return Verdict::Stays };
        self.remember_served(&active);
        self.behind_since = match nodes.iter().any(|node| is_ahead(node, &active)) {
            true => self.behind_since.or(Some(now)),
            false => None,
        };
        let is_started = now - *self.started_at.get_or_insert(now) >= STEADY_MIN;
        let is_lost = active.is_lost() || (is_started && active.is_unheard());
        let is_behind = self.behind_since.is_some_and(|since| now - since >= BEHIND_MAX);
        // Nobody has work yet, and who answered first would win by chance.
        if is_lost && self.served.is_none() && !is_started && nodes.iter().any(may_tell_more) {
            return Verdict::Stays;
        }
        let others = || nodes.iter().enumerate().filter(|(index, _)| *index != self.active);
        let fit =
            || others().filter(|(_, node)| node.is_there() && self.is_not_behind_served(node));
        let preferred = fit().find(|(index, node)| *index < self.active && node.is_steady(now));
        let found = match (is_lost, preferred) {
            (true, _) => most_work(fit()),
            (false, Some((index, _))) => Some(index),
            (false, None) if is_behind => {
                most_work(fit().filter(|(_, node)| is_ahead(node, &active)))
            }
            (false, None) => None,
        };
        let Some(index) = found else {
            return if is_lost { Verdict::NobodyElse } else { Verdict::Stays };
        };
        let why = match (is_lost, index < self.active) {
            (true, _) => "the active node is lost",
            (_, true) => "a preferred node is back",
            _ => "the active node stays behind",
        };
        (self.active, self.behind_since) = (index, None);
        Verdict::Switched(why)
    }

    /// Clients have what the active node has: its templates go to them as they come.
    fn remember_served(&mut self, active: &Candidate) {
        // A tip of another network has any amount of work.
        let tip = active.tip.filter(|_| active.network == OnNetwork::Yes);
        let Some(tip) = tip else { return };
        let work = match (active.work_of_tip(), self.served) {
            (Some(work), _) => LeastWork::Exactly(work),
            (None, Some(served)) if served.tip == tip => served.work,
            (None, served) => LeastWork::MoreThan(served.and_then(|served| match served.work {
                LeastWork::Exactly(work) => Some(work),
                LeastWork::MoreThan(work) => work,
            })),
        };
        self.served = Some(Served { tip, work });
    }

    fn is_not_behind_served(&self, node: &Candidate) -> bool {
        let Some(served) = self.served else { return true };
        if node.tip == Some(served.tip) {
            return true;
        }
        // Without its work nobody knows where its tip leads.
        let Some(work) = node.work_of_tip() else { return false };
        match served.work {
            LeastWork::Exactly(least) => work >= least,
            LeastWork::MoreThan(Some(less)) => work > less,
            LeastWork::MoreThan(None) => false,
        }
    }
}

/// True if it is not known yet whether `node` is there, or how much work its chain has.
fn may_tell_more(node: &Candidate) -> bool {
    let is_unknown = node.is_there() && node.work_of_tip().is_none();
    is_unknown || node.is_unheard()
}

/// Position of the one with the most work, the first among equals; unknown work comes last.
fn most_work<'a>(nodes: impl Iterator<Item = (usize, &'a Candidate)>) -> Option<usize> {
    let with_work = nodes.map(|(index, node)| (node.work_of_tip(), Reverse(index)));
    with_work.max().map(|(_, Reverse(index))| index)
}

/// True if `node` could give work on a chain with more work than the `active` one's.
fn is_ahead(node: &Candidate, active: &Candidate) -> bool {
    let works = (node.work_of_tip(), active.work_of_tip());
    node.is_there() && matches!(works, (Some(node), Some(active)) if node > active)
}

#[cfg(test)]
mod tests;
