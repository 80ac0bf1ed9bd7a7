//! What the program keeps on disk: found blocks, what is to be delivered, and what clients mine on.

use std::io;
use std::path::Path;

use service::config::ConfigError;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info};

use super::Config;
use super::spooling::Spooling;
use crate::outbox;
use crate::outbox::store::Store as Outbox;
use crate::spool::Files;
use crate::vault::Vault;

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

/// The found blocks.
pub(super) fn open_vault(config: &Config) -> Result<Vault, ConfigError> {
    let directory = config.blocks_dir();
    Vault::open(&directory).map_err(|error| not_writable("vault.blocks_dir", &directory, &error))
}

/// What is to be delivered.
pub(super) fn open_outbox(config: &Config) -> Result<Outbox, ConfigError> {
    let directory = config.outbox_dir();
    Outbox::open(&directory).map_err(|error| not_writable("outbox.dir", &directory, &error))
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
        Ok(imported) => {
            let renamed_to = imported.renamed_to.display();
            info!(parcels = imported.parcels, %renamed_to, "parcels of another server imported");
            for reason in &imported.unread {
                error!(%renamed_to, %reason, "entry not imported");
            }
        }
        Err(error) => error!(file = %file.display(), %error, "parcels not imported"),
    }
}
