//! The writing side of a chain, on one thread: records become lines, a group of them one write and one wait for the disk.

use crate::AuditError;
use crate::disk::{Disk, LogFile};
use crate::folder::{ChainFile, ChainLock, HeadFile, day_of};
use crate::line::{Link, write_line};
use crate::record::{Kind, Record, now_ms};
use std::io;
use std::path::PathBuf;

/// The last line of a log: who knows it later can tell whether anything before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// The name of the instance's folder.
    pub instance: String,
    /// The number of the line.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

/// A chain that is written.
pub(crate) struct Chain {
    pub(crate) folder: PathBuf,
    pub(crate) max_file_bytes: u64,
    pub(crate) disk: Box<dyn Disk>,
    /// The file that is written to, and how long it is; none before the first record.
    pub(crate) file: Option<OpenFile>,
    /// The last line that is on disk.
    pub(crate) last: Link,
    pub(crate) head: HeadFile,
    /// Why the last group is not on disk, where it is not.
    pub(crate) trouble: Option<Trouble>,
    pub(crate) _lock: ChainLock,
}

pub(crate) struct OpenFile {
    pub(crate) file: Box<dyn LogFile>,
    pub(crate) name: ChainFile,
    /// Bytes of whole lines that are on disk.
    pub(crate) bytes: u64,
}

/// A time in which nothing could be written.
pub(crate) struct Trouble {
    since_ms: i64,
    reason: String,
    /// Records that were refused.
    refused: u64,
}

impl Chain {
    /// Writes records, given as JSON, and returns when they are on disk: the number of the first one. Where the disk failed
    /// before, what it may have left is removed first, and a record says for how long nothing could be written. Without
    /// records only that is done.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`]; then none of the records is in the log.
    pub(crate) fn append(&mut self, records: &[&[u8]]) -> Result<u64, AuditError> {
        self.try_append(records).map_err(|error| {
            let refused = records.len() as u64;
            let reason = error.to_string();
            match &mut self.trouble {
                Some(trouble) => (trouble.reason, trouble.refused) = (reason.clone(), trouble.refused + refused),
                None => {
                    tracing::error!(%error, "the audit log cannot be written; nothing is answered until it can");
                    self.trouble = Some(Trouble { since_ms: now_ms(), reason: reason.clone(), refused });
                }
            }
            AuditError::Unwritable { reason }
        })
    }

    fn try_append(&mut self, records: &[&[u8]]) -> Result<u64, AuditError> {
        if records.is_empty() && self.trouble.is_none() {
            return Ok(self.last.sequence);
        }
        let now_ms = now_ms();
        if self.trouble.is_some()
            && let Some(open) = &mut self.file
        {
            open.file.cut_off(open.bytes).map_err(AuditError::file(&open.name.path))?;
        }
        let mut first = self.last.sequence + 1;
        let mut lines = Vec::new();
        let mut link = self.last.clone();
        let mut add = |record: &[u8]| link = write_line(&mut lines, &link, record);
        let has_room =
            self.file.as_ref().is_some_and(|open| open.bytes < self.max_file_bytes && day_of(now_ms) <= open.name.day);
        if !has_room {
            add(&of_file(self.file.as_ref().map(|open| open.name.name()))?);
            first += 1;
        }
        if let Some(trouble) = &self.trouble {
            add(&trouble.record(now_ms)?);
            first += 1;
        }
        records.iter().for_each(|record| add(record));
        match &mut self.file {
            Some(open) if has_room => write(open, &lines)?,
            _ => {
                let name = ChainFile::new(&self.folder, self.last.sequence + 1, now_ms);
                let file = self.disk.open(&name.path, 0).map_err(AuditError::file(&name.path))?;
                let mut open = OpenFile { file, name, bytes: 0 };
                // A file that an earlier attempt left may hold a part of it.
                open.file.cut_off(0).map_err(AuditError::file(&open.name.path))?;
                if let Err(error) = write(&mut open, &lines) {
                    // What is left of it would have to be mended. Where that fails too, the next start mends it.
                    let _ = std::fs::remove_file(&open.name.path);
                    return Err(error);
                }
                self.file = Some(open);
            }
        }
        self.last = link;
        if let Some(trouble) = self.trouble.take() {
            tracing::warn!(refused = trouble.refused, "the audit log can be written again");
        }
        if let Err(error) = self.head.write(&self.last) {
            // The records are on disk, which is what was asked for.
            tracing::warn!(%error, "the head of the audit log cannot be written; the log itself can");
        }
        Ok(first)
    }

    /// The last line that is on disk.
    pub(crate) fn head(&self) -> Head {
        let instance = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Head { instance, sequence: self.last.sequence, hash: self.last.hash.clone() }
    }

    /// Leaves the head on disk, for a log that ends in good order.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.head.sync()
    }
}

fn write(open: &mut OpenFile, lines: &[u8]) -> Result<(), AuditError> {
    let path = &open.name.path;
    open.file.append(lines).map_err(AuditError::file(path))?;
    open.file.sync().map_err(AuditError::file(path))?;
    open.bytes += lines.len() as u64;
    Ok(())
}

fn of_file(before: Option<String>) -> Result<Vec<u8>, AuditError> {
    json(Record { note: before.map(|name| format!("after {name}")), ..Record::new(Kind::File) })
}

impl Trouble {
    fn record(&self, now_ms: i64) -> Result<Vec<u8>, AuditError> {
        let mut record = Record { begin_ms: self.since_ms, end_ms: now_ms, ..Record::new(Kind::Interrupted) };
        record.note = Some(self.reason.clone());
        record.count("refused", self.refused);
        json(record)
    }
}

pub(crate) fn json(record: Record) -> Result<Vec<u8>, AuditError> {
    Ok(record.into_json().map_err(std::sync::Arc::new)?)
}
