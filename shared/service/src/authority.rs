//! Authority keys in files: a server's own secret, and the key of the server that a client expects.
//!
//! A secret file is made with mode 0600 and never overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::rngs::OsRng;
use serde::Deserialize;
use tracing::warn;
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};

use crate::certificates::Certificates;
use crate::config::ConfigError;

/// A server's authority: `[authority]` of its config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityConfig {
    /// The secret key, base58check. Made at the first start if it is not there.
    pub secret_key_file: PathBuf,
    /// Where the public key is written at each start, for clients on the same machine.
    pub public_key_file: Option<PathBuf>,
    /// How long a certificate is valid, in seconds. A new one is made when half of it is over.
    #[serde(default = "default_validity_seconds")]
    pub certificate_validity_seconds: u32,
}

fn default_validity_seconds() -> u32 {
    86_400
}

impl AuthorityConfig {
    /// Reads the secret, or makes it, and writes the public key where the config wants it.
    pub fn open(&self) -> Result<AuthoritySecret, ConfigError> {
        let secret = match fs::read_to_string(&self.secret_key_file) {
            Ok(text) => text.parse().map_err(|error| self.unusable(error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create()?,
            Err(error) => return Err(self.unusable(error)),
        };
        if let Some(path) = &self.public_key_file {
            let written = write_public(path, secret.public());
            written.map_err(|error| unusable("authority.public_key_file", path, error))?;
        }
        Ok(secret)
    }

    /// Certificates of `secret`, valid for as long as the config says.
    pub fn certificates(&self, secret: AuthoritySecret) -> Certificates {
        Certificates::new(secret, self.certificate_validity_seconds)
    }

    fn create(&self) -> Result<AuthoritySecret, ConfigError> {
        let secret = create_secret(&self.secret_key_file).map_err(|error| self.unusable(error))?;
        warn!(file = %self.secret_key_file.display(), key = %secret.public(),
            "authority key created: keep this file, miners know the server by it");
        Ok(secret)
    }

    fn unusable(&self, error: impl std::fmt::Display) -> ConfigError {
        unusable("authority.secret_key_file", &self.secret_key_file, error)
    }
}

/// The key that a client expects of a server: one of a key, a file with a key, or nothing at all.
#[derive(Debug, Clone, Default)]
pub enum ExpectedKey {
    /// The key itself.
    Key(AuthorityKey),
    /// A file with the key, read at each connect, so that it may appear later.
    File(PathBuf),
    /// Any server is taken for the right one: only by explicit wish.
    #[default]
    Any,
}

impl ExpectedKey {
    /// Makes one of three settings of `section`; exactly one must be given.
    pub fn from_settings(
        section: &str,
        key: Option<&str>,
        file: Option<&Path>,
        unauthenticated: bool,
    ) -> Result<Self, ConfigError> {
        let field = format!("{section}.authority_key");
        match (key, file, unauthenticated) {
            (Some(key), None, false) => key.parse().map(Self::Key).map_err(|error| {
                ConfigError::unusable(
                    field,
                    format!("{error}; copy the key from the URL that the server prints"),
                )
            }),
            (None, Some(file), false) => Ok(Self::File(file.to_owned())),
            (None, None, true) => Ok(Self::Any),
            _ => Err(ConfigError::unusable(
                field,
                "set exactly one of authority_key, authority_key_file, or unauthenticated = true",
            )),
        }
    }

    /// The key to check now; `None` is no check.
    pub fn read(&self) -> io::Result<Option<AuthorityKey>> {
        match self {
            Self::Key(key) => Ok(Some(*key)),
            Self::Any => Ok(None),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                text.parse().map(Some).map_err(io::Error::other)
            }
        }
    }
}

/// `keygen`: makes `path` (secret, 0600) and `path` + `.pub`, neither of which may exist.
pub fn generate(path: &Path) -> Result<AuthorityKey, ConfigError> {
    let public = PathBuf::from(format!("{}.pub", path.display()));
    let in_the_way = [path, public.as_path()].into_iter().find(|path| path.exists());
    if let Some(path) = in_the_way {
        let error = "it exists and is not overwritten; name another file";
        return Err(unusable("--out", path, error));
    }
    let secret = create_secret(path).map_err(|error| unusable("--out", path, error))?;
    write_public(&public, secret.public()).map_err(|error| unusable("--out", &public, error))?;
    Ok(secret.public())
}

fn create_secret(path: &Path) -> io::Result<AuthoritySecret> {
    let secret = AuthoritySecret::generate(&mut OsRng);
    create_parent(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", secret.to_secret_text())?;
    file.sync_all()?;
    Ok(secret)
}

/// Replaces the file in one step: a client that reads at the same moment sees a whole key.
fn write_public(path: &Path, key: AuthorityKey) -> io::Result<()> {
    create_parent(path)?;
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    fs::write(&partial, format!("{key}\n"))?;
    fs::rename(partial, path)
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn unusable(field: &str, path: &Path, error: impl std::fmt::Display) -> ConfigError {
    ConfigError::unusable(field, format!("{}: {error}", path.display()))
}
