//! A disk in memory whose power can fail: what was not synced may be there after it, in part, or
//! not at all.
//!
//! It is as hard as a disk may be: each write is torn at any 512-byte sector, sectors of one write
//! arrive in any order, and names are lost until their folder is synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use pool_sv2::accounting::log::disk::{Disk, DiskFile};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a disk writes at once.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// As programs see it.
    seen: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Rc<RefCell<Content>>>,
    /// The names that a power loss leaves.
    durable_names: BTreeMap<String, Rc<RefCell<Content>>>,
    /// Operations until everything fails, as when the power goes; none for never.
    left: Option<u32>,
    /// Operations that fail from now on, the disk being full.
    failing: u32,
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        if self.failing > 0 {
            self.failing -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        match &mut self.left {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The disk. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct FragileDisk(Rc<RefCell<State>>);

impl FragileDisk {
    /// After so many more operations the power is gone.
    pub(crate) fn fail_after(&self, operations: u32) {
        self.0.borrow_mut().left = Some(operations);
    }

    /// The next operations fail, and then it works again.
    pub(crate) fn be_full_for(&self, operations: u32) {
        self.0.borrow_mut().failing = operations;
    }

    /// Gives a file another name; one that has it already is gone.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let mut state = self.0.borrow_mut();
        let content = state.files.remove(from).unwrap();
        state.files.insert(to.to_owned(), content);
    }

    /// All of a file, as programs see it.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        self.0.borrow().files[name].borrow().seen.clone()
    }

    /// What a program finds that starts after the power came back. `seed` decides what became of
    /// the writes that were on their way.
    pub(crate) fn after_power_loss(&self, seed: u64) -> Self {
        let mut luck = StdRng::seed_from_u64(seed);
        let state = self.0.borrow();
        let mut names = state.durable_names.clone();
        for name in state.durable_names.keys().chain(state.files.keys()) {
            // Each name is as it was, or as it is.
            match state.files.get(name) {
                _ if luck.gen_bool(0.5) => {}
                Some(content) => drop(names.insert(name.clone(), Rc::clone(content))),
                None => drop(names.remove(name)),
            }
        }
        let survive = |(name, content): (String, Rc<RefCell<Content>>)| {
            let bytes = survivors(&content.borrow(), &mut luck);
            let content = Content { durable: bytes.clone(), seen: bytes };
            (name, Rc::new(RefCell::new(content)))
        };
        let files: BTreeMap<_, _> = names.into_iter().map(survive).collect();
        let durable_names = files.clone();
        Self(Rc::new(RefCell::new(State { files, durable_names, left: None, failing: 0 })))
    }
}

/// Each sector that was changed and not synced is the new one, the old one, or zeros.
fn survivors(content: &Content, luck: &mut StdRng) -> Vec<u8> {
    let Content { durable, seen } = content;
    if durable == seen {
        return durable.clone();
    }
    let longest = durable.len().max(seen.len());
    let length = match luck.gen_range(0..3) {
        0 => durable.len(),
        1 => seen.len(),
        _ => luck.gen_range(durable.len().min(seen.len())..=longest),
    };
    let mut bytes = vec![0; length];
    for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let start = index * SECTOR;
        let part = |from: &[u8]| {
            let end = from.len().min(start + sector.len());
            from.get(start..end).unwrap_or_default().to_vec()
        };
        let (old, new) = (part(durable), part(seen));
        let whole = luck.gen_range(0..=2);
        let chosen = if old == new || whole == 0 { new } else { old };
        sector[..chosen.len()].copy_from_slice(&chosen);
    }
    bytes
}

/// One of its files.
#[derive(Debug)]
pub(crate) struct FragileFile {
    disk: FragileDisk,
    content: Rc<RefCell<Content>>,
}

impl Disk for FragileDisk {
    type File = FragileFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<FragileFile> {
        self.0.borrow_mut().operate()?;
        let content = Rc::new(RefCell::new(Content::default()));
        self.0.borrow_mut().files.insert(name.to_owned(), Rc::clone(&content));
        Ok(FragileFile { disk: self.clone(), content })
    }

    fn open(&self, name: &str) -> io::Result<FragileFile> {
        let content = self.0.borrow().files.get(name).map(Rc::clone);
        let content = content.ok_or(io::ErrorKind::NotFound)?;
        Ok(FragileFile { disk: self.clone(), content })
    }

    fn open_to_read(&self, name: &str) -> io::Result<FragileFile> {
        self.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().operate()?;
        self.0
            .borrow_mut()
            .files
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        state.durable_names = state.files.clone();
        Ok(())
    }
}

impl DiskFile for FragileFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let content = self.content.borrow();
        let bytes = content.seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// The write that the power fails in is begun: `after_power_loss` says how much of it is there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let operated = self.disk.0.borrow_mut().operate();
        let start = usize::try_from(offset).unwrap();
        let mut content = self.content.borrow_mut();
        let length = content.seen.len().max(start + bytes.len());
        content.seen.resize(length, 0);
        content.seen[start..start + bytes.len()].copy_from_slice(bytes);
        operated
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.0.borrow_mut().operate()?;
        self.content.borrow_mut().seen.resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.borrow().seen.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.0.borrow_mut().operate()?;
        let mut content = self.content.borrow_mut();
        content.durable = content.seen.clone();
        Ok(())
    }
}
