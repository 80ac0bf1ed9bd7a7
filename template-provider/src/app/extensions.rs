//! The extensions that the config asks for, in the order of their outputs.

use std::sync::Arc;

use service::config::ConfigError;
use service::metrics::Metrics;
use service::program::Failure;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Config;
use crate::coinbase::bmm::counts::Counts;
use crate::coinbase::bmm::guard::Guard;
use crate::coinbase::bmm::{self, Bmm};
use crate::coinbase::shielded::extension::Shielded;
use crate::coinbase::shielded::secret::NoteSecret;
use crate::coinbase::shielded::settings::ShieldedConfig;
use crate::extension::Extension;
use crate::node::{Node, chain};
use crate::templates::build::Extensions;

/// What nodes call a chain whose coins are worth something.
const MAIN_CHAIN: &str = "main";

/// Checks their settings; makes no file and reaches for nothing.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    guard(config)?;
    config.shielded.as_ref().map(ShieldedConfig::settings).transpose().map(drop)
}

/// Makes them, in the order of their outputs. They tell `news` when they have something new for the
/// present tip.
pub(super) fn open(
    config: &Config,
    news: &Arc<Notify>,
    metrics: &Metrics,
) -> Result<Extensions, ConfigError> {
    let mut extensions: Vec<Arc<dyn Extension>> = Vec::new();
    if let Some(shielded) = &config.shielded {
        let settings = shielded.settings()?;
        let secret = NoteSecret::open_or_create(&config.notes_secret_file(shielded))?;
        extensions.push(Arc::new(Shielded::new(settings, secret)));
    }
    if !config.bmm.is_empty() {
        let slots = bmm::config::check(&config.bmm)?;
        extensions.push(Arc::new(Bmm::start(&slots, news, &Counts::new(metrics))));
    }
    Ok(extensions.into())
}

/// What looks at templates before the extensions do.
pub(super) fn guard(config: &Config) -> Result<Guard, ConfigError> {
    let slots = bmm::config::check(&config.bmm)?;
    Guard::from_config(&config.bmm_guard, &slots, config.enforcer.is_some())
}

/// Ends when a node says that it is on a chain that the settings say it is not on.
pub(super) async fn wrong_chain(config: &Config, nodes: &[Node]) -> Failure {
    let is_test_network = config.shielded.as_ref().is_some_and(|shielded| shielded.test_network);
    let asked = nodes.iter().filter(|_| is_test_network).cloned();
    // All of them: a chain with worth has more work than one without, and would be followed.
    let mut asked: JoinSet<_> =
        asked.map(|node| async move { (chain::name(&node).await, node) }).collect();
    while let Some(answer) = asked.join_next().await {
        if let Ok((Some(name), node)) = answer
            && name == MAIN_CHAIN
        {
            let remedy = format!(
                "the node at {} is on a chain whose coins are worth something; set it to false, \
                 and give note_hash and known_answer",
                node.address()
            );
            return ConfigError::unusable("shielded.test_network", remedy).into();
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use serde_json::json;
    use service::program::Server;
    use tokio::time::timeout;

    use super::*;
    use crate::app::TemplateProvider;
    use crate::node::stub::{Reply, StubNode, error, result};

    fn config(test_network: bool) -> Config {
        let text = format!(
            "[authority]\nsecret_key_file = \"x\"\n[node]\nrpc_url = \"http://a:1\"\n\
             [shielded]\nsidecar_url = \"http://a:1\"\ntest_network = {test_network}\n"
        );
        let nobody = std::iter::empty();
        service::config::parse(Path::new("x"), &text, TemplateProvider::PREFIX, nobody).unwrap()
    }

    fn on(chain: &str) -> Reply {
        result(&json!({ "chain": chain }))
    }

    #[tokio::test]
    async fn a_main_chain_behind_any_node_ends_what_was_said_to_be_a_test() {
        let first = StubNode::start([on("regtest")]).await;
        let second = StubNode::start([error(-28, "Loading"), on("main")]).await;
        let nodes = [first.node(""), second.node("")];
        let Failure::Usage(said) = wrong_chain(&config(true), &nodes).await else { panic!() };
        assert!(said.starts_with("shielded.test_network: "), "{said}");
    }

    #[tokio::test]
    async fn a_main_chain_is_fine_where_nothing_else_was_said() {
        let stub = StubNode::start([on("main")]).await;
        let config = config(false);
        let nodes = [stub.node("")];
        let ended = timeout(Duration::from_millis(100), wrong_chain(&config, &nodes)).await;
        assert!(ended.is_err() && stub.requests().is_empty());
    }
}
