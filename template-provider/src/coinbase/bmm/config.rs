//! `[[bmm]]` of the config, one table a slot: parsed into settings that fit together.
//!
//! It reaches for nothing. Passwords are never shown.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use service::config::ConfigError;

use super::message::Encoding;
use rpc::http::Endpoint;

/// Most M7s of one coinbase. With the longest layout they are 864 bytes: small devices take
/// coinbases of about a kilobyte, and a node keeps 2,000 weight units free for one at least. More
/// slots are refused at start, more bids are left out of the block.
pub const ACCEPTS_MAX: usize = 16;

/// `[[bmm]]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotConfig {
    /// The sidechain's number.
    pub slot: u8,
    /// How M7 is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Where h* comes from; absent: from bids alone.
    pub source: Option<SourceKind>,
    /// Where the sources that speak HTTP answer.
    pub url: Option<String>,
    /// The user of an RPC source.
    pub user: Option<String>,
    /// The password of an RPC source.
    pub password: Option<SecretString>,
    /// A file that holds the password, in place of `password`.
    pub password_file: Option<PathBuf>,
    /// What the source `file` reads.
    pub path: Option<PathBuf>,
    /// What the source `command` runs: a program and its arguments, without a shell.
    pub command: Option<Vec<String>>,
    /// Whether the source shows h* as its bytes are, or reversed.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// How often the source is asked while the tip stays, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// How long one answer may take, in milliseconds.
    #[serde(default = "default_deadline_ms")]
    pub deadline_ms: u64,
    /// When the slot gets the source's own h*.
    pub self_bmm: Option<SelfBmm>,
    /// True if there shall be no template without an M7 for this slot.
    #[serde(default)]
    pub required: bool,
}

fn default_poll_ms() -> u64 {
    1000
}

fn default_deadline_ms() -> u64 {
    5000
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// `getbestblockhash` of the sidechain.
    SidechainRpc,
    /// `get_block_template` of Thunder.
    Thunder,
    /// 64 hex characters in a file.
    File,
    /// 64 hex characters on a program's standard output.
    Command,
    /// 64 hex characters in the answer to a GET.
    Http,
}

/// Which way round a source shows h*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// As the bytes stand in M7.
    #[default]
    AsIs,
    /// As Bitcoin-like chains print hashes.
    Reversed,
}

/// Who gets the one M7 of a slot: the source, or who bids for it by an M8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfBmm {
    /// Bids alone.
    Never,
    /// The source where nobody bids.
    IfNoBid,
    /// The source; bids are left out of the block.
    Always,
}

/// The settings of one slot, checked.
#[derive(Debug, Clone)]
pub struct SlotSettings {
    /// The sidechain's number.
    pub slot: u8,
    /// How M7 is written.
    pub encoding: Encoding,
    /// Who gets the M7.
    pub self_bmm: SelfBmm,
    /// True if there shall be no template without an M7 for this slot.
    pub required: bool,
    /// Where h* comes from; `None` where only bids count.
    pub source: Option<SourceSettings>,
}

/// A source and how to ask it.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// What to ask.
    pub ask: Ask,
    /// Which way round it shows h*.
    pub byte_order: ByteOrder,
    /// How often.
    pub poll: Duration,
    /// How long an answer may take.
    pub deadline: Duration,
}

/// What to ask for h*.
#[derive(Debug, Clone)]
pub enum Ask {
    /// `getbestblockhash` of a sidechain's RPC.
    SidechainRpc(Endpoint, Option<Login>),
    /// `get_block_template` of Thunder's RPC.
    Thunder(Endpoint, Option<Login>),
    /// A file.
    File(PathBuf),
    /// A program and its arguments.
    Command(String, Vec<String>),
    /// A page.
    Http(Endpoint, Option<Login>),
}

/// User and password of an RPC.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password, or the file that holds it.
    pub password: Password,
}

/// A password, here or in a file.
#[derive(Debug, Clone)]
pub enum Password {
    /// In the config.
    Given(SecretString),
    /// In a file; a newline at its end does not count.
    In(PathBuf),
}

/// Checks all slots together.
pub fn check(configs: &[SlotConfig]) -> Result<Vec<SlotSettings>, ConfigError> {
    if configs.len() > ACCEPTS_MAX {
        let remedy = format!(
            "a coinbase holds {ACCEPTS_MAX} of them at most, or small devices cannot mine it; \
             leave out those that matter least"
        );
        return Err(ConfigError::unusable("bmm", remedy));
    }
    let mut slots = BTreeSet::new();
    if let Some(twice) = configs.iter().find(|config| !slots.insert(config.slot)) {
        let remedy = format!("slot {} stands there twice; write one table for it", twice.slot);
        return Err(ConfigError::unusable("bmm.slot", remedy));
    }
    configs.iter().map(SlotConfig::check).collect()
}

