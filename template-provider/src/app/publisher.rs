//! Judges what the node offers and publishes what is worth it to all clients at once.
//!
//! What it published it shows to the node afterwards, and publishes less if the node would refuse
//! blocks of it.

mod alarm;
mod inquiry;

use std::sync::Arc;
use std::time::Instant;

use service::advice;
use service::clock;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, error};

use super::rooms::Rooms;
use crate::block_template::BlockTemplate;
use crate::coinbase::bmm::guard::Guard;
use crate::node::Node;
use crate::node::watch::Offered;
use crate::templates::build::Extensions;
use crate::templates::draft::{Draft, parts};
use crate::templates::fallback::{Fallback, Fullness, Question, Step};
use crate::templates::freshness::{self, Asked, Freshness, Present};
use crate::templates::store::{Offer, Store};
pub(super) use alarm::Alarm;
use inquiry::{Answered, Heard, Inquiry};

/// What the publisher works with.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Learns when a tip is left.
    pub(super) store: Arc<Store>,
    /// Where the offers go.
    pub(super) offers: watch::Sender<Option<Arc<Offer>>>,
    /// How much more a template must pay before clients get it, in satoshis.
    pub(super) fee_delta_sats: u64,
    /// Looks at the node's templates first.
    pub(super) guard: Guard,
    /// What else stands in the coinbase.
    pub(super) extensions: Extensions,
    /// Told by who has something new for an extension: the node's last template is built anew, and
    /// published under the same tip if that makes another coinbase of it.
    pub(super) news: Arc<Notify>,
    /// Who is asked what blocks of the templates would be worth, by priority.
    pub(super) nodes: Arc<[Node]>,
    /// What clients reserve.
    pub(super) rooms: Rooms,
    /// Who is told when a node would refuse them.
    pub(super) alarm: Alarm,
}

/// What the publisher remembers.
struct State {
    /// The node's last template that was not outdated, published or not.
    latest: Option<Latest>,
    /// What is left out on the present tip; `None` before the first.
    fallback: Option<Fallback>,
    /// True once a template of the present tip was shown to the node, other than a stopgap.
    is_shown: bool,
    inquiry: Inquiry,
}

#[derive(Clone)]
struct Latest {
    block: Arc<BlockTemplate>,
    /// When the first answer of the node with its tip had come.
    tip_seen_at: Instant,
    /// See `Offer::tip_heard_at`.
    tip_heard_at: Option<Instant>,
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

impl Publisher {
    /// Publishes until the node's watch ends.
    pub(super) async fn run(self, mut offered: mpsc::Receiver<Offered>) {
        let inquiry = Inquiry::new(Arc::clone(&self.nodes));
        let mut state = State { latest: None, fallback: None, is_shown: false, inquiry };
        loop {
            tokio::select! {
                next = offered.recv() => match next {
                    Some(next) => self.take(&mut state, next),
                    None => return,
                },
                () = self.news.notified() => self.build_anew(&mut state),
                answered = state.inquiry.answered() => self.conclude(&mut state, answered),
            }
        }
    }

    fn take(&self, state: &mut State, offered: Offered) {
        let Offered { template, asked_at, answered_at, tip_heard_at } = offered;
        let height = template.height;
        let template = match self.guard.apply(template) {
            Ok(template) => template,
            Err(error) => {
                return error!(code = advice::TEMPLATE_REFUSED,
                    height, %error, "template not published");
            }
        };
        let tip_heard_at = tip_heard_at.map(tokio::time::Instant::into_std);
        let asked = Asked { at: asked_at.into_std(), tip_heard_at };
        let cause = match self.judge(state, &template, asked) {
            Freshness::Outdated => return debug!("template of a left tip discarded"),
            Freshness::NoGain if template.is_stopgap => return debug!("late stopgap discarded"),
            Freshness::NoGain => None,
            Freshness::NewTip => Some(Cause::NewTip),
            Freshness::Fuller | Freshness::PaysMore | Freshness::OtherMessages => {
                Some(Cause::Better)
            }
        };
        let tip_seen_at = match &state.latest {
            // Not for another difficulty, to which no long poll wakes.
            Some(last) if last.block.prev_hash == template.prev_hash => last.tip_seen_at,
            // Not now: the watch may have asked on since it was answered.
            _ => answered_at.into_std(),
        };
        let latest = Latest { block: Arc::new(template), tip_seen_at, tip_heard_at };
        state.latest = Some(latest.clone());
        if let Some(cause) = cause {
            self.renew(state, &latest, cause);
        }
    }

    fn judge(&self, state: &State, template: &BlockTemplate, asked: Asked) -> Freshness {
        let last = self.offers.borrow().clone();
        let present = last.as_deref().zip(state.latest.as_ref()).map(|(last, latest)| Present {
            template: &last.block,
            tip: latest.block.prev_hash,
            height: latest.block.height,
            tip_seen_at: latest.tip_seen_at,
        });
        freshness::judge(present, template, asked, self.fee_delta_sats)
    }

