//! Whether a log is what was written, and where it is not.

use crate::anchoring::Anchor;
use crate::folder::{ChainFile, chain_files, read_head};
use crate::line::{Link, parse_line, read_line, sha256_of_part};
use crate::lines::{Lines, RawLine};
use crate::record::{Kind, Record};
use crate::{AuditError, Head};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Places that are named; further ones are counted.
const MAX_BREAKS: usize = 100;

/// What was found of the log of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The name of the instance's folder.
    pub instance: String,
    /// Files looked at.
    pub files: u64,
    /// Lines that are records.
    pub records: u64,
    /// The number of the first record that is there: more than 1 where files were removed after their time.
    pub first: u64,
    /// The last line, for whoever keeps it elsewhere.
    pub head: Head,
    /// Ends that were torn when a process was killed, and that a record explains.
    pub mended: u64,
    /// Times in which nothing could be written, and nothing was answered.
    pub interrupted: u64,
    /// Bytes behind the last record of a log whose process was killed and not started since.
    pub torn_bytes: u64,
    /// Anchors that are of this log and fit it.
    pub anchors: u64,
    /// Where it is not what was written; the first ones.
    pub breaks: Vec<Break>,
    /// How many further ones there are.
    pub further_breaks: u64,
}

/// A place where a log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub kind: BreakKind,
    /// The same with what is there and what is expected.
    pub detail: String,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakKind {
    /// The line is not what its hash is of, or no line of a log at all.
    Altered,
    /// Lines before this one are missing.
    Missing,
    /// The line does not belong here: it was there before, or comes from another place or log.
    OutOfOrder,
    /// The file's name says another first record.
    FileName,
    /// Files before the first one are missing, and no record says that they were removed after their time.
    BeginMissing,
    /// Records behind the last one were acknowledged, and are missing.
    EndMissing,
    /// It was another line when its hash was kept elsewhere.
    Anchor,
}

impl fmt::Display for BreakKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::OutOfOrder => "out of order",
            Self::FileName => "another file name",
            Self::BeginMissing => "beginning missing",
            Self::EndMissing => "end missing",
            Self::Anchor => "not as anchored",
        })
    }
}

/// Goes through the log of one instance, from its first line to its last, and compares it with what anchors say.
///
/// # Errors
/// [`AuditError::File`] where it cannot be read, [`AuditError::NoLog`] where there is none.
pub fn verify(instance: &Path, anchors: &[Anchor]) -> Result<Verification, AuditError> {
    let files = chain_files(instance)?;
    if files.is_empty() {
        return Err(AuditError::NoLog { path: instance.to_owned() });
    }
    let name = instance.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let anchored = anchors.iter().filter(|anchor| anchor.head.instance == name);
    let mut walk = Walk::new(name.clone(), anchored.map(|anchor| (anchor.head.sequence, anchor.head.hash.as_str())));
    for file in &files {
        walk.file(file)?;
    }
    walk.end(files.last(), read_head(instance)?);
    Ok(walk.found)
}

/// A way through a log.
struct Walk<'anchors> {
    found: Verification,
    /// The last line that was right; none before the first.
    last: Option<Link>,
    /// The first line, and where it is.
    first: Option<(Link, String, PathBuf)>,
    /// What is no line, from its first line on, within the present file.
    wrong: Option<Wrong>,
    /// The last lines of files that a record says were removed.
    removed: HashSet<(u64, String)>,
    anchors: BTreeMap<u64, &'anchors str>,
}

struct Wrong {
    file: PathBuf,
    line: u64,
    offset: u64,
    end: u64,
}

