//! A file of the store, read and written past SQLite.

#[cfg(test)]
use super::simulation::SimulatedDisk;
use std::fs::File;
use std::io;
#[cfg(test)]
use std::sync::Arc;

/// An open file. Tests put one of a simulated disk under it.
///
/// That of the database must stay open as long as any connection: the system forgets all locks that a process has on a file
/// when any of the process's handles of it is closed.
#[derive(Debug)]
pub(super) enum RawFile {
    Real(File),
    #[cfg(test)]
    Simulated(Arc<SimulatedDisk>, &'static str),
}

impl RawFile {
    /// Reads as much as there is, and returns how much that was.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.read_some_at(offset + read as u64, rest) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn read_some_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Real(file) => read_at(file, offset, into),
            #[cfg(test)]
            Self::Simulated(disk, name) => disk.read_at(name, offset, into),
        }
    }

    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Real(file) => write_at(file, offset, bytes),
            #[cfg(test)]
            Self::Simulated(disk, name) => disk.write_at(name, offset, bytes),
        }
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Real(file) => file.sync_all(),
            #[cfg(test)]
            Self::Simulated(disk, name) => disk.sync(name),
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Elsewhere the handle has one place; whoever uses it holds the database.
#[cfg(not(unix))]
fn read_at(mut file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Read::read(&mut file, into)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}
