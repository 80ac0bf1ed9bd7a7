//! The real program with a folder of its own, and what can be seen of it from outside.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use mining::header::Header;
use mining::merkle::root_from_path;
use tempfile::TempDir;
use testkit::log::{Event, Mark};
use testkit::node::Node;
use testkit::program::{Launch, Program};
use wire::sv2::keys::Sv2Url;
use wire::sv2::template::{NewTemplate, SetNewPrevHash, SubmitSolution};

use crate::sidecar::Sidecar;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Room for a payout, as a pool asks for it.
pub(crate) const PAYOUT: (u32, u16) = (43, 4);

pub(crate) struct Provider {
    pub(crate) program: Program,
    pub(crate) url: Sv2Url,
    pub(crate) directory: TempDir,
}

impl Provider {
    /// Starts it; with a sidecar, its coinbases are shielded.
    pub(crate) fn start(node: &Node, sidecar: Option<&Sidecar>) -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("template-provider.toml");
        std::fs::write(&config, settings(node, sidecar, directory.path())).unwrap();
        let path = env!("CARGO_BIN_EXE_template-provider");
        let launch = Launch::server("template-provider", path, config, "debug");
        let mut program = Program::start(launch).unwrap();
        let url = program.wait_said("templates at ").unwrap().parse().unwrap();
        Self { program, url, directory }
    }

    /// Starts it again, on another port; it must have been killed.
    pub(crate) fn restart(&mut self) {
        self.program.restart().unwrap();
        self.url = self.program.wait_said("templates at ").unwrap().parse().unwrap();
    }

    pub(crate) fn wait_for(&mut self, from: Mark, message: &str) -> Event {
        self.program.wait_for_log(from, SOON, message, |event| event.is(message)).unwrap()
    }

    pub(crate) fn end(&self) -> Mark {
        self.program.log().end()
    }

    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let waited = testkit::wait::until("the disk", SOON, || Ok(is_so().then_some(())));
        waited.unwrap_or_else(|error| {
            panic!("{error:#}\n{:?}\n{}", self.blocks(), self.program.log().tail())
        });
    }

    pub(crate) fn wait_until_spooled(&self, template_id: u64) {
        let file = self.directory.path().join(format!("templates/{template_id}.template"));
        self.wait_until(|| file.exists());
    }

    /// The files of found blocks.
    pub(crate) fn blocks(&self) -> Vec<String> {
        self.files("blocks")
    }

    /// The files of parcels that wait.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.files("outbox/pending")
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".lock")).collect()
    }

    /// Runs a subcommand; gives the lines that it says.
    pub(crate) fn command(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Runs a subcommand that must fail; gives what it complains of.
    pub(crate) fn command_fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Where the program keeps something.
    pub(crate) fn folder(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_template-provider"));
        command.args(arguments).arg("--config");
        command.arg(self.directory.path().join("template-provider.toml")).output().unwrap()
    }
}

fn settings(node: &Node, sidecar: Option<&Sidecar>, directory: &Path) -> String {
    let mut settings = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nsecret_key_file = \"{}\"\n\
         [node]\nrpc_url = \"{}\"\ncookie_file = \"{}\"\n\
         template_refresh_seconds = 1\nfee_delta_sats = 1\n",
        directory.join("authority.key").display(),
        node.rpc_url(),
        node.cookie_file().display(),
    );
    if let Some(sidecar) = sidecar {
        let (pubkey, url) = ("0123456789abcdef".repeat(4), sidecar.url());
        writeln!(
            settings,
            "[shielded]\npubkey = \"{pubkey}\"\ntest_network = true\nsidecar_url = \"{url}\""
        )
        .unwrap();
    }
    settings
}

/// Hex of the commitment to the note of a template: what the witness v2 output holds.
pub(crate) fn commitment(template: &NewTemplate) -> String {
    let outputs = template.coinbase_tx_outputs.as_slice();
    // Value 0, the script's length, OP_2, and a push of 32 bytes.
    let start = [0, 0, 0, 0, 0, 0, 0, 0, 34, 0x52, 32];
    let at = outputs.windows(start.len()).position(|bytes| bytes == start).unwrap() + start.len();
    outputs[at..at + 32].to_lower_hex_string()
}

/// The block's hash in display order.
pub(crate) fn hash_of(
    template: &NewTemplate,
    tip: &SetNewPrevHash,
    solution: &SubmitSolution,
) -> String {
    mining::hash::display(&header_of(template, tip, solution).hash())
}

/// The block's header.
pub(crate) fn header_of(
    template: &NewTemplate,
    tip: &SetNewPrevHash,
    solution: &SubmitSolution,
) -> Header {
    let coinbase: bitcoin::Transaction = deserialize(solution.coinbase_tx.as_slice()).unwrap();
    let txid = coinbase.compute_txid().to_byte_array();
    Header {
        version: solution.version,
        prev_hash: tip.prev_hash,
        merkle_root: root_from_path(txid, template.merkle_path.as_slice()),
        ntime: solution.header_timestamp,
        nbits: tip.n_bits,
        nonce: solution.header_nonce,
    }
}
