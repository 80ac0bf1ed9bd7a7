//! The only room that speaks to the node: over JSON-RPC, and only outwards.
//!
//! `template_source` asks for templates, `answer` and `coinbasetxn` read them, `watch` keeps an eye
//! on tip and mempool, `proposal` asks what the node would say of a block, `submit` brings blocks
//! to it, `standing` asks whether one is in the chain still, `enforcer` stands between it and us on
//! a drivechain. Nothing here knows what a template is used for.

pub mod answer;
pub mod chain;
pub mod choice;
pub mod coinbasetxn;
mod empty_first;
pub mod enforcer;
pub mod presence;
pub mod proposal;
pub mod reserve;
pub mod roster;
mod sentry;
pub mod standing;
pub mod stopgap;
#[cfg(test)]
pub(crate) mod stub;
pub mod submit;
pub mod template_source;
pub mod timing;
pub mod tip;
pub mod watch;
pub mod zmq;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rpc::Rpc;
use rpc::http::Endpoint;
use rpc::login::{Credentials, Login, RpcConfig};
use secrecy::SecretString;
use serde::Deserialize;
use service::config::ConfigError;
use tokio_util::task::TaskTracker;

use enforcer::Enforcer;
use reserve::Reserved;
use stopgap::Stopgaps;
use timing::CallTimes;
use zmq::ZmqAddress;

/// Nodes that can be named: each costs a connection and a question a quarter second.
pub const NODES_MAX: usize = NAMES.len();
/// What the nodes are called in logs, `/health` and `/metrics`, by priority.
const NAMES: [&str; 8] =
    ["node", "node 2", "node 3", "node 4", "node 5", "node 6", "node 7", "node 8"];

/// `[node]` of the config: the node that is preferred, and the pace for all of them.
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
    /// The network that the node must be on; not checked where it is not named.
    pub network: Option<chain::Network>,
    /// `tcp://HOST:PORT`, where the node publishes `hashblock` over ZMQ.
    pub zmq_hashblock: Option<String>,
    /// How often the node is asked for its tip, in milliseconds.
    #[serde(default = "default_tip_poll_ms")]
    pub tip_poll_ms: u64,
    /// How often the node is asked for a template when nothing else happens, in seconds.
    #[serde(default = "default_template_refresh_seconds")]
    pub template_refresh_seconds: u64,
    /// How long after a new tip an empty template is made, if the node's own is not there, in
    /// milliseconds; 0 makes none.
    #[serde(default = "default_empty_template_after_ms")]
    pub empty_template_after_ms: u64,
    /// How much more a template must pay before clients get it, in satoshis.
    #[serde(default = "default_fee_delta_sats")]
    pub fee_delta_sats: u64,
}

impl NodeConfig {
    /// How its RPC is reached.
    fn rpc(&self) -> RpcConfig {
        RpcConfig {
            rpc_url: self.rpc_url.clone(),
            cookie_file: self.cookie_file.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
        }
    }
}

/// `[[backup_node]]` of the config: a node that serves while those before it cannot.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupNodeConfig {
    /// As in `[node]`, like all keys here.
    pub rpc_url: String,
    /// The node's cookie.
    pub cookie_file: Option<PathBuf>,
    /// `rpcuser` of the node.
    pub user: Option<String>,
    /// `rpcpassword` of the node.
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Where the node publishes `hashblock`.
    pub zmq_hashblock: Option<String>,
}

impl BackupNodeConfig {
    /// With the pace of `first`.
    fn at_the_pace_of(&self, first: &NodeConfig) -> NodeConfig {
        let Self { rpc_url, cookie_file, user, password, password_file, zmq_hashblock } =
            self.clone();
        NodeConfig {
            rpc_url,
            cookie_file,
            user,
            password,
            password_file,
            zmq_hashblock,
            ..first.clone()
        }
    }
}

fn default_tip_poll_ms() -> u64 {
    250
}

fn default_template_refresh_seconds() -> u64 {
    30
}

fn default_empty_template_after_ms() -> u64 {
    150
}

fn default_fee_delta_sats() -> u64 {
    1000
}

/// How to reach the node; makes as many connections as there are uses.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is called: `node`, `node 2` and so on.
    pub name: &'static str,
    endpoint: Endpoint,
    login: Arc<Login>,
    /// The network that it must be on, if the settings name one.
    network: Option<chain::Network>,
    /// Who gives templates in its place.
    enforcer: Option<Enforcer>,
    /// Where it publishes new blocks, if it does.
    zmq_hashblock: Option<ZmqAddress>,
    /// What its templates must leave room for.
    reserved: Option<Reserved>,
    /// Whether empty templates are made when its own are late.
    stopgaps: Stopgaps,
    /// How long it takes to answer.
    times: CallTimes,
    /// Time between two questions for the tip.
    pub tip_poll: Duration,
    /// Time between two questions for a template.
    pub template_refresh: Duration,
}

impl Node {
    /// All nodes, the preferred one first, then the others by priority. Checks the settings;
    /// reaches for nothing yet. At least one, at most `NODES_MAX`.
    pub fn all(
        first: &NodeConfig,
        backups: &[BackupNodeConfig],
    ) -> Result<Arc<[Self]>, ConfigError> {
        if backups.len() >= NODES_MAX {
            let remedy = format!("{} are too many; leave {} at most", backups.len(), NODES_MAX - 1);
            return Err(ConfigError::unusable("backup_node", remedy));
        }
        let backups = backups.iter().map(|backup| ("backup_node", backup.at_the_pace_of(first)));
        let configs = std::iter::once(("node", first.clone())).chain(backups);
        let node = |(name, (table, config)): (_, (_, NodeConfig))| Self::new(name, table, &config);
        NAMES.into_iter().zip(configs).map(node).collect()
    }

