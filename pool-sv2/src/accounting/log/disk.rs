//! The few things that the log asks of a file system, so that a test can lose power in between.
//!
//! Nothing here knows what is in a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// One folder.
pub trait Disk {
    /// An open file of it.
    type File: DiskFile;

    /// The names of its files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file to write; one that is there is emptied.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// A file that is there, to read and write.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// A file that is there, to read only.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File>;
    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable: a new file is there after a power loss only from then on.
    fn sync_names(&self) -> io::Result<()>;
}

/// One file.
pub trait DiskFile {
    /// Reads from byte `offset` on until `into` is full or the file ends; says how much.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` from byte `offset` on. Not durable yet.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off, or fills it up with zeros.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Makes the content durable.
    fn sync(&mut self) -> io::Result<()>;

    /// True without any byte.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|bytes| bytes == 0)
    }
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Disk for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(true).open(self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.0.join(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match FileExt::read_at(self, rest, at) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
