//! The disk: files with what is synced of them, and what a power loss makes of the rest.

use super::random::Random;
use super::vfs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk with files by name. It is there for SQLite as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    pub(crate) id: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    files: BTreeMap<String, StoredFile>,
    /// Files that were deleted, as they would come back if the deletion did not get to the disk.
    ghosts: BTreeMap<String, Vec<u8>>,
    random: Random,
    /// Bytes of all files together.
    capacity: Option<u64>,
    /// Changes and syncs so far.
    operations: u64,
    /// The power is lost in the operation of this number.
    dies_at: Option<u64>,
    is_dead: bool,
    /// Operations that fail, once each.
    fails_at: BTreeSet<u64>,
}

/// A file as programs see it, and what of it would survive.
#[derive(Debug, Default, Clone)]
struct StoredFile {
    content: Vec<u8>,
    /// As of the last sync. None before the first one: then the file itself may be gone.
    synced: Option<Vec<u8>>,
    since: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// Why an operation was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Failed,
    Full,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed => Self::other("the simulated disk failed"),
            Refusal::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Self::with_files(seed, BTreeMap::new())
    }

    fn with_files(seed: u64, files: BTreeMap<String, StoredFile>) -> Arc<Self> {
        let state = State {
            files,
            ghosts: BTreeMap::new(),
            random: Random::new(seed),
            capacity: None,
            operations: 0,
            dies_at: None,
            is_dead: false,
            fails_at: BTreeSet::new(),
        };
        vfs::mount(|id| Self { id, state: Mutex::new(state) })
    }

    /// What SQLite calls one of its files.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("/{}/{name}", self.id)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    pub(super) fn lose_power_at(&self, operation: u64) {
        self.state().dies_at = Some(operation);
    }

    pub(super) fn fail_at(&self, operation: u64) {
        self.state().fails_at.insert(operation);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.state().used()
    }

    pub(crate) fn bytes_of(&self, name: &str) -> u64 {
        self.state().files.get(name).map_or(0, |file| file.content.len() as u64)
    }

    pub(crate) fn take_room(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.room() < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files.insert(name.to_owned(), StoredFile { content: vec![0; bytes as usize], ..StoredFile::default() });
        Ok(())
    }

    pub(crate) fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        state.check_power().map_err(io::Error::from)?;
        let content = state.content(name);
        let there = content.get(offset as usize..).unwrap_or_default();
        let bytes = there.len().min(into.len());
        into[..bytes].copy_from_slice(&there[..bytes]);
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        Ok(self.state().write(name, offset as usize, bytes)?)
    }

    pub(crate) fn sync(&self, name: &str) -> io::Result<()> {
        Ok(self.state().sync(name)?)
    }

    pub(crate) fn give_room(&self, name: &str) {
        self.state().files.remove(name);
    }

    /// The disk after the power came back: of what was not synced, anything may have got there, whole sectors and the order
    /// of writes aside.
    pub(super) fn after_power_loss(&self, seed: u64) -> Arc<Self> {
        let state = self.state();
        let mut random = Random::new(seed);
        let mut files = BTreeMap::new();
        for (name, file) in &state.files {
            if let Some(content) = file.survived(&mut random) {
                files.insert(name.clone(), StoredFile { synced: Some(content.clone()), content, since: Vec::new() });
            }
        }
        for (name, content) in &state.ghosts {
            if !state.files.contains_key(name) && random.once_in(2) {
                let (content, synced) = (content.clone(), Some(content.clone()));
                files.insert(name.clone(), StoredFile { content, synced, since: Vec::new() });
            }
        }
        Self::with_files(seed, files)
    }
}

impl StoredFile {
    /// What was synced, with all changes since. The file is without what was synced then.
    fn take_all_since(&mut self) -> Vec<u8> {
        let mut content = self.synced.take().unwrap_or_default();
        for change in &self.since {
            match change {
                Change::Truncate(length) => content.resize(*length, 0),
                Change::Write { offset, bytes } => write_sectors(&mut content, *offset, bytes, |_| true),
            }
        }
        content
    }

