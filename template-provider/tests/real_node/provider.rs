//! The program under test: started in front of a node, killed, and looked into.

use std::path::Path;

use tempfile::TempDir;
use testkit::log::{Event, Mark};
use testkit::node::Node;
use testkit::program::{Launch, Program};
use wire::sv2::keys::Sv2Url;

use crate::SOON;

/// A provider in front of a node, with a folder of its own.
pub(crate) struct Provider {
    pub(crate) program: Program,
    pub(crate) url: Sv2Url,
    pub(crate) directory: TempDir,
}

impl Provider {
    pub(crate) fn start(node: &Node) -> Self {
        Self::start_with(node, "")
    }

    /// With more settings.
    pub(crate) fn start_with(node: &Node, more: &str) -> Self {
        let more = format!("template_refresh_seconds = 1\n{more}");
        Self::start_at(node, &node.rpc_url(), &more)
    }

    /// In front of what answers for `node` at `rpc_url`, with more keys of `[node]` and what else
    /// is to follow them.
    pub(crate) fn start_at(node: &Node, rpc_url: &str, more: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("template-provider.toml");
        let settings = settings_at(node, rpc_url, directory.path());
        std::fs::write(&config, format!("{settings}{more}")).unwrap();
        let path = env!("CARGO_BIN_EXE_template-provider");
        let launch = Launch::server("template-provider", path, config, "debug");
        let mut program = Program::start(launch).unwrap();
        let url = program.wait_said("templates at ").unwrap().parse().unwrap();
        Self { program, url, directory }
    }

    /// Kills it and starts it again on another port.
    pub(crate) fn restart(&mut self) {
        self.program.kill();
        self.program.restart().unwrap();
        self.url = self.program.wait_said("templates at ").unwrap().parse().unwrap();
    }

    pub(crate) fn wait_for(&mut self, from: Mark, message: &str) -> Event {
        self.program.wait_for_log(from, SOON, message, |event| event.is(message)).unwrap()
    }

    pub(crate) fn end(&self) -> Mark {
        self.program.log().end()
    }

    /// How many blocks are on disk whole, `pending` or `refused`.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let entries = std::fs::read_dir(self.directory.path().join("blocks")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.fold((0, 0), |(pending, refused), name| {
            let is = |end: &str| usize::from(name.ends_with(end));
            (pending + is(".hex"), refused + is(".refused"))
        })
    }

    pub(crate) fn wait_until_kept(&self, kept: (usize, usize)) {
        let look = || Ok((self.kept() == kept).then_some(()));
        testkit::wait::until(&format!("{kept:?} blocks on disk"), SOON, look).unwrap();
    }
}

pub(crate) fn settings(node: &Node, directory: &Path) -> String {
    settings_at(node, &node.rpc_url(), directory) + "template_refresh_seconds = 1\n"
}

fn settings_at(node: &Node, rpc_url: &str, directory: &Path) -> String {
    format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nsecret_key_file = \"{}\"\n\
         [node]\nrpc_url = \"{}\"\ncookie_file = \"{}\"\n\
         fee_delta_sats = 1\n",
        directory.join("authority.key").display(),
        rpc_url,
        node.cookie_file().display(),
    )
}
