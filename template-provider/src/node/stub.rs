//! A node for tests that answers as its script says, with the settings that lead to it.

use testkit::stub::Stub;
pub(crate) use testkit::stub::{Reply, Request, error, result};

use super::enforcer::{Enforcer, EnforcerConfig};
use super::{Node, NodeConfig};

/// The stub.
pub(crate) struct StubNode(Stub);

impl StubNode {
    /// Uses the replies one after the other, the last one again and again.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(Stub::start(replies).await)
    }

    /// Asks the script for each request.
    pub(crate) async fn scripted(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self(Stub::scripted(script).await)
    }

    /// The room's settings for this stub, with more keys in TOML.
    pub(crate) fn node(&self, toml: &str) -> Node {
        let config: NodeConfig = toml::from_str(&(self.rpc_url() + toml)).unwrap();
        Node::from_config(&config).unwrap()
    }

    /// The settings of an enforcer for this stub, with more keys in TOML.
    pub(crate) fn enforcer(&self, toml: &str) -> Enforcer {
        let config: EnforcerConfig = toml::from_str(&(self.rpc_url() + toml)).unwrap();
        Enforcer::from_config(&config).unwrap()
    }

    fn rpc_url(&self) -> String {
        format!("rpc_url = \"{}\"\n", self.0.url())
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }
}
