//! A file that holds one place in the log: written whole beside the one before, synced, and put in
//! its place.

use std::fs;
use std::io;
use std::path::Path;

use crate::accounting::log::cursor::Place;
use crate::accounting::whole_file::replace;

/// No such file is longer.
const BYTES_MAX: usize = 64;

/// Reads it; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Place>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = bytes.get(..bytes.len().min(BYTES_MAX)).unwrap_or_default();
    let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('\n'));
    let numbers = text.and_then(|text| text.split_once(' '));
    let place = numbers.and_then(|(epoch, sequence)| {
        Some(Place { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
    });
    let damaged = "it holds no place of the log; remove it to begin with what comes next";
    place.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, damaged))
}

/// Returns when it is durable.
pub(super) fn write(path: &Path, place: Place) -> io::Result<()> {
    replace(path, &[format!("{} {}\n", place.epoch, place.sequence).as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook.cursor");
        assert_eq!(read(&path).unwrap(), None);
        let place = Place { epoch: 1_700_000_000, sequence: u64::MAX };
        write(&path, place).unwrap();
        assert_eq!(read(&path).unwrap(), Some(place));
        for text in ["", "5", "5 6", "a b\n", "5 6 7\n"] {
            fs::write(&path, text).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("remove it"), "{text}");
        }
    }
}
