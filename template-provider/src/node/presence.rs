//! Is the node there? Two things make it so: it answers, and it gives templates that can be mined.
//!
//! Says each change once, in the log and in `/health`.

use std::sync::{Mutex, PoisonError};

use service::health::Health;
use tracing::{info, warn};

/// The name of this neighbour in `/health`.
pub const NEIGHBOUR: &str = "node";

/// What was last heard of the node. `None` until something was.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Heard {
    tip: Option<Result<(), String>>,
    template: Option<Result<(), String>>,
    /// What the log said last.
    said: Option<Result<(), String>>,
}

/// Keeps the book on one node.
#[derive(Debug)]
pub struct Presence {
    address: String,
    health: Health,
    heard: Mutex<Heard>,
}

impl Presence {
    /// Nothing is known yet.
    pub fn new(address: &str, health: Health) -> Self {
        Self { address: address.to_owned(), health, heard: Mutex::default() }
    }

    /// The node was asked for its tip.
    pub fn tip_asked(&self, outcome: Result<(), String>) {
        self.update(|heard| heard.tip = Some(outcome));
    }

    /// The node was asked for a template.
    pub fn template_asked(&self, outcome: Result<(), String>) {
        self.update(|heard| heard.template = Some(outcome));
    }

    fn update(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut heard);
        let Some(verdict) = verdict(&heard) else { return };
        if heard.said.as_ref() == Some(&verdict) {
            return;
        }
        let was_there = matches!(heard.said, Some(Ok(())));
        let known = heard.said.is_some();
        heard.said = Some(verdict.clone());
        // Still under the lock: what is said keeps the order in which it was heard.
        self.say(verdict, was_there, known);
    }

    fn say(&self, verdict: Result<(), String>, was_there: bool, known: bool) {
        let node = &self.address;
        match verdict {
            Ok(()) => {
                info!(%node, "node found");
                self.health.found(NEIGHBOUR, node);
            }
            Err(reason) => {
                match (was_there, known) {
                    (true, _) => warn!(%node, %reason, "node lost"),
                    (false, false) => warn!(%node, %reason, "node not reached yet"),
                    (false, true) => info!(%node, %reason, "node still missing"),
                }
                self.health.lost(NEIGHBOUR, format!("{node}: {reason}"));
            }
        }
    }
}

/// `None` while it is not known whether the node is there. What the node says to a question for its
/// tip comes first: a template cannot be had from a node that does not answer.
fn verdict(heard: &Heard) -> Option<Result<(), String>> {
    match (&heard.tip, &heard.template) {
        (Some(Err(reason)), _) | (_, Some(Err(reason))) => Some(Err(reason.clone())),
        (Some(Ok(())), Some(Ok(()))) => Some(Ok(())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(tip: Option<Result<(), &str>>, template: Option<Result<(), &str>>) -> Heard {
        let own = |outcome: Result<(), &str>| outcome.map_err(str::to_owned);
        Heard { tip: tip.map(own), template: template.map(own), said: None }
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
}
