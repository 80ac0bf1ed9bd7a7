//! One slot: a task of its own keeps the newest h* of its source, for whoever makes a template.
//!
//! An h* is used for the tip that it was asked for and for no other. Nothing here is waited for by
//! anybody: what is not known when a template is made is left out of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::hash;
use service::clock;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::absence::Absence;
use super::config::{ByteOrder, SourceSettings};
use super::counts::Counts;
use super::source::{Answer, AskError, Source, reversed};

/// How often a source that changes its mind while the tip stays may have the template published
/// anew: each is a new job for every miner. The last word gets its turn when the time is over.
const REPUBLISH_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// Told when a template made now would hold what the last one does not.
pub type Republish = Arc<Notify>;

/// An h* that may stand in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// As the bytes stand in M7.
    pub h_star: [u8; 32],
    /// When the source gave it.
    pub at: Instant,
    /// The side block, where it must be given back once its main block is accepted.
    pub block: Option<Arc<str>>,
}

/// What is known of a source, for one tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The tip that it was asked for.
    pub prev_hash: [u8; 32],
    /// What it said.
    pub said: Result<Known, Absence>,
}

/// What the task of a slot is told, and where it tells what.
#[derive(Debug)]
pub struct Told {
    /// The tip; the task ends with its sender.
    pub tips: watch::Receiver<Option<[u8; 32]>>,
    /// For news.
    pub republish: Republish,
    /// For `/metrics`.
    pub counts: Counts,
}

/// What the source of a slot said last; follows the tip until that is no longer told.
#[derive(Debug, Clone)]
pub struct Watched(watch::Receiver<Option<Latest>>);

impl Watched {
    /// Starts the task that asks `source`.
    pub fn start(slot: u8, settings: SourceSettings, told: Told) -> Self {
        let (latest, watched) = watch::channel(None);
        let source = Source::new(slot, &settings);
        let Told { tips, republish, counts } = told;
        let (trouble, known_at) = (None, clock::now());
        let keeper =
            Keeper { slot, settings, source, latest, republish, counts, trouble, known_at };
        tokio::spawn(keeper.keep(tips));
        Self(watched)
    }

    /// What may stand in a block on `prev_hash`.
    pub fn for_tip(&self, prev_hash: &[u8; 32]) -> Result<Known, Absence> {
        match &*self.0.borrow() {
            Some(latest) if latest.prev_hash == *prev_hash => latest.said.clone(),
            _ => Err(Absence::Waiting),
        }
    }

    /// What the source says next, whatever the tip.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Result<Known, Absence> {
        self.0.changed().await.unwrap();
        self.0.borrow_and_update().clone().unwrap().said
    }
}

/// The task of a slot.
struct Keeper {
    slot: u8,
    settings: SourceSettings,
    source: Source,
    latest: watch::Sender<Option<Latest>>,
    republish: Republish,
    counts: Counts,
    /// When the source gave its last good h*; at first, when it was asked for the first time.
    known_at: Instant,
    /// What people were told last; `None` while all is well.
    trouble: Option<Absence>,
}

impl Keeper {
    /// Asks again and again, and at once when the tip moves, until nobody tells the tip any more.
    async fn keep(mut self, mut tips: watch::Receiver<Option<[u8; 32]>>) {
        let (mut told, mut told_at) = (None, None::<Instant>);
        loop {
            let Some(prev_hash) = *tips.borrow_and_update() else {
                if tips.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                biased;
                changed = tips.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = self.ask_once(prev_hash) => {}
            }
            self.counts.last_known(self.slot, self.known_at);
            let known = self.known(&prev_hash).map(|h_star| (prev_hash, h_star));
            let is_first = told.is_none_or(|(tip, _)| tip != prev_hash);
            let is_due = told_at.is_none_or(|at| clock::now() >= at + REPUBLISH_INTERVAL_MIN);
            if known.is_some() && known != told && (is_first || is_due) {
                (told, told_at) = (known, Some(clock::now()));
                self.republish.notify_one();
            }
            tokio::select! {
                changed = tips.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(self.settings.poll) => {}
            }
        }
    }

    fn known(&self, prev_hash: &[u8; 32]) -> Option<[u8; 32]> {
        let latest = self.latest.borrow();
        let latest = latest.as_ref().filter(|latest| latest.prev_hash == *prev_hash)?;
        latest.said.as_ref().ok().map(|known| known.h_star)
    }

    async fn ask_once(&mut self, prev_hash: [u8; 32]) {
        let deadline = self.settings.deadline;
        let answer = match timeout(deadline, self.source.ask(prev_hash)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::TimedOut(deadline)),
        };
        match answer {
            Ok(answer) => {
                let said = self.judge(answer, &prev_hash);
                self.known_at = said.as_ref().map_or(self.known_at, |known| known.at);
                self.tell(said.as_ref().err().copied(), &prev_hash, "");
                self.latest.send_replace(Some(Latest { prev_hash, said }));
            }
            Err(error) => {
                self.tell(Some(Absence::Failed), &prev_hash, &error.to_string());
                // What it said before of this tip still holds.
                if self.known(&prev_hash).is_none() {
                    let said = Err(Absence::Failed);
                    self.latest.send_replace(Some(Latest { prev_hash, said }));
                }
            }
        }
    }

    fn judge(&self, answer: Answer, prev_hash: &[u8; 32]) -> Result<Known, Absence> {
        let Answer { h_star, prev_hash: made_for, block } = answer;
        if made_for.is_some_and(|made_for| made_for != *prev_hash) {
            return Err(Absence::Stale);
        }
        if h_star == [0; 32] {
            return Err(Absence::Zero);
        }
        let h_star = match self.settings.byte_order {
            ByteOrder::AsIs => h_star,
            ByteOrder::Reversed => reversed(h_star),
        };
        Ok(Known { h_star, at: clock::now(), block })
    }

    /// Says it once, when it changes.
    fn tell(&mut self, trouble: Option<Absence>, prev_hash: &[u8; 32], error: &str) {
        let (slot, prev_hash) = (self.slot, hash::display(prev_hash));
        if std::mem::replace(&mut self.trouble, trouble) == trouble {
            return;
        }
        match trouble {
            None => info!(slot, %prev_hash, "side block found"),
            // A sidechain sees a new tip a moment after us.
            Some(Absence::Stale) => {
                debug!(slot, %prev_hash, "side block is for another tip; none is mined");
            }
            Some(absence) => {
                let reason = absence.label();
                warn!(slot, %prev_hash, reason, error, "no side block to mine");
            }
        }
    }
}

#[cfg(test)]
mod tests;
