//! The extensions that the config asks for, in the order of their outputs.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use service::config::ConfigError;
use service::program::Failure;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Config;
use crate::coinbase::bmm::{self, Bmm};
use crate::coinbase::shielded::extension::Shielded;
use crate::coinbase::shielded::secret::NoteSecret;
use crate::coinbase::shielded::settings::ShieldedConfig;
use crate::extension::Extension;
use crate::node::Node;
use crate::templates::build::Extensions;

/// How long a node may take to say which chain it is on.
const CHAIN_MAX: Duration = Duration::from_secs(10);
/// How long to wait before a node that did not say so is asked again.
const CHAIN_AGAIN: Duration = Duration::from_secs(5);
/// What nodes call a chain whose coins are worth something.
const MAIN_CHAIN: &str = "main";

/// Checks their settings; makes no file and reaches for nothing.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    bmm::config::check(&config.bmm)?;
    config.shielded.as_ref().map(ShieldedConfig::settings).transpose().map(drop)
}

/// Makes them, in the order of their outputs. They tell `news` when they have something new for the
/// present tip.
pub(super) fn open(config: &Config, news: &Arc<Notify>) -> Result<Extensions, ConfigError> {
    let mut extensions: Vec<Arc<dyn Extension>> = Vec::new();
    if let Some(shielded) = &config.shielded {
        let settings = shielded.settings()?;
        let secret = NoteSecret::open_or_create(&config.notes_secret_file(shielded))?;
        extensions.push(Arc::new(Shielded::new(settings, secret)));
    }
    if !config.bmm.is_empty() {
        let slots = bmm::config::check(&config.bmm)?;
        extensions.push(Arc::new(Bmm::start(&slots, news)));
    }
    Ok(extensions.into())
}

/// Waits until a node turns out to be on a chain that the settings say it is not on.
pub(super) async fn wrong_chain(config: &Config, nodes: &[Node]) -> Failure {
    let mut unknown = match &config.shielded {
        Some(shielded) if shielded.test_network => nodes.to_vec(),
        _ => Vec::new(),
    };
    while !unknown.is_empty() {
        let mut silent = Vec::new();
        for node in unknown {
            match chain_of(&node).await {
                Some(chain) if chain == MAIN_CHAIN => {
                    let remedy = format!(
                        "the node at {} is on a chain whose coins are worth something; set it to \
                         false, and give note_hash and known_answer",
                        node.address()
                    );
                    return ConfigError::unusable("shielded.test_network", remedy).into();
                }
                Some(_) => {}
                None => silent.push(node),
            }
        }
        unknown = silent;
        if !unknown.is_empty() {
            sleep(CHAIN_AGAIN).await;
        }
    }
    std::future::pending().await
}

async fn chain_of(node: &Node) -> Option<String> {
    #[derive(Deserialize)]
    struct ChainInfo {
        chain: String,
    }

    let answer = node.connection().ask("getblockchaininfo", json!([]), CHAIN_MAX).await;
    answer.ok().map(|ChainInfo { chain }| chain)
}
