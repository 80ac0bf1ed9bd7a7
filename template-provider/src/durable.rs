//! Files that are there whole or not at all, whenever the power goes.
//!
//! What is written here may hold secrets: nobody but the owner reads it. It knows no meaning of
//! what it writes. All calls block, so they run off the async threads.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Ending of a file that is not whole yet.
pub const PARTIAL: &str = "partial";

/// Makes a directory that is its owner's alone, if it is not there.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // One of an earlier version may be open to all.
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Writes a file so that it survives a loss of power, in place of one that was there. Until it is
/// whole it stands beside, with the ending `PARTIAL` in place of its own: two writers of one path
/// must not meet.
pub fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = path.with_extension(PARTIAL);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    rename(&partial, path)
}

/// Renames for good: a rename is durable only once its directory is.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory_of(to)
}

/// Removes for good; what is not there is removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync_directory_of(path)),
    }
}

/// Makes what was renamed in the directory of `path` durable, by whomever.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
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
    fn a_directory_that_was_open_to_all_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        make_directory(directory.path()).unwrap();
        assert_eq!(mode(directory.path()), 0o700);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        remove(&directory.path().join("x")).unwrap();
    }
}
