//! `[alerts]` of the config: which people are told, by which service, and of what.

use std::path::PathBuf;

use serde::Deserialize;

use crate::coin::Coin;

/// What people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A miner has found a block.
    BlockFound,
    /// A block is not in the chain, or no longer.
    BlockOrphaned,
    /// A transaction of the wallet is on its way.
    PayoutSent,
    /// A worker sends no shares any more, and does again.
    WorkerOffline,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BlockFound, Self::BlockOrphaned, Self::PayoutSent, Self::WorkerOffline];

    /// As it stands in settings and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block_found",
            Self::BlockOrphaned => "block_orphaned",
            Self::PayoutSent => "payout_sent",
            Self::WorkerOffline => "worker_offline",
        }
    }
}

/// What brings a message to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceName {
    /// A signed request to a program of the operator's.
    Webhook,
    /// A bot of Telegram's.
    Telegram,
    /// A topic of ntfy.
    Ntfy,
    /// A webhook of a Discord channel.
    Discord,
    /// Mail.
    Mail,
}

impl ServiceName {
    /// As it stands in settings and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Telegram => "telegram",
            Self::Ntfy => "ntfy",
            Self::Discord => "discord",
            Self::Mail => "mail",
        }
    }
}

/// `[alerts]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Where people find the dashboard.
    pub public_url: Option<String>,
    /// Who is told.
    pub receiver: Vec<ReceiverConfig>,
}

/// `[[alerts.receiver]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverConfig {
    /// What it is called: small letters, digits and hyphens.
    pub name: String,
    /// What brings the messages.
    pub by: ServiceName,
    /// What is told.
    #[serde(default = "all_kinds")]
    pub events: Vec<AlertKind>,
    /// A worker is offline that has sent no share for so long.
    #[serde(default = "default_offline_minutes")]
    pub offline_minutes: u64,
    /// Workers of these accounts alone; of all, if there is none.
    #[serde(default)]
    pub workers_of: Vec<String>,
    /// At most one message in so long; what happens meanwhile is told in the next one.
    #[serde(default = "default_interval_seconds")]
    pub interval_seconds: u64,
    /// Where the service is.
    pub url: Option<String>,
    /// A file that holds the service's secret; white space at its ends does not count.
    pub secret_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Telegram: which chat.
    pub chat: Option<String>,
    /// Mail: who logs in.
    pub user: Option<String>,
    /// Mail: who it is from.
    pub from: Option<String>,
    /// Mail: to whom.
    #[serde(default)]
    pub to: Vec<String>,
}

fn all_kinds() -> Vec<AlertKind> {
    AlertKind::ALL.to_vec()
}

fn default_offline_minutes() -> u64 {
    10
}

fn default_interval_seconds() -> u64 {
    60
}

/// What texts say beside the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    pub(super) chain: String,
    pub(super) symbol: String,
    /// Without a slash at its end.
    pub(super) public_url: Option<String>,
}

impl AlertsConfig {
    /// What texts say; `network` is the payouts'.
    pub fn wording(&self, coin: &Coin, network: &str) -> Wording {
        let public_url = self.public_url.as_deref();
        Wording {
            chain: coin.chain(network),
            symbol: coin.symbol.clone(),
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }
}

impl ReceiverConfig {
    /// What it makes the pool do, for a person who is about to start it.
    pub fn sentence(&self) -> String {
        let kinds = self.events.iter().map(|kind| match kind {
            AlertKind::WorkerOffline => {
                format!("workers without a share for {} minutes", self.offline_minutes)
            }
            AlertKind::BlockFound => "blocks found".to_owned(),
            AlertKind::BlockOrphaned => "blocks orphaned".to_owned(),
            AlertKind::PayoutSent => "payouts sent".to_owned(),
        });
        let kinds: Vec<_> = kinds.collect();
        let (name, by) = (&self.name, self.by.name());
        let every = self.interval_seconds;
        let kinds = kinds.join(", ");
        format!("{name} is told by {by} of {kinds}; one message in {every} seconds at most.")
    }
}
