//! The secret that every note's randomness comes from, so that a note that was lost with all state
//! can be made again from the block that holds it.
//!
//! It is worth as much as the notes' secrecy, and shows in no log and no `Debug`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::hex::{DisplayHex, FromHex};
use rand::RngCore;
use rand::rngs::OsRng;
use service::config::ConfigError;
use tracing::warn;

use super::cipher::EphemeralSecret;
use super::note::Randomness;

const FIELD: &str = "shielded.secret_file";
const RANDOMNESS: &[u8] = b"note/v1";
const EPHEMERAL: &[u8] = b"ephemeral/v1";
/// Number of the note in its coinbase: there is one.
const NOTE_INDEX: u32 = 0;
/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

/// 32 bytes that nobody else may know.
#[derive(Clone, Copy)]
pub struct NoteSecret([u8; 32]);

/// What a note is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Hash of the block before the note's, in internal byte order.
    pub prev_hash: [u8; 32],
    /// Height of the note's block.
    pub height: u32,
    /// The note's value in satoshis.
    pub value: u64,
}

impl NoteSecret {
    /// Reads the secret, or makes it; refuses one that others than its owner can read.
    pub fn open_or_create(path: &Path) -> Result<Self, ConfigError> {
        match Self::open(path) {
            Ok(None) => {
                create(path).map_err(|error| unusable(path, error))?;
                warn!(file = %path.display(),
                    "note secret created: keep a copy of it, lost notes are made again from it");
                let opened = Self::open(path)?;
                opened.ok_or_else(|| unusable(path, "it is gone again"))
            }
            other => other?.ok_or_else(|| unusable(path, "it is gone")),
        }
    }

    /// Reads the secret; `None` if there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, ConfigError> {
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, error)),
        };
        if mode & OTHERS != 0 {
            let remedy = "others than its owner may read or write it; run chmod 600 on it, and \
                          make a new one if somebody did";
            return Err(unusable(path, remedy));
        }
        let text = fs::read_to_string(path).map_err(|error| unusable(path, error))?;
        let secret = <[u8; 32]>::from_hex(text.trim()).map_err(|_| {
            unusable(path, "it does not hold 64 hex digits; name the right file, or bring its copy")
        })?;
        Ok(Some(Self(secret)))
    }

    /// What hides the note of `place`.
    pub fn randomness(&self, place: &Place) -> Randomness {
        Randomness(self.derive(RANDOMNESS, place))
    }

    /// What the note of `place` is sealed with.
    pub fn ephemeral_secret(&self, place: &Place) -> EphemeralSecret {
        EphemeralSecret(self.derive(EPHEMERAL, place))
    }

    /// HMAC-SHA256 of the label, the block before, height (u32), value (u64) and the note's number
    /// (u32), numbers little endian.
    fn derive(&self, label: &[u8], place: &Place) -> [u8; 32] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.0);
        engine.input(label);
        engine.input(&place.prev_hash);
        engine.input(&place.height.to_le_bytes());
        engine.input(&place.value.to_le_bytes());
        engine.input(&NOTE_INDEX.to_le_bytes());
        Hmac::<sha256::Hash>::from_engine(engine).to_byte_array()
    }
}

impl fmt::Debug for NoteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoteSecret(redacted)")
    }
}

/// Makes the file whole or not at all, and leaves one alone that another start just made.
fn create(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(directory)?;
    let mut secret = [0; 32];
    OsRng.fill_bytes(&mut secret);
    let partial = PathBuf::from(format!("{}.{}.partial", path.display(), std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    writeln!(file, "{}", secret.as_hex())?;
    file.sync_all()?;
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A note whose secret a power cut takes could not be made again.
    File::open(directory)?.sync_all()
}

fn unusable(path: &Path, error: impl fmt::Display) -> ConfigError {
    ConfigError::unusable(FIELD, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place =
        Place { prev_hash: [0xaa; 32], height: 840_000, value: 10_000_000_012_345 };

    fn secret() -> NoteSecret {
        NoteSecret(std::array::from_fn(|index| index.try_into().unwrap()))
    }

    /// Of Python's hmac.
    #[test]
    fn what_is_derived_is_what_an_independent_hmac_gives() {
        let randomness = secret().randomness(&PLACE).reveal();
        assert_eq!(randomness, "f3707770a4dbf650504343d3f56beea9c47deaf367edeb17e94ea5aa76c656e8");
        let ephemeral = secret().ephemeral_secret(&PLACE).0.to_lower_hex_string();
        assert_eq!(ephemeral, "fcd01325727d4ff3db4a376f33e2e9540e1f380aafcb049f683415c9d8263fae");
    }

    #[test]
    fn every_part_of_the_place_changes_the_randomness() {
        let others = [
            Place { prev_hash: [0xab; 32], ..PLACE },
            Place { height: 840_001, ..PLACE },
            Place { value: PLACE.value + 1, ..PLACE },
        ];
        for other in others {
            assert_ne!(secret().randomness(&other), secret().randomness(&PLACE), "{other:?}");
        }
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone_and_read_ever_after() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/notes.secret");
        assert!(NoteSecret::open(&path).unwrap().is_none());
        let made = NoteSecret::open_or_create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = NoteSecret::open_or_create(&path).unwrap();
        assert_eq!(made.0, read.0);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "no partial file stays");
        create(&path).unwrap();
        assert_eq!(NoteSecret::open_or_create(&path).unwrap().0, made.0, "never overwritten");
    }

    #[test]
    fn a_secret_that_others_can_read_or_that_is_cut_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.secret");
        NoteSecret::open_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = NoteSecret::open_or_create(&path).unwrap_err().to_string();
            assert!(error.contains("shielded.secret_file") && error.contains("chmod 600"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "0123\n").unwrap();
        let error = NoteSecret::open_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("64 hex digits") && !error.contains("0123"), "{error}");
    }

    #[test]
    fn the_secret_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", secret()), "NoteSecret(redacted)");
    }
}
