//! Files that are there as they were or as they are now, whenever the power goes.
//!
//! It knows no meaning of what it writes. Its calls block.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts a file of these parts, one behind the other, in the place of the one that is there; returns
/// when it is durable. Until it is whole it stands beside, with the ending `partial`: two writers
/// of one path must not meet.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // A rename is durable only once its folder is.
    File::open(folder_of(path))?.sync_all()
}

/// The folder of `path`; that of a bare name is the present one.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
