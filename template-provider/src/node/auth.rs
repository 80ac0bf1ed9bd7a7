//! Who we are to the node: a cookie file, or a user with a password.
//!
//! Secrets are read when they are needed and never shown. A node writes a new cookie at each start,
//! so what a file said once is not kept beyond the node's first refusal.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use service::config::ConfigError;

use super::NodeConfig;

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
    error: std::io::Error,
}

/// The value of an `Authorization` header. Never shown.
#[derive(Clone)]
pub struct Authorization(SecretString);

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
    pub fn from_config(table: &str, config: &NodeConfig) -> Result<Self, ConfigError> {
        let NodeConfig { cookie_file, user, password, password_file, .. } = config;
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

    /// Reads them now.
    pub async fn read(&self) -> Result<Option<Authorization>, Unreadable> {
        let text = match self {
            Self::None => return Ok(None),
            Self::CookieFile(file) => read(file).await?,
            Self::Password { user, password } => format!("{user}:{}", password.expose_secret()),
            Self::PasswordFile { user, file } => format!("{user}:{}", read(file).await?),
        };
        Ok(Some(Authorization::basic(&text)))
    }
}

async fn read(file: &PathBuf) -> Result<String, Unreadable> {
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| Unreadable { file: file.clone(), error })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> NodeConfig {
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

    #[tokio::test]
    async fn a_password_file_may_end_with_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let toml = format!("user = \"a\"\npassword_file = \"{}\"", file.path().display());
        let credentials = Credentials::from_config("node", &config(&toml)).unwrap();
        let authorization = credentials.read().await.unwrap().unwrap();
        assert_eq!(authorization.header(), "Basic YTpzZWNyZXQ=");
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
