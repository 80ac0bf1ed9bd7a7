//! Takes over the queue of the Python server for shielded coinbases, `pending_l2_submissions.json`:
//! notes of accepted blocks that its sidecar never got.
//!
//! What it held for certain is only that its entries are POST bodies; so they are looked for
//! wherever they stand. The file is renamed after everything is durable, and never removed. It
//! never logs what an entry holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bitcoin::hex::{DisplayHex, FromHex};
use serde_json::{Map, Value, json};

use super::store::{Pending, Store};
use crate::durable;
use crate::extension::{AcceptedBlock, Parcel};

/// Largest file that is read: some 100,000 entries. A larger one is refused, and stays as it is.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The fields of an entry and their bytes.
const FIELDS: [(&str, usize); 3] = [("ephemeral_pubkey", 32), ("ciphertext", 44), (KEY_FIELD, 32)];
/// The field that names a note.
const KEY_FIELD: &str = "commitment";
/// What the extension that delivers them is called.
const EXTENSION: &str = "shielded";
/// What the ending of an imported file begins with.
const IMPORTED: &str = "imported";

/// What came of an import.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are in the outbox now, or were before.
    pub parcels: usize,
    /// Where something stands in the file that is no entry, and why.
    pub unread: Vec<String>,
    /// What the file is called now.
    pub renamed_to: PathBuf,
}