    /// Asks the extensions again.
    fn build_anew(&self, state: &mut State) {
        let Some(latest) = state.latest.clone() else { return };
        // It may never have been published, for want of what a mandatory extension has only now.
        let asked = Asked { at: clock::now(), tip_heard_at: latest.tip_heard_at };
        let cause = match self.judge(state, &latest.block, asked) {
            Freshness::NewTip => Cause::NewTip,
            _ => Cause::News,
        };
        self.renew(state, &latest, cause);
    }

    /// Makes what it can of `latest`.
    fn renew(&self, state: &mut State, latest: &Latest, cause: Cause) {
        let prev_hash = latest.block.prev_hash;
        self.extensions.iter().for_each(|extension| extension.tip_moved(prev_hash));
        let parts = parts(&latest.block, &self.extensions);
        if cause == Cause::NewTip {
            // Now, for there may be nothing to publish: what is said of the old tip is none of it.
            state.fallback = None;
            state.is_shown = false;
            state.inquiry.forget();
        }
        let step = match &mut state.fallback {
            Some(fallback) => fallback.renewed(parts),
            None => Step::Publish(Fullness::WHOLE),
        };
        let Step::Publish(fullness) = step else { return self.carry_out(state, step) };
        let Some(draft) = self.draft(latest, fullness) else { return };
        if cause == Cause::News && self.stands(&draft) {
            return;
        }
        self.publish(state, &draft, cause == Cause::NewTip);
        state.fallback.get_or_insert_with(|| Fallback::new_tip(parts));
        // What pays more was made by the node in the same way as the one that was shown.
        let is_new = cause != Cause::Better || !state.is_shown;
        if is_new && !latest.block.is_stopgap {
            state.is_shown = true;
            let question = Question { fullness, is_published: true };
            state.inquiry.ask(question, draft, self.rooms.widest());
        }
    }

    /// True if nothing else is published than this.
    fn stands(&self, draft: &Draft) -> bool {
        self.offers.borrow().as_ref().is_some_and(|last| last.whole == draft.whole)
    }

    fn draft(&self, latest: &Latest, fullness: Fullness) -> Option<Arc<Draft>> {
        match Draft::with(&latest.block, &self.extensions, fullness) {
            Ok(draft) => Some(Arc::new(draft)),
            Err(error) => {
                let height = latest.block.height;
                error!(code = advice::TEMPLATE_REFUSED,
                    height, %error, fullness = fullness.described(), "template not published");
                None
            }
        }
    }

    /// Draws the conclusion from what the node said.
    fn conclude(&self, state: &mut State, answered: Answered) {
        let Answered { question, draft, heard } = answered;
        let Some(fallback) = &mut state.fallback else { return };
        let step = match &heard {
            Heard::Accepted => fallback.accepted(question),
            Heard::Refused(_) => fallback.refused(question),
            Heard::Nothing => Step::Rest,
        };
        let stands = fallback.stands();
        // A node that could not say anything may be able to the next time.
        state.is_shown = heard != Heard::Nothing;
        self.alarm.heard(question, &heard, stands);
        match step {
            Step::Release => self.publish(state, &draft, false),
            step => self.carry_out(state, step),
        }
    }

    /// What does not work out counts as refused, so that this ends when there is nothing left.
    fn carry_out(&self, state: &mut State, mut step: Step) {
        let Some(latest) = state.latest.clone() else { return };
        loop {
            let (fullness, is_published) = match step {
                Step::Publish(fullness) => (fullness, true),
                Step::Try(fullness) => (fullness, false),
                Step::Rest | Step::Release | Step::Helpless => return,
            };
            let question = Question { fullness, is_published };
            if let Some(draft) = self.draft(&latest, fullness) {
                if is_published || !state.inquiry.is_possible() {
                    self.publish(state, &draft, false);
                }
                return state.inquiry.ask(question, draft, self.rooms.widest());
            }
            let Some(fallback) = &mut state.fallback else { return };
            step = fallback.refused(question);
        }
    }

    fn publish(&self, state: &State, draft: &Arc<Draft>, is_new_tip: bool) {
        let now = clock::now();
        let last = self.offers.borrow().clone();
        let (number, tip) = last.as_ref().map_or((0, 0), |last| (last.number, last.tip));
        let tip = tip + u64::from(is_new_tip);
        if is_new_tip {
            self.store.tip_moved(now, tip);
        }
        let block = &draft.block;
        let mut tip_heard_at = None;
        if last.as_ref().map(|last| last.block.prev_hash) != Some(block.prev_hash) {
            let latest = state.latest.as_ref().filter(|_| last.is_some());
            tip_heard_at = latest.and_then(|latest| latest.tip_heard_at);
        }
        let fees = draft.whole.fees;
        debug!(height = block.height, fees, new_tip = is_new_tip, "template published");
        let draft = Arc::clone(draft);
        let offer = Offer { number: number + 1, tip, published_at: now, tip_heard_at, draft };
        self.offers.send_replace(Some(Arc::new(offer)));
    }
}

#[cfg(test)]
mod tests;
