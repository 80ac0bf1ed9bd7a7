//! Turns templates into work, and takes the work back when it has been worth nothing for too long.

use std::sync::Arc;
use std::time::Duration;

use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::template::{ChainTip, Template};
use service::advice;
use service::clock;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::providers::Providers;
use crate::accounting::bookkeeper::Shelf;
use crate::payout::Payout;
use crate::payout::identity::Payee;
use crate::template_receiver::choice::Choice;
use crate::template_receiver::supervise::{News, Update};
use crate::work::Work;

/// Without news, the same template is sent again with a later nTime, for miners that take silence
/// for a dead pool (miner-clients rules 16 and 37).
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Payload bytes of a job that small devices read (miner-clients rule 35). What the pool adds is
/// far below; a template's outputs may not be, and a block is worth more than those devices.
const FIRMWARE_PAYLOAD_BYTES_MAX: usize = 8_192;
/// Merkle branches of a job that small devices read; 16,000 transactions make 14.
const FIRMWARE_BRANCHES_MAX: usize = 20;

/// Turns templates into work.
pub(super) struct WorkMaker {
    pub(super) choice: Choice,
    /// How long miners keep their work without a provider.
    pub(super) work_without_provider: Duration,
    pub(super) payout: Arc<Payout>,
    /// Who may claim what; none where no block is shared.
    pub(super) shelf: Option<Shelf>,
    pub(super) extranonces: ExtranonceAllocator,
    pub(super) work: watch::Sender<Option<Arc<Work>>>,
    pub(super) providers: Providers,
    /// When the work is taken back, while there is no provider.
    pub(super) served_until: Option<Instant>,
    /// The epoch of the present tip's extranonces.
    pub(super) tip_epoch: u64,
}

impl WorkMaker {
    /// Runs until `shutdown`, or until no provider is left to hear of.
    pub(super) async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update>,
        shutdown: CancellationToken,
    ) {
        let mut keepalive = Instant::now() + KEEPALIVE;
        let mut news = self.shelf.as_ref().map(Shelf::news);
        loop {
            let served_until = self.served_until;
            let next_look = self.choice.next_look().map(Instant::from_std);
            // Only what reached the miners counts against their silence.
            let is_heard = tokio::select! {
                () = shutdown.cancelled() => return,
                update = updates.recv() => match update {
                    Some(update) => self.take(update).await,
                    None => return,
                },
                () = sleep_until(keepalive) => {
                    self.repeat().await;
                    true
                }
                // What is out pays debts that may be paid, or none that could be.
                () = heard(&mut news) => {
                    self.repeat().await;
                    true
                }
                () = clock::until(served_until) => self.give_up(),
                () = clock::until(next_look) => self.look().await,
            };
            if is_heard {
                keepalive = Instant::now() + KEEPALIVE;
            }
        }
    }

    /// No provider for too long: what miners do is worth nothing, and only a closed connection
    /// sends them to their next pool.
    fn give_up(&mut self) -> bool {
        self.served_until = None;
        warn!("no template provider for too long: miners are sent to their next pool");
        self.work.send_replace(None);
        false
    }

    /// A provider has been behind the chain for too long, perhaps. True if there is other work.
    async fn look(&mut self) -> bool {
        let Some((tip, template)) = self.choice.look(clock::now()) else {
            return false;
        };
        warn!("the template provider in use stands still while another goes on: it is passed over");
        self.providers.changed(self.choice.chosen());
        self.publish(tip, template).await
    }

    /// True if it became work.
    async fn take(&mut self, update: Update) -> bool {
        let Update { provider, news } = update;
        let mineable = match news {
            News::Found => None,
            News::Lost(reason) => {
                let other = self.choice.lose(provider, clock::now());
                self.providers.heard(provider, Err(reason), self.choice.chosen());
                if !self.choice.is_served() {
                    let bound = Instant::now() + self.work_without_provider;
                    self.served_until = self.served_until.or(Some(bound));
                }
                other
            }
            News::Template(mineable) => {
                self.served_until = None;
                let chosen = self.choice.take(provider, mineable, clock::now());
                self.providers.heard(provider, Ok(()), self.choice.chosen());
                chosen
            }
        };
        match mineable {
            Some((tip, template)) => self.publish(tip, template).await,
            None => false,
        }
    }

    async fn publish(&mut self, tip: Arc<ChainTip>, template: Arc<Template>) -> bool {
        let before = self.work.borrow().as_ref().map(|work| Arc::clone(&work.job.tip));
        let tip = match before {
            // The same block announced again, by a provider that came back say, is no new tip:
            // shares on their way to it are not stale.
            Some(before) if before.is_same_work(&tip) => {
                debug!(template = template.id, value = template.value_remaining, "new template");
                before
            }
            _ => {
                let prev_hash = mining::hash::display(&tip.hash);
                info!(%prev_hash, height = template.height(), template = template.id, "new tip");
                self.tip_epoch = self.extranonces.tip_moved();
                tip
            }
        };
        if let Err(error) = self.payout.check_chain(tip.nbits) {
            error!(code = advice::NOTHING_MINED, %error, "nothing is mined on this chain");
            return false;
        }
        let outputs = self.payout.outputs(&Payee::Pool, template.value_remaining);
        match Job::new(tip, template, self.payout.tag(), &outputs) {
            Ok(job) => self.send(Arc::new(job)).await,
            Err(error) => {
                error!(code = advice::TEMPLATE_UNUSABLE,
                    %error, "template not usable: miners keep the work before it");
                false
            }
        }
    }

    /// The same job again, with an nTime that it was not sent with before, not even to a channel
    /// that was opened this second: devices begin at the first nonce.
    async fn repeat(&self) {
        let before = self.work.borrow().clone();
        if let Some(before) = before {
            let after = clock::unix_now_seconds().max(before.ntime).saturating_add(1);
            self.send_from(Arc::clone(&before.job), after).await;
        }
    }

    async fn send(&self, job: Arc<Job>) -> bool {
        let branches = job.template.merkle_path.len();
        let is_sent = self.send_from(job, clock::unix_now_seconds()).await;
        let bytes = self.work.borrow().as_ref().map_or(0, |work| work.active_job.payload_len());
        if is_sent && (bytes > FIRMWARE_PAYLOAD_BYTES_MAX || branches > FIRMWARE_BRANCHES_MAX) {
            warn!(bytes, branches, "small devices with an extended channel cannot read this job");
        }
        is_sent
    }

    async fn send_from(&self, job: Arc<Job>, unix_now: u32) -> bool {
        let window = self.payout.window(job.tip.target);
        let sharing = match &self.shelf {
            Some(shelf) => Some(shelf.sharing(window).await),
            None => None,
        };
        match Work::new(job, self.tip_epoch, unix_now, clock::now()) {
            Ok(work) => {
                let before = self.work.borrow().clone();
                let payout = Arc::clone(&self.payout);
                let work = work.for_miners(payout, sharing, before.as_deref());
                self.work.send_replace(Some(Arc::new(work)));
                true
            }
            Err(error) => {
                error!(code = advice::TEMPLATE_UNUSABLE,
                    %error, "template not usable: miners keep the work before it");
                false
            }
        }
    }
}

/// Waits until the books say that jobs should be made anew; for ever where there are none.
async fn heard(news: &mut Option<watch::Receiver<u64>>) {
    let changed = match news {
        Some(news) => news.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
