//! `[webhook]` of the config.

use std::path::PathBuf;
use std::time::Duration;

use rpc::http::Endpoint;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service::config::ConfigError;

/// A shorter secret could be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// Messages a minute, at most.
const PER_MINUTE: std::ops::RangeInclusive<u32> = 1..=6_000;

/// What may be told. The names stand in messages: none ever changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A miner has found a block.
    BlockFound,
    /// A block has come further, or has left the chain.
    BlockState,
    /// What accounts are owed has changed.
    BalanceChanged,
    /// A transaction of the wallet is on its way.
    PayoutSent,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BlockFound, Self::BlockState, Self::BalanceChanged, Self::PayoutSent];

    /// As it stands in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block_found",
            Self::BlockState => "block_state",
            Self::BalanceChanged => "balance_changed",
            Self::PayoutSent => "payout_sent",
        }
    }
}

/// Who is told, and of what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// `http://HOST:PORT/PATH`.
    pub url: String,
    /// What messages are signed with; one of `secret` and `secret_file` is set.
    pub secret: Option<SecretString>,
    /// A file that holds it, in place of `secret`; white space at its end does not count.
    pub secret_file: Option<PathBuf>,
    /// What is told.
    #[serde(default = "all_events")]
    pub events: Vec<EventKind>,
    /// Messages a minute; with more they come later.
    #[serde(default = "default_per_minute")]
    pub per_minute_max: u32,
}

fn all_events() -> Vec<EventKind> {
    EventKind::ALL.to_vec()
}

fn default_per_minute() -> u32 {
    60
}

/// The same, read.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) endpoint: Endpoint,
    secret: SecretString,
    pub(super) events: Vec<EventKind>,
    /// Between two messages.
    pub(super) interval: Duration,
}

impl Target {
    pub(super) fn secret(&self) -> &[u8] {
        self.secret.expose_secret().as_bytes()
    }
}

impl WebhookConfig {
    /// Checks what the types cannot, and reads the secret.
    pub fn target(&self) -> Result<Target, ConfigError> {
        let unusable = |key: &str, remedy: String| {
            Err(ConfigError::unusable(format!("webhook.{key}"), remedy))
        };
        let endpoint = match Endpoint::parse(&self.url) {
            Ok(endpoint) => endpoint,
            Err(remedy) => return unusable("url", remedy),
        };
        if self.events.is_empty() {
            return unusable("events", "name at least one, or leave it out for all".to_owned());
        }
        if !PER_MINUTE.contains(&self.per_minute_max) {
            let (min, max) = (PER_MINUTE.start(), PER_MINUTE.end());
            return unusable("per_minute_max", format!("must be from {min} to {max}; 60 is usual"));
        }
        let secret = self.secret()?;
        if secret.expose_secret().len() < SECRET_BYTES_MIN {
            let remedy = format!(
                "at least {SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes a good one"
            );
            return unusable("secret", remedy);
        }
        let interval = Duration::from_secs(60) / self.per_minute_max;
        Ok(Target { endpoint, secret, events: self.events.clone(), interval })
    }

    fn secret(&self) -> Result<SecretString, ConfigError> {
        match (&self.secret, &self.secret_file) {
            (Some(secret), None) => Ok(secret.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let remedy = format!("{}: {error}", file.display());
                    ConfigError::unusable("webhook.secret_file", remedy)
                })?;
                Ok(SecretString::from(text.trim_end().to_owned()))
            }
            _ => Err(ConfigError::unusable(
                "webhook.secret",
                "messages are signed: set one of secret_file and secret \
                 (POOL_SV2__WEBHOOK__SECRET)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WebhookConfig {
        WebhookConfig {
            url: "http://127.0.0.1:9000/adit".to_owned(),
            secret: Some("0123456789abcdef".into()),
            secret_file: None,
            events: all_events(),
            per_minute_max: 60,
        }
    }

    fn complaint(config: &WebhookConfig) -> String {
        config.target().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy_and_the_secret_is_never_shown() {
        assert_eq!(config().target().unwrap().interval, Duration::from_secs(1));
        let none = WebhookConfig { secret: None, ..config() };
        assert!(complaint(&none).starts_with("webhook.secret: messages are signed"));
        let both = WebhookConfig { secret_file: Some("x".into()), ..config() };
        assert!(complaint(&both).contains("set one of"));
        let gone = WebhookConfig { secret: None, secret_file: Some("/no/file".into()), ..config() };
        assert!(complaint(&gone).starts_with("webhook.secret_file: /no/file"));
        let short = WebhookConfig { secret: Some("hunter2".into()), ..config() };
        assert!(complaint(&short).contains("16 bytes") && !complaint(&short).contains("hunter2"));
        assert!(!format!("{:?}", config()).contains("0123456789abcdef"));
        let secure = WebhookConfig { url: "https://example.com".to_owned(), ..config() };
        assert!(complaint(&secure).starts_with("webhook.url: TLS is not spoken here"));
        let silent = WebhookConfig { events: Vec::new(), ..config() };
        assert!(complaint(&silent).starts_with("webhook.events"));
        let fast = WebhookConfig { per_minute_max: 6_001, ..config() };
        assert!(complaint(&fast).starts_with("webhook.per_minute_max: must be from 1 to 6000"));
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "fedcba9876543210\n").unwrap();
        let config = WebhookConfig { secret: None, secret_file: Some(file), ..config() };
        assert_eq!(config.target().unwrap().secret(), b"fedcba9876543210");
    }
}
