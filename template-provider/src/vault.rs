//! Found blocks on disk, from the moment they are found until the node has judged them.
//!
//! One file a block, `HASH.hex`, made whole or not at all. It knows no node: who reads the vault
//! brings its blocks there. All calls block, so they run off the async threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PENDING: &str = "hex";
const REFUSED: &str = "refused";
const PARTIAL: &str = "partial";

/// The directory of found blocks.
#[derive(Debug, Clone)]
pub struct Vault {
    directory: PathBuf,
}

/// A block that was found before and is not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBlock {
    /// Its hash, in display order.
    pub hash: String,
    /// The block, as hex.
    pub block_hex: String,
}

impl Vault {
    /// Makes the directory if it is not there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Writes a block so that it survives a loss of power.
    pub fn keep(&self, hash: &str, block_hex: &str) -> io::Result<()> {
        let partial = self.path(hash, PARTIAL);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
        file.write_all(block_hex.as_bytes())?;
        file.sync_all()?;
        fs::rename(partial, self.path(hash, PENDING))?;
        self.sync()
    }

    /// The node has the block in its chain: nothing more to keep.
    pub fn settle_accepted(&self, hash: &str) -> io::Result<()> {
        fs::remove_file(self.path(hash, PENDING))?;
        self.sync()
    }

    /// The node refused the block: it is kept for people, but not submitted again.
    pub fn settle_refused(&self, hash: &str) -> io::Result<()> {
        fs::rename(self.path(hash, PENDING), self.path(hash, REFUSED))?;
        self.sync()
    }

    /// The blocks that are not judged yet.
    pub fn pending(&self) -> io::Result<Vec<PendingBlock>> {
        let mut blocks = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_pending = path.extension().is_some_and(|extension| extension == PENDING);
            let hash = path.file_stem().and_then(|stem| stem.to_str());
            if let (true, Some(hash)) = (is_pending, hash) {
                let block_hex = fs::read_to_string(&path)?;
                blocks.push(PendingBlock { hash: hash.to_owned(), block_hex });
            }
        }
        Ok(blocks)
    }

    fn path(&self, hash: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{hash}.{extension}"))
    }

    /// A rename is durable only once its directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_pending_until_it_is_judged() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(&directory.path().join("blocks")).unwrap();
        vault.keep("aa", "00").unwrap();
        vault.keep("bb", "11").unwrap();
        let mut pending = vault.pending().unwrap();
        pending.sort_by(|a, b| a.hash.cmp(&b.hash));
        let block = |hash: &str, hex: &str| PendingBlock {
            hash: hash.to_owned(),
            block_hex: hex.to_owned(),
        };
        assert_eq!(pending, [block("aa", "00"), block("bb", "11")]);
        vault.settle_accepted("aa").unwrap();
        vault.settle_refused("bb").unwrap();
        assert_eq!(vault.pending().unwrap(), []);
        let refused = directory.path().join("blocks/bb.refused");
        assert_eq!(fs::read_to_string(refused).unwrap(), "11");
    }

    #[test]
    fn a_block_that_was_not_written_whole_is_not_pending() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(directory.path()).unwrap();
        fs::write(directory.path().join("aa.partial"), "0").unwrap();
        assert_eq!(vault.pending().unwrap(), []);
    }

    #[test]
    fn keeping_a_block_twice_is_harmless() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(directory.path()).unwrap();
        vault.keep("aa", "00").unwrap();
        vault.keep("aa", "00").unwrap();
        assert_eq!(vault.pending().unwrap().len(), 1);
    }
}
