//! The texts: what a miner reads on a phone.

use super::config::{AlertKind, Wording};
use super::fact::Fact;
use super::workers::{Silent, WorkerNews};

/// Lines of each kind; the rest is counted.
const LINES_MAX: usize = 6;
/// Characters of a whole message. A title stands before it, and a service takes 2,000.
const CHARACTERS_MAX: usize = 1_000;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The same for the same message, however often it is sent.
    pub(super) id: String,
    pub(super) title: String,
    kinds: Vec<AlertKind>,
    lines: Vec<String>,
    /// Where there is more of it.
    pub(super) link: Option<String>,
}

impl Message {
    /// What has happened, in one message.
    pub(super) fn of(id: String, facts: &[Fact], workers: &WorkerNews, wording: &Wording) -> Self {
        let mut kinds: Vec<AlertKind> = Vec::new();
        let of_workers = (!workers.is_empty()).then_some(AlertKind::WorkerOffline);
        for kind in facts.iter().map(Fact::kind).chain(of_workers) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let mut titles: Vec<_> =
            kinds.iter().filter_map(|kind| title(*kind, facts, wording)).collect();
        let mut lines = Vec::new();
        for kind in &kinds {
            let of_kind: Vec<_> = facts.iter().filter(|fact| fact.kind() == *kind).collect();
            lines.extend(listed(&of_kind, |fact| fact.line(wording)));
        }
        if let [Fact::BlockFound { .. }] = facts {
            lines.push("It counts once the chain has built on it.".to_owned());
        }
        titles.extend(workers.title());
        lines.extend(listed(&workers.offline, Silent::offline_line));
        lines.extend(listed(&workers.back, Silent::back_line));
        let link = wording.public_url.as_ref().map(|base| match kinds.as_slice() {
            [AlertKind::WorkerOffline] => workers.link(base),
            _ => format!("{base}/"),
        });
        Self { id, title: titles.join(", "), kinds, lines, link }
    }

    /// The one that a person asks for.
    pub(super) fn test(id: String, name: &str, wording: &Wording) -> Self {
        let line = format!("The alerts of {name} on {} reach you here.", wording.chain);
        let link = wording.public_url.as_ref().map(|base| format!("{base}/"));
        let title = "Adit: a test".to_owned();
        Self { id, title, kinds: Vec::new(), lines: vec![line], link }
    }

    /// Of what it is, by the names of the settings.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|kind| kind.name()).collect()
    }

    /// All but title and link.
    pub(super) fn text(&self) -> String {
        let text = self.lines.join("\n");
        match text.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }

    /// All but the title.
    pub(super) fn text_with_link(&self) -> String {
        let text = self.text();
        match &self.link {
            Some(link) => format!("{text}\n{link}"),
            None => text,
        }
    }

    /// All of it.
    pub(super) fn whole(&self) -> String {
        format!("{}\n{}", self.title, self.text_with_link())
    }

    /// A sign for it, by the names that ntfy has.
    pub(super) fn tag(&self) -> &'static str {
        match self.kinds.first() {
            Some(AlertKind::BlockFound) => "pick",
            Some(AlertKind::BlockOrphaned) => "warning",
            Some(AlertKind::PayoutSent) => "moneybag",
            Some(AlertKind::WorkerOffline) => "electric_plug",
            None => "white_check_mark",
        }
    }
}

fn title(kind: AlertKind, facts: &[Fact], wording: &Wording) -> Option<String> {
    let mut of_kind = facts.iter().filter(|fact| fact.kind() == kind);
    let first = of_kind.next()?;
    match of_kind.count() {
        0 => Some(first.title(wording)),
        more => {
            let what = match kind {
                AlertKind::BlockFound => "blocks found",
                AlertKind::BlockOrphaned => "blocks orphaned",
                AlertKind::PayoutSent => "payouts sent",
                AlertKind::WorkerOffline => return None,
            };
            Some(format!("{} {what} on {}", more + 1, wording.chain))
        }
    }
}

/// A line for each of the first, and one for how many more there are.
fn listed<T>(all: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<_> = all.iter().take(LINES_MAX).map(line).collect();
    if let Some(more) = all.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more."));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::alerts::words::miner;

    fn wording() -> Wording {
        let public_url = Some("https://pool.example".to_owned());
        Wording { chain: "Bitcoin".to_owned(), symbol: "BTC".to_owned(), public_url }
    }

    fn block(height: u32, account: &str) -> Fact {
        Fact::BlockFound {
            hash: [1; 32],
            height: Some(height),
            value: 312_500_000,
            finder: miner(account, "rig"),
        }
    }

    fn message(facts: &[Fact], workers: &WorkerNews) -> Message {
        Message::of("1".to_owned(), facts, workers, &wording())
    }

    #[test]
    fn a_block_is_told_with_chain_height_reward_finder_and_link() {
        let message = message(&[block(867_530, "alice")], &WorkerNews::default());
        assert_eq!(message.title, "Block 867530 found on Bitcoin");
        assert_eq!(
            message.text(),
            "Block 867530: 3.125 BTC, found by alice.rig.\n\
             It counts once the chain has built on it."
        );
        assert_eq!(message.link.as_deref(), Some("https://pool.example/"));
        assert_eq!((message.kinds(), message.tag()), (vec!["block_found"], "pick"));
    }

    #[test]
    fn many_things_are_one_message_of_bounded_length() {
        let facts: Vec<_> = (0..40).map(|height| block(height, "alice")).collect();
        let worker = |number: u32| Silent {
            account: "x".repeat(60),
            worker: format!("rig{number}"),
            last_ms: 0,
            silent_ms: 600_000,
        };
        let offline: Vec<_> = (0..500).map(worker).collect();
        let workers = WorkerNews { offline, back: vec![worker(900)] };
        let message = message(&facts, &workers);
        assert_eq!(message.title, "40 blocks found on Bitcoin, 500 workers offline, 1 back");
        let text = message.text();
        assert!(text.contains("and 34 more.") && text.contains("and 494 more."), "{text}");
        assert!(text.contains("xxxxxxxx…xxxxxxxx.rig5"), "{text}");
        assert!(message.whole().chars().count() < 2_000);
    }
}