impl SlotConfig {
    fn check(&self) -> Result<SlotSettings, ConfigError> {
        let default = if self.source.is_some() { SelfBmm::IfNoBid } else { SelfBmm::Never };
        let self_bmm = self.self_bmm.unwrap_or(default);
        let source = self.source.map(|kind| self.source(kind)).transpose()?;
        match (&source, self_bmm, self.required) {
            (None, SelfBmm::IfNoBid | SelfBmm::Always, _) => {
                Err(self.unusable("self_bmm", "it needs a source; name one, or write never"))
            }
            (Some(_), SelfBmm::Never, _) => {
                Err(self.unusable("self_bmm", "with never the source is not asked; remove it"))
            }
            (None, _, true) => {
                Err(self.unusable("required", "bids cannot be demanded; name a source"))
            }
            _ => {
                let Self { slot, encoding, required, .. } = *self;
                Ok(SlotSettings { slot, encoding, self_bmm, required, source })
            }
        }
    }

    fn source(&self, kind: SourceKind) -> Result<SourceSettings, ConfigError> {
        for (field, value) in [("poll_ms", self.poll_ms), ("deadline_ms", self.deadline_ms)] {
            if value == 0 {
                return Err(self.unusable(field, "0 would never wait; write 1 or more"));
            }
        }
        self.refuse_what_it_does_not_use(kind)?;
        let ask = match kind {
            SourceKind::SidechainRpc => Ask::SidechainRpc(self.endpoint()?, self.login()?),
            SourceKind::Thunder => Ask::Thunder(self.endpoint()?, self.login()?),
            SourceKind::Http => Ask::Http(self.endpoint()?, self.login()?),
            SourceKind::File => {
                let path = self.path.clone();
                Ask::File(path.ok_or_else(|| self.unusable("path", "name the file to read"))?)
            }
            SourceKind::Command => {
                let words = self.command.clone().unwrap_or_default();
                let (program, arguments) = words.split_first().ok_or_else(|| {
                    self.unusable("command", "write it as [\"PROGRAM\", \"ARGUMENT\"]")
                })?;
                Ask::Command(program.clone(), arguments.to_vec())
            }
        };
        Ok(SourceSettings {
            ask,
            byte_order: self.byte_order,
            poll: Duration::from_millis(self.poll_ms),
            deadline: Duration::from_millis(self.deadline_ms),
        })
    }