/// Puts all entries of `file` into the outbox, durably, then renames the file.
pub fn import(store: &Store, file: &Path) -> io::Result<Imported> {
    if fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(invalid(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let content: Value = serde_json::from_slice(&fs::read(file)?)?;
    let mut found = Found::default();
    found.search("$", &content);
    for pending in &found.entries {
        store.put(pending)?;
    }
    let renamed_to = free_name(file)?;
    durable::rename(file, &renamed_to)?;
    Ok(Imported { parcels: found.entries.len(), unread: found.unread, renamed_to })
}

#[derive(Default)]
struct Found {
    entries: Vec<Pending>,
    unread: Vec<String>,
}

impl Found {
    /// `place` is where `value` stands, as a JSON path.
    fn search(&mut self, place: &str, value: &Value) {
        match value {
            Value::Array(list) => {
                for (index, one) in list.iter().enumerate() {
                    self.search(&format!("{place}[{index}]"), one);
                }
            }
            Value::Object(fields) if FIELDS.iter().any(|(name, _)| fields.contains_key(*name)) => {
                match entry(fields) {
                    Ok(entry) => self.entries.push(entry),
                    Err(reason) => self.unread.push(format!("{place}: {reason}")),
                }
            }
            Value::Object(fields) => {
                for (name, one) in fields.iter().filter(|(_, one)| is_nested(one)) {
                    self.search(&format!("{place}.{name}"), one);
                }
            }
            _ => self.unread.push(format!("{place}: no object")),
        }
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn entry(fields: &Map<String, Value>) -> Result<Pending, String> {
    let mut body = Map::new();
    let mut key = String::new();
    for (name, length) in FIELDS {
        let bytes = fields.get(name).and_then(bytes).filter(|bytes| bytes.len() == length);
        let bytes = bytes.ok_or_else(|| format!("{name} is no array of {length} bytes"))?;
        if name == KEY_FIELD {
            key = bytes.to_lower_hex_string();
        }
        body.insert(name.to_owned(), json!(bytes));
    }
    let hash = ["block_hash", "blockhash"].iter().find_map(|name| fields.get(*name)?.as_str());
    let height = ["height", "block_height"].iter().find_map(|name| fields.get(*name)?.as_u64());
    let height = height.and_then(|height| height.try_into().ok()).unwrap_or_default();
    let block = AcceptedBlock { hash: hash.unwrap_or("unknown").to_owned(), height };
    let parcel = Parcel { extension: EXTENSION.to_owned(), key, body: Value::Object(body) };
    Ok(Pending::new(block, parcel))
}

/// An array of integers, or hex.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(hex) => Vec::from_hex(hex).ok(),
        Value::Array(list) => list.iter().map(|one| one.as_u64()?.try_into().ok()).collect(),
        _ => None,
    }
}

/// The file's name with an ending that no file has yet.
fn free_name(file: &Path) -> io::Result<PathBuf> {
    let name = |number: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(match number {
            0 => format!(".{IMPORTED}"),
            number => format!(".{number}.{IMPORTED}"),
        });
        PathBuf::from(name)
    };
    let free = (0..1000).map(name).find(|name| !name.exists());
    free.ok_or_else(|| invalid("too many files of its name were imported before".to_owned()))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(first: u8) -> Value {
        let commitment: Vec<u8> = (first..first + 32).collect();
        json!({
            "ephemeral_pubkey": vec![1; 32],
            "ciphertext": vec![2; 44],
            "commitment": commitment,
        })
    }

    fn imported(content: &Value) -> (Imported, Vec<Pending>) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("outbox")).unwrap();
        let file = directory.path().join("pending_l2_submissions.json");
        fs::write(&file, content.to_string()).unwrap();
        let imported = import(&store, &file).unwrap();
        assert!(!file.exists());
        assert_eq!(fs::read_to_string(&imported.renamed_to).unwrap(), content.to_string());
        (imported, store.all_pending().unwrap())
    }

    #[test]
    fn a_list_of_notes_becomes_parcels_under_their_commitments() {
        let (imported, mut pending) = imported(&json!([note(3), note(4)]));
        assert_eq!((imported.parcels, imported.unread), (2, vec![]));
        pending.sort_by(|a, b| a.parcel.key.cmp(&b.parcel.key));
        assert_eq!(pending[0].parcel.body, note(3));
        assert_eq!(pending[0].parcel.extension, "shielded");
        assert!(pending[0].parcel.key.starts_with("030405"), "{}", pending[0].parcel.key);
        assert_eq!(pending[0].parcel.key.len(), 64);
    }

    #[test]
    fn notes_are_found_wherever_they_stand_and_in_hex_too() {
        let hex = json!({
            "ephemeral_pubkey": "01".repeat(32),
            "ciphertext": "02".repeat(44),
            "commitment": "05".repeat(32),
        });
        let (imported, pending) = imported(&json!({
            "version": 1,
            "queue": [{ "height": 9, "payload": note(3) }, hex],
            "by_key": { "x": note(4) },
        }));
        assert_eq!((imported.parcels, imported.unread), (3, vec![]));
        assert_eq!(pending.len(), 3);
        assert!(
            pending.iter().any(|one| one.parcel.body["ephemeral_pubkey"] == json!(vec![1; 32]))
        );
    }

    #[test]
    fn what_is_no_note_is_named_without_what_it_holds_and_hides_no_other() {
        let mut short = note(3);
        short["ciphertext"] = json!([77]);
        let mut large = note(3);
        large["commitment"][0] = json!(256);
        let (imported, pending) = imported(&json!([short, large, "text", note(4)]));
        assert_eq!((imported.parcels, pending.len()), (1, 1));
        let reasons = [
            "$[0]: ciphertext is no array of 44 bytes",
            "$[1]: commitment is no array of 32 bytes",
            "$[2]: no object",
        ];
        assert_eq!(imported.unread, reasons);
    }

    #[test]
    fn a_file_that_is_no_json_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("outbox")).unwrap();
        let file = directory.path().join("pending_l2_submissions.json");
        fs::write(&file, "[{").unwrap();
        assert!(import(&store, &file).is_err());
        assert!(file.exists());
    }

    #[test]
    fn a_second_file_of_the_name_takes_no_other_files_place() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("outbox")).unwrap();
        let file = directory.path().join("pending_l2_submissions.json");
        let renamed = [note(3), note(4)].map(|note| {
            fs::write(&file, json!([note]).to_string()).unwrap();
            import(&store, &file).unwrap().renamed_to
        });
        assert!(renamed[0] != renamed[1] && renamed.iter().all(|path| path.exists()));
        assert_eq!(store.all_pending().unwrap().len(), 2);
    }
}
