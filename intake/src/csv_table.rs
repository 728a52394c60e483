//! Tables in text: comma, semicolon or tab between the cells.

use crate::IntakeError;
use crate::record::Record;
use crate::table_columns::TableColumns;
use crate::text_file::{NOT_UTF8, open_text};
use crate::text_lines::{MAX_LINE_BYTES, TOO_LONG};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What may stand between cells, and what it is called.
const SEPARATORS: [(u8, &str); 3] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs")];

/// A table, opened behind its header.
pub(crate) struct CsvTable<'a> {
    path: &'a Path,
    reader: csv::Reader<Box<dyn Read + Send>>,
    pub(crate) columns: TableColumns,
    /// Whether blanks behind the separators are no part of the cells, as in `image_id, person_id`.
    skips_blanks: bool,
    read: Arc<WhatWasRead>,
}

/// What was read of the file, ahead of the records that were taken.
#[derive(Default)]
struct WhatWasRead {
    quotes: AtomicU64,
    /// Since the last record was taken.
    bytes_of_record: AtomicU64,
}

/// Longest record, in bytes: cells may hold several lines, but not the rest of a file behind a quote.
const MAX_RECORD_BYTES: u64 = 4 * MAX_LINE_BYTES;

impl<'a> CsvTable<'a> {
    /// Reads the header. What stands between the cells is what the header has most of, outside of quotes.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] for an empty file; [`IntakeError::MalformedRecord`] for an unusable header; others as
    /// [`open_text`].
    pub(crate) fn open(path: &'a Path, max_bytes: u64) -> Result<Self, IntakeError> {
        let read = Arc::<WhatWasRead>::default();
        let bounded = BoundedLines { reader: open_text(path, max_bytes)?, line: 1, bytes: 0, read: Arc::clone(&read) };
        let mut text = BufReader::new(bounded);
        let mut header = Vec::new();
        while header.trim_ascii().is_empty() {
            if text.read_until(b'\n', &mut header).map_err(IntakeError::unreadable(path))? == 0 {
                return Err(IntakeError::malformed(
                    path,
                    "it is empty; a header and a line for each image are expected",
                ));
            }
        }
        let is_tsv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
        let (separator, name) = separator(&header, is_tsv);
        // A BOM-less UTF-16 file consists of zeros by half.
        if header.contains(&0) {
            return Err(IntakeError::malformed(path, NOT_UTF8));
        }
        let text: Box<dyn Read + Send> = Box::new(Cursor::new(header).chain(text));
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(text);
        let header = reader.headers().map_err(|error| fault(path, &error))?;
        let skips_blanks = header.iter().any(|name| name.starts_with(' '));
        let columns = TableColumns::of(header.iter());
        let mut columns =
            columns.map_err(|reason| IntakeError::MalformedRecord { path: path.to_owned(), line: 1, reason })?;
        if (separator == b'\t') != is_tsv || separator == b';' {
            columns.notes.insert(0, format!("its cells are separated by {name}"));
        }
        Ok(Self { path, reader, columns, skips_blanks, read })
    }

    /// Gives each row with its line to `take`; empty cells are left out.
    ///
    /// # Errors
    /// What `take` said, or [`IntakeError::MalformedRecord`].
    pub(crate) fn read(self, mut take: impl FnMut(u64, Record) -> Result<(), IntakeError>) -> Result<(), IntakeError> {
        let path = self.path;
        self.read_rows(|line, row| match row {
            Ok(record) => take(line, record),
            Err(reason) => Err(IntakeError::MalformedRecord { path: path.to_owned(), line, reason }),
        })
    }

