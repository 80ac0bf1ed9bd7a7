//! Takes over from the two Python Stratum servers: the keys of their `.env` files become settings
//! of this stack.
//!
//! Here stands which program reads which key; what a key means is the program's own to say
//! (`Server::take_over`). The settings of the file come first, those of the `.env` over them, and
//! the environment over both. No value is ever shown: some are secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

/// A setting, and a section of settings.
pub use toml::{Table, Value};

use crate::config::ConfigError;
use crate::env_file::EnvFile;

/// Keys of the Python servers, and the programs that read each of them.
const READERS: [(&str, &[&str]); 19] = [
    ("ENABLE_SIDECHAIN", &["template-provider"]),
    ("JOB_REFRESH_INTERVAL", &["template-provider"]),
    ("MINER_PKH_HEX", &["pool-sv2"]),
    ("NETWORK", &["template-provider", "pool-sv2"]),
    ("POOL_DIFFICULTY", &["pool-sv2", "translator-v1"]),
    ("RPC_HOST", &["template-provider"]),
    ("RPC_PASSWORD", &["template-provider"]),
    ("RPC_PORT", &["template-provider"]),
    ("RPC_USER", &["template-provider"]),
    ("SC_RPC_HOST", &["template-provider"]),
    ("SC_RPC_PASSWORD", &["template-provider"]),
    ("SC_RPC_PORT", &["template-provider"]),
    ("SC_RPC_USER", &["template-provider"]),
    ("SHIELDED_NOTES_FILE", &["template-provider"]),
    ("SHIELDED_PUBKEY", &["template-provider", "pool-sv2"]),
    ("SIDECAR_URL", &["template-provider"]),
    ("SIDECHAIN_NUMBER", &["template-provider"]),
    ("STRATUM_HOST", &["translator-v1"]),
    ("STRATUM_PORT", &["translator-v1"]),
];

/// Prefixes of the variables that override settings, which a `.env` may hold too.
const PREFIXES: [&str; 3] = ["TEMPLATE_PROVIDER__", "POOL_SV2__", "TRANSLATOR_V1__"];

/// Something that a person should know of the `.env` file; names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Good to know.
    Note(String),
    /// Something that the person counted on will not be.
    Warning(String),
}

/// The `.env` file and the settings that it changes.
#[derive(Debug)]
pub struct DropIn {
    file: EnvFile,
    settings: Table,
    read: BTreeSet<String>,
    remarks: Vec<Remark>,
}

impl DropIn {
    /// `settings` are those of the TOML file.
    pub fn new(file: EnvFile, settings: Table) -> Self {
        Self { file, settings, read: BTreeSet::new(), remarks: Vec::new() }
    }

    /// Where the `.env` file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// True if the file names `key`, be it with an empty value.
    pub fn has(&self, key: &str) -> bool {
        self.file.has(key)
    }