impl<'anchors> Walk<'anchors> {
    fn new(instance: String, anchors: impl Iterator<Item = (u64, &'anchors str)>) -> Self {
        let head = Head { instance: instance.clone(), sequence: 0, hash: Link::origin().hash };
        let found = Verification {
            instance,
            files: 0,
            records: 0,
            first: 0,
            head,
            mended: 0,
            interrupted: 0,
            torn_bytes: 0,
            anchors: 0,
            breaks: Vec::new(),
            further_breaks: 0,
        };
        let (removed, anchors) = (HashSet::new(), anchors.collect());
        Self { found, last: None, first: None, wrong: None, removed, anchors }
    }

    fn file(&mut self, file: &ChainFile) -> Result<(), AuditError> {
        self.found.files += 1;
        // Only the end of the last file may be torn without a record that says so.
        self.give_up_wrong();
        let mut lines = Lines::open(&file.path)?;
        while let Some(line) = lines.next()? {
            let read = if line.is_whole { read_line(line.content) } else { None };
            match read {
                Some(read) => {
                    let (link, previous) = (read.link, read.previous.to_owned());
                    if line.number == 1 && link.sequence != file.first {
                        let detail = format!("its first record is {}, its name says {}", link.sequence, file.first);
                        self.broken(&file.path, 1, BreakKind::FileName, detail);
                    }
                    let record = parse_line(line.content).map(|stored| stored.record);
                    self.record(&file.path, &line, link, &previous, record)?;
                }
                None => {
                    let (path, number, offset) = (file.path.clone(), line.number, line.offset);
                    let wrong = self.wrong.get_or_insert(Wrong { file: path, line: number, offset, end: offset });
                    wrong.end = line.end;
                }
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        path: &Path,
        line: &RawLine<'_>,
        link: Link,
        previous: &str,
        record: Option<Record>,
    ) -> Result<(), AuditError> {
        if let Some(wrong) = self.wrong.take() {
            if record.as_ref().is_some_and(|record| explains(record, &wrong))
                && is_torn_as_said(&wrong, record.as_ref())?
            {
                self.found.mended += 1;
            } else {
                self.wrong = Some(wrong);
                self.give_up_wrong();
                // What comes behind an altered line is right by itself; that it follows cannot be asked any more.
                self.last = None;
            }
        }
        match &self.last {
            Some(last) if last.hash == previous && last.sequence + 1 == link.sequence => {}
            Some(last) => {
                let expected = last.sequence + 1;
                let (kind, what) = match link.sequence {
                    there if there > expected => (BreakKind::Missing, "lines before it are missing"),
                    there if there < expected => (BreakKind::OutOfOrder, "it does not belong here"),
                    _ => (BreakKind::OutOfOrder, "it does not follow the line before it"),
                };
                let detail = format!("record {} where {expected} is expected: {what}", link.sequence);
                self.broken(path, line.number, kind, detail);
            }
            None if self.first.is_none() => {
                self.found.first = link.sequence;
                self.first = Some((link.clone(), previous.to_owned(), path.to_owned()));
            }
            None => {}
        }
        if let Some(anchored) = self.anchors.get(&link.sequence) {
            if *anchored == link.hash {
                self.found.anchors += 1;
            } else {
                let detail = format!("record {} had the hash {anchored} when it was anchored", link.sequence);
                self.broken(path, line.number, BreakKind::Anchor, detail);
            }
        }
        match record.as_ref().map(|record| record.kind) {
            Some(Kind::Interrupted) => self.found.interrupted += 1,
            Some(Kind::Removed) => {
                let record = record.unwrap_or_default();
                let last = record.counts.get("last_sequence").copied().zip(record.sha256);
                self.removed.extend(last);
            }
            _ => {}
        }
        self.found.records += 1;
        self.last = Some(link);
        Ok(())
    }

    /// What is no line is altered, unless something comes that explains it.
    fn give_up_wrong(&mut self) {
        if let Some(Wrong { file, line, .. }) = self.wrong.take() {
            let detail = "it is not what its hash is of, or no line of a log".to_owned();
            self.broken(&file, line, BreakKind::Altered, detail);
        }
    }

    /// The end of all files, compared with what was acknowledged.
    fn end(&mut self, last_file: Option<&ChainFile>, head: Option<Link>) {
        let last = self.last.clone().unwrap_or_else(Link::origin);
        let acknowledged = head.as_ref().map_or(0, |head| head.sequence);
        if let Some(wrong) = self.wrong.take() {
            self.found.torn_bytes = wrong.end - wrong.offset;
            if acknowledged > last.sequence {
                self.wrong = Some(wrong);
                self.give_up_wrong();
            }
        }
        let path = last_file.map(|file| file.path.clone()).unwrap_or_default();
        if acknowledged > last.sequence {
            let detail = format!("record {acknowledged} was acknowledged, the last one is {}", last.sequence);
            self.broken(&path, self.found.records + 1, BreakKind::EndMissing, detail);
        }
        if let Some(head) = head.filter(|head| head.sequence == last.sequence && head.hash != last.hash) {
            let detail = format!("record {} was acknowledged with the hash {}", head.sequence, head.hash);
            self.broken(&path, self.found.records, BreakKind::OutOfOrder, detail);
        }
        let beyond = self.anchors.last_key_value().map_or(0, |(sequence, _)| *sequence);
        if beyond > last.sequence.max(acknowledged) {
            let detail = format!("record {beyond} was anchored, the last one is {}", last.sequence);
            self.broken(&path, self.found.records + 1, BreakKind::EndMissing, detail);
        }
        if let Some((first, previous, path)) = self.first.take() {
            let before = first.sequence.saturating_sub(1);
            let is_origin = before == 0 && previous == Link::origin().hash;
            if !is_origin && !self.removed.contains(&(before, previous)) {
                let detail = format!("it begins with record {}, and no record says why", first.sequence);
                self.broken(&path, 1, BreakKind::BeginMissing, detail);
            }
        }
        (self.found.head.sequence, self.found.head.hash) = (last.sequence, last.hash);
    }

    fn broken(&mut self, file: &Path, line: u64, kind: BreakKind, detail: String) {
        if self.found.breaks.len() < MAX_BREAKS {
            self.found.breaks.push(Break { file: file.to_owned(), line, kind, detail });
        } else {
            self.found.further_breaks += 1;
        }
    }
}

/// Whether the record says of so many bytes that they are torn.
fn explains(record: &Record, wrong: &Wrong) -> bool {
    record.kind == Kind::Mended && record.counts.get("torn_bytes") == Some(&(wrong.end - wrong.offset))
}

fn is_torn_as_said(wrong: &Wrong, record: Option<&Record>) -> Result<bool, AuditError> {
    let sha256 = sha256_of_part(&wrong.file, wrong.offset, wrong.end)?;
    Ok(record.and_then(|record| record.sha256.as_deref()) == Some(sha256.as_str()))
}

#[cfg(test)]
mod tests;
