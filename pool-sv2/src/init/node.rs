//! Finds the node, and which network it is on: by its address, or on this machine at the usual
//! ports with the usual cookies. It must not guess a network: the node says it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rpc::Rpc;
use rpc::login::{Credentials, Login, RpcConfig};
use serde::Deserialize;
use serde_json::json;
use service::program::Failure;

use crate::payout::NetworkName;

/// How long a node may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// RPC port and cookie, below the node's data directory, of each network.
const USUAL: [(u16, &str); 4] = [
    (8_332, ".cookie"),
    (48_332, "testnet4/.cookie"),
    (38_332, "signet/.cookie"),
    (18_443, "regtest/.cookie"),
];

/// Where the node is.
#[derive(Debug, Args)]
pub(super) struct NodeArguments {
    /// Where the node's RPC answers, http://HOST:PORT. Absent, one is looked for on this machine.
    #[arg(long)]
    rpc_url: Option<String>,
    /// The node's cookie.
    #[arg(long, conflicts_with_all = ["rpc_user", "rpc_password_file"])]
    cookie_file: Option<PathBuf>,
    /// rpcuser of the node, in place of the cookie.
    #[arg(long, requires = "rpc_password_file")]
    rpc_user: Option<String>,
    /// A file that holds its rpcpassword.
    #[arg(long, requires = "rpc_user")]
    rpc_password_file: Option<PathBuf>,
}

/// A node that has answered.
pub(super) struct Found {
    pub(super) rpc_url: String,
    pub(super) cookie_file: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) network: NetworkName,
    /// For people.
    pub(super) description: String,
    pub(super) is_syncing: bool,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u64,
    #[serde(default, rename = "initialblockdownload")]
    is_syncing: bool,
}

impl NodeArguments {
    /// The node, asked for its network.
    pub(super) async fn find(&self) -> Result<Found, Failure> {
        let candidates = self.candidates();
        let mut complaints = Vec::new();
        for candidate in candidates {
            match ask(&candidate).await {
                Ok(info) => return found(candidate, &info),
                Err(complaint) => complaints.push(complaint),
            }
        }
        let tried = complaints.join("; ");
        let remedy = "start it, or say where it is with --rpc-url and --cookie-file";
        let tried = if tried.is_empty() { "no cookie is in ~/.bitcoin" } else { &tried };
        Err(Failure::Usage(format!("no node answers ({tried}): {remedy}")))
    }

    /// What may be worth asking, the most likely first.
    fn candidates(&self) -> Vec<RpcConfig> {
        let home = std::env::home_dir().unwrap_or_default().join(".bitcoin");
        let usual =
            |(port, cookie): (u16, &str)| (format!("http://127.0.0.1:{port}"), home.join(cookie));
        let Some(url) = &self.rpc_url else {
            let usual = USUAL.into_iter().map(usual).filter(|(_, cookie)| cookie.is_file());
            return usual.map(|(url, cookie)| self.at(url, Some(&cookie))).collect();
        };
        let cookie = USUAL.into_iter().map(usual).find(|(usual, _)| usual == url);
        let cookie = cookie.map(|(_, cookie)| cookie).filter(|cookie| cookie.is_file());
        vec![self.at(url.clone(), cookie.as_deref())]
    }

    /// The node at `url`; `cookie` is for who has named no credentials.
    fn at(&self, url: String, cookie: Option<&Path>) -> RpcConfig {
        let cookie = cookie.filter(|_| self.rpc_user.is_none()).map(Path::to_owned);
        RpcConfig {
            rpc_url: url,
            cookie_file: self.cookie_file.clone().or(cookie),
            user: self.rpc_user.clone(),
            password: None,
            password_file: self.rpc_password_file.clone(),
        }
    }
}

async fn ask(config: &RpcConfig) -> Result<ChainInfo, String> {
    let endpoint = config.endpoint("--rpc-url").map_err(|error| error.to_string())?;
    let login = Credentials::from_config("node", config).map_err(|error| error.to_string())?;
    let mut rpc = Rpc::new(endpoint, Login::with(login));
    let answer = rpc.ask("getblockchaininfo", json!([]), ANSWER_MAX).await;
    answer.map_err(|error| format!("{}: {error}", config.rpc_url))
}

fn found(config: RpcConfig, info: &ChainInfo) -> Result<Found, Failure> {
    let network = network(&info.chain).ok_or_else(|| {
        Failure::Usage(format!(
            "the node says that it is on {:?}, a network that is not known here: write the \
             settings by hand, config/ explains every key",
            info.chain
        ))
    })?;
    let absolute = |file: PathBuf| std::path::absolute(&file).unwrap_or(file);
    Ok(Found {
        network,
        description: format!("{} at block {}", network.name(), info.blocks),
        is_syncing: info.is_syncing,
        rpc_url: config.rpc_url,
        cookie_file: config.cookie_file.map(absolute),
        user: config.user,
        password_file: config.password_file.map(absolute),
    })
}

/// The network by the name that nodes give it.
fn network(chain: &str) -> Option<NetworkName> {
    match chain {
        "main" => Some(NetworkName::Mainnet),
        "testnet4" => Some(NetworkName::Testnet4),
        "signet" => Some(NetworkName::Signet),
        "regtest" => Some(NetworkName::Regtest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_not_known_is_refused_and_not_taken_for_another() {
        let info = ChainInfo { chain: "liquid".to_owned(), blocks: 7, is_syncing: false };
        let arguments = NodeArguments {
            rpc_url: Some("http://127.0.0.1:1".to_owned()),
            cookie_file: None,
            rpc_user: None,
            rpc_password_file: None,
        };
        let config = arguments.candidates().remove(0);
        let refused = found(config, &info).err().map(|failure| failure.to_string());
        assert!(refused.is_some_and(|text| text.contains("liquid")));
    }
}
