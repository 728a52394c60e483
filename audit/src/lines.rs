//! The lines of a file, whatever is in it.

use crate::AuditError;
use crate::line::MAX_LINE_BYTES;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Reads a file line by line. Of a line that is too long for one of ours it keeps the beginning.
pub(crate) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    content: Vec<u8>,
    number: u64,
    offset: u64,
    /// Whether the last line has a line feed.
    is_ended: bool,
}

/// A line as it lies in a file.
pub(crate) struct RawLine<'file> {
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// Where it ends, behind its line feed if it has one.
    pub(crate) end: u64,
    /// Without its line feed.
    pub(crate) content: &'file [u8],
    /// Whether it has a line feed.
    pub(crate) is_ended: bool,
    /// Whether it is no longer than one of ours besides.
    pub(crate) is_whole: bool,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(AuditError::file(path))?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, path: path.to_owned(), content: Vec::new(), number: 0, offset: 0, is_ended: true })
    }

    /// The next line; none at the end of the file.
    ///
    /// # Errors
    /// [`AuditError::File`].
    pub(crate) fn next(&mut self) -> Result<Option<RawLine<'_>>, AuditError> {
        let bytes = self.read().map_err(AuditError::file(&self.path))?;
        if bytes == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += bytes;
        self.number += 1;
        let (content, is_whole) = match self.content.split_last() {
            Some((b'\n', content)) => (content, true),
            _ => (self.content.as_slice(), false),
        };
        let (number, end, is_ended) = (self.number, self.offset, self.is_ended);
        Ok(Some(RawLine { number, offset, end, content, is_ended, is_whole }))
    }

    /// Reads to the next line feed. Returns how many bytes that were.
    fn read(&mut self) -> io::Result<u64> {
        self.content.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let mut bytes = (&mut self.reader).take(limit).read_until(b'\n', &mut self.content)? as u64;
        self.is_ended = self.content.ends_with(b"\n");
        if bytes < limit || self.is_ended {
            return Ok(bytes);
        }
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let passed = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(passed);
            bytes += passed as u64;
            self.is_ended = end.is_some();
            if passed == 0 || self.is_ended {
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_have_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let long = "x".repeat(MAX_LINE_BYTES + 100);
        std::fs::write(&path, format!("one\n\n{long}\ntorn")).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            seen.push((line.number, line.offset, line.end, line.is_ended, line.is_whole));
        }
        let end = 5 + long.len() as u64 + 1;
        assert_eq!(
            seen,
            [(1, 0, 4, true, true), (2, 4, 5, true, true), (3, 5, end, true, false), (4, end, end + 4, false, false),]
        );
    }
}