    /// As [`CsvTable::read`], but `take` decides what becomes of a row that is wrong, and the rows behind it still come.
    ///
    /// # Errors
    /// What `take` said, or [`IntakeError::MalformedRecord`] where the file cannot be read any further.
    pub(crate) fn read_rows(
        self,
        mut take: impl FnMut(u64, Result<Record, String>) -> Result<(), IntakeError>,
    ) -> Result<(), IntakeError> {
        let Self { path, mut reader, columns, skips_blanks, read } = self;
        let mut last = (0, false);
        let mut rows = reader.records();
        loop {
            read.bytes_of_record.store(0, Ordering::Relaxed);
            let Some(row) = rows.next() else { break };
            let row = match row {
                Ok(row) => row,
                Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => return Err(fault(path, &error)),
                Err(error) => {
                    take(line_of(&error), Err(reason_of(&error)))?;
                    continue;
                }
            };
            let line = row.position().map_or(0, csv::Position::line);
            // The library takes such a quote for a letter, and the cell would be another one than is meant.
            if skips_blanks
                && row.iter().any(|cell| cell.starts_with(' ') && cell.trim_start_matches(' ').starts_with('"'))
            {
                let reason = "a blank stands before a quote; write the quote directly behind the separator";
                take(line, Err(reason.to_owned()))?;
                continue;
            }
            last = (line, row.iter().next_back().is_some_and(|cell| cell.contains('\n')));
            let cells = columns.names.iter().zip(&row).filter_map(|(name, cell)| {
                let cell = if skips_blanks { cell.trim_start_matches(' ') } else { cell };
                Some((name.clone()?, Value::from(Some(cell).filter(|cell| !cell.is_empty())?)))
            });
            take(line, Ok(cells.collect()))?;
        }
        // A quote that nothing closes takes all records behind it into one cell.
        if let (line, true) = last
            && read.quotes.load(Ordering::Relaxed) % 2 == 1
        {
            take(line, Err("a quote is opened here, or before, that nothing closes".to_owned()))?;
        }
        Ok(())
    }
}

/// What a header has most of; of equal numbers, what the file's name lets expect.
fn separator(header: &[u8], is_tsv: bool) -> (u8, &'static str) {
    let mut counts = [0_usize; SEPARATORS.len()];
    let mut is_quoted = false;
    for &byte in header {
        is_quoted ^= byte == b'"';
        for (count, (separator, _)) in counts.iter_mut().zip(SEPARATORS) {
            *count += usize::from(!is_quoted && byte == separator);
        }
    }
    let mut best = if is_tsv { SEPARATORS.len() - 1 } else { 0 };
    for (place, count) in counts.iter().enumerate() {
        if *count > counts[best] {
            best = place;
        }
    }
    SEPARATORS[best]
}

fn fault(path: &Path, error: &csv::Error) -> IntakeError {
    IntakeError::MalformedRecord { path: path.to_owned(), line: line_of(error), reason: reason_of(error) }
}

fn line_of(error: &csv::Error) -> u64 {
    error.position().map_or(1, csv::Position::line)
}

fn reason_of(error: &csv::Error) -> String {
    if let csv::ErrorKind::Io(source) = error.kind() {
        source.to_string()
    } else if let csv::ErrorKind::Utf8 { .. } = error.kind() {
        NOT_UTF8.to_owned()
    } else if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        format!("{len} cells, the header has {expected_len}")
    } else {
        error.to_string()
    }
}

/// A reader that fails at a line which no table has: the library would hold it in memory.
struct BoundedLines<R> {
    reader: R,
    line: u64,
    bytes: u64,
    read: Arc<WhatWasRead>,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let quotes = buffer[..read].iter().filter(|&&byte| byte == b'"').count() as u64;
        self.read.quotes.fetch_add(quotes, Ordering::Relaxed);
        if self.read.bytes_of_record.fetch_add(read as u64, Ordering::Relaxed) > MAX_RECORD_BYTES {
            let reason = format!("a record before line {} is longer than 4 MiB; is a quote never closed?", self.line);
            return Err(io::Error::other(reason));
        }
        for part in buffer[..read].split_inclusive(|&byte| byte == b'\n') {
            self.bytes += part.len() as u64;
            if self.bytes > MAX_LINE_BYTES {
                return Err(io::Error::other(format!("line {} is {TOO_LONG}", self.line)));
            }
            if part.ends_with(b"\n") {
                (self.line, self.bytes) = (self.line + 1, 0);
            }
        }
        Ok(read)
    }
}
