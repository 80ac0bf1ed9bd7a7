//! Offers an empty template when a tip is known and the node's own template for it is late.
//!
//! A node may think for a second or more about a full template, while its miners dig at a tip that
//! was left. Whether an empty one can be made is decided in `stopgap`; here is what must be asked,
//! on a connection that nothing else waits for.

use std::time::Duration;

use mining::hash::display;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::answer::UnusableTemplate;
use super::sentry::{AskError, Post};
use super::stopgap::{Basis, Chain, Stopgaps, Tip, WhyNot, period_start};
use super::tip::{SeenTip, Signal};
use super::watch::Source;
use crate::block_template::BlockTemplate;
use rpc::{Rpc, RpcError};

/// How long the node may think about a header. One that takes longer is as busy as with the
/// template itself.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why there is no stopgap for a tip.
#[derive(Debug, thiserror::Error)]
enum NoStopgap {
    #[error(transparent)]
    Unknown(#[from] AskError),
    #[error(transparent)]
    WhyNot(#[from] WhyNot),
    #[error("the node gave no template yet")]
    NoTemplateYet,
}

impl From<RpcError> for NoStopgap {
    fn from(error: RpcError) -> Self {
        Self::Unknown(error.into())
    }
}

/// What was asked once of a node.
struct Asker {
    rpc: Rpc,
    chain: Option<Chain>,
    /// Height and nBits of the period's first block.
    period: Option<(u32, u32)>,
}

#[derive(Deserialize)]
struct Header {
    height: u32,
    bits: String,
    mediantime: u32,
    confirmations: i64,
}

/// Watches for tips without a template; ends when nobody takes templates any more.
pub(super) async fn offer_stopgaps(post: &Post, source: &Source) {
    let Stopgaps::After(patience) = post.node.stopgaps else { return std::future::pending().await };
    let mut seen = post.sight.subscribe();
    let mut asker = Asker { rpc: post.node.connection(), chain: None, period: None };
    loop {
        let Some(tip) = settled(&mut seen, patience).await else { return };
        if source.has_template_on(tip) {
            continue;
        }
        let asked_at = Instant::now();
        match asker.stopgap(tip, source.basis()).await {
            // It may have come meanwhile.
            Ok(_) if source.has_template_on(tip) => {}
            Ok(template) => {
                info!(node = post.node.name, height = template.height, "empty template made");
                let tip_heard_at = post.sight.first_heard(tip, Signal::TipPoll);
                post.led_to(tip);
                if source.give(template, asked_at, tip_heard_at).await.is_err() {
                    return;
                }
            }
            Err(reason) => debug!(node = post.node.name, %reason, "no empty template made"),
        }
    }
}

/// The next tip, once nothing new was heard for `patience`; `None` when nothing will be any more.
async fn settled(seen: &mut watch::Receiver<SeenTip>, patience: Duration) -> Option<[u8; 32]> {
    seen.changed().await.ok()?;
    let mut tip = seen.borrow_and_update().hash;
    // Another tip starts anew; the same one, heard of again, does not.
    while let Ok(changed) = timeout(patience, seen.changed()).await {
        changed.ok()?;
        tip = seen.borrow_and_update().hash;
    }
    match tip {
        Some(tip) => Some(tip),
        None => std::future::pending().await,
    }
}

impl Asker {
    async fn stopgap(
        &mut self,
        tip: [u8; 32],
        basis: Option<Basis>,
    ) -> Result<BlockTemplate, NoStopgap> {
        let basis = basis.ok_or(NoStopgap::NoTemplateYet)?;
        let header = self.header(&display(&tip)).await?;
        let chain = self.chain().await?;
        let tip = Tip {
            hash: tip,
            height: header.height,
            nbits: nbits(&header)?,
            median_time: header.mediantime,
            confirmations: header.confirmations,
            period_nbits: self.period_nbits(period_start(header.height)).await?,
        };
        Ok(basis.stopgap(chain, &tip, Instant::now())?)
    }

    async fn chain(&mut self) -> Result<Chain, NoStopgap> {
        if let Some(chain) = self.chain {
            return Ok(chain);
        }
        let genesis: String = self.rpc.ask("getblockhash", json!([0]), ANSWER_MAX).await?;
        let chain = Chain::of(&genesis)?;
        self.chain = Some(chain);
        Ok(chain)
    }

    async fn period_nbits(&mut self, height: u32) -> Result<u32, NoStopgap> {
        if let Some((_, nbits)) = self.period.filter(|(start, _)| *start == height) {
            return Ok(nbits);
        }
        let first: String = self.rpc.ask("getblockhash", json!([height]), ANSWER_MAX).await?;
        let nbits = nbits(&self.header(&first).await?)?;
        self.period = Some((height, nbits));
        Ok(nbits)
    }

    async fn header(&mut self, hash: &str) -> Result<Header, NoStopgap> {
        Ok(self.rpc.ask("getblockheader", json!([hash]), ANSWER_MAX).await?)
    }
}

fn nbits(header: &Header) -> Result<u32, NoStopgap> {
    let nbits = u32::from_str_radix(&header.bits, 16);
    Ok(nbits.map_err(|_| AskError::from(UnusableTemplate::Unreadable("bits")))?)
}
