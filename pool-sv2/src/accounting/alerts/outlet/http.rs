//! Services that are told over HTTP: each takes one POST of JSON, in a shape of its own.
//!
//! Webhook: docs/alerts.md. Telegram: `sendMessage` of the Bot API. ntfy: publishing as JSON.
//! Discord: execute webhook.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use service::clock;
use service::config::ConfigError;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{ANSWER_MAX, Part, Refused, shown};
use crate::accounting::alerts::config::ServiceName;
use crate::accounting::alerts::message::Message;
use crate::accounting::sign::signature;

/// Where Telegram's bots are.
const TELEGRAM: &str = "https://api.telegram.org";
/// A shorter secret of a webhook could be guessed.
const WEBHOOK_SECRET_BYTES_MIN: usize = 16;
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Characters that Discord takes, and some room.
const DISCORD_CHARACTERS_MAX: usize = 1_900;
/// No service is left alone for longer because it says so.
const RETRY_AFTER_SECONDS_MAX: f64 = 3_600.0;

/// One of the services, ready to be told.
#[derive(Debug)]
pub(in crate::accounting::alerts) struct HttpOutlet {
    agent: Agent,
    /// Part of it may be secret.
    url: SecretString,
    secret: Option<SecretString>,
    shape: Shape,
}

/// What a service wants to hear.
#[derive(Debug)]
enum Shape {
    Webhook,
    Telegram { chat: String },
    Ntfy { topic: String },
    Discord,
}

impl HttpOutlet {
    pub(super) fn new(part: &Part<'_>) -> Result<Self, ConfigError> {
        let (url, secret, shape) = match part.config.by {
            ServiceName::Telegram => telegram(part)?,
            ServiceName::Ntfy => ntfy(part)?,
            ServiceName::Discord => discord(part)?,
            ServiceName::Webhook | ServiceName::Mail => webhook(part)?,
        };
        Ok(Self { agent: agent(part)?, url: url.into(), secret, shape })
    }

