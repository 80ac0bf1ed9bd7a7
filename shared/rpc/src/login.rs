//! Who we are to the node: a cookie file, or a user with a password.
//!
//! Secrets are read when they are needed and never shown. A node writes a new cookie at each start,
//! so what a file said once is not kept beyond the node's first refusal. Until then it is: a found
//! block must not wait for a file that is gone, or for a file system that hangs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service::config::ConfigError;
use tokio::sync::Mutex as Turn;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

use crate::http::Endpoint;

/// How long reading a file may take.
const READ_MAX: Duration = Duration::from_secs(5);

/// How a node's RPC is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcConfig {
    /// `http://HOST:PORT`, where the node's JSON-RPC answers.
    pub rpc_url: String,
    /// The node's cookie; read again whenever the node refuses what it said before.
    pub cookie_file: Option<PathBuf>,
    /// `rpcuser` of the node.
    pub user: Option<String>,
    /// `rpcpassword` of the node.
    pub password: Option<SecretString>,
    /// A file that holds the password, in place of `password`.
    pub password_file: Option<PathBuf>,
}

impl RpcConfig {
    /// Where the node is; `table` is where a person wrote it.
    pub fn endpoint(&self, table: &str) -> Result<Endpoint, ConfigError> {
        Endpoint::parse(&self.rpc_url)
            .map_err(|remedy| ConfigError::unusable(format!("{table}.rpc_url"), remedy))
    }
}

/// Where the credentials come from.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The node wants none (an enforcer on loopback).
    None,
    /// `USER:PASSWORD` in a file that the node writes.
    CookieFile(PathBuf),
    /// A password in the config.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A password in a file.
    PasswordFile {
        /// The user.
        user: String,
        /// The file; a newline at its end does not count.
        file: PathBuf,
    },
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", file.display())]
pub struct Unreadable {
    file: PathBuf,
    error: io::Error,
}

/// The value of an `Authorization` header. Never shown.
#[derive(Clone)]
pub struct Authorization(SecretString);

/// The credentials for one node, with what they said when they were last read: shared by all
/// connections to it.
#[derive(Debug)]
pub struct Login {
    credentials: Credentials,
    /// `None` until they were read, and once the node refused them.
    known: Mutex<Option<Option<Authorization>>>,
    /// Held while they are read: a file system that hangs costs one thread, not one a call.
    turn: Arc<Turn<()>>,
    /// True if it was said that they cannot be read.
    is_told: AtomicBool,
}

impl Authorization {
    /// For the HTTP request alone.
    pub fn header(&self) -> &str {
        self.0.expose_secret()
    }

    fn basic(credentials: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(credentials)).into())
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(redacted)")
    }
}

impl Credentials {
    /// Makes sense of the four settings of `table`; at most one way may be set.
    pub fn from_config(table: &str, config: &RpcConfig) -> Result<Self, ConfigError> {
        let RpcConfig { cookie_file, user, password, password_file, .. } = config;
        match (cookie_file, user, password, password_file) {
            (None, None, None, None) => Ok(Self::None),
            (Some(file), None, None, None) => Ok(Self::CookieFile(file.clone())),
            (None, Some(user), Some(password), None) => {
                Ok(Self::Password { user: user.clone(), password: password.clone() })
            }
            (None, Some(user), None, Some(file)) => {
                Ok(Self::PasswordFile { user: user.clone(), file: file.clone() })
            }
            _ => Err(ConfigError::unusable(
                table,
                "set either cookie_file, or user with one of password and password_file",
            )),
        }
    }

    /// Reads them now; blocks while the file is read.
    fn read(&self) -> Result<Option<Authorization>, Unreadable> {
        let text = match self {
            Self::None => return Ok(None),
            Self::CookieFile(file) => read(file)?,
            Self::Password { user, password } => format!("{user}:{}", password.expose_secret()),
            Self::PasswordFile { user, file } => format!("{user}:{}", read(file)?),
        };
        Ok(Some(Authorization::basic(&text)))
    }