    /// What is left after a power loss.
    fn survived(&self, random: &mut Random) -> Option<Vec<u8>> {
        if self.synced.is_none() && random.once_in(2) {
            return None;
        }
        let mut content = self.synced.clone().unwrap_or_default();
        // Nothing, everything, the first ones, or any of the changes.
        let manner = random.below(4);
        let first = random.below(self.since.len() as u64 + 1) as usize;
        for (number, change) in self.since.iter().enumerate() {
            let is_kept = match manner {
                0 => false,
                1 => true,
                2 => number < first,
                _ => random.once_in(2),
            };
            match change {
                Change::Truncate(length) if is_kept => content.resize(*length, 0),
                Change::Write { offset, bytes } if is_kept => {
                    let is_torn = manner >= 2 && random.once_in(8);
                    write_sectors(&mut content, *offset, bytes, |_| !is_torn || random.once_in(2));
                }
                Change::Truncate(_) | Change::Write { .. } => {}
            }
        }
        Some(content)
    }
}

fn write_sectors(content: &mut Vec<u8>, offset: usize, bytes: &[u8], mut is_written: impl FnMut(usize) -> bool) {
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(((offset + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset);
        if is_written(start) {
            if content.len() < offset + end {
                content.resize(offset + end, 0);
            }
            content[offset + start..offset + end].copy_from_slice(&bytes[start..end]);
        }
        start = end;
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.content.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Counts an operation that changes something or syncs. None when it is the one that fails or loses the power.
    fn begin(&mut self) -> Result<(), Refusal> {
        if !self.is_dead {
            self.operations += 1;
            self.is_dead = self.dies_at.is_some_and(|dies_at| self.operations >= dies_at);
        }
        if self.is_dead || self.fails_at.remove(&self.operations) { Err(Refusal::Failed) } else { Ok(()) }
    }

    pub(super) fn check_power(&self) -> Result<(), Refusal> {
        if self.is_dead { Err(Refusal::Failed) } else { Ok(()) }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub(super) fn create(&mut self, name: &str) -> Result<(), Refusal> {
        if !self.files.contains_key(name) {
            self.begin()?;
            self.files.insert(name.to_owned(), StoredFile::default());
        }
        Ok(())
    }

    /// Deletes a file; `is_synced` says whether a power loss cannot bring it back.
    pub(super) fn delete(&mut self, name: &str, is_synced: bool) -> Result<(), Refusal> {
        self.begin()?;
        let Some(file) = self.files.remove(name) else { return Ok(()) };
        match file.synced {
            Some(content) if !is_synced => drop(self.ghosts.insert(name.to_owned(), content)),
            Some(_) | None => drop(self.ghosts.remove(name)),
        }
        Ok(())
    }

    pub(super) fn content(&self, name: &str) -> &[u8] {
        self.files.get(name).map_or(&[], |file| &file.content)
    }

    /// Writes all of it, or a part and fails.
    pub(super) fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let begun = self.begin();
        let length = self.files.get(name).map_or(0, |file| file.content.len());
        let growth = (offset + bytes.len()).saturating_sub(length) as u64;
        let is_full = growth > self.room();
        let written = match begun {
            Ok(()) if !is_full => bytes.len(),
            Ok(()) | Err(_) => {
                // Where the disk is full, only what does not need more of it is written.
                let most = if is_full { length.saturating_sub(offset).min(bytes.len()) } else { bytes.len() };
                self.random.below(most as u64 + 1) as usize
            }
        };
        if written > 0 {
            let file = self.files.entry(name.to_owned()).or_default();
            let bytes = &bytes[..written];
            write_sectors(&mut file.content, offset, bytes, |_| true);
            file.since.push(Change::Write { offset, bytes: bytes.to_vec() });
        }
        begun?;
        if is_full { Err(Refusal::Full) } else { Ok(()) }
    }

    pub(super) fn truncate(&mut self, name: &str, length: usize) -> Result<(), Refusal> {
        self.begin()?;
        let file = self.files.entry(name.to_owned()).or_default();
        file.content.resize(length, 0);
        file.since.push(Change::Truncate(length));
        Ok(())
    }

    /// A sync that fails may have got some of the changes to the disk, and the system forgets that the others did not.
    pub(super) fn sync(&mut self, name: &str) -> Result<(), Refusal> {
        let begun = self.begin();
        let Some(file) = self.files.get_mut(name) else { return begun };
        match begun {
            Ok(()) => {
                // What an earlier sync lost is not brought there by a later one.
                file.synced = Some(file.take_all_since());
                file.since.clear();
            }
            Err(_) if !self.is_dead => {
                let survived = file.survived(&mut self.random);
                file.synced = survived.or_else(|| file.synced.take());
                file.since.clear();
            }
            Err(_) => {}
        }
        begun
    }
}
