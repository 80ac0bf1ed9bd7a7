//! Settings: a TOML file, over it the keys of a `.env` file if there is one, over both the
//! environment variables, and then a type that refuses what it does not know.
//!
//! A setting `[node] rpc_url` of a program with prefix `TEMPLATE_PROVIDER` is overridden by
//! `TEMPLATE_PROVIDER__NODE__RPC_URL`. Values are read as TOML where they parse as such, else as
//! text.

mod complaint;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::advice::{self, Code};
use crate::drop_in::{DropIn, Remark};
use crate::env_file::EnvFile;
use complaint::complaint;

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
    /// The `.env` file cannot be read.
    #[error("cannot read the file {path}: {error}; name an existing file with --env-file")]
    UnreadableEnvFile {
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
        /// What explains it further.
        code: Code,
    },
}

impl ConfigError {
    /// A setting that cannot be used: `field` as `section.key`, `remedy` as a sentence.
    pub fn unusable(field: impl Into<String>, remedy: impl Into<String>) -> Self {
        let code = advice::SETTING_UNUSABLE;
        Self::Unusable { field: field.into(), remedy: remedy.into(), code }
    }

    /// The same, explained by a code of its own.
    #[must_use]
    pub fn explained_by(self, code: Code) -> Self {
        match self {
            Self::Unusable { field, remedy, .. } => Self::Unusable { field, remedy, code },
            other => other,
        }
    }

    /// What explains it further.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } | Self::UnreadableEnvFile { .. } => advice::SETTINGS_UNREADABLE,
            Self::Invalid { .. } => advice::SETTINGS_NOT_UNDERSTOOD,
            Self::BadOverride { .. } => advice::VARIABLE_UNUSABLE,
            Self::Unusable { code, .. } => code,
        }
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

/// How a program makes its settings of the keys in a `.env` file.
pub type TakeOver = fn(&mut DropIn) -> Result<(), ConfigError>;

/// Where settings come from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The TOML file.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a str,
    /// The program that reads it.
    pub program: &'a str,
    /// The start of the variables that override settings.
    pub prefix: &'a str,
}

/// Reads `path`, then the variables `PREFIX__SECTION__KEY` of this process.
pub fn load<T: DeserializeOwned>(path: &Path, prefix: &str) -> Result<T, ConfigError> {
    parse(path, &read(path)?, prefix, variables())
}

/// Reads `path`, then the keys of `env_file` as `take_over` understands them, then the variables of
/// this process; gives besides the settings what is to be said of the keys.
pub fn load_with_env_file<T: DeserializeOwned>(
    path: &Path,
    env_file: &Path,
    (program, prefix): (&str, &str),
    take_over: TakeOver,
) -> Result<(T, Vec<Remark>), ConfigError> {
    let (text, env_file) = (read(path)?, EnvFile::read(env_file)?);
    let source = Source { path, text: &text, program, prefix };
    parse_with_env_file(source, env_file, take_over, variables())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The variables of this process. One that is no UTF-8 is none of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// As `load`, with the text and the variables given.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let table: Table = toml::from_str(text).map_err(|error| invalid(path, text, &error))?;
    let overrides = overrides_of(prefix, variables);
    match deserialize_with(&table, &overrides)? {
        Ok(settings) => Ok(settings),
        // The text knows its lines, the table does not: prefer its complaint, unless a variable
        // supplied what the text lacks.
        Err(error) => match toml::from_str::<T>(text) {
            Err(in_text) if overrides.is_empty() || in_text.message().contains("unknown") => {
                Err(invalid(path, text, &in_text))
            }
            _ => Err(invalid(path, text, &error)),
        },
    }
}

/// As `load_with_env_file`, with the texts and the variables given.
pub fn parse_with_env_file<T: DeserializeOwned>(
    source: Source<'_>,
    env_file: EnvFile,
    take_over: TakeOver,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(T, Vec<Remark>), ConfigError> {
    let Source { path, text, program, prefix } = source;
    let table: Table = toml::from_str(text).map_err(|error| invalid(path, text, &error))?;
    let mut drop_in = DropIn::new(env_file, table);
    take_over(&mut drop_in)?;
    let taken = drop_in.finish(program, prefix);
    let overrides = overrides_of(prefix, taken.variables.into_iter().chain(variables));
    match deserialize_with(&taken.settings, &overrides)? {
        Ok(settings) => Ok((settings, taken.remarks)),
        Err(error) => match toml::from_str::<T>(text) {
            Err(in_text) if in_text.message().contains("unknown") => {
                Err(invalid(path, text, &in_text))
            }
            _ => Err(invalid(path, text, &error)),
        },
    }
}

fn invalid(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Invalid { path: path.to_owned(), message: complaint(text, error) }
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
mod tests;
