//! Settings: a TOML file, then environment variables over it, then a type that refuses what it does
//! not know.
//!
//! A setting `[node] rpc_url` of a program with prefix `TEMPLATE_PROVIDER` is overridden by
//! `TEMPLATE_PROVIDER__NODE__RPC_URL`. Values are read as TOML where they parse as such, else as
//! text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why there are no usable settings: one sentence that names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {path}: {error}; name an existing file with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The text is no TOML, has an unknown key, or lacks one.
    #[error("in {path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, key and cause.
        message: String,
    },
    /// An environment variable names no setting.
    #[error("the environment variable {name} goes through {part}, which is no section")]
    BadOverride {
        /// The variable.
        name: String,
        /// The part that is not a section.
        part: String,
    },
    /// The settings are well-formed but cannot be used together.
    #[error("{field}: {remedy}")]
    Unusable {
        /// The setting, as `section.key`.
        field: String,
        /// What is wrong and what to write instead.
        remedy: String,
    },
}

impl ConfigError {
    /// A setting that cannot be used: `field` as `section.key`, `remedy` as a sentence.
    pub fn unusable(field: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unusable { field: field.into(), remedy: remedy.into() }
    }
}

/// Splits `HOST:PORT`; `field` names the setting.
pub fn host_and_port(field: &str, address: &str) -> Result<(String, u16), ConfigError> {
    let parts = address.rsplit_once(':').filter(|(host, _)| !host.contains('/'));
    let parsed = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.ok_or_else(|| {
        let remedy = format!("write {address} as HOST:PORT, without scheme and without key");
        ConfigError::unusable(field, remedy)
    })
}

/// Reads `path`, then the variables `PREFIX__SECTION__KEY` of this process.
pub fn load<T: DeserializeOwned>(path: &Path, prefix: &str) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    // A variable that is no UTF-8 is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parse(path, &text, prefix, variables)
}

/// As `load`, with the text and the variables given.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let invalid = |error: toml::de::Error| ConfigError::Invalid {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    };
    let table: Table = toml::from_str(text).map_err(invalid)?;
    let overrides = overrides_of(prefix, variables);
    match deserialize_with(&table, &overrides)? {
        Ok(settings) => Ok(settings),
        // The text knows its lines, the table does not: prefer its complaint, unless a variable
        // supplied what the text lacks.
        Err(error) => match toml::from_str::<T>(text) {
            Err(in_text) if overrides.is_empty() || in_text.message().contains("unknown") => {
                Err(invalid(in_text))
            }
            _ => Err(invalid(error)),
        },
    }
}

