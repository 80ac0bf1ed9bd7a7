//! Log events of the programs, said so that somebody understands who has never mined.
//!
//! What has no sentence here is left out; warnings and errors never are.

use std::collections::HashMap;

use testkit::log::Event;
use testkit::world::TRANSLATOR_USER;

/// Turns events into sentences.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    /// V1 workers by the hash of a block that they found and that has not been told.
    v1_finders: HashMap<String, String>,
    /// The last template has become a job, and that was told.
    job_told: bool,
}

/// A block that the pool says was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Display order.
    pub(crate) hash: String,
    /// Distance from the first block.
    pub(crate) height: u64,
    /// Who mines at the pool.
    pub(crate) user: String,
    /// `standard` or `extended`.
    pub(crate) kind: String,
}

/// A block of a V1 worker that is not told within so many further ones is forgotten.
const FINDERS_MAX: usize = 64;

impl Narrator {
    /// The sentence for an event of `program`.
    pub(crate) fn tell(&mut self, program: &str, event: &Event) -> Option<String> {
        let text = |field: &str| event.text(field);
        Some(match (program, event.message.as_str()) {
            ("template-provider", "template sent") => {
                self.job_told = false;
                format!(
                    "template  for block {}: {}, fees {} sat",
                    text("height"),
                    payments(event.number("transactions")?),
                    text("fees"),
                )
            }
            ("pool-sv2", "job sent") if !std::mem::replace(&mut self.job_told, true) => {
                "job       made of it by the pool, sent to all that mine".to_owned()
            }
            ("pool-sv2", "channel opened") if text("user") == TRANSLATOR_USER => {
                "device    the translator opened a V2 channel for all V1 miners".to_owned()
            }
            ("pool-sv2", "channel opened") => {
                format!("device    {} opened a V2 channel ({})", text("user"), text("kind"))
            }
            ("translator-v1", "miner authorized") => {
                format!("device    {} logged in by V1 ({})", text("worker"), text("agent"))
            }
            ("pool-sv2", "share accepted") if text("user") != TRANSLATOR_USER => {
                format!("share     of {}, by V2", text("user"))
            }
            ("translator-v1", "share accepted") => {
                format!("share     of {}, by V1", text("worker"))
            }
            ("translator-v1", "block found") => {
                self.remember_finder(text("hash"), text("worker"));
                return None;
            }
            _ => return complaint(program, event),
        })
    }

    /// Who found a block and how, in words.
    pub(crate) fn finder(&mut self, found: &Found) -> String {
        match self.v1_finders.remove(&found.hash) {
            Some(worker) => format!("{worker} (Stratum V1, through the translator)"),
            None if found.user == TRANSLATOR_USER => {
                "a V1 miner, through the translator".to_owned()
            }
            None => format!("{} (Stratum V2, {} channel)", found.user, found.kind),
        }
    }

    fn remember_finder(&mut self, hash: String, worker: String) {
        if self.v1_finders.len() >= FINDERS_MAX {
            self.v1_finders.clear();
        }
        self.v1_finders.insert(hash, worker);
    }
}

/// The block that `event` announces, if it is one of the pool.
pub(crate) fn found_block(program: &str, event: &Event) -> Option<Found> {
    if program != "pool-sv2" || !event.is("block found") {
        return None;
    }
    Some(Found {
        hash: event.text("hash"),
        height: event.number("height")?,
        user: event.text("user"),
        kind: event.text("kind"),
    })
}

/// Things that should not happen here, in the program's own words.
fn complaint(program: &str, event: &Event) -> Option<String> {
    let expected = event.message.starts_with("authority key created");
    if expected || !matches!(event.level.as_str(), "WARN" | "ERROR") {
        return None;
    }
    let told = event.fields.iter().filter(|(name, _)| *name != "spans" && *name != "target");
    let fields: Vec<_> = told.map(|(name, _)| format!("{name}={}", event.text(name))).collect();
    Some(format!("{:<9} {program}: {} {}", event.level, event.message, fields.join(" ")))
}

/// A hash without its zeros, short.
pub(crate) fn brief(hash: &str) -> String {
    let zeros = hash.len() - hash.trim_start_matches('0').len();
    let rest = hash.get(zeros..).unwrap_or_default();
    let (first, last) = (rest.get(..6).unwrap_or(rest), hash.get(hash.len().saturating_sub(6)..));
    format!("{}{first}..{}", "0".repeat(zeros), last.unwrap_or_default())
}

/// A number of transactions that pay a fee.
pub(crate) fn payments(count: u64) -> String {
    match count {
        0 => "no payments".to_owned(),
        1 => "1 payment".to_owned(),
        count => format!("{count} payments"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(fields: &serde_json::Value) -> Event {
        let mut all = json!({ "level": "INFO" });
        let fields = fields.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        Event::parse(&all.to_string()).unwrap()
    }

    #[test]
    fn a_template_is_told_with_its_payments() {
        let sent = event(&json!({
            "message": "template sent", "height": 102, "transactions": 1, "fees": 1410
        }));
        let told = Narrator::default().tell("template-provider", &sent).unwrap();
        assert_eq!(told, "template  for block 102: 1 payment, fees 1410 sat");
    }

    #[test]
    fn a_job_is_told_once_for_each_template() {
        let mut narrator = Narrator::default();
        let job = event(&json!({ "message": "job sent", "job": 1 }));
        let template = event(&json!({ "message": "template sent", "transactions": 0 }));
        for _ in 0..2 {
            assert!(narrator.tell("template-provider", &template).is_some());
            assert!(narrator.tell("pool-sv2", &job).is_some());
            assert!(narrator.tell("pool-sv2", &job).is_none());
        }
    }

    #[test]
    fn a_block_of_a_v1_worker_is_told_under_its_name() {
        let mut narrator = Narrator::default();
        let at_translator =
            event(&json!({ "message": "block found", "hash": "00ab", "worker": "old-miner" }));
        assert_eq!(narrator.tell("translator-v1", &at_translator), None);
        let at_pool = event(&json!({
            "message": "block found", "hash": "00ab", "height": 7, "user": "translator",
            "kind": "extended"
        }));
        let found = found_block("pool-sv2", &at_pool).unwrap();
        assert!(narrator.finder(&found).starts_with("old-miner (Stratum V1"));
    }

    #[test]
    fn trouble_is_always_told_and_small_talk_is_not() {
        let mut narrator = Narrator::default();
        let lost = event(&json!({ "level": "WARN", "message": "node lost", "reason": "gone" }));
        let told = narrator.tell("template-provider", &lost).unwrap();
        assert!(told.contains("node lost reason=gone"), "{told}");
        let talk = event(&json!({ "message": "client set up" }));
        assert_eq!(narrator.tell("template-provider", &talk), None);
    }

    #[test]
    fn a_brief_hash_keeps_its_zeros_and_both_ends() {
        let hash = "0000abcdef0123456789abcdef0123456789abcdef0123456789abcdef012345";
        assert_eq!(brief(hash), "0000abcdef..012345");
    }
}
