//! Is the node there? Two things make it so: it answers, and it gives templates that can be mined.
//!
//! Says each change once, in the log and in `/health`. A node that is not active is not asked for
//! templates, and nobody has to act when it is gone: it is shown, and does no harm.

use std::sync::{Mutex, PoisonError};

use service::health::Health;
use service::metrics::Gauge;
use tracing::{info, warn};

use super::Node;

/// The name in `/health` of the node that is preferred.
pub const NEIGHBOUR: &str = super::NAMES[0];

/// What was last heard of the node. `None` until something was.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Heard {
    tip: Option<Result<(), String>>,
    template: Option<Result<(), String>>,
    /// Why it is not on the network that the settings name, if it is not.
    wrong_network: Option<String>,
    duty: Duty,
    /// What the log said last.
    said: Option<Result<(), String>>,
    /// What `/health` shows.
    shown: Option<(Duty, Result<(), String>)>,
}

/// What the node is there for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// It gives the templates.
    #[default]
    Active,
    /// It should give them, does not, and nobody takes over.
    Missed,
    /// It waits for its turn.
    StandBy,
}

/// Keeps the book on one node.
#[derive(Debug)]
pub struct Presence {
    name: &'static str,
    address: String,
    health: Health,
    gauge: Gauge,
    heard: Mutex<Heard>,
}

impl Presence {
    /// Nothing is known yet of a node that gives the templates. `gauge` says whether it is there.
    pub fn active(node: &Node, health: Health, gauge: Gauge) -> Self {
        Self {
            name: node.name,
            address: node.address().to_owned(),
            health,
            gauge,
            heard: Mutex::default(),
        }
    }

    /// Nothing is known yet of a node that waits for its turn.
    pub fn standing_by(node: &Node, health: Health, gauge: Gauge) -> Self {
        let heard = Heard { duty: Duty::StandBy, ..Heard::default() };
        Self { heard: Mutex::new(heard), ..Self::active(node, health, gauge) }
    }

    /// The node was asked for its tip.
    pub fn tip_asked(&self, outcome: Result<(), String>) {
        self.update(|heard| heard.tip = Some(outcome));
    }

    /// The node was asked for a template.
    pub fn template_asked(&self, outcome: Result<(), String>) {
        self.update(|heard| heard.template = Some(outcome));
    }

    /// The node was asked for its network.
    pub fn network_asked(&self, outcome: Result<(), String>) {
        self.update(|heard| heard.wrong_network = outcome.err());
    }

    /// The node gives the templates from now on.
    pub fn activate(&self) {
        self.update(|heard| heard.duty = Duty::Active);
    }

    /// The node waits for its turn from now on.
    pub fn stand_by(&self) {
        self.update(|heard| heard.duty = Duty::StandBy);
    }

    /// The node is lost, and there is no other that could give templates.
    pub fn nobody_takes_over(&self) {
        self.update(|heard| {
            if heard.duty == Duty::Active {
                heard.duty = Duty::Missed;
            }
        });
    }

    /// True if this is the node that should give templates.
    pub fn is_active(&self) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).duty != Duty::StandBy
    }

    /// What is wrong with the node's network, if something is.
    pub fn wrong_network(&self) -> Option<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).wrong_network.clone()
    }

    fn update(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut heard);
        let Some(verdict) = verdict(&heard) else { return };
        if verdict.is_ok() && heard.duty == Duty::Missed {
            heard.duty = Duty::Active;
        }
        // Still under the lock: what is said keeps the order in which it was heard.
        if heard.said.as_ref() != Some(&verdict) {
            let was_there = heard.said.as_ref().map(Result::is_ok);
            heard.said = Some(verdict.clone());
            self.log(&verdict, was_there);
        }
        let shown = Some((heard.duty, verdict));
        if heard.shown != shown {
            heard.shown.clone_from(&shown);
            shown.into_iter().for_each(|(duty, verdict)| self.show(duty, verdict));
        }
    }

    /// `was_there` is what was known before, if anything was.
    fn log(&self, verdict: &Result<(), String>, was_there: Option<bool>) {
        let (name, node) = (self.name, &self.address);
        match (verdict, was_there) {
            (Ok(()), _) => info!(%node, name, "node found"),
            (Err(reason), Some(true)) => warn!(%node, name, %reason, "node lost"),
            (Err(reason), None) => warn!(%node, name, %reason, "node not reached yet"),
            (Err(reason), Some(false)) => info!(%node, name, %reason, "node still missing"),
        }
    }

    fn show(&self, duty: Duty, verdict: Result<(), String>) {
        let node = &self.address;
        self.gauge.set(i64::from(verdict.is_ok()));
        match (verdict, duty) {
            (Ok(()), Duty::StandBy) => self.health.found(self.name, format!("{node}: stands by")),
            (Ok(()), _) => self.health.found(self.name, node),
            (Err(reason), Duty::StandBy) => {
                self.health.lost_spare(self.name, format!("{node}: {reason}"));
            }
            (Err(reason), Duty::Active) => {
                self.health.lost(self.name, format!("{node}: {reason}"));
            }
            (Err(reason), Duty::Missed) => {
                let detail = "no other node can take over; clients keep the work that they have";
                self.health.lost(self.name, format!("{node}: {reason}; {detail}"));
            }
        }
    }
}

/// `None` while it is not known whether the node is there. What the node says to a question for its
/// tip comes first: a template cannot be had from a node that does not answer.
fn verdict(heard: &Heard) -> Option<Result<(), String>> {
    let wrong_network = heard.wrong_network.as_ref();
    match (&heard.tip, &heard.template) {
        (Some(Err(reason)), _) => Some(Err(reason.clone())),
        _ if wrong_network.is_some() => wrong_network.cloned().map(Err),
        (_, Some(Err(reason))) => Some(Err(reason.clone())),
        (Some(Ok(())), Some(Ok(()))) => Some(Ok(())),
        // It is asked for templates when its turn has come.
        (Some(Ok(())), None) if heard.duty == Duty::StandBy => Some(Ok(())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(tip: Option<Result<(), &str>>, template: Option<Result<(), &str>>) -> Heard {
        let own = |outcome: Result<(), &str>| outcome.map_err(str::to_owned);
        Heard { tip: tip.map(own), template: template.map(own), ..Heard::default() }
    }

    #[test]
    fn a_node_is_there_once_it_gives_both_tip_and_template() {
        assert_eq!(verdict(&heard(None, None)), None);
        assert_eq!(verdict(&heard(Some(Ok(())), None)), None);
        assert_eq!(verdict(&heard(Some(Ok(())), Some(Ok(())))), Some(Ok(())));
    }

    #[test]
    fn a_node_that_answers_but_gives_no_template_is_missing() {
        let verdict = verdict(&heard(Some(Ok(())), Some(Err("still syncing"))));
        assert_eq!(verdict, Some(Err("still syncing".to_owned())));
    }

    #[test]
    fn a_node_on_another_network_is_missing_whatever_it_gives() {
        let wrong_network = Some("on main".to_owned());
        let foreign = Heard { wrong_network, ..heard(Some(Ok(())), Some(Ok(()))) };
        assert_eq!(verdict(&foreign), Some(Err("on main".to_owned())));
    }

    #[test]
    fn a_node_that_stands_by_need_not_have_given_a_template() {
        let waiting = Heard { duty: Duty::StandBy, ..heard(Some(Ok(())), None) };
        assert_eq!(verdict(&waiting), Some(Ok(())));
    }
}
