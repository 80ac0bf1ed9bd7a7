//! The operator's own copy of the notes that were accepted, if he wants one: a line of JSON each.
//!
//! It holds what opens the notes, so it is readable by its owner alone. Notes can be made again
//! without it; a line that cannot be written therefore holds nothing up.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::note::{Commitment, Note};
use crate::extension::AcceptedBlock;

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

    /// Adds a note durably, unless it is there already. Blocks, so it runs off the async threads.
    pub fn add(
        &self,
        block: &AcceptedBlock,
        note: &Note,
        commitment: Commitment,
    ) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        let commitment = commitment.to_string();
        if holds(&file, &commitment)? {
            return Ok(());
        }
        let line = json!({
            "block": block.hash, "height": block.height, "value": note.value,
            "randomness": note.randomness.reveal(), "commitment": commitment,
        });
        // In one piece: the lines of two writers must not mix.
        (&file).write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    }
}

fn holds(file: &File, commitment: &str) -> io::Result<bool> {
    for line in BufReader::new(file).lines() {
        if line?.contains(commitment) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::coinbase::shielded::note::Randomness;

    #[test]
    fn each_note_is_kept_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.jsonl");
        let block = AcceptedBlock { hash: "00ab".to_owned(), height: 7 };
        let owner = "01".repeat(32).parse().unwrap();
        let note = Note { value: 5, owner, randomness: Randomness([0x22; 32]) };
        let backup = Backup::new(&path);
        backup.add(&block, &note, Commitment([1; 32])).unwrap();
        backup.add(&block, &note, Commitment([1; 32])).unwrap();
        backup.add(&block, &note, Commitment([2; 32])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["randomness"], "22".repeat(32));
        assert_eq!(lines[0]["commitment"], "01".repeat(32));
        assert_eq!(lines[1]["commitment"], "02".repeat(32));
        assert_eq!((&lines[0]["height"], &lines[0]["value"]), (&json!(7), &json!(5)));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
