//! What the program keeps on disk: found blocks, what is to be delivered, and what clients mine on.

use std::io;
use std::path::Path;
use std::time::Duration;

use service::advice;
use service::config::ConfigError;
use service::program::Failure;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info};

use super::Config;
use super::spooling::Spooling;
use crate::durable::{self, Lock};
use crate::outbox;
use crate::outbox::import::Imported;
use crate::outbox::store::Store as Outbox;
use crate::spool::Files;
use crate::vault::Vault;

/// Locked by the server that uses a directory.
const LOCK_FILE: &str = "server.lock";

/// All of it.
pub(super) struct Disk {
    pub(super) vault: Vault,
    pub(super) outbox: Outbox,
    pub(super) spooling: Spooling,
    /// The highest id of the templates there; 0 without any.
    pub(super) last_id: u64,
}

impl Disk {
    /// Makes the directories that are not there.
    pub(super) fn open(config: &Config) -> Result<Self, ConfigError> {
        let templates = config.templates_dir();
        let files = Files::open(&templates).and_then(|files| {
            let last_id = files.list()?.keys().next_back().copied().unwrap_or_default();
            Ok((files, last_id))
        });
        let (files, last_id) =
            files.map_err(|error| not_writable("vault.templates_dir", &templates, &error))?;
        let (vault, outbox) = (open_vault(config)?, open_outbox(config)?);
        Ok(Self { vault, outbox, spooling: Spooling::new(files), last_id })
    }
}

/// Keeps another server from the same files, for as long as it lives.
pub(super) struct Locks {
    _locks: Vec<Lock>,
}

/// Locks the directories before anything in them is touched; makes those that are not there.
pub(super) fn lock(config: &Config) -> Result<Locks, Failure> {
    let directories = [
        ("vault.blocks_dir", config.blocks_dir()),
        ("vault.templates_dir", config.templates_dir()),
        ("outbox.dir", config.outbox_dir()),
    ];
    let (mut locks, mut locked) = (Vec::new(), Vec::new());
    for (field, directory) in directories {
        let unusable = |error: &io::Error| not_writable(field, &directory, error);
        let made = durable::make_directory(&directory).and_then(|()| directory.canonicalize());
        let place = made.map_err(|error| unusable(&error))?;
        // Two of the settings may name one directory.
        if locked.contains(&place) {
            continue;
        }
        match durable::lock(&place.join(LOCK_FILE), Duration::ZERO) {
            Ok(lock) => locks.push(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let directory = directory.display();
                let sentence = format!(
                    "another template-provider uses {directory} ({field}); stop it, or name \
                     another directory"
                );
                return Err(Failure::explained_by(advice::SETTING_UNUSABLE, sentence));
            }
            Err(error) => return Err(unusable(&error).into()),
        }
        locked.push(place);
    }
    Ok(Locks { _locks: locks })
}

/// The found blocks.
fn open_vault(config: &Config) -> Result<Vault, ConfigError> {
    let directory = config.blocks_dir();
    Vault::open(&directory).map_err(|error| not_writable("vault.blocks_dir", &directory, &error))
}

/// What is to be delivered.
pub(super) fn open_outbox(config: &Config) -> Result<Outbox, ConfigError> {
    let directory = config.outbox_dir();
    Outbox::open(&directory).map_err(|error| not_writable("outbox.dir", &directory, &error))
}

/// The found blocks, for a person's command: where there are none, nothing is made.
pub(super) fn existing_vault(config: &Config) -> Result<Vault, ConfigError> {
    let directory = config.blocks_dir();
    Vault::existing(&directory).ok_or_else(|| not_there("vault.blocks_dir", &directory))
}

/// What is to be delivered, for a person's command: where there is nothing, nothing is made.
pub(super) fn existing_outbox(config: &Config) -> Result<Outbox, ConfigError> {
    let directory = config.outbox_dir();
    Outbox::existing(&directory).ok_or_else(|| not_there("outbox.dir", &directory))
}

fn not_there(field: &str, directory: &Path) -> ConfigError {
    let place = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let remedy = format!(
        "{} is not there; name the server's directory, or start this where the server was started",
        place.display()
    );
    ConfigError::unusable(field, remedy)
}

fn not_writable(field: &str, directory: &Path, error: &io::Error) -> ConfigError {
    let remedy = format!("{}: {error}; name a writable one", directory.display());
    ConfigError::unusable(field, remedy)
}

/// Takes over what another server left to be delivered. What cannot be taken over is told, and no
/// reason to mine no blocks.
pub(super) async fn import(outbox: &Outbox, file: Option<&Path>) {
    let Some(file) = file else { return };
    if !file.exists() {
        return debug!(file = %file.display(), "nothing to import");
    }
    let (outbox, path) = (outbox.clone(), file.to_owned());
    let imported = spawn_blocking(move || outbox::import::import(&outbox, &path)).await;
    match imported.map_err(io::Error::other).flatten() {
        Ok(Imported { parcels, unread, renamed_to }) => {
            for reason in &unread {
                error!(code = advice::OUTBOX_BROKEN,
                    file = %file.display(), %reason, "entry not imported");
            }
            match renamed_to {
                Some(renamed_to) => {
                    let renamed_to = renamed_to.display();
                    info!(parcels, %renamed_to, "parcels of another server imported");
                }
                None => error!(
                    code = advice::OUTBOX_BROKEN,
                    file = %file.display(), parcels, unread = unread.len(),
                    "parcels of another server imported but for those named above: the file stays"
                ),
            }
        }
        Err(error) => error!(code = advice::OUTBOX_BROKEN,
            file = %file.display(), %error, "parcels not imported"),
    }
}
