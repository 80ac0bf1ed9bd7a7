//! Found blocks on disk, from the moment they are found until the node has judged them.
//!
//! One file a block, `HASH.hex`, made whole or not at all. One file that cannot be used never hides
//! the others. It knows no node: who reads the vault brings its blocks there. All calls block, so
//! they run off the async threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use mining::{hash, target::Target};
use tracing::{error, info};

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

    /// The blocks that are not judged yet, for a program that starts: those whose writing was cut
    /// short after the last byte are among them.
    pub fn pending(&self) -> io::Result<Vec<PendingBlock>> {
        let mut blocks = Vec::new();
        for path in self.files(PARTIAL)? {
            match self.adopt(&path) {
                Ok(()) => info!(file = %path.display(), "block not renamed before adopted"),
                Err(error) => error!(file = %path.display(), %error, "part of a block not adopted"),
            }
        }
        for path in self.files(PENDING)? {
            match read_pending(&path) {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    error!(file = %path.display(), %error, "block of an earlier run not read");
                }
            }
        }
        Ok(blocks)
    }

    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|of_path| of_path == extension) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    /// Takes what was written whole and not renamed, whatever it is called.
    fn adopt(&self, partial: &Path) -> io::Result<()> {
        let (_, bytes) = read_hex(partial)?;
        let hash = whole_block_hash(&bytes).ok_or_else(|| invalid("it is no whole block"))?;
        File::open(partial)?.sync_all()?;
        fs::rename(partial, self.path(&hash, PENDING))?;
        self.sync()
    }

    fn path(&self, hash: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{hash}.{extension}"))
    }

    /// A rename is durable only once its directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

/// What a file holds, as hex. What the hex means is the node's to judge.
fn read_hex(path: &Path) -> io::Result<(String, Vec<u8>)> {
    let text = fs::read_to_string(path)?;
    let block_hex = text.trim_end();
    let bytes = Vec::from_hex(block_hex).map_err(|_| invalid("it is not hex"))?;
    match bytes.is_empty() {
        true => Err(invalid("it is empty")),
        false => Ok((block_hex.to_owned(), bytes)),
    }
}

fn read_pending(path: &Path) -> io::Result<PendingBlock> {
    let hash = path.file_stem().and_then(|stem| stem.to_str());
    let hash = hash.ok_or_else(|| invalid("its name is no hash"))?.to_owned();
    Ok(PendingBlock { hash, block_hex: read_hex(path)?.0 })
}

/// The hash of a whole block that meets its own nBits, in display order. A part of one never is
/// whole: its count of transactions comes first.
fn whole_block_hash(bytes: &[u8]) -> Option<String> {
    let block: bitcoin::Block = deserialize(bytes).ok()?;
    let hash = block.block_hash().to_byte_array();
    let target = Target::from_nbits(block.header.bits.to_consensus())?;
    target.is_met_by(&hash).then(|| hash::display(&hash))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
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

    /// The genesis block of regtest.
    fn whole_block() -> (String, String) {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        (block.block_hash().to_string(), bitcoin::consensus::encode::serialize_hex(&block))
    }

    #[test]
    fn a_block_that_was_written_whole_and_not_renamed_is_pending() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(directory.path()).unwrap();
        let (hash, block_hex) = whole_block();
        fs::write(directory.path().join(format!("{hash}.partial")), &block_hex).unwrap();
        assert_eq!(vault.pending().unwrap(), [PendingBlock { hash: hash.clone(), block_hex }]);
        vault.settle_accepted(&hash).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_part_of_a_block_and_no_unmined_one_is_pending() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(directory.path()).unwrap();
        let (hash, whole) = whole_block();
        let partial = directory.path().join(format!("{hash}.partial"));
        // The nonce is the last field of a header of 80 bytes: another one is not mined.
        let unmined =
            (0..).map(|nonce: u8| format!("{}{nonce:02x}{}", &whole[..152], &whole[154..]));
        let bytes = |hex: &String| Vec::from_hex(hex).unwrap();
        let unmined = unmined.into_iter().find(|hex| whole_block_hash(&bytes(hex)).is_none());
        let longer = format!("{whole}00");
        for content in [&whole[..whole.len() - 2], &whole[..160], &longer, &unmined.unwrap()] {
            fs::write(&partial, content).unwrap();
            assert_eq!(vault.pending().unwrap(), []);
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(directory.path()).unwrap();
        let in_it = |name: &str| directory.path().join(name);
        fs::create_dir(in_it("directory.hex")).unwrap();
        fs::create_dir(in_it("directory.partial")).unwrap();
        fs::write(in_it("bytes.hex"), [0xff; 9]).unwrap();
        fs::write(in_it("odd.hex"), "123").unwrap();
        fs::write(in_it("empty.hex"), "").unwrap();
        vault.keep("aa", "00").unwrap();
        let block = PendingBlock { hash: "aa".into(), block_hex: "00".into() };
        assert_eq!(vault.pending().unwrap(), [block]);
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
