//! `[shielded]` of the config, and what is left of it once it was checked.
//!
//! A wrong key or a wrong hash burns every reward in silence, so nothing is taken for granted:
//! outside of test networks the hash must be named, and proved by a known note. The key shows in no
//! message and no `Debug`.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service::config::ConfigError;

use super::backup::Backup;
use super::hash::NoteHash;
use super::note::{BadHex, Commitment, Note, OwnerKey, Randomness};
use super::sidecar::{Sidecar, may_be_done};
use rpc::http::Endpoint;

/// `[shielded]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShieldedConfig {
    /// The owner's public key, 64 hex digits.
    pub pubkey: Option<SecretString>,
    /// A file that holds the key, in place of `pubkey`.
    pub pubkey_file: Option<PathBuf>,
    /// How the chain hashes notes.
    pub note_hash: Option<NoteHash>,
    /// A note and its commitment that a wallet of the chain made.
    pub known_answer: Option<KnownAnswer>,
    /// True where coins are worth nothing: `note_hash` and `known_answer` may be left out.
    #[serde(default)]
    pub test_network: bool,
    /// What the note is worth.
    #[serde(default)]
    pub note_value: NoteValue,
    /// What the note's output is worth.
    #[serde(default)]
    pub output_value: OutputValue,
    /// The secret of the notes; absent: `notes.secret` beside the authority's secret key.
    pub secret_file: Option<PathBuf>,
    /// `http://HOST:PORT` of the sidecar; `/submit` is added to it.
    pub sidecar_url: String,
    /// Statuses besides 2xx by which the sidecar says that it has the note.
    #[serde(default = "default_done_statuses")]
    pub sidecar_done_statuses: Vec<u16>,
    /// Where accepted notes are written down besides; absent: nowhere.
    pub notes_file: Option<PathBuf>,
}

fn default_done_statuses() -> Vec<u16> {
    vec![409]
}

/// `[shielded.known_answer]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownAnswer {
    /// What the note is worth, in satoshis.
    pub value: u64,
    /// Its owner's public key, 64 hex digits.
    pub pubkey: SecretString,
    /// Its randomness, 64 hex digits.
    pub randomness: SecretString,
    /// Its commitment, 64 hex digits.
    pub commitment: String,
}

/// What a note is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteValue {
    /// All that the coinbase may spend, subsidy and fees.
    #[default]
    Coinbasevalue,
    /// That without the fees, which the node must state for each transaction.
    Subsidy,
}

/// What the output with the note's commitment is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputValue {
    /// Nothing: the note alone has the value.
    #[default]
    Zero,
    /// As much as the note.
    Full,
}

/// Settings that fit together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose the notes are.
    pub owner: OwnerKey,
    /// The chain's hash of notes.
    pub hash: NoteHash,
    /// What a note is worth.
    pub note_value: NoteValue,
    /// What its output is worth.
    pub output_value: OutputValue,
    /// Where notes go.
    pub sidecar: Sidecar,
    /// Where they are written down besides.
    pub backup: Option<Backup>,
    /// True where coins are said to be worth nothing.
    pub is_test_network: bool,
}

impl ShieldedConfig {
    /// Checks the settings; makes no file and reaches for nothing.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let owner = self.owner()?;
        let endpoint = Endpoint::parse(&self.sidecar_url)
            .map_err(|remedy| ConfigError::unusable("shielded.sidecar_url", remedy))?;
        if let Some(status) = self.sidecar_done_statuses.iter().find(|one| !may_be_done(**one)) {
            let remedy = format!(
                "{status} never says that a note is there; name statuses from 400 to 499, but none \
                 of 401, 403, 408, 425 and 429"
            );
            return Err(ConfigError::unusable("shielded.sidecar_done_statuses", remedy));
        }
        Ok(Settings {
            owner,
            hash: self.hash()?,
            note_value: self.note_value,
            output_value: self.output_value,
            sidecar: Sidecar::new(&endpoint, &self.sidecar_done_statuses),
            backup: self.notes_file.as_deref().map(Backup::new),
            is_test_network: self.test_network,
        })
    }

    fn owner(&self) -> Result<OwnerKey, ConfigError> {
        let (field, text) = match (&self.pubkey, &self.pubkey_file) {
            (Some(key), None) => ("shielded.pubkey", key.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let remedy = format!("{}: {error}", file.display());
                    ConfigError::unusable("shielded.pubkey_file", remedy)
                })?;
                ("shielded.pubkey_file", SecretString::from(text))
            }
            _ => {
                return Err(ConfigError::unusable(
                    "shielded.pubkey",
                    "set it, or pubkey_file, to the public key of the rewards' owner: this chain \
                     pays nobody else",
                ));
            }
        };
        text.expose_secret().trim().parse().map_err(|error: BadHex| {
            ConfigError::unusable(field, format!("{error}; copy the key from the owner's wallet"))
        })
    }

    fn hash(&self) -> Result<NoteHash, ConfigError> {
        let named = match (self.note_hash, self.test_network) {
            (Some(hash), _) => hash,
            (None, true) => NoteHash::Concat,
            (None, false) => {
                return Err(ConfigError::unusable(
                    "shielded.note_hash",
                    "name the chain's hash of notes, for a wrong one burns every reward; \
                     `template-provider note-hash detect` finds it from a note of a wallet",
                ));
            }
        };
        match (&self.known_answer, self.test_network) {
            (Some(answer), _) => answer.check(named).map(|()| named),
            (None, true) => Ok(named),
            (None, false) => Err(ConfigError::unusable(
                "shielded.known_answer",
                "give value, pubkey, randomness and commitment of one note that a wallet of the \
                 chain made, to prove note_hash: a wrong one burns every reward",
            )),
        }
    }
}

impl KnownAnswer {
    fn check(&self, named: NoteHash) -> Result<(), ConfigError> {
        let unusable = |part: &str, remedy: String| {
            Err(ConfigError::unusable(format!("shielded.known_answer{part}"), remedy))
        };
        let owner = match self.pubkey.expose_secret().parse::<OwnerKey>() {
            Ok(owner) => owner,
            Err(error) => return unusable(".pubkey", format!("{error}; copy it anew")),
        };
        let randomness = match self.randomness.expose_secret().parse::<Randomness>() {
            Ok(randomness) => randomness,
            Err(error) => return unusable(".randomness", format!("{error}; copy it anew")),
        };
        let commitment = match self.commitment.parse::<Commitment>() {
            Ok(commitment) => commitment,
            Err(error) => return unusable(".commitment", format!("{error}; copy it anew")),
        };
        let note = Note { value: self.value, owner, randomness };
        if note.commitment(named) == commitment {
            return Ok(());
        }
        let remedy = match NoteHash::detect(&note, commitment) {
            Some(right) => format!("set shielded.note_hash = \"{right}\""),
            None => "no other note_hash does either, so check the four values".to_owned(),
        };
        let what = format!("note_hash = \"{named}\" does not make this commitment; {remedy}");
        unusable("", what)
    }
}

#[cfg(test)]
mod tests;