    /// The node of `[node]` alone.
    pub fn from_config(config: &NodeConfig) -> Result<Self, ConfigError> {
        Self::new("node", "node", config)
    }

    fn new(name: &'static str, table: &str, config: &NodeConfig) -> Result<Self, ConfigError> {
        let rpc = config.rpc();
        let endpoint = rpc.endpoint(table)?;
        let too_small = |field: &str| {
            ConfigError::unusable(format!("node.{field}"), "0 would never wait; write 1 or more")
        };
        if config.tip_poll_ms == 0 {
            return Err(too_small("tip_poll_ms"));
        }
        if config.template_refresh_seconds == 0 {
            return Err(too_small("template_refresh_seconds"));
        }
        let zmq_hashblock = config.zmq_hashblock.as_deref();
        let zmq_hashblock = zmq_hashblock
            .map(|address| ZmqAddress::parse(&format!("{table}.zmq_hashblock"), address));
        Ok(Self {
            name,
            endpoint,
            login: Login::with(Credentials::from_config(table, &rpc)?),
            network: config.network,
            enforcer: None,
            zmq_hashblock: zmq_hashblock.transpose()?,
            reserved: None,
            stopgaps: match config.empty_template_after_ms {
                0 => Stopgaps::Never,
                wait => Stopgaps::After(Duration::from_millis(wait)),
            },
            times: CallTimes::default(),
            tip_poll: Duration::from_millis(config.tip_poll_ms),
            template_refresh: Duration::from_secs(config.template_refresh_seconds),
        })
    }

    /// The same node, with an enforcer behind which it stands: templates come from there, blocks go
    /// to both, and the node tells everything else.
    pub fn behind(self, enforcer: Option<Enforcer>) -> Self {
        let poll = enforcer.as_ref().map(Enforcer::poll);
        // Only the enforcer knows what a block must hold.
        let stopgaps = match enforcer {
            Some(_) => Stopgaps::Never,
            None => self.stopgaps,
        };
        Self { stopgaps, template_refresh: poll.unwrap_or(self.template_refresh), enforcer, ..self }
    }

    /// The same node, on a chain whose blocks need more than a node's header tells.
    pub fn without_stopgaps(self) -> Self {
        Self { stopgaps: Stopgaps::Never, ..self }
    }

    /// The same node, which is told what its templates must leave room for.
    pub fn reserving(self, reserved: Reserved) -> Self {
        Self { reserved: Some(reserved), ..self }
    }

    /// Gives a block to the enforcer as well, if there is one, in one of the `couriers`; returns at
    /// once.
    pub fn tell_enforcer(&self, hash: &str, block_hex: &str, couriers: &TaskTracker) {
        if let Some(enforcer) = self.enforcer.clone() {
            couriers.spawn(enforcer.take_block(hash.to_owned(), block_hex.into()));
        }
    }

    /// False if who gives the templates must not be kept waiting.
    pub fn may_long_poll(&self) -> bool {
        self.enforcer.is_none()
    }

    /// A connection of its own: what waits on one never delays another.
    pub fn connection(&self) -> Rpc {
        Rpc::new(self.endpoint.clone(), Arc::clone(&self.login))
    }

    /// The same node, whose answers are timed from now on.
    pub fn timed_by(self, times: &CallTimes) -> Self {
        Self { times: times.clone(), ..self }
    }

    /// True of the node of `[node]`.
    pub fn is_preferred(&self) -> bool {
        self.name == NAMES[0]
    }

    /// Where the node is, for people.
    pub fn address(&self) -> &str {
        self.endpoint.authority()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> (NodeConfig, Vec<BackupNodeConfig>) {
        #[derive(Deserialize)]
        struct Tables {
            node: NodeConfig,
            #[serde(default)]
            backup_node: Vec<BackupNodeConfig>,
        }
        let Tables { node, backup_node } = toml::from_str(toml).unwrap();
        (node, backup_node)
    }

    #[test]
    fn nodes_have_names_by_priority_and_one_pace() {
        let (first, backups) = config(
            "[node]\nrpc_url = \"http://a:1\"\ntip_poll_ms = 7\n\
             [[backup_node]]\nrpc_url = \"http://b:2\"\n\
             [[backup_node]]\nrpc_url = \"http://c:3\"\n",
        );
        let nodes = Node::all(&first, &backups).unwrap();
        let known: Vec<_> = nodes.iter().map(|node| (node.name, node.address())).collect();
        assert_eq!(known, [("node", "a:1"), ("node 2", "b:2"), ("node 3", "c:3")]);
        assert!(nodes.iter().all(|node| node.tip_poll == Duration::from_millis(7)));
    }

    #[test]
    fn a_bad_key_is_told_with_the_table_that_it_stands_in() {
        let (first, backups) =
            config("[node]\nrpc_url = \"http://a:1\"\n[[backup_node]]\nrpc_url = \"https://b:2\"");
        let error = Node::all(&first, &backups).unwrap_err().to_string();
        assert!(error.starts_with("backup_node.rpc_url: "), "{error}");
    }

    #[test]
    fn more_nodes_than_there_are_names_are_refused() {
        let backup = "[[backup_node]]\nrpc_url = \"http://b:2\"\n";
        let (first, backups) =
            config(&format!("[node]\nrpc_url = \"http://a:1\"\n{}", backup.repeat(NODES_MAX)));
        let error = Node::all(&first, &backups).unwrap_err().to_string();
        assert!(error.contains("leave 7 at most"), "{error}");
        assert!(Node::all(&first, &backups[1..]).is_ok());
    }
}
