//! `[alerts]` of the config: which people are told, by which service, and of what.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use service::config::ConfigError;

use super::outlet::Outlet;
use crate::coin::Coin;

/// People who may be told: each has a thread.
const RECEIVERS_MAX: usize = 16;
/// Longest name of one, in bytes: it is part of a file's name.
const NAME_BYTES_MAX: usize = 32;
/// Between two messages, in seconds.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
/// Without a share, in minutes. Below the shortest luck alone would make a miner silent.
const OFFLINE_MINUTES: std::ops::RangeInclusive<u64> = 2..=720;

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

/// Somebody who is told: the settings, checked, with secrets read.
#[derive(Debug)]
pub struct Receiver {
    /// What it is called.
    pub name: String,
    pub(super) kinds: Vec<AlertKind>,
    pub(super) offline_after: Duration,
    pub(super) workers_of: Vec<String>,
    pub(super) interval: Duration,
    pub(super) outlet: Outlet,
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
    /// Checks what the types cannot, and reads the secrets.
    pub fn receivers(&self) -> Result<Vec<Receiver>, ConfigError> {
        self.check_public_url()?;
        if self.receiver.len() > RECEIVERS_MAX {
            let remedy = format!("name at most {RECEIVERS_MAX} of them");
            return Err(ConfigError::unusable("alerts.receiver", remedy));
        }
        let mut receivers: Vec<Receiver> = Vec::new();
        for (index, config) in self.receiver.iter().enumerate() {
            let receiver = config.receiver(&format!("alerts.receiver[{index}]"))?;
            if receivers.iter().any(|other| other.name == receiver.name) {
                let field = format!("alerts.receiver[{index}].name");
                let remedy =
                    format!("{} is called so too; give each a name of its own", config.name);
                return Err(ConfigError::unusable(field, remedy));
            }
            receivers.push(receiver);
        }
        Ok(receivers)
    }

    /// What texts say; `network` is the payouts'.
    pub fn wording(&self, coin: &Coin, network: &str) -> Wording {
        let public_url = self.public_url.as_deref();
        Wording {
            chain: coin.chain(network),
            symbol: coin.symbol.clone(),
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }

    fn check_public_url(&self) -> Result<(), ConfigError> {
        let is_address = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.public_url.as_ref().is_some_and(|url| !is_address(url)) {
            let remedy = "write it as https://HOST, as people type it";
            return Err(ConfigError::unusable("alerts.public_url", remedy));
        }
        Ok(())
    }
}

impl ReceiverConfig {
    /// Checked; `section` is where a person wrote it.
    fn receiver(&self, section: &str) -> Result<Receiver, ConfigError> {
        let unusable = |key: &str, remedy: String| {
            Err(ConfigError::unusable(format!("{section}.{key}"), remedy))
        };
        let is_of_a_name =
            |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'-';
        let length = 1..=NAME_BYTES_MAX;
        if !length.contains(&self.name.len()) || !self.name.bytes().all(is_of_a_name) {
            let remedy = format!("from 1 to {NAME_BYTES_MAX} of a to z, 0 to 9 and hyphens");
            return unusable("name", remedy);
        }
        if self.events.is_empty() {
            return unusable("events", "name at least one, or leave it out for all".to_owned());
        }
        for (key, value, range, usual) in [
            ("offline_minutes", self.offline_minutes, OFFLINE_MINUTES, 10),
            ("interval_seconds", self.interval_seconds, INTERVAL_SECONDS, 60),
        ] {
            if !range.contains(&value) {
                let (min, max) = (range.start(), range.end());
                return unusable(key, format!("must be from {min} to {max}; {usual} is usual"));
            }
        }
        Ok(Receiver {
            name: self.name.clone(),
            kinds: self.events.clone(),
            offline_after: Duration::from_secs(self.offline_minutes * 60),
            workers_of: self.workers_of.clone(),
            interval: Duration::from_secs(self.interval_seconds),
            outlet: Outlet::from_config(self, section)?,
        })
    }

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

#[cfg(test)]
mod tests;
