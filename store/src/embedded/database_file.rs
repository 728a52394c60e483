//! Where the store's database lies, and what lies beside it.

use super::EmbeddedError;
use super::lock::StoreLock;
#[cfg(test)]
use super::simulation::SimulatedDisk;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

/// The log is worked into the file when it has grown to about so many bytes. The reserve is larger: when the disk is
/// full, what is in the log must still find its place in the file.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// The database, by its path. Tests put a simulated disk under it.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    pub(super) checkpoint_bytes: u64,
    #[cfg(test)]
    disk: Option<Arc<SimulatedDisk>>,
}

impl DatabaseFile {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            checkpoint_bytes: CHECKPOINT_BYTES,
            #[cfg(test)]
            disk: None,
        }
    }

    #[cfg(test)]
    pub(super) fn simulated(disk: &Arc<SimulatedDisk>, checkpoint_bytes: u64) -> Self {
        let path = PathBuf::from(disk.path_of("galleries.sqlite3"));
        Self { path, checkpoint_bytes, disk: Some(Arc::clone(disk)) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, and keeps other processes out for as long as the lock is held.
    pub(super) fn lock(&self, wait: Duration) -> Result<Option<StoreLock>, EmbeddedError> {
        #[cfg(test)]
        if self.disk.is_some() {
            return Ok(None);
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| EmbeddedError::Folder { path: self.path.clone(), source })?;
        }
        StoreLock::acquire(&self.path, wait).map(Some)
    }

    pub(super) fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        #[cfg(test)]
        if self.disk.is_some() {
            return Connection::open_with_flags_and_vfs(&self.path, flags, super::simulation::VFS_NAME);
        }
        Connection::open_with_flags(&self.path, flags)
    }

    /// Which file is at its place; none where there is none, or an empty one.
    pub(super) fn identity(&self) -> Option<FileIdentity> {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return Some(FileIdentity(disk.id, 0)).filter(|_| disk.bytes_of("galleries.sqlite3") > 0);
        }
        std::fs::metadata(&self.path).ok().filter(|metadata| metadata.len() > 0).map(|metadata| identity_of(&metadata))
    }

    /// Bytes of the database alone, without its log.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return Ok(disk.bytes_of("galleries.sqlite3"));
        }
        Ok(std::fs::metadata(&self.path)?.len())
    }

    /// Makes a file beside the database that takes up room and holds nothing.
    ///
    /// # Errors
    /// When there is not so much room; then there is no such file.
    pub(super) fn take_room(&self, extension: &str, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return disk.take_room(extension, bytes);
        }
        let path = self.beside(extension);
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        allocate(&file, bytes).inspect_err(|_| drop(std::fs::remove_file(&path)))
    }

    /// Gives the room of such a file back.
    pub(super) fn give_room(&self, extension: &str) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            disk.give_room(extension);
            return Ok(());
        }
        match std::fs::remove_file(self.beside(extension)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Bytes of such a file; 0 where there is none.
    pub(super) fn taken_room(&self, extension: &str) -> u64 {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return disk.bytes_of(extension);
        }
        std::fs::metadata(self.beside(extension)).map_or(0, |metadata| metadata.len())
    }

    /// Such as `galleries.sqlite3.reserve`.
    fn beside(&self, extension: &str) -> PathBuf {
        beside(&self.path, extension)
    }
}

/// Tells a file from another one that was put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

#[cfg(unix)]
fn identity_of(metadata: &Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt as _;
    FileIdentity(metadata.dev(), metadata.ino())
}

/// Elsewhere it is only seen whether there is a file.
#[cfg(not(unix))]
fn identity_of(_: &Metadata) -> FileIdentity {
    FileIdentity(0, 0)
}

/// The name of a database with something behind it.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Takes room for a file that was just made.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // The file system knows no such thing.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        allocated => return Ok(allocated?),
    }
    fill(file, bytes)
}

/// Takes room by writing: not everywhere can it be asked for.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    static BLOCK: [u8; 1 << 16] = [0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(BLOCK.len() as u64);
        file.write_all(&BLOCK[..length as usize])?;
        left -= length;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::at(folder.path().join("galleries.sqlite3"));
        file.take_room("reserve", 300_000).unwrap();
        assert_eq!(file.taken_room("reserve"), 300_000);
        assert!(folder.path().join("galleries.sqlite3.reserve").exists());
        for _again in 0..2 {
            file.give_room("reserve").unwrap();
            assert_eq!(file.taken_room("reserve"), 0);
        }
        let written = File::create(folder.path().join("written")).unwrap();
        fill(&written, 300_000).unwrap();
        assert_eq!(written.metadata().unwrap().len(), 300_000);
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::at(folder.path().join("galleries.sqlite3"));
        // More than any disk has, and a length that every system call takes.
        assert!(file.take_room("reserve", 1 << 61).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
