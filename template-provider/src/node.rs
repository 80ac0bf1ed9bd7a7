//! The only room that speaks to the node: over JSON-RPC, and only outwards.
//!
//! `http` moves bytes, `auth` knows the credentials, `rpc` turns a call into an answer or a classed
//! error, `template_source` asks for templates, `answer` and `coinbasetxn` read them, `watch` keeps
//! an eye on tip and mempool, `proposal` asks what the node would say of a block, `submit` brings
//! blocks to it. Nothing here knows what a template is used for.

pub mod answer;
pub mod auth;
pub mod coinbasetxn;
pub mod http;
pub mod presence;
pub mod proposal;
pub mod rpc;
#[cfg(test)]
pub(crate) mod stub;
pub mod submit;
pub mod template_source;
pub mod watch;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use service::config::ConfigError;

use auth::Credentials;
use http::Endpoint;
use rpc::Rpc;

/// `[node]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// `http://HOST:PORT`, where the node's JSON-RPC answers.
    pub rpc_url: String,
    /// The node's cookie; read again whenever the node refuses what it said before.
    pub cookie_file: Option<PathBuf>,
    /// `rpcuser` of the node.
    pub user: Option<String>,
    /// `rpcpassword` of the node.
    pub password: Option<SecretString>,
    /// A file that holds the password, in place of `password`.
    pub password_file: Option<PathBuf>,
    /// How often the node is asked for its tip, in milliseconds.
    #[serde(default = "default_tip_poll_ms")]
    pub tip_poll_ms: u64,
    /// How often the node is asked for a template when nothing else happens, in seconds.
    #[serde(default = "default_template_refresh_seconds")]
    pub template_refresh_seconds: u64,
    /// How much more a template must pay before clients get it, in satoshis.
    #[serde(default = "default_fee_delta_sats")]
    pub fee_delta_sats: u64,
}

fn default_tip_poll_ms() -> u64 {
    250
}

fn default_template_refresh_seconds() -> u64 {
    30
}

fn default_fee_delta_sats() -> u64 {
    1000
}

/// How to reach the node; makes as many connections as there are uses.
#[derive(Debug, Clone)]
pub struct Node {
    endpoint: Endpoint,
    credentials: Credentials,
    /// Time between two questions for the tip.
    pub tip_poll: Duration,
    /// Time between two questions for a template.
    pub template_refresh: Duration,
}

impl Node {
    /// Checks the settings; reaches for nothing yet.
    pub fn from_config(config: &NodeConfig) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::parse(&config.rpc_url)
            .map_err(|remedy| ConfigError::unusable("node.rpc_url", remedy))?;
        let too_small = |field: &str| {
            ConfigError::unusable(format!("node.{field}"), "0 would never wait; write 1 or more")
        };
        if config.tip_poll_ms == 0 {
            return Err(too_small("tip_poll_ms"));
        }
        if config.template_refresh_seconds == 0 {
            return Err(too_small("template_refresh_seconds"));
        }
        Ok(Self {
            endpoint,
            credentials: Credentials::from_config(config)?,
            tip_poll: Duration::from_millis(config.tip_poll_ms),
            template_refresh: Duration::from_secs(config.template_refresh_seconds),
        })
    }

    /// A connection of its own: what waits on one never delays another.
    pub fn connection(&self) -> Rpc {
        Rpc::new(self.endpoint.clone(), self.credentials.clone())
    }

    /// Where the node is, for people.
    pub fn address(&self) -> &str {
        self.endpoint.authority()
    }
}
