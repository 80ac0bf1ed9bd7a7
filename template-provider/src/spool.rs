//! Templates on disk, for a program that comes back: what clients mine on outlives it, and a block
//! that they find meanwhile is worth as much as any other.
//!
//! One file a template, `ID.template`. It knows neither what stands in it nor who needs it. `Files`
//! blocks, so it runs off the async threads; `Shelf` only decides what may go.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::durable;

/// How long a template is kept after the tip moved on: as long as a pool sends a solution again.
const KEPT_AFTER_TIP_MOVED: Duration = Duration::from_secs(120);
/// How long templates of an earlier run are kept: its clients are back after seconds, those of
/// other machines perhaps after some minutes, and are given new work then.
const EARLIER_RUN_KEPT: Duration = Duration::from_secs(600);
/// Most templates on disk; past it the oldest go, those of left tips first.
const FILES_MAX: usize = 512;
/// Most bytes on disk, some hundred full templates; past it the oldest go, those of left tips
/// first. Names of one template count each, though the bytes are there once.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

const ENDING: &str = "template";

/// The directory.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Makes the directory if it is not there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        durable::make_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Writes the template `id`.
    pub fn write(&self, id: u64, record: &[u8]) -> io::Result<()> {
        durable::write(&self.path(id), &[record])
    }

    /// Gives the template `of` a second name, without its bytes being written again.
    pub fn link(&self, of: u64, id: u64) -> io::Result<()> {
        fs::hard_link(self.path(of), self.path(id))
    }

    /// The template `id`; `None` if it is not there.
    pub fn read(&self, id: u64) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Removes the template `id`. That it is gone need not survive a loss of power.
    pub fn remove(&self, id: u64) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// What is there, by id, and its bytes. Clears away what was not written whole.
    pub fn list(&self) -> io::Result<BTreeMap<u64, u64>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == durable::PARTIAL) {
                durable::remove(&path)?;
            }
            let is_template = path.extension().is_some_and(|ending| ending == ENDING);
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(id), true) = (id, is_template) {
                files.insert(id, entry.metadata()?.len());
            }
        }
        Ok(files)
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id}.{ENDING}"))
    }
}

/// What is on disk, and for how long it must be.
#[derive(Debug, Default)]
pub struct Shelf {
    tip: u64,
    kept: BTreeMap<u64, Kept>,
}

#[derive(Debug)]
struct Kept {
    bytes: u64,
    /// The tip's number; `None` if it is an earlier run's.
    tip: Option<u64>,
    /// When it may go; `None` while it can be mined on.
    until: Option<Instant>,
}

impl Shelf {
    /// What an earlier run left.
    pub fn new(now: Instant, left: &BTreeMap<u64, u64>) -> Self {
        let until = Some(now + EARLIER_RUN_KEPT);
        let kept = left.iter().map(|(id, bytes)| (*id, Kept { bytes: *bytes, tip: None, until }));
        Self { tip: 0, kept: kept.collect() }
    }

    /// Notes a template for the tip with number `tip`.
    pub fn add(&mut self, now: Instant, id: u64, tip: u64, bytes: u64) {
        let until = (tip != self.tip).then_some(now + KEPT_AFTER_TIP_MOVED);
        self.kept.insert(id, Kept { bytes, tip: Some(tip), until });
    }

    /// Notes that the tip with number `tip` is the one to mine on now.
    pub fn tip_moved(&mut self, now: Instant, tip: u64) {
        self.tip = tip;
        for kept in self.kept.values_mut().filter(|kept| kept.tip != Some(tip)) {
            kept.until.get_or_insert(now + KEPT_AFTER_TIP_MOVED);
        }
    }

    /// Takes out what may go now.
    pub fn take_over(&mut self, now: Instant) -> Vec<u64> {
        let is_over = |kept: &Kept| kept.until.is_some_and(|until| until <= now);
        let over = self.kept.iter().filter(|(_, kept)| is_over(kept)).map(|(id, _)| *id);
        let mut over: Vec<u64> = over.collect();
        self.kept.retain(|_, kept| !is_over(kept));
        let mut bytes: u64 = self.kept.values().map(|kept| kept.bytes).sum();
        while self.kept.len() > FILES_MAX || bytes > BYTES_MAX {
            let oldest = self.kept.iter().min_by_key(|(id, kept)| (kept.until.is_none(), **id));
            let Some(id) = oldest.map(|(id, _)| *id) else { break };
            bytes -= self.kept.remove(&id).map_or(0, |kept| kept.bytes);
            over.push(id);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_template_is_kept_for_its_tip_and_two_minutes_more() {
        let (start, mut shelf) = (Instant::now(), Shelf::default());
        shelf.tip_moved(start, 1);
        shelf.add(start, 10, 1, 5);
        let later = start + 3600 * SECOND;
        assert_eq!(shelf.take_over(later), NONE);
        shelf.tip_moved(later, 2);
        shelf.add(later, 11, 2, 5);
        shelf.add(later, 12, 1, 5);
        assert_eq!(shelf.take_over(later + 119 * SECOND), NONE);
        assert_eq!(shelf.take_over(later + 120 * SECOND), [10, 12]);
        assert_eq!(shelf.take_over(later + 3600 * SECOND), NONE);
    }

    #[test]
    fn an_earlier_runs_templates_are_kept_for_its_clients_to_come_back() {
        let start = Instant::now();
        let mut shelf = Shelf::new(start, &BTreeMap::from([(3, 5)]));
        shelf.tip_moved(start, 1);
        assert_eq!(shelf.take_over(start + 599 * SECOND), NONE);
        assert_eq!(shelf.take_over(start + 600 * SECOND), [3]);
    }

    #[test]
    fn too_many_and_too_large_ones_go_those_of_left_tips_first() {
        let (now, mut shelf) = (Instant::now(), Shelf::default());
        let files = u64::try_from(FILES_MAX).unwrap();
        (0..files).for_each(|id| shelf.add(now, id, 0, 1));
        shelf.add(now, 5000, 7, 1);
        assert_eq!(shelf.take_over(now), [5000], "its tip is not the present one");
        shelf.add(now, 6000, 0, BYTES_MAX - 1);
        assert_eq!(shelf.take_over(now).len(), FILES_MAX - 1, "only one byte is left");
        assert!(shelf.kept.contains_key(&6000));
    }

    #[test]
    fn files_come_back_under_all_their_names_and_torn_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        files.write(7, b"abc").unwrap();
        files.link(7, 8).unwrap();
        fs::write(directory.path().join("9.partial"), "a").unwrap();
        fs::write(directory.path().join("x.template"), "a").unwrap();
        assert_eq!(files.list().unwrap(), BTreeMap::from([(7, 3), (8, 3)]));
        assert!(!directory.path().join("9.partial").exists());
        files.remove(7).unwrap();
        files.remove(7).unwrap();
        assert_eq!((files.read(7).unwrap(), files.read(8).unwrap()), (None, Some(b"abc".into())));
    }
}
