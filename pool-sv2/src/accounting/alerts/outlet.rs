//! The ways out: each service's own shape of a message, and what its answer means.
//!
//! It tries once, and waits no longer than `ANSWER_MAX`: when to try again is for others to say.
//! Nothing that it says of a failure shows a secret.

mod http;
mod mail;

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use service::config::ConfigError;

use self::http::HttpOutlet;
use self::mail::MailOutlet;
use super::config::{ReceiverConfig, ServiceName};
use super::message::Message;

/// How long a service may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What is shown of an answer.
const SHOWN_CHARACTERS_MAX: usize = 200;
/// A longer secret is none.
const SECRET_BYTES_MAX: usize = 4_096;

/// A service and what it takes to use it.
#[derive(Debug)]
pub(super) enum Outlet {
    Http(Box<HttpOutlet>),
    Mail(Box<MailOutlet>),
}

/// A message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What came back, or why nothing did: for a person.
    pub(super) reason: String,
    /// The service wants to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
}

impl Outlet {
    /// Reads the service's part of the settings, which stand in `section`.
    pub(super) fn from_config(config: &ReceiverConfig, section: &str) -> Result<Self, ConfigError> {
        let part = Part { config, section };
        part.refuse_what_is_not_used()?;
        match config.by {
            ServiceName::Mail => Ok(Self::Mail(Box::new(MailOutlet::new(&part)?))),
            _ => Ok(Self::Http(Box::new(HttpOutlet::new(&part)?))),
        }
    }

    /// Sends it, and gives what came back.
    pub(super) fn send(&self, message: &Message) -> Result<String, Refused> {
        match self {
            Self::Http(outlet) => outlet.send(message),
            Self::Mail(outlet) => outlet.send(message),
        }
    }
}

/// The settings of one receiver, and where they stand.
struct Part<'a> {
    config: &'a ReceiverConfig,
    section: &'a str,
}

impl Part<'_> {
    fn unusable(&self, key: &str, remedy: impl Into<String>) -> ConfigError {
        ConfigError::unusable(format!("{}.{key}", self.section), remedy)
    }

    /// A key of another service: who wrote it expects something of it.
    fn refuse_what_is_not_used(&self) -> Result<(), ConfigError> {
        let (config, by) = (self.config, self.config.by);
        let (is_mail, is_telegram) = (by == ServiceName::Mail, by == ServiceName::Telegram);
        let unused = [
            ("chat", config.chat.is_some() && !is_telegram),
            ("user", config.user.is_some() && !is_mail),
            ("from", config.from.is_some() && !is_mail),
            ("to", !config.to.is_empty() && !is_mail),
            ("url", config.url.is_some() && by == ServiceName::Discord),
        ];
        match unused.into_iter().find(|(_, is_unused)| *is_unused) {
            Some((key, _)) => {
                let remedy = format!("{} does not use it; leave it out", by.name());
                Err(self.unusable(key, remedy))
            }
            None => Ok(()),
        }
    }

    /// What must be there.
    fn needed<'b>(
        &self,
        key: &str,
        value: &'b Option<String>,
        remedy: &str,
    ) -> Result<&'b str, ConfigError> {
        let value = value.as_deref().filter(|value| !value.is_empty());
        value.ok_or_else(|| self.unusable(key, remedy))
    }

    /// The secret, if a file is named.
    fn secret(&self) -> Result<Option<SecretString>, ConfigError> {
        let Some(file) = &self.config.secret_file else {
            return Ok(None);
        };
        let text = self.file("secret_file", file)?;
        let secret = text.trim();
        let is_secret = !secret.is_empty()
            && secret.len() <= SECRET_BYTES_MAX
            && secret.chars().all(|one| one.is_ascii_graphic() || one == ' ');
        match is_secret {
            true => Ok(Some(SecretString::from(secret.to_owned()))),
            false => {
                let remedy = format!("{} must hold one line of text", file.display());
                Err(self.unusable("secret_file", remedy))
            }
        }
    }

    /// The same where nothing goes without.
    fn needed_secret(&self, remedy: &str) -> Result<SecretString, ConfigError> {
        self.secret()?.ok_or_else(|| self.unusable("secret_file", remedy))
    }

    fn ca(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let file = self.config.ca_file.as_ref();
        let text = file.map(|file| self.file("ca_file", file)).transpose()?;
        match text {
            Some(text) if !text.contains("-----BEGIN CERTIFICATE-----") => {
                Err(self.unusable("ca_file", "name a file with certificates in PEM"))
            }
            text => Ok(text.map(String::into_bytes)),
        }
    }

    fn file(&self, key: &str, file: &Path) -> Result<String, ConfigError> {
        let read = std::fs::read_to_string(file);
        read.map_err(|error| self.unusable(key, format!("{}: {error}", file.display())))
    }
}

/// What a service said, on one line and without the secret.
fn shown(text: &str, secret: Option<&SecretString>) -> String {
    let text = match secret.map(ExposeSecret::expose_secret) {
        Some(secret) => text.replace(secret, "(secret)"),
        None => text.to_owned(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = line.chars().filter(|one| !one.is_control());
    plain.take(SHOWN_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
