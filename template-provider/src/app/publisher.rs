//! Judges what the node offers and publishes what is worth it to all clients at once.

use std::sync::Arc;
use std::time::Instant;

use service::clock;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error};

use crate::block_template::BlockTemplate;
use crate::node::watch::Offered;
use crate::templates::build::{self, Extensions};
use crate::templates::freshness::{self, Freshness, Present};
use crate::templates::store::{Offer, Store};

/// Publishes until the node's watch ends.
pub(super) async fn publish(
    mut offered: mpsc::Receiver<Offered>,
    store: Arc<Store>,
    offers: watch::Sender<Option<Arc<Offer>>>,
    fee_delta_sats: u64,
    extensions: Extensions,
) {
    let mut tip_seen_at = clock::now();
    while let Some(Offered { template, asked_at, answered_at }) = offered.recv().await {
        let last = offers.borrow().clone();
        let present = last.as_deref().map(|last| Present { template: &last.block, tip_seen_at });
        match freshness::judge(present, &template, asked_at.into_std(), fee_delta_sats) {
            Freshness::Outdated => debug!("template of a left tip discarded"),
            Freshness::NoGain => {}
            verdict => {
                let is_new_tip = verdict == Freshness::NewTip;
                let block = last.as_deref().map(|last| last.block.prev_hash);
                let is_other_block = block != Some(template.prev_hash);
                let now = clock::now();
                if publish_one(
                    now,
                    template,
                    is_new_tip,
                    last.as_deref(),
                    &store,
                    &offers,
                    &extensions,
                ) && is_other_block
                {
                    // Not now: the watch may have asked on since it was answered. And not for
                    // another difficulty, to which no long poll wakes.
                    tip_seen_at = answered_at.into_std();
                }
            }
        }
    }
}

/// False if the template cannot be mined on.
fn publish_one(
    now: Instant,
    block: BlockTemplate,
    is_new_tip: bool,
    last: Option<&Offer>,
    store: &Store,
    offers: &watch::Sender<Option<Arc<Offer>>>,
    extensions: &Extensions,
) -> bool {
    let whole = match build::build(&block, extensions) {
        Ok(whole) => Arc::new(whole),
        Err(error) => {
            error!(height = block.height, %error, "template not published");
            return false;
        }
    };
    let (number, tip) = last.map_or((0, 0), |last| (last.number, last.tip));
    let tip = tip + u64::from(is_new_tip);
    if is_new_tip {
        store.tip_moved(now, tip);
    }
    debug!(height = block.height, fees = whole.fees, new_tip = is_new_tip, "template published");
    offers.send_replace(Some(Arc::new(Offer {
        number: number + 1,
        tip,
        block,
        extensions: Arc::clone(extensions),
        whole,
        published_at: now,
    })));
    true
}

#[cfg(test)]
mod tests;