    /// A setting that does nothing would look as if it did.
    fn refuse_what_it_does_not_use(&self, kind: SourceKind) -> Result<(), ConfigError> {
        let speaks_http = !matches!(kind, SourceKind::File | SourceKind::Command);
        let has_login =
            self.user.is_some() || self.password.is_some() || self.password_file.is_some();
        let unused = [
            ("url", self.url.is_some() && !speaks_http),
            ("user", has_login && !speaks_http),
            ("path", self.path.is_some() && kind != SourceKind::File),
            ("command", self.command.is_some() && kind != SourceKind::Command),
        ];
        if let Some((field, _)) = unused.iter().find(|(_, is_unused)| *is_unused) {
            return Err(self.unusable(field, "this source does not use it; remove it"));
        }
        match (kind, self.byte_order) {
            (SourceKind::Thunder, ByteOrder::Reversed) => {
                Err(self.unusable("byte_order", "Thunder shows h* as its bytes are; remove it"))
            }
            _ => Ok(()),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let url = self.url.as_deref();
        let url = url.ok_or_else(|| self.unusable("url", "write it as http://HOST:PORT"))?;
        Endpoint::parse(url).map_err(|remedy| self.unusable("url", remedy))
    }

    fn login(&self) -> Result<Option<Login>, ConfigError> {
        let password = match (&self.user, &self.password, &self.password_file) {
            (None, None, None) => return Ok(None),
            (Some(_), Some(password), None) => Some(Password::Given(password.clone())),
            (Some(_), None, Some(file)) => Some(Password::In(file.clone())),
            _ => None,
        };
        match (self.user.clone(), password) {
            (Some(user), Some(password)) => Ok(Some(Login { user, password })),
            _ => Err(self.unusable("user", "set it with one of password and password_file")),
        }
    }

    /// Names the slot, for there is a table for each.
    fn unusable(&self, field: &str, remedy: impl AsRef<str>) -> ConfigError {
        let remedy = format!("for slot {}: {}", self.slot, remedy.as_ref());
        ConfigError::unusable(format!("bmm.{field}"), remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Settings {
        bmm: Vec<SlotConfig>,
    }

    fn checked(toml: &str) -> Result<Vec<SlotSettings>, String> {
        let settings: Settings = toml::from_str(toml).map_err(|error| error.to_string())?;
        check(&settings.bmm).map_err(|error| error.to_string())
    }

    #[test]
    fn a_slot_with_a_source_is_filled_where_nobody_bids() {
        let slots = checked("[[bmm]]\nslot = 9\nsource = \"file\"\npath = \"h\"\n").unwrap();
        let slot = &slots[0];
        assert_eq!(
            (slot.slot, slot.encoding, slot.self_bmm),
            (9, Encoding::Push, SelfBmm::IfNoBid)
        );
        let source = slot.source.as_ref().unwrap();
        assert!(matches!(&source.ask, Ask::File(path) if path.ends_with("h")));
        assert_eq!((source.byte_order, slot.required), (ByteOrder::AsIs, false));
    }

    #[test]
    fn a_slot_without_a_source_is_for_bids() {
        let slots = checked("[[bmm]]\nslot = 255\nencoding = \"legacy\"\n").unwrap();
        assert_eq!((slots[0].slot, slots[0].self_bmm), (255, SelfBmm::Never));
        assert!(slots[0].source.is_none());
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused_with_field_and_slot() {
        let file = "slot = 3\nsource = \"file\"\npath = \"h\"\n";
        let rpc = "slot = 3\nsource = \"sidechain_rpc\"\n";
        for (toml, field) in [
            ("slot = 256\n".to_owned(), "slot"),
            ("slot = 3\n[[bmm]]\nslot = 3\n".to_owned(), "bmm.slot: slot 3"),
            (format!("{file}poll_ms = 0\n"), "bmm.poll_ms: for slot 3"),
            (format!("{file}deadline_ms = 0\n"), "bmm.deadline_ms: for slot 3"),
            (format!("{file}url = \"http://a:1\"\n"), "bmm.url: for slot 3"),
            (format!("{file}user = \"a\"\n"), "bmm.user: for slot 3"),
            (format!("{file}command = [\"a\"]\n"), "bmm.command: for slot 3"),
            (format!("{file}self_bmm = \"never\"\n"), "bmm.self_bmm: for slot 3"),
            ("slot = 3\nsource = \"file\"\n".to_owned(), "bmm.path: for slot 3"),
            ("slot = 3\nsource = \"command\"\n".to_owned(), "bmm.command: for slot 3"),
            ("slot = 3\nself_bmm = \"always\"\n".to_owned(), "bmm.self_bmm: for slot 3"),
            ("slot = 3\nrequired = true\n".to_owned(), "bmm.required: for slot 3"),
            (
                rpc.replace("sidechain_rpc", "thunder")
                    + "url = \"http://a:1\"\nbyte_order = \"reversed\"\n",
                "bmm.byte_order: for slot 3",
            ),
            (rpc.to_owned(), "bmm.url: for slot 3"),
            (format!("{rpc}url = \"https://a:1\"\n"), "bmm.url: for slot 3"),
            (format!("{rpc}url = \"http://a:1\"\nuser = \"a\"\n"), "bmm.user: for slot 3"),
        ] {
            let error = checked(&format!("[[bmm]]\n{toml}")).unwrap_err();
            assert!(error.contains(field), "{toml}: {error}");
        }
    }

    #[test]
    fn more_slots_than_a_coinbase_holds_are_refused() {
        let slots = |count: usize| -> String {
            (0..count).map(|slot| format!("[[bmm]]\nslot = {slot}\n")).collect()
        };
        assert_eq!(checked(&slots(ACCEPTS_MAX)).unwrap().len(), ACCEPTS_MAX);
        let error = checked(&slots(ACCEPTS_MAX + 1)).unwrap_err();
        assert!(error.starts_with("bmm: "), "{error}");
    }

    #[test]
    fn no_password_shows_in_debug() {
        let toml = "[[bmm]]\nslot = 1\nsource = \"sidechain_rpc\"\nurl = \"http://a:1\"\n\
                    user = \"u\"\npassword = \"hunter2\"\n";
        let settings: Settings = toml::from_str(toml).unwrap();
        let shown = format!("{:?} {:?}", settings.bmm, check(&settings.bmm).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