    pub(super) fn send(&self, message: &Message) -> Result<String, Refused> {
        let body = self.shape.body(message).to_string();
        let mut request = self.agent.post(self.url.expose_secret());
        request = request.header("content-type", "application/json");
        let secret = self.secret.as_ref().map(ExposeSecret::expose_secret);
        match (&self.shape, secret) {
            (Shape::Webhook, Some(secret)) => {
                let timestamp = clock::unix_now_seconds().to_string();
                let signature = signature(secret.as_bytes(), &timestamp, body.as_bytes());
                request = request
                    .header("adit-event", "alert")
                    .header("adit-delivery", &message.id)
                    .header("adit-timestamp", &timestamp)
                    .header("adit-signature", signature);
            }
            (Shape::Ntfy { .. }, Some(token)) => {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            _ => {}
        }
        let sent = request.send(body.as_bytes());
        let mut answer = sent.map_err(|error| self.no_answer(&error))?;
        let limited = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = limited.read_to_string().unwrap_or_default();
        let status = answer.status();
        let said = format!("HTTP {} {}", status.as_u16(), self.shown(&text));
        let said = said.trim_end().to_owned();
        if status.is_success() {
            return Ok(said);
        }
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        Err(Refused { reason: said, retry_after: retry_after(header, &text) })
    }

    fn no_answer(&self, error: &ureq::Error) -> Refused {
        let reason = format!("no answer: {}", self.shown(&error.to_string()));
        Refused { reason, retry_after: None }
    }

    fn shown(&self, text: &str) -> String {
        shown(text, self.secret.as_ref())
    }
}

impl Shape {
    fn body(&self, message: &Message) -> Value {
        match self {
            Self::Webhook => json!({
                "id": message.id,
                "event": "alert",
                "time_ms": clock::unix_now_milliseconds(),
                "data": {
                    "kinds": message.kinds(),
                    "title": message.title,
                    "text": message.text(),
                    "link": message.link,
                },
            }),
            Self::Telegram { chat } => json!({
                "chat_id": chat,
                "text": message.whole(),
                "link_preview_options": { "is_disabled": true },
            }),
            Self::Ntfy { topic } => {
                let mut body = json!({
                    "topic": topic,
                    "title": message.title,
                    "message": message.text(),
                    "tags": [message.tag()],
                });
                if let (Some(link), Some(fields)) = (&message.link, body.as_object_mut()) {
                    fields.insert("click".to_owned(), json!(link));
                }
                body
            }
            Self::Discord => json!({
                "content": without_markup(&message.whole()),
                // A worker may be called @everyone.
                "allowed_mentions": { "parse": [] },
            }),
        }
    }
}

type Parts = (String, Option<SecretString>, Shape);

fn webhook(part: &Part<'_>) -> Result<Parts, ConfigError> {
    let url = url(part, part.needed("url", &part.config.url, "name where the program listens")?)?;
    let secret = part.needed_secret("messages are signed: name a file with the secret")?;
    if secret.expose_secret().len() < WEBHOOK_SECRET_BYTES_MIN {
        let remedy = format!(
            "at least {WEBHOOK_SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes a good one"
        );
        return Err(part.unusable("secret_file", remedy));
    }
    Ok((url.to_string(), Some(secret), Shape::Webhook))
}

fn telegram(part: &Part<'_>) -> Result<Parts, ConfigError> {
    let base = url(part, part.config.url.as_deref().unwrap_or(TELEGRAM))?.to_string();
    let token = part.needed_secret("name a file with the bot's token, which @BotFather gives")?;
    let is_token = |one: u8| one.is_ascii_alphanumeric() || b":_-".contains(&one);
    if !token.expose_secret().bytes().all(is_token) {
        return Err(
            part.unusable("secret_file", "that is no token: 123456:ABC… has no other signs")
        );
    }
    let remedy = "name the chat: its number, or @NAME of a channel";
    let chat = part.needed("chat", &part.config.chat, remedy)?.to_owned();
    let base = base.trim_end_matches('/');
    let url = format!("{base}/bot{}/sendMessage", token.expose_secret());
    Ok((url, Some(token), Shape::Telegram { chat }))
}

fn ntfy(part: &Part<'_>) -> Result<Parts, ConfigError> {
    let remedy = "name the topic, as https://ntfy.sh/TOPIC";
    let url = url(part, part.needed("url", &part.config.url, remedy)?)?.to_string();
    let (base, topic) = url.trim_end_matches('/').rsplit_once('/').unwrap_or_default();
    // Without a path the last slash is one of the scheme's.
    if topic.is_empty() || base.ends_with('/') {
        return Err(part.unusable("url", remedy));
    }
    Ok((format!("{base}/"), part.secret()?, Shape::Ntfy { topic: topic.to_owned() }))
}

fn discord(part: &Part<'_>) -> Result<Parts, ConfigError> {
    let remedy = "name a file with the channel's webhook URL, which is a secret";
    let secret = part.needed_secret(remedy)?;
    let url = uri(secret.expose_secret()).map_err(|_| part.unusable("secret_file", remedy))?;
    Ok((url.to_string(), Some(secret), Shape::Discord))
}

fn url(part: &Part<'_>, text: &str) -> Result<Uri, ConfigError> {
    uri(text).map_err(|remedy| part.unusable("url", remedy))
}

/// The error does not show the URL: there may be a password in it.
fn uri(text: &str) -> Result<Uri, &'static str> {
    let form = "write it as https://HOST/PATH, or with http where nobody else listens";
    let uri: Uri = text.parse().map_err(|_| form)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    if is_http && authority.is_some() { Ok(uri) } else { Err(form) }
}

fn agent(part: &Part<'_>) -> Result<Agent, ConfigError> {
    let config = Agent::config_builder()
        .timeout_global(Some(ANSWER_MAX))
        .http_status_as_error(false)
        // A secret goes nowhere else.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("adit");
    let config = match part.ca()? {
        Some(pem) => config.tls_config(TlsConfig::builder().root_certs(roots(part, &pem)?).build()),
        None => config,
    };
    Ok(config.build().into())
}

fn roots(part: &Part<'_>, pem: &[u8]) -> Result<RootCerts, ConfigError> {
    let mut trusted: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => trusted.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(part.unusable("ca_file", error.to_string())),
        }
    }
    Ok(RootCerts::from(trusted))
}

/// Discord's Markdown would make something else of a worker's name.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for one in text.chars() {
        if plain.chars().count() >= DISCORD_CHARACTERS_MAX {
            break;
        }
        if "\\*_~`|>#[]()".contains(one) {
            plain.push('\\');
        }
        plain.push(one);
    }
    plain
}

/// Telegram's and Discord's way to say it in the body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wait {
    retry_after: Option<f64>,
    parameters: WaitParameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WaitParameters {
    retry_after: Option<f64>,
}

/// How long the service wants to be left alone, by the header or the body.
fn retry_after(header: Option<&str>, body: &str) -> Option<Duration> {
    let said: Wait = serde_json::from_str(body).unwrap_or_default();
    let header = header.and_then(|seconds| seconds.trim().parse().ok());
    let seconds = said.retry_after.or(said.parameters.retry_after).or(header)?;
    let is_time = seconds.is_finite() && seconds >= 0.0;
    is_time.then(|| Duration::from_secs_f64(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}
