//! Where the store's database lies, and what lies beside it.

use super::EmbeddedError;
use super::lock::StoreLock;
use super::raw_file::RawFile;
#[cfg(test)]
use super::simulation::SimulatedDisk;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The log is worked into the file when it has grown to about so many bytes. The reserve is larger: when the disk is
/// full, what is in the log must still find its place in the file.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// The database, by its path. Tests put a simulated disk under it.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    pub(super) checkpoint_bytes: u64,
    /// Open from the first use on until no clone is left.
    content: Arc<OnceLock<RawFile>>,
    #[cfg(test)]
    disk: Option<Arc<SimulatedDisk>>,
}

impl DatabaseFile {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            checkpoint_bytes: CHECKPOINT_BYTES,
            content: Arc::default(),
            #[cfg(test)]
            disk: None,
        }
    }

    #[cfg(test)]
    pub(super) fn simulated(disk: &Arc<SimulatedDisk>, checkpoint_bytes: u64) -> Self {
        let path = PathBuf::from(disk.path_of("galleries.sqlite3"));
        Self { path, checkpoint_bytes, content: Arc::default(), disk: Some(Arc::clone(disk)) }
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
            descry_private_files::create_folder(folder)
                .map_err(|source| EmbeddedError::Folder { path: self.path.clone(), source })?;
        }
        StoreLock::acquire(&self.path, wait).map(Some)
    }

    /// Makes an empty file for the owner alone where there is none: SQLite would make one that others may read, and gives the
    /// files that it puts beside a database that database's mode.
    pub(super) fn make_private(&self) -> Result<(), EmbeddedError> {
        #[cfg(test)]
        if self.disk.is_some() {
            return Ok(());
        }
        let mut options = descry_private_files::options();
        match options.create_new(true).write(true).open(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(EmbeddedError::Folder { path: self.path.clone(), source })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes away what others may do with the files of a store that an earlier release made.
    pub(super) fn tighten(&self) {
        #[cfg(test)]
        if self.disk.is_some() {
            return;
        }
        let beside = ["-wal", "-shm", ".reserve", ".lock"].map(|ending| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        });
        let mut could_read = false;
        for path in beside.iter().chain([&self.path]) {
            match descry_private_files::tighten(path) {
                Ok(was_open) => could_read |= was_open,
                Err(error) => tracing::warn!(%error, file = %path.display(), "others may read a file of the store"),
            }
        }
        if could_read {
            tracing::info!(store = %self.path.display(), "others could read the store's files; now only their owner can");
        }
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

    /// The database's bytes.
    pub(super) fn content(&self) -> io::Result<&RawFile> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return Ok(self.content.get_or_init(|| RawFile::Simulated(Arc::clone(disk), "galleries.sqlite3")));
        }
        let content = File::options().read(true).write(true).open(&self.path)?;
        Ok(self.content.get_or_init(|| RawFile::Real(content)))
    }

    /// Bytes of the log; 0 where there is none.
    pub(super) fn log_bytes(&self) -> u64 {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return disk.bytes_of("galleries.sqlite3-wal");
        }
        std::fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len())
    }

    fn log_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        PathBuf::from(name)
    }

    /// The log of changes that are not in the database yet, where there is one.
    pub(super) fn log(&self) -> io::Result<Option<RawFile>> {
        #[cfg(test)]
        if let Some(disk) = &self.disk {
            return Ok(Some(RawFile::Simulated(Arc::clone(disk), "galleries.sqlite3-wal")));
        }
        match File::open(self.log_path()) {
            Ok(log) => Ok(Some(RawFile::Real(log))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
        let file = descry_private_files::create(&path)?;
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

    #[cfg(unix)]
    #[tokio::test]
    async fn nobody_else_reads_a_store_not_even_an_older_one() {
        use crate::{EmbeddedConfig, EmbeddedStore};
        use std::os::unix::fs::PermissionsExt as _;
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("data");
        let path = folder.join("galleries.sqlite3");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        for opened_before in [false, true] {
            if opened_before {
                for entry in std::fs::read_dir(&folder).unwrap() {
                    let open = std::fs::Permissions::from_mode(0o644);
                    std::fs::set_permissions(entry.unwrap().path(), open).unwrap();
                }
            }
            let config = EmbeddedConfig { search_threads: 1, ..EmbeddedConfig::default() };
            let store = EmbeddedStore::open(&path, config).await.unwrap();
            let files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(files.len() >= 4, "the database, its log, the reserve and the lock: {files:?}");
            for file in &files {
                assert_eq!(mode(file), 0o600, "{}", file.display());
            }
            drop(store);
        }
        assert_eq!(mode(&folder), 0o700);
    }
}
