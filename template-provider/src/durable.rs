//! Files that are there whole or not at all, whenever the power goes.
//!
//! What is written here may hold secrets: nobody but the owner reads it. It knows no meaning of
//! what it writes. All calls block, so they run off the async threads.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown,
};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

/// Ending of a file that is not whole yet.
pub const PARTIAL: &str = "partial";

/// Permissions by which others than the owner may write.
const WRITABLE_BY_ALL: u32 = 0o002;
/// How often it is looked whether a lock is free.
const LOCK_TRIED_EVERY: Duration = Duration::from_millis(10);

/// A locked file, until it is dropped; the end of the program, however it comes, drops it too.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Locks the file `path`, which is made if it is not there, against all programs that lock it too.
/// An error of the kind `WouldBlock` after `patience`. Other files are not kept from anybody.
pub fn lock(path: &Path, patience: Duration) -> io::Result<Lock> {
    let (file, _) = open_or_make(path, OpenOptions::new().write(true))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => {
                let message = format!("{} is locked by another program", path.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_TRIED_EVERY),
        }
    }
}

/// Opens a file with `options`, or makes it, its owner's alone; tells whether it was made. It is
/// not durable yet.
pub fn open_or_make(path: &Path, options: &OpenOptions) -> io::Result<(File, bool)> {
    match options.clone().create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((options.open(path)?, false))
        }
        made => {
            let file = made?;
            give_to_the_owner_of_its_directory(&file, path);
            Ok((file, true))
        }
    }
}

/// Makes a directory that is its owner's alone, durably, if it is not there; one that is there is
/// left as it is, for others may use it too.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|present| present.permissions().mode() & WRITABLE_BY_ALL != 0) {
        warn!(directory = %path.display(), "all users may write where found blocks are kept");
    }
    make_missing(path)
}

fn make_missing(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    directory_of(path).map_or(Ok(()), make_missing)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => {
            made?;
            if let Some((user, group)) = other_owner(path, &fs::symlink_metadata(path)?) {
                drop(lchown(path, Some(user), Some(group)));
            }
            sync_directory_of(path)
        }
    }
}

/// Writes a file so that it survives a loss of power, in place of one that was there. Until it is
/// whole it stands beside, with the ending `PARTIAL` in place of its own: two writers of one path
/// must not meet.
pub fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = path.with_extension(PARTIAL);
    // Made anew: it follows no link that somebody put there.
    remove_now(&partial)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    // In one piece: a program that is killed leaves all of it, or nothing.
    file.write_all(&parts.concat())?;
    give_to_the_owner_of_its_directory(&file, &partial);
    file.sync_all()?;
    rename(&partial, path)
}

/// What root writes beside the files of a server of another user must stay that server's. Only root
/// can give files away; for everybody else they have the right owner already.
fn give_to_the_owner_of_its_directory(file: &File, path: &Path) {
    let owner = file.metadata().ok().and_then(|present| other_owner(path, &present));
    if let Some((user, group)) = owner {
        drop(fchown(file, Some(user), Some(group)));
    }
}

/// User and group of the directory of `path`, if the user is not that of `present`.
fn other_owner(path: &Path, present: &Metadata) -> Option<(u32, u32)> {
    let wanted = fs::metadata(directory_of(path)?).ok()?;
    (wanted.uid() != present.uid()).then(|| (wanted.uid(), wanted.gid()))
}

/// Renames for good: a rename is durable only once its directory is.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory_of(to)
}

/// Removes for good; what is not there is removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match remove_now(path)? {
        true => sync_directory_of(path),
        false => Ok(()),
    }
}

/// False if it is not there.
fn remove_now(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

/// Makes what was renamed in the directory of `path` durable, by whomever.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    directory_of(path).map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The directory of `path`; that of a bare name is the present one.
fn directory_of(path: &Path) -> Option<&Path> {
    let directory = path.parent()?;
    Some(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b");
        make_directory(&deep).unwrap();
        let file = deep.join("x.json");
        write(&file, &[b"12", b"3"]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"123");
        assert_eq!((mode(&deep), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 1, "nothing partial is left");
    }

    #[test]
    fn a_directory_that_is_there_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        make_directory(directory.path()).unwrap();
        make_directory(&directory.path().join("a/b")).unwrap();
        assert_eq!(mode(directory.path()), 0o755);
        assert_eq!(mode(&directory.path().join("a")), 0o700);
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(make_directory(&directory.path().join("file")).is_err());
    }

    #[test]
    fn a_lock_is_anothers_only_when_it_was_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let held = lock(&path, Duration::ZERO).unwrap();
        let refused = lock(&path, Duration::from_millis(30)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_a_partial_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [file, precious] = ["x.json", "precious"].map(|name| directory.path().join(name));
        fs::write(&precious, "1").unwrap();
        std::os::unix::fs::symlink(&precious, file.with_extension(PARTIAL)).unwrap();
        write(&file, &[b"2"]).unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"1");
    }

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_directory() {
        const NOBODY: u32 = 65_534;
        let directory = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).is_err() {
            eprintln!("not tried: only root can give files away, and this is another user");
            return;
        }
        make_directory(&directory.path().join("a/b")).unwrap();
        let file = directory.path().join("a/b/x.json");
        write(&file, &[b"1"]).unwrap();
        drop(lock(&directory.path().join("a/x.lock"), Duration::ZERO).unwrap());
        for made in ["a", "a/b", "a/b/x.json", "a/x.lock"] {
            let metadata = fs::metadata(directory.path().join(made)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (NOBODY, NOBODY), "{made}");
        }
    }

    #[test]
    fn a_bare_name_stands_in_the_present_directory() {
        sync_directory_of(Path::new("x.json")).unwrap();
        sync_directory_of(Path::new("/")).unwrap();
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        remove(&directory.path().join("x")).unwrap();
    }
}
