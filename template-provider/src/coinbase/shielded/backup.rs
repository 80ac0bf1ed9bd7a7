//! The operator's own copy of the notes that were accepted, if he wants one: a line of JSON each.
//!
//! It holds what opens the notes, so it is readable by its owner alone. Notes can be made again
//! without it; a line that cannot be written therefore holds nothing up.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tracing::warn;

use super::note::{Commitment, Note};
use crate::durable;
use crate::extension::AcceptedBlock;

/// What is added to the name of a file that somebody else writes in another form.
const BESIDE: &str = ".jsonl";
/// Permissions by which others than the owner see or change the file.
const OTHERS: u32 = 0o077;

/// The file.
#[derive(Debug, Clone)]
pub struct Backup {
    path: PathBuf,
}

impl Backup {
    /// A file that is made with its first note.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Adds a note durably, unless it is there already. Blocks, so it runs off the async threads. A
    /// file that is no lines of JSON, another server's, is left alone: the note goes into one
    /// beside it.
    pub fn add(
        &self,
        block: &AcceptedBlock,
        note: &Note,
        commitment: Commitment,
    ) -> io::Result<()> {
        let commitment = commitment.to_string();
        let line = json!({
            "block": block.hash, "height": block.height, "value": note.value,
            "randomness": note.randomness.reveal(), "commitment": commitment,
        });
        let (path, content) = self.place(&commitment)?;
        if content.holds_note {
            return Ok(());
        }
        let mut file = open_to_append(&path)?;
        // After a line that was cut short. In one piece: the lines of two writers must not mix.
        let start = if content.is_torn { "\n" } else { "" };
        file.write_all(format!("{start}{line}\n").as_bytes())?;
        file.sync_all()
    }

    /// The file to write to, and what is in it.
    fn place(&self, commitment: &str) -> io::Result<(PathBuf, Content)> {
        let content = Content::of(&self.path, commitment)?;
        if content.is_lines_of_json {
            return Ok((self.path.clone(), content));
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(BESIDE);
        let beside = PathBuf::from(beside);
        let (file, path) = (self.path.display(), beside.display());
        let content = Content::of(&beside, commitment)?;
        if !content.is_lines_of_json {
            let message = format!("neither {file} nor {path} holds lines of JSON; name another");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        warn!(%file, %path, "notes file holds no lines of JSON: notes are written beside it");
        Ok((beside, content))
    }
}

/// What stands in the file.
struct Content {
    /// True for an empty file, too.
    is_lines_of_json: bool,
    /// True if its last line was cut short.
    is_torn: bool,
    /// True if the note is in it, whole.
    holds_note: bool,
}

impl Content {
    fn of(path: &Path, commitment: &str) -> io::Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { is_lines_of_json: true, is_torn: false, holds_note: false });
            }
            opened => opened?,
        };
        let (mut reader, mut line) = (BufReader::new(file), Vec::new());
        let (mut lines, mut notes, mut is_torn, mut holds_note) = (0_u64, 0_u64, false, false);
        let mut begins_as_a_line = true;
        while reader.read_until(b'\n', &mut line)? > 0 {
            is_torn = !line.ends_with(b"\n");
            if !line.trim_ascii().is_empty() {
                begins_as_a_line &= lines > 0 || line.trim_ascii_start().starts_with(b"{");
                lines += 1;
                if let Ok(note) = serde_json::from_slice::<Map<String, Value>>(&line) {
                    notes += 1;
                    holds_note |= note.get("commitment").is_some_and(|one| one == commitment);
                }
            }
            line.clear();
        }
        // The first line of all may be the one that was cut short.
        let is_lines_of_json = begins_as_a_line && (notes > 0 || lines < 2);
        Ok(Self { is_lines_of_json, is_torn, holds_note })
    }
}

/// Nobody but the owner may read what is written from here on.
fn open_to_append(path: &Path) -> io::Result<File> {
    let (file, is_new) = durable::open_or_make(path, OpenOptions::new().append(true))?;
    if is_new {
        durable::sync_directory_of(path)?;
    } else if file.metadata()?.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::coinbase::shielded::note::Randomness;

    /// Adds the note with the commitment of these bytes, twice.
    fn add(path: &Path, commitment: u8) {
        let block = AcceptedBlock { hash: "00ab".to_owned(), height: 7 };
        let owner = "01".repeat(32).parse().unwrap();
        let note = Note { value: 5, owner, randomness: Randomness([0x22; 32]) };
        for _ in 0..2 {
            Backup::new(path).add(&block, &note, Commitment([commitment; 32])).unwrap();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn each_note_is_kept_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.jsonl");
        add(&path, 1);
        add(&path, 2);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["randomness"], "22".repeat(32));
        assert_eq!(lines[0]["commitment"], "01".repeat(32));
        assert_eq!(lines[1]["commitment"], "02".repeat(32));
        assert_eq!((&lines[0]["height"], &lines[0]["value"]), (&json!(7), &json!(5)));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_file_that_others_may_read_is_closed_before_a_note_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.jsonl");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        add(&path, 1);
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_line_that_was_cut_short_neither_counts_nor_spoils_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.jsonl");
        add(&path, 1);
        let whole = fs::read_to_string(&path).unwrap();
        for torn in [whole.trim_end().strip_suffix('}').unwrap(), &whole[..40]] {
            fs::write(&path, torn).unwrap();
            add(&path, 1);
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{torn}\n{whole}"));
        }
    }

    #[test]
    fn a_file_of_another_form_is_left_alone_and_the_note_stands_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.json");
        for content in ["[{\"value\": 1}]", "[\n{\"a\": 1},\n{\"a\": 2}\n]\n", "{\n \"a\": 1\n}"] {
            fs::write(&path, content).unwrap();
            add(&path, 1);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let beside = directory.path().join("notes.json.jsonl");
            assert_eq!(fs::read_to_string(&beside).unwrap().lines().count(), 1);
            fs::remove_file(&beside).unwrap();
        }
    }
}
