//! What a chain needs of a disk. Tests have disks that are full, slow, or fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Files are read and written by their owner alone.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Opens files for a chain.
pub(crate) trait Disk: Send {
    /// A file to be added to behind `end`; made where it is not there.
    fn open(&mut self, path: &Path, end: u64) -> io::Result<Box<dyn LogFile>>;
}

/// A file that is added to.
pub(crate) trait LogFile: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all that was appended is on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Drops what was appended behind `end`.
    fn cut_off(&mut self, end: u64) -> io::Result<()>;
}

/// The system's.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&mut self, path: &Path, end: u64) -> io::Result<Box<dyn LogFile>> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
        file.seek(SeekFrom::Start(end))?;
        if let Some(folder) = path.parent() {
            // The name of the file has to last as well.
            File::open(folder)?.sync_all()?;
        }
        Ok(Box::new(file))
    }
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut_off(&mut self, end: u64) -> io::Result<()> {
        self.set_len(end)?;
        self.seek(SeekFrom::Start(end)).map(drop)
    }
}
