//! Who writes into the ledger beside the miners: what became of blocks, payouts of the wallet, and
//! what work is worth.

use std::sync::Arc;
use std::time::Duration;

use service::config::ConfigError;
use service::health::Health;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::block_watch::BlockWatch;
use super::rates::Rates;
use super::till::Pause;
use super::wallet::Payer;
use crate::accounting::bookkeeper::Shelf;
use crate::accounting::log::segment::DurableEnd;
use crate::config::Config;
use crate::config::node::NodeConfig;
use crate::payout::Payout;
use crate::shares::ShareSender;
use crate::work::Work;

/// What all of them need.
pub(super) struct Desk {
    pub(super) shelf: Shelf,
    pub(super) shares: ShareSender,
    /// How far the log is durable.
    pub(super) durable: watch::Receiver<DurableEnd>,
    /// Blocks that went to a template provider.
    pub(super) submitted: mpsc::Receiver<[u8; 32]>,
    pub(super) work: watch::Receiver<Option<Arc<Work>>>,
    pub(super) health: Health,
    /// None where no wallet is named.
    pub(super) pause: Option<Pause>,
}

/// All of them.
pub(super) struct Clerks {
    watch: BlockWatch,
    /// None where no wallet is named.
    payer: Option<Payer>,
    /// None where no share is paid for.
    rates: Option<Rates>,
}

impl Clerks {
    pub(super) fn new(
        config: &Config,
        payout: &Arc<Payout>,
        desk: Desk,
    ) -> Result<Self, ConfigError> {
        let Desk { shelf, shares, durable, submitted, work, health, pause } = desk;
        let watch = BlockWatch {
            node: config.node.as_ref().map(NodeConfig::connection).transpose()?,
            every: Duration::from_secs(config.node.as_ref().map_or(1, |node| node.poll_seconds)),
            shelf: shelf.clone(),
            shares: shares.clone(),
            submitted,
            health,
        };
        let named = config.node.as_ref().zip(config.payout.wallet.as_ref()).zip(pause);
        let payer = named.map(|((node, wallet), pause)| {
            Ok(Payer {
                wallet: node.wallet(&wallet.name)?,
                config: wallet.clone(),
                network: config.payout.network.to_network(),
                shelf,
                shares: shares.clone(),
                durable,
                pause,
            })
        });
        let payer = payer.transpose()?;
        let payout = Arc::clone(payout);
        let rates = config.pays_shares(&payout).then(|| Rates { payout, work, shares });
        Ok(Self { watch, payer, rates })
    }

    /// Until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        tokio::join!(
            self.watch.run(shutdown.clone()),
            Payer::run(self.payer, shutdown.clone()),
            Rates::run(self.rates, shutdown),
        );
    }
}
