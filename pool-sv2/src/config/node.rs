//! `[node]`: who is asked what became of the pool's blocks, and whose wallet pays.

use std::path::PathBuf;

use rpc::Rpc;
use rpc::login::{Credentials, Login, RpcConfig};
use secrecy::SecretString;
use serde::Deserialize;
use service::config::ConfigError;

/// Nobody waits so long to hear of a block.
const POLL_SECONDS_MAX: u64 = 3_600;

/// One node and how it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// `http://HOST:PORT`, where the node's JSON-RPC answers.
    pub rpc_url: String,
    /// The node's cookie.
    pub cookie_file: Option<PathBuf>,
    /// `rpcuser` of the node.
    pub user: Option<String>,
    /// `rpcpassword` of the node.
    pub password: Option<SecretString>,
    /// A file that holds the password, in place of `password`.
    pub password_file: Option<PathBuf>,
    /// How often it is asked while a block's fate is open.
    #[serde(default = "default_poll_seconds")]
    pub poll_seconds: u64,
}

fn default_poll_seconds() -> u64 {
    10
}

impl NodeConfig {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=POLL_SECONDS_MAX).contains(&self.poll_seconds) {
            let remedy = format!("must be from 1 to {POLL_SECONDS_MAX}; 10 is usual");
            return Err(ConfigError::unusable("node.poll_seconds", remedy));
        }
        self.connection().map(drop)
    }

    /// A connection that is made when it is first used.
    pub fn connection(&self) -> Result<Rpc, ConfigError> {
        self.connection_to("")
    }

    /// The same to one of the node's wallets.
    pub fn wallet(&self, name: &str) -> Result<Rpc, ConfigError> {
        self.connection_to(&format!("/wallet/{name}"))
    }

    fn connection_to(&self, path: &str) -> Result<Rpc, ConfigError> {
        let config = RpcConfig {
            rpc_url: self.rpc_url.clone(),
            cookie_file: self.cookie_file.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
        };
        let credentials = Credentials::from_config("node", &config)?;
        let endpoint = config.endpoint("node")?;
        let endpoint = if path.is_empty() { endpoint } else { endpoint.below(path) };
        Ok(Rpc::new(endpoint, Login::with(credentials)))
    }
}