    /// The value of `key`; empty is none.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.read.insert(key.to_owned());
        self.file.value(key).map(str::to_owned)
    }

    /// The value of `key` as a whole number in `range`.
    pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        let remedy = || format!("write a number from {least} to {most}");
        number.map(Some).ok_or_else(|| self.bad(key, &remedy()))
    }

    /// The value of `key` as a number above 0, with or without a fraction.
    pub fn positive(&mut self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
        number.map(Some).ok_or_else(|| self.bad(key, "write a number above 0"))
    }

    /// The value of `key` as `bytes` bytes in hex, in lower case; `what` says what they are.
    pub fn hex(
        &mut self,
        key: &str,
        bytes: usize,
        what: &str,
    ) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let is_hex = text.len() == 2 * bytes && text.chars().all(|sign| sign.is_ascii_hexdigit());
        let remedy = || format!("write the {} hex characters of {what}", 2 * bytes);
        let text = Some(text.to_lowercase()).filter(|_| is_hex);
        text.map(Some).ok_or_else(|| self.bad(key, &remedy()))
    }

    /// The value of `key` as yes or no; not set is no.
    pub fn is_on(&mut self, key: &str) -> Result<bool, ConfigError> {
        match self.text(key).unwrap_or_default().to_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "" | "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(self.bad(key, "write 1 or 0")),
        }
    }

    /// The network that `NETWORK` names.
    pub fn network(&mut self) -> Result<Option<NetworkKey>, ConfigError> {
        let Some(text) = self.text("NETWORK") else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "mainnet" | "main" => Ok(Some(NetworkKey::Mainnet)),
            "testnet" | "test" | "testnet4" => Ok(Some(NetworkKey::Testnet)),
            "signet" => Ok(Some(NetworkKey::Signet)),
            "regtest" => Ok(Some(NetworkKey::Regtest)),
            _ => Err(self.bad("NETWORK", "write mainnet, testnet, signet or regtest")),
        }
    }

    /// `HOST:PORT` of two keys; none if neither is set. `default` stands in for the one that is
    /// not; where there is no default port, it must be set.
    pub fn address(
        &mut self,
        (host_key, port_key): (&str, &str),
        default: (&str, Option<u16>),
    ) -> Result<Option<String>, ConfigError> {
        let (host, port) = (self.text(host_key), self.number(port_key, 1..=u16::MAX)?);
        if host.is_none() && port.is_none() {
            return Ok(None);
        }
        let Some(port) = port.or(default.1) else {
            return Err(self.bad(port_key, &format!("write it beside {host_key}")));
        };
        let host = host.unwrap_or_else(|| default.0.to_owned());
        if host.contains(['/', ' ', '@']) {
            let remedy = "write a host name or an address, without scheme and path";
            return Err(self.bad(host_key, remedy));
        }
        // An IPv6 address stands in brackets before a port.
        let is_bare = host.contains(':') && !host.starts_with('[');
        Ok(Some(if is_bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") }))
    }

    /// User and password of two keys, of which none or both are set.
    pub fn login(
        &mut self,
        user_key: &str,
        password_key: &str,
    ) -> Result<Option<(String, String)>, ConfigError> {
        match (self.text(user_key), self.text(password_key)) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some((user, password))),
            (Some(_), None) => Err(self.bad(password_key, &format!("write it beside {user_key}"))),
            (None, Some(_)) => Err(self.bad(user_key, &format!("write it beside {password_key}"))),
        }
    }

    /// A setting as it stands now; `path` is `section.key`.
    pub fn setting(&self, path: &str) -> Option<&Value> {
        let (section, key) = path.split_once('.')?;
        self.settings.get(section)?.get(key)
    }

    /// Sets `section.key`.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let Some((section, key)) = path.split_once('.') else { return };
        let table = self.settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
        // Where the file says something else than a section, the type of the settings complains.
        if let Some(table) = table.as_table_mut() {
            table.insert(key.to_owned(), value.into());
        }
    }

    /// Removes `section.key`, in whose place another key of the section is set.
    pub fn remove(&mut self, path: &str) {
        let Some((section, key)) = path.split_once('.') else { return };
        if let Some(table) = self.settings.get_mut(section).and_then(Value::as_table_mut) {
            table.remove(key);
        }
    }

    /// Puts `element` into the repeated section `section`: over the one with the same `identity`,
    /// whose other keys stay but for those in `replaced`, or behind the others.
    pub fn put(&mut self, section: &str, identity: &str, element: Table, replaced: &[&str]) {
        let section = self.settings.entry(section).or_insert_with(|| Value::Array(Vec::new()));
        let Some(elements) = section.as_array_mut() else { return };
        let mut tables = elements.iter_mut().filter_map(Value::as_table_mut);
        match tables.find(|other| other.get(identity) == element.get(identity)) {
            Some(other) => {
                replaced.iter().for_each(|key| drop(other.remove(*key)));
                other.extend(element);
            }
            None => elements.push(Value::Table(element)),
        }
    }

    /// Adds a remark.
    pub fn remark(&mut self, remark: Remark) {
        self.remarks.push(remark);
    }

    /// A value that cannot be used. The value itself is not shown.
    pub fn bad(&self, key: &str, remedy: &str) -> ConfigError {
        ConfigError::unusable(format!("{key} in {}", self.path().display()), remedy)
    }

    /// The settings, the file's variables for `prefix`, and what is to be said of the other keys;
    /// `program` read those that it wants.
    pub(crate) fn finish(mut self, program: &str, prefix: &str) -> Taken {
        let path = self.path().display().to_string();
        for line in self.file.unreadable_lines() {
            let text = format!("{path}: line {line} is no KEY=VALUE and was left out");
            self.remarks.push(Remark::Warning(text));
        }
        let (mut variables, mut of_others) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for key in self.file.keys().filter(|key| !self.read.contains(*key)) {
            let start = PREFIXES.iter().find(|start| key.starts_with(**start));
            let readers = READERS.iter().find(|(name, _)| *name == key).map(|(_, all)| *all);
            match (start, readers) {
                (Some(start), _) if start.trim_end_matches('_') == prefix => {
                    let value = self.file.value(key).unwrap_or_default();
                    variables.push((key.to_owned(), value.to_owned()));
                }
                (Some(_), _) => {}
                // Read only together with another key, which is not set.
                (None, Some(readers)) if readers.contains(&program) => {}
                (None, Some(readers)) => of_others.entry(readers).or_default().push(key),
                (None, None) => self.remarks.push(unsupported(key, &path)),
            }
        }
        let others = of_others.iter();
        let others = others.map(|(who, keys)| format!("{} ({})", keys.join(", "), who.join(", ")));
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            let text = format!("{path}: for other programs: {}", others.join("; "));
            self.remarks.push(Remark::Note(text));
        }
        Taken { settings: self.settings, variables, remarks: self.remarks }
    }
}

/// What a `.env` file comes to.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) settings: Table,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) remarks: Vec<Remark>,
}

fn unsupported(key: &str, path: &str) -> Remark {
    let is_sidecar = ["SIDECAR", "L2"].iter().any(|word| key.contains(word));
    let hint = match is_sidecar {
        true => "; if it is where the sidecar takes notes, call it SIDECAR_URL",
        false => "",
    };
    Remark::Warning(format!("{path}: {key} is not supported and has no effect{hint}"))
}

/// The networks that `NETWORK` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKey {
    /// Bitcoin's main network, or that of a chain like it.
    Mainnet,
    /// A public test network.
    Testnet,
    /// A network whose blocks are signed.
    Signet,
    /// A network of one's own.
    Regtest,
}

#[cfg(test)]
mod tests;
