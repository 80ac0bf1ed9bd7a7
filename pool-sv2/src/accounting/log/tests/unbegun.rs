//! A turn to a new segment that fails halfway: nothing of the log may be lost or refused for it.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::rc::Rc;

use super::super::cursor::{Cursor, Place};
use super::super::disk::{Disk, DiskFile};
use super::*;

/// What fails from the next `create` on, until there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A part of what is written is there; no file can be removed.
    Write,
    /// All is written; no file can be removed.
    Sync,
    /// All is written; a file can be removed.
    SyncOnce,
}

/// A folder whose operations fail only after a `create`.
#[derive(Debug, Clone)]
struct Turning {
    folder: Folder,
    planned: Rc<Cell<Option<Fault>>>,
    present: Rc<Cell<Option<Fault>>>,
}

#[derive(Debug)]
struct TurningFile(File, Rc<Cell<Option<Fault>>>);

fn full() -> io::Result<()> {
    Err(io::ErrorKind::StorageFull.into())
}

impl Turning {
    fn file(&self, file: io::Result<File>) -> io::Result<TurningFile> {
        file.map(|file| TurningFile(file, Rc::clone(&self.present)))
    }
}

impl Disk for Turning {
    type File = TurningFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<TurningFile> {
        self.present.set(self.planned.get());
        self.file(self.folder.create(name))
    }

    fn open(&self, name: &str) -> io::Result<TurningFile> {
        self.file(self.folder.open(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<TurningFile> {
        self.file(self.folder.open_to_read(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.present.get() {
            Some(Fault::Write | Fault::Sync) => full(),
            _ => self.folder.remove(name),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }
}

impl DiskFile for TurningFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        DiskFile::read_at(&self.0, offset, into)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.1.get() == Some(Fault::Write) {
            self.0.write_at(offset, &bytes[..bytes.len() / 2])?;
            return full();
        }
        self.0.write_at(offset, bytes)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        DiskFile::set_len(&mut self.0, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        DiskFile::len(&self.0)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.get().map_or_else(|| self.0.sync(), |_| full())
    }
}

/// The works of all shares from `place` on.
fn works(disk: &Folder, place: Place) -> Vec<u128> {
    let (mut cursor, mut works) = (Cursor::new(disk.clone(), place), Vec::new());
    let mut take = |located: super::super::cursor::Located| match located.record {
        Record::Share(share) => works.push(share.work),
        other => panic!("{other:?}"),
    };
    while cursor.read_frame(None, &mut take).unwrap() {}
    works
}

/// So many commits; the turns after the first three fail, then there is room again.
fn write(folder: &Path, fault: Fault, commits: u8) -> LogWriter<Turning> {
    let disk = Turning {
        folder: Folder(folder.to_owned()),
        planned: Rc::default(),
        present: Rc::default(),
    };
    let settings = LogSettings { node: 1, segment_bytes: 100 };
    let (mut writer, _) = LogWriter::open(disk.clone(), settings, NOW_MS, 7).unwrap();
    let mut cursor = Cursor::new(disk.folder.clone(), Place::default());
    let mut seen = 0;
    for number in 0..commits {
        disk.planned.set((number < 3).then_some(fault));
        writer.push_share(NOW_MS, &share("user", number));
        writer.commit().unwrap();
        disk.present.set(None);
        // One that reads on, and one that begins where that one stands.
        let place = cursor.next_place();
        assert_eq!(works(&disk.folder, place), [u128::from(number)], "{fault:?}");
        let end = Some(writer.durable_end());
        while cursor.read_frame(end, &mut |_| seen += 1).unwrap() {}
        assert_eq!(seen, u64::from(number) + 1, "{fault:?}");
    }
    writer
}

#[test]
fn a_turn_that_fails_halfway_loses_nothing_and_the_pool_starts_again() {
    for fault in [Fault::Write, Fault::Sync, Fault::SyncOnce] {
        for commits in 2..9 {
            let folder = tempfile::tempdir().unwrap();
            let disk = Folder(folder.path().to_owned());
            drop(write(folder.path(), fault, commits));
            let all: Vec<_> = (0..u128::from(commits)).collect();
            let contents = verify(&disk).unwrap();
            assert_eq!((contents.shares, &contents.faults[..]), (commits.into(), &[][..]));
            // Twice, for the second start meets what the first one left.
            for _ in 0..2 {
                drop(open(folder.path(), 200).unwrap());
                assert_eq!(works(&disk, Place::default()), all, "{fault:?} {commits}");
            }
        }
    }
}

/// A commit after the turn that failed may be torn; one before it was durable.
#[test]
fn only_what_was_written_after_a_turn_that_failed_is_cut_off() {
    for (commits, is_torn) in [(2, false), (3, true)] {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder(folder.path().to_owned());
        drop(write(folder.path(), Fault::Sync, commits));
        let first = folder.path().join(segments(&disk).unwrap()[0].to_string());
        let bytes = fs::read(&first).unwrap();
        fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
        if is_torn {
            // The last turn that failed came after this commit.
            fs::remove_file(last_file(folder.path())).unwrap();
        }
        assert_eq!(open(folder.path(), 200).is_ok(), is_torn, "{commits}");
    }
}