    fn unreadable(&self, error: io::Error) -> Unreadable {
        let file = match self {
            Self::CookieFile(file) | Self::PasswordFile { file, .. } => file.clone(),
            Self::None | Self::Password { .. } => PathBuf::new(),
        };
        Unreadable { file, error }
    }
}

fn read(file: &PathBuf) -> Result<String, Unreadable> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Unreadable { file: file.clone(), error })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Login {
    /// Nothing was read yet.
    pub fn with(credentials: Credentials) -> Arc<Self> {
        let (known, turn, is_told) = (Mutex::default(), Arc::default(), AtomicBool::new(false));
        Arc::new(Self { credentials, known, turn, is_told })
    }

    /// What they said when they were last read; `None` if they must be read first. Within, `None`
    /// is for a node that wants none.
    pub fn known(&self) -> Option<Option<Authorization>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them, unless somebody else does at the same time.
    pub async fn read(self: &Arc<Self>) -> Result<Option<Authorization>, Unreadable> {
        let read = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if let Some(known) = self.known() {
                return Ok(known);
            }
            let this = Arc::clone(self);
            let read = spawn_blocking(move || {
                let read = this.credentials.read();
                if let Ok(read) = &read {
                    this.remember(read.clone());
                }
                drop(turn);
                read
            });
            let broken = |error| Err(self.credentials.unreadable(io::Error::other(error)));
            read.await.unwrap_or_else(broken)
        };
        let read = timeout(READ_MAX, read).await;
        let late = || self.credentials.unreadable(io::ErrorKind::TimedOut.into());
        let read = read.unwrap_or_else(|_| Err(late()));
        if let Err(error) = &read
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "credentials for the node not read");
        }
        read
    }

    /// The node refuses them: they must be read again, if nobody has done that.
    pub fn refused(&self, refused: Option<&Authorization>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let header = |authorization: Option<&Authorization>| {
            authorization.map(|authorization| authorization.header().to_owned())
        };
        if known.as_ref().is_some_and(|known| header(known.as_ref()) == header(refused)) {
            *known = None;
        }
    }

    fn remember(&self, read: Option<Authorization>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        self.is_told.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> RpcConfig {
        toml::from_str(&format!("rpc_url = \"http://127.0.0.1:1\"\n{toml}")).unwrap()
    }

    #[test]
    fn half_a_pair_of_credentials_is_refused() {
        for toml in [
            "user = \"a\"",
            "password = \"b\"",
            "cookie_file = \"c\"\nuser = \"a\"",
            "user = \"a\"\npassword = \"b\"\npassword_file = \"c\"",
        ] {
            let error = Credentials::from_config("node", &config(toml)).unwrap_err().to_string();
            assert!(error.contains("cookie_file"), "{toml}: {error}");
        }
    }

    #[test]
    fn a_password_file_may_end_with_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let toml = format!("user = \"a\"\npassword_file = \"{}\"", file.path().display());
        let credentials = Credentials::from_config("node", &config(&toml)).unwrap();
        let authorization = credentials.read().unwrap().unwrap();
        assert_eq!(authorization.header(), "Basic YTpzZWNyZXQ=");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_costs_one_reader_and_no_call_its_time() {
        let login = Login::with(Credentials::CookieFile(PathBuf::from("/cookie")));
        // Somebody reads, and does not come back.
        let turn = Arc::clone(&login.turn).lock_owned().await;
        let started = tokio::time::Instant::now();
        let error = login.read().await.unwrap_err().to_string();
        assert!(started.elapsed() < READ_MAX * 2);
        assert!(error.contains("/cookie") && error.contains("timed out"), "{error}");
        // What he reads is for all.
        login.remember(Some(Authorization::basic("a:b")));
        drop(turn);
        assert!(login.read().await.unwrap().is_some(), "there is no such file");
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let config = config("user = \"a\"\npassword = \"hunter2\"");
        let credentials = Credentials::from_config("node", &config).unwrap();
        let shown = format!("{config:?} {credentials:?} {:?}", Authorization::basic("a:hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(&STANDARD.encode("a:hunter2")), "{shown}");
    }
}
