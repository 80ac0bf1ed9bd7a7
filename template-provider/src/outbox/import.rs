//! Takes over the queue of the Python server for shielded coinbases, `pending_l2_submissions.json`:
//! notes of accepted blocks that its sidecar never got.
//!
//! What it held for certain is only that its entries are POST bodies; so they are looked for
//! wherever they stand. The file is renamed once all of it was read and is durable; never removed.
//! It never logs what an entry holds.

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

/// How deep JSON may stand in texts of JSON. What is deeper is told as not read.
const TEXTS_MAX: u32 = 4;

/// What came of an import.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are in the outbox now, or were before.
    pub parcels: usize,
    /// Where something stands in the file that is no entry, and why.
    pub unread: Vec<String>,
    /// What the file is called now; `None` if it stays, since something in it was not read.
    pub renamed_to: Option<PathBuf>,
}

/// Puts all entries of `file` into the outbox, durably, then renames the file; unless something in
/// it was not read, which nobody may lose: then it is imported again at each start, which puts in
/// what is new alone.
pub fn import(store: &Store, file: &Path) -> io::Result<Imported> {
    if fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(invalid(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let content: Value = serde_json::from_slice(&fs::read(file)?)?;
    let mut found = Found::default();
    found.search("$", &content, TEXTS_MAX);
    for pending in &found.entries {
        store.put(pending)?;
    }
    let renamed_to = found.unread.is_empty().then(|| free_name(file)).transpose()?;
    if let Some(renamed_to) = &renamed_to {
        durable::rename(file, renamed_to)?;
    }
    Ok(Imported { parcels: found.entries.len(), unread: found.unread, renamed_to })
}

#[derive(Default)]
struct Found {
    entries: Vec<Pending>,
    unread: Vec<String>,
}

impl Found {
    /// `place` is where `value` stands, as a JSON path; `texts` says how many texts may still be
    /// opened on the way down.
    fn search(&mut self, place: &str, value: &Value, texts: u32) {
        match value {
            Value::Array(list) => {
                for (index, one) in list.iter().enumerate() {
                    self.search(&format!("{place}[{index}]"), one, texts);
                }
            }
            Value::Object(fields) => self.search_object(place, fields, texts),
            Value::String(text) if is_json(text) => self.search_text(place, text, texts),
            _ => self.unread.push(format!("{place}: no object")),
        }
    }

    /// An entry, or what an entry was put into: whatever its other fields are called.
    fn search_object(&mut self, place: &str, fields: &Map<String, Value>, texts: u32) {
        let named = FIELDS.iter().filter(|(name, _)| fields.contains_key(*name)).count();
        let reason = match entry(fields) {
            Ok(entry) => return self.entries.push(entry),
            Err(reason) if named > 0 => reason,
            Err(_) => "nothing in it is an entry".to_owned(),
        };
        let before = (self.entries.len(), self.unread.len());
        for (name, one) in fields.iter().filter(|(_, one)| may_hold_entries(one)) {
            self.search(&format!("{place}.{name}"), one, texts);
        }
        let is_barren = before == (self.entries.len(), self.unread.len()) && !is_empty(fields);
        // With all three fields it was meant to be an entry, whatever else is in it.
        if is_barren || named == FIELDS.len() {
            self.unread.push(format!("{place}: {reason}"));
        }
    }

    fn search_text(&mut self, place: &str, text: &str, texts: u32) {
        match (serde_json::from_str(text), texts.checked_sub(1)) {
            (Ok(value), Some(texts)) => self.search(place, &value, texts),
            (Ok(_), None) => self.unread.push(format!("{place}: JSON in too many texts")),
            (Err(_), _) => self.unread.push(format!("{place}: text that is no JSON")),
        }
    }
}

/// Bytes are no place for entries.
fn may_hold_entries(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.iter().all(Value::is_number),
        Value::Object(_) => true,
        Value::String(text) => is_json(text),
        _ => false,
    }
}

/// True if no note can be lost with it: a queue that was empty.
fn is_empty(fields: &Map<String, Value>) -> bool {
    fields.values().all(|value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => is_empty(fields),
        Value::String(_) => false,
        _ => true,
    })
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
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
        assert_eq!(file.exists(), !imported.unread.is_empty(), "it goes if all of it was read");
        let kept = imported.renamed_to.clone().unwrap_or(file);
        assert_eq!(fs::read_to_string(kept).unwrap(), content.to_string());
        (imported, store.all_pending().unwrap())
    }

    /// What is not read of `content`, in which one note is found.
    fn unread_beside_a_note(content: &Value) -> Vec<String> {
        let (imported, pending) = imported(content);
        assert_eq!((imported.parcels, pending.len()), (1, 1), "{content}");
        imported.unread
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
    fn a_note_is_found_in_an_entry_that_names_some_of_its_fields() {
        let commitment = "03".repeat(32);
        let wrapped = json!({ "commitment": commitment, "payload": note(3), "attempts": 3 });
        assert_eq!(unread_beside_a_note(&json!([wrapped])), Vec::<String>::new());
        let mut spoilt = note(4);
        spoilt["ciphertext"] = json!([77]);
        spoilt["last"] = note(3);
        let unread = ["$[0]: ciphertext is no array of 44 bytes"];
        assert_eq!(unread_beside_a_note(&json!([spoilt])), unread);
    }

    #[test]
    fn a_note_is_found_in_a_text_of_json() {
        let request = json!({ "url": "http://a/submit", "body": note(3).to_string() });
        assert_eq!(unread_beside_a_note(&json!([request])), Vec::<String>::new());
        let twice = json!(json!([request]).to_string());
        assert_eq!(unread_beside_a_note(&twice), Vec::<String>::new());
        let torn = json!([note(3), { "body": "{\"commitment\": [1," }]);
        assert_eq!(unread_beside_a_note(&torn), ["$[1].body: text that is no JSON"]);
        let mut deep = note(3);
        (0..=TEXTS_MAX).for_each(|_| deep = json!(deep.to_string()));
        assert_eq!(unread_beside_a_note(&json!([note(4), deep])), ["$[1]: JSON in too many texts"]);
    }

    #[test]
    fn an_object_without_a_note_is_named_unless_it_is_an_empty_queue() {
        let unknown = json!([note(3), { "url": "http://a/submit", "body": "AAECAw==" }]);
        assert_eq!(unread_beside_a_note(&unknown), ["$[1]: nothing in it is an entry"]);
        for empty in [json!([]), json!({}), json!({ "version": 1, "queue": [], "by_key": {} })] {
            let (imported, _) = imported(&empty);
            assert_eq!((imported.parcels, imported.unread), (0, vec![]), "{empty}");
        }
    }

    #[test]
    fn a_file_of_which_not_all_was_read_is_imported_again_without_harm() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("outbox")).unwrap();
        let file = directory.path().join("pending_l2_submissions.json");
        fs::write(&file, json!([note(3), "text"]).to_string()).unwrap();
        assert_eq!(import(&store, &file).unwrap().renamed_to, None);
        let [pending] = store.all_pending().unwrap().try_into().unwrap();
        store.delivered(&pending).unwrap();
        assert_eq!(import(&store, &file).unwrap().unread, ["$[1]: no object"]);
        assert_eq!(store.all_pending().unwrap(), []);
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
            import(&store, &file).unwrap().renamed_to.unwrap()
        });
        assert!(renamed[0] != renamed[1] && renamed.iter().all(|path| path.exists()));
        assert_eq!(store.all_pending().unwrap().len(), 2);
    }
}
