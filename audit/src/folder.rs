//! The files of one instance: their names, their order, and the head.
//!
//! `00000000000000000042.2026-11-29.jsonl` begins with record 42, which was written on that day (UTC). `head` says which record
//! was acknowledged last, and `lock` is held by the process that writes.

use crate::AuditError;
use crate::disk::FILE_MODE;
use crate::line::Link;
use chrono::{DateTime, NaiveDate};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FOLDER_MODE: u32 = 0o700;

const SUFFIX: &str = ".jsonl";

/// More files than a log of centuries has.
const MAX_FILES: usize = 1_000_000;

/// A file of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChainFile {
    /// The number of its first record.
    pub(crate) first: u64,
    /// The day on which it was begun.
    pub(crate) day: NaiveDate,
    pub(crate) path: PathBuf,
}

impl ChainFile {
    pub(crate) fn new(folder: &Path, first: u64, now_ms: i64) -> Self {
        let day = day_of(now_ms);
        Self { first, day, path: folder.join(format!("{first:020}.{day}{SUFFIX}")) }
    }

    fn of_path(path: PathBuf) -> Option<Self> {
        let (first, day) = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split_once('.')?;
        let is_number = first.len() == 20 && first.bytes().all(|digit| digit.is_ascii_digit());
        let (first, day) = (first.parse().ok().filter(|_| is_number)?, day.parse().ok()?);
        Some(Self { first, day, path })
    }

    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The day of a time, UTC.
pub(crate) fn day_of(ms: i64) -> NaiveDate {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().date_naive()
}

/// The files of a chain in their order.
///
/// # Errors
/// [`AuditError::File`].
pub(crate) fn chain_files(folder: &Path) -> Result<Vec<ChainFile>, AuditError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(AuditError::file(folder))?.take(MAX_FILES) {
        files.extend(ChainFile::of_path(entry.map_err(AuditError::file(folder))?.path()));
    }
    files.sort_unstable();
    Ok(files)
}

/// Makes the folder, readable by its owner alone; it may be there.
pub(crate) fn make_folder(folder: &Path) -> Result<(), AuditError> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(AuditError::file(folder))
}

/// Held as long as a chain is written; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ChainLock(#[expect(dead_code, reason = "the lock is held with it")] File);

impl ChainLock {
    pub(crate) fn acquire(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path);
        let file = opened.map_err(AuditError::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(AuditError::file(path)(source)),
        }
    }
}

/// Which record was acknowledged last, so that a log without its last lines is seen to lack them. Written after the records
/// are on disk and not waited for: it may say less than there is, never more.
#[derive(Debug)]
pub(crate) struct HeadFile(File);

/// Digits of a number, a space, digits of a hash, a line feed.
const HEAD_BYTES: u64 = 20 + 1 + 64 + 1;

fn head_path(folder: &Path) -> PathBuf {
    folder.join("head")
}

impl HeadFile {
    pub(crate) fn open(folder: &Path) -> Result<Self, AuditError> {
        let path = head_path(folder);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path);
        opened.map(Self).map_err(AuditError::file(path))
    }

    pub(crate) fn write(&mut self, head: &Link) -> io::Result<()> {
        self.0.write_all_at(format!("{:020} {}\n", head.sequence, head.hash).as_bytes(), 0)
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.0.sync_data()
    }
}

/// What the head's file says; nothing where it is not there, or not readable as one.
pub(crate) fn read_head(folder: &Path) -> Result<Option<Link>, AuditError> {
    let path = head_path(folder);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(HEAD_BYTES + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::file(path)(error)),
        Ok(_) => Ok(parse_head(&text)),
    }
}

fn parse_head(text: &[u8]) -> Option<Link> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let (sequence, hash) = text.split_once(' ')?;
    (sequence.len() == 20 && hash.len() == 64).then_some(())?;
    Some(Link { sequence: sequence.parse().ok()?, hash: hash.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_in_the_order_of_their_records() {
        let folder = tempfile::tempdir().unwrap();
        let new = |first| ChainFile::new(folder.path(), first, 1_796_000_000_000);
        for first in [10, 2, 1] {
            fs::write(new(first).path, "").unwrap();
        }
        for other in ["head", "lock", "00000000000000000003.jsonl", "3.2026-11-29.jsonl", "notes.jsonl"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        assert_eq!(chain_files(folder.path()).unwrap(), [new(1), new(2), new(10)]);
        assert_eq!(new(2).name(), "00000000000000000002.2026-11-30.jsonl");
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_head(folder.path()).unwrap(), None);
        let mut head = HeadFile::open(folder.path()).unwrap();
        for sequence in [700, 3] {
            let link = Link { sequence, ..Link::origin() };
            head.write(&link).unwrap();
            assert_eq!(read_head(folder.path()).unwrap(), Some(link));
        }
    }

    #[test]
    fn two_writers_of_a_chain_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let held = ChainLock::acquire(folder.path()).unwrap();
        let message = ChainLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(message.contains("audit.instance"), "{message}");
        drop(held);
        ChainLock::acquire(folder.path()).unwrap();
    }
}
