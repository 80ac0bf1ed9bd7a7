//! The files that `init` writes. Each is written anew or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use service::program::Failure;

use super::node::Found;
use crate::payout::identity::Mode;

/// What is written, by name.
const NAMES: [&str; 4] = ["template-provider.toml", "pool-sv2.toml", "translator-v1.toml", ".env"];

/// One file, not written yet.
pub(super) struct File {
    pub(super) name: &'static str,
    text: String,
}

/// What the files are made of.
pub(super) struct Settings<'a> {
    pub(super) data: &'a Path,
    pub(super) node: &'a Found,
    pub(super) address: &'a str,
    pub(super) mode: Mode,
    pub(super) fee_basis_points: u16,
    pub(super) min_difficulty: f64,
}

/// Fails if one of the files is there.
pub(super) fn refuse_existing(directory: &Path) -> Result<(), Failure> {
    match NAMES.iter().map(|name| directory.join(name)).find(|file| file.exists()) {
        None => Ok(()),
        Some(file) => Err(Failure::Usage(format!(
            "{} is there already, and is not overwritten: name another folder with --dir",
            file.display()
        ))),
    }
}

/// Writes them all.
pub(super) fn write(directory: &Path, files: &[File]) -> Result<(), Failure> {
    for file in files {
        let path = directory.join(file.name);
        write_new(&path, &file.text).map_err(|error| {
            let path = path.display();
            Failure::Usage(format!("cannot write {path}: {error}; name another with --dir"))
        })?;
    }
    Ok(())
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

pub(super) fn secret_key(data: &Path, program: &str) -> PathBuf {
    data.join(program).join("authority.key")
}

pub(super) fn public_key(data: &Path, program: &str) -> PathBuf {
    data.join(program).join("authority.pub")
}

impl Settings<'_> {
    /// All files. What each key means stands in config/ of the source.
    pub(super) fn files(&self) -> Vec<File> {
        let texts = [self.template_provider(), self.pool(), self.translator(), self.environment()];
        NAMES.into_iter().zip(texts).map(|(name, text)| File { name, text }).collect()
    }

    fn template_provider(&self) -> String {
        let network = self.node.network.name();
        let data = |name: &str| quoted(&self.data.join("template-provider").join(name));
        format!(
            "{}[listen]\naddress = \"127.0.0.1:8442\"\n\n{}\n[node]\n{}network = \"{network}\"\n\n\
             [vault]\nblocks_dir = {}\ntemplates_dir = {}\n\n\
             [health]\naddress = \"127.0.0.1:9101\"\n",
            head("template-provider"),
            self.authority("template-provider"),
            self.rpc(),
            data("blocks"),
            data("templates"),
        )
    }

    fn pool(&self) -> String {
        let provider = quoted(&public_key(self.data, "template-provider"));
        format!(
            "{}[listen]\naddress = \"0.0.0.0:34254\"\n\n{}\n[[template_provider]]\n\
             address = \"127.0.0.1:8442\"\nauthority_key_file = {provider}\n\n[node]\n{}\n\
             [payout]\nnetwork = \"{}\"\naddress = {}\nmode = \"{}\"\nfee_basis_points = {}\n\n\
             [vardiff]\nmin_difficulty = {:?}\n\n[ledger]\ndirectory = {}\n\n\
             [health]\naddress = \"127.0.0.1:8082\"\n\n[api]\nenabled = true\n\n\
             [dashboard]\nenabled = true\n",
            head("pool-sv2"),
            self.authority("pool-sv2"),
            self.rpc(),
            self.node.network.name(),
            text(self.address),
            self.mode.name(),
            self.fee_basis_points,
            self.min_difficulty,
            quoted(&self.data.join("pool-sv2/ledger")),
        )
    }

    fn translator(&self) -> String {
        let user = format!("{}.translator", self.address);
        format!(
            "{}[listen]\naddress = \"0.0.0.0:3333\"\n\n[upstream]\naddress = \"127.0.0.1:34254\"\n\
             authority_key_file = {}\nuser_identity = {}\n\n[vardiff]\nmin_difficulty = {:?}\n\n\
             [health]\naddress = \"127.0.0.1:9103\"\n",
            head("translator-v1"),
            quoted(&public_key(self.data, "pool-sv2")),
            text(&user),
            self.min_difficulty,
        )
    }

    /// For compose.yaml, with a node of its own.
    fn environment(&self) -> String {
        format!(
            "# For `docker compose --env-file`; .env.example has all variables.\n\
             COMPOSE_PROFILES=bitcoin\nCHAIN={}\nPAYOUT_ADDRESS={}\nMIN_DIFFICULTY={}\n",
            self.node.network.name(),
            self.address,
            self.min_difficulty,
        )
    }

    fn authority(&self, program: &str) -> String {
        format!(
            "[authority]\n# Miners or pools know the server by it: keep a copy.\n\
             secret_key_file = {}\npublic_key_file = {}\n",
            quoted(&secret_key(self.data, program)),
            quoted(&public_key(self.data, program)),
        )
    }

    fn rpc(&self) -> String {
        let Found { rpc_url, cookie_file, user, password_file, .. } = self.node;
        let file = |file: &Option<PathBuf>| file.as_deref().map(quoted);
        let keys = [
            ("rpc_url", Some(text(rpc_url))),
            ("cookie_file", file(cookie_file)),
            ("user", user.as_deref().map(text)),
            ("password_file", file(password_file)),
        ];
        let lines = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
        lines.map(|(key, value)| format!("{key} = {value}\n")).collect()
    }
}

fn head(program: &str) -> String {
    format!("# Made by `pool-sv2 init`. config/{program}.toml explains every key.\n\n")
}

/// A path as TOML has it.
fn quoted(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// A text as TOML has it.
fn text(plain: &str) -> String {
    toml::Value::from(plain).to_string()
}
