//! Those who are told: `[[alerts.receiver]]`, checked, with secrets read and a way to each.

use std::time::Duration;

use service::config::ConfigError;

use super::config::{AlertKind, AlertsConfig, ReceiverConfig};
use super::outlet::Outlet;

/// People who may be told: each has a thread.
const RECEIVERS_MAX: usize = 16;
/// Longest name of one, in bytes: it is part of a file's name.
const NAME_BYTES_MAX: usize = 32;
/// Between two messages, in seconds.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
/// Without a share, in minutes. Below the shortest luck alone would make a miner silent.
const OFFLINE_MINUTES: std::ops::RangeInclusive<u64> = 2..=720;

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
}

#[cfg(test)]
mod tests;
