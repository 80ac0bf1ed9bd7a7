//! Judges what the node offers and publishes what is worth it to all clients at once.

use std::sync::Arc;
use std::time::Instant;

use service::clock;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, error};

use crate::block_template::BlockTemplate;
use crate::node::watch::Offered;
use crate::templates::build::{self, Extensions};
use crate::templates::freshness::{self, Freshness, Present};
use crate::templates::store::{Offer, Place, Store};

/// What the publisher works with.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Learns when a tip is left.
    pub(super) store: Arc<Store>,
    /// Where the offers go.
    pub(super) offers: watch::Sender<Option<Arc<Offer>>>,
    /// How much more a template must pay before clients get it, in satoshis.
    pub(super) fee_delta_sats: u64,
    /// What else stands in the coinbase.
    pub(super) extensions: Extensions,
    /// Told by who has something new for an extension: the node's last template is built anew, and
    /// published under the same tip if that makes another coinbase of it.
    pub(super) news: Arc<Notify>,
}

/// What the publisher remembers.
struct State {
    /// When the first answer of the node with the present tip had come.
    tip_seen_at: Instant,
    /// The node's last template that was not outdated, published or not.
    latest: Option<Latest>,
}

/// Why a template is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Everybody must leave the old work.
    NewTip,
    /// It is better than what stands published.
    Better,
    /// Another extension's outputs may stand in it.
    News,
}

#[derive(Clone)]
struct Latest {
    block: Arc<BlockTemplate>,
    answered_at: Instant,
}

impl Publisher {
    /// Publishes until the node's watch ends.
    pub(super) async fn run(self, mut offered: mpsc::Receiver<Offered>) {
        let mut state = State { tip_seen_at: clock::now(), latest: None };
        loop {
            tokio::select! {
                next = offered.recv() => match next {
                    Some(next) => self.take(&mut state, next),
                    None => return,
                },
                () = self.news.notified() => self.build_anew(&mut state),
            }
        }
    }

    fn take(&self, state: &mut State, offered: Offered) {
        let Offered { template, asked_at, answered_at, .. } = offered;
        let last = self.offers.borrow().clone();
        let verdict = self.judge(state, last.as_deref(), &template, asked_at.into_std());
        let cause = match verdict {
            Freshness::Outdated => return debug!("template of a left tip discarded"),
            Freshness::NoGain if template.is_stopgap => return debug!("late stopgap discarded"),
            Freshness::NoGain => None,
            Freshness::NewTip => Some(Cause::NewTip),
            Freshness::Fuller | Freshness::PaysMore | Freshness::OtherMessages => {
                Some(Cause::Better)
            }
        };
        let block = Arc::new(template);
        let latest = Latest { block, answered_at: answered_at.into_std() };
        state.latest = Some(latest.clone());
        if let Some(cause) = cause {
            self.publish(state, &latest, cause, last.as_deref());
        }
    }

    fn judge(
        &self,
        state: &State,
        last: Option<&Offer>,
        template: &BlockTemplate,
        asked_at: Instant,
    ) -> Freshness {
        let tip_seen_at = state.tip_seen_at;
        let present = last.map(|last| Present { template: &last.block, tip_seen_at });
        freshness::judge(present, template, asked_at, self.fee_delta_sats)
    }

    /// Asks the extensions again.
    fn build_anew(&self, state: &mut State) {
        let Some(latest) = state.latest.clone() else { return };
        let last = self.offers.borrow().clone();
        // It may never have been published, for want of what a mandatory extension has only now.
        let cause = match self.judge(state, last.as_deref(), &latest.block, clock::now()) {
            Freshness::NewTip => Cause::NewTip,
            _ => Cause::News,
        };
        self.publish(state, &latest, cause, last.as_deref());
    }

    /// Publishes `latest`, unless nothing can be mined on it, or news made nothing else of it.
    fn publish(&self, state: &mut State, latest: &Latest, cause: Cause, last: Option<&Offer>) {
        let block = &latest.block;
        self.extensions.iter().for_each(|extension| extension.tip_moved(block.prev_hash));
        let whole = match build::build(block, &self.extensions) {
            Ok(whole) => Arc::new(whole),
            Err(error) => {
                return error!(height = block.height, %error, "template not published");
            }
        };
        if cause == Cause::News && last.is_some_and(|last| last.whole == whole) {
            return;
        }
        let is_new_tip = cause == Cause::NewTip;
        let now = clock::now();
        let (number, tip) = last.map_or((0, 0), |last| (last.number, last.tip));
        let tip = tip + u64::from(is_new_tip);
        if is_new_tip {
            self.store.tip_moved(now, tip);
        }
        if last.map(|last| last.block.prev_hash) != Some(block.prev_hash) {
            // Not now: the watch may have asked on since it was answered. And not for another
            // difficulty, to which no long poll wakes.
            state.tip_seen_at = latest.answered_at;
        }
        let fees = whole.fees;
        debug!(height = block.height, fees, new_tip = is_new_tip, "template published");
        let place = Place { number: number + 1, tip, published_at: now };
        let extensions = Arc::clone(&self.extensions);
        let offer = Offer::new(place, Arc::clone(block), extensions, whole);
        self.offers.send_replace(Some(Arc::new(offer)));
    }
}

#[cfg(test)]
mod tests;