/// The variables of `prefix`: full name, path to the setting, value. Sorted, so that the outcome
/// does not depend on the order of the environment.
fn overrides_of(
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, (String, String)> {
    let start = format!("{prefix}__");
    let ours = variables.into_iter().filter_map(|(name, text)| {
        let path = name.strip_prefix(&start)?.to_lowercase();
        Some((name, (path, text)))
    });
    ours.collect()
}

/// Reads the values as TOML. Where the settings do not take one so, as text: a password may be all
/// digits.
fn deserialize_with<T: DeserializeOwned>(
    table: &Table,
    overrides: &BTreeMap<String, (String, String)>,
) -> Result<Result<T, toml::de::Error>, ConfigError> {
    let mut table = table.clone();
    for (name, (path, text)) in overrides {
        set(&mut table, name, path, read_value(text))?;
    }
    let mut result = Value::Table(table.clone()).try_into();
    for (name, (path, text)) in overrides {
        let Err(error) = &result else { break };
        let mut as_text = table.clone();
        set(&mut as_text, name, path, Value::String(text.clone()))?;
        let retried = Value::Table(as_text.clone()).try_into::<T>();
        // Kept if it is no worse: another fault may still be there, but not that it is a text.
        let is_better = retried.as_ref().err().is_none_or(|other| {
            other.message() != error.message() && !other.message().contains("type: string")
        });
        if is_better {
            (table, result) = (as_text, retried);
        }
    }
    Ok(result)
}

fn set(table: &mut Table, name: &str, path: &str, value: Value) -> Result<(), ConfigError> {
    let Some((section, rest)) = path.split_once("__") else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let not_a_section =
        || ConfigError::BadOverride { name: name.to_owned(), part: section.to_owned() };
    // A repeated section ([[section]]) is named by its position from 0.
    if let Value::Array(elements) = inner {
        let (index, rest) = rest.split_once("__").ok_or_else(not_a_section)?;
        let index: usize = index.parse().map_err(|_| not_a_section())?;
        let element = elements.get_mut(index).and_then(Value::as_table_mut);
        return set(element.ok_or_else(not_a_section)?, name, rest, value);
    }
    set(inner.as_table_mut().ok_or_else(not_a_section)?, name, rest, value)
}

fn read_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    let value = parsed.ok().and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        node: Node,
        #[serde(default)]
        peer: Vec<Node>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Node {
        url: String,
        poll_ms: u32,
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        parse(Path::new("x.toml"), text, "PROGRAM", variables)
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = read("[node]\nurl = \"a\"\npol_ms = 1\n", &[]).unwrap_err().to_string();
        assert!(error.contains("pol_ms"), "{error}");
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn an_unknown_key_keeps_its_line_when_a_variable_is_set() {
        let text = "[node]\nurl = \"a\"\npoll_ms = 1\nother = 1\n";
        let error = read(text, &[("PROGRAM__NODE__URL", "b")]).unwrap_err().to_string();
        assert!(error.contains("line 4"), "{error}");
    }

    #[test]
    fn a_variable_overrides_and_completes_the_file() {
        let settings = read(
            "[node]\nurl = \"a\"\n",
            &[
                ("PROGRAM__NODE__URL", "http://b:1"),
                ("PROGRAM__NODE__POLL_MS", "7"),
                ("OTHER__NODE__URL", "c"),
            ],
        );
        let node = Node { url: "http://b:1".into(), poll_ms: 7 };
        assert_eq!(settings.unwrap(), Settings { node, peer: vec![] });
    }

    #[test]
    fn an_address_is_host_and_port_and_no_url() {
        let split = |address| host_and_port("upstream.address", address).ok();
        assert_eq!(split("pool.example:34254"), Some(("pool.example".to_owned(), 34_254)));
        assert_eq!(split("[::1]:34254"), Some(("[::1]".to_owned(), 34_254)));
        assert_eq!(split("stratum2+tcp://pool.example:34254"), None);
        assert_eq!(split("stratum2+tcp://pool.example:34254/KEY"), None);
        assert_eq!(split("pool.example"), None);
    }

    #[test]
    fn a_text_of_digits_is_still_a_text() {
        let settings = read(
            "[node]\nurl = \"a\"\n",
            &[("PROGRAM__NODE__URL", "123"), ("PROGRAM__NODE__POLL_MS", "7")],
        );
        assert_eq!(settings.unwrap().node, Node { url: "123".into(), poll_ms: 7 });
    }

    #[test]
    fn a_variable_reaches_into_a_repeated_section() {
        let text = "[node]\nurl = \"a\"\npoll_ms = 1\n[[peer]]\nurl = \"a\"\npoll_ms = 1\n";
        let settings = read(text, &[("PROGRAM__PEER__0__URL", "b")]).unwrap();
        assert_eq!(settings.peer[0].url, "b");
    }

    #[test]
    fn a_variable_for_an_unknown_key_is_refused_by_name() {
        let text = "[node]\nurl = \"a\"\npoll_ms = 1\n";
        let error = read(text, &[("PROGRAM__NODE__PORT", "1")]).unwrap_err().to_string();
        assert!(error.contains("port"), "{error}");
    }
}
