//! Text files, one line after another, with a bound on the line and on the file.

use crate::IntakeError;
use crate::text_file::open_text;
use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes. A metadata record of a megabyte is a file of another format.
pub(crate) const MAX_LINE_BYTES: u64 = 1 << 20;

/// What is said of a longer one.
pub(crate) const TOO_LONG: &str = "longer than a mebibyte; is it a text file?";

/// Lines with their numbers from 1, trimmed; blank lines are left out.
pub(crate) struct TextLines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    number: u64,
}

impl TextLines {
    pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<Self, IntakeError> {
        Ok(Self::of(path, open_text(path, max_bytes)?))
    }

    /// Lines of a file that is open already.
    pub(crate) fn of(path: &Path, reader: Box<dyn BufRead + Send>) -> Self {
        Self { path: path.to_owned(), reader, number: 0 }
    }

    fn malformed(&self, reason: &str) -> IntakeError {
        IntakeError::MalformedRecord { path: self.path.clone(), line: self.number, reason: reason.to_owned() }
    }

    fn read(&mut self) -> Result<Option<(u64, String)>, IntakeError> {
        loop {
            let mut bytes = Vec::new();
            let read = self.reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
            if read.map_err(IntakeError::unreadable(&self.path))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if bytes.len() as u64 > MAX_LINE_BYTES {
                return Err(self.malformed(TOO_LONG));
            }
            let text = String::from_utf8(bytes).map_err(|_| self.malformed("not UTF-8; save the file as UTF-8"))?;
            let text = text.trim();
            if !text.is_empty() {
                return Ok(Some((self.number, text.to_owned())));
            }
        }
    }
}

impl Iterator for TextLines {
    type Item = Result<(u64, String), IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8]) -> Result<Vec<(u64, String)>, IntakeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        std::fs::write(&path, content).unwrap();
        TextLines::open(&path, 1 << 30)?.collect()
    }

    #[test]
    fn blank_lines_count_but_do_not_come() {
        let expected = vec![(1, "one".to_owned()), (3, "two".to_owned())];
        assert_eq!(lines("\u{feff}one\r\n  \r\n two".as_bytes()).unwrap(), expected);
    }

    #[test]
    fn binary_files_are_refused() {
        assert!(lines(b"one\n\xff\xd8\n").unwrap_err().to_string().contains("line 2"));
        assert!(lines(&vec![b'x'; (2 << 20) + 5]).unwrap_err().to_string().contains("mebibyte"));
    }
}
