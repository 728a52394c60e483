//! What is known of each image, from a table in text, JSON or Parquet.

use crate::csv_table::CsvTable;
use crate::flat_columns::{FlatColumns, FlatLeaf, guarded, leaves_of_table, open_parquet, row_count};
use crate::json_records::{ArrayError, read_array, read_line};
use crate::record::{self, Record};
use crate::table_columns::{TableColumns, image_id_field};
use crate::text_file::open_text;
use crate::text_lines::TextLines;
use crate::{IntakeError, KnownMetadata};
use parquet::file::reader::FileReader as _;
use std::collections::HashMap;
use std::fs;
use std::io::BufRead;
use std::path::Path;

/// Metadata by image id.
pub type MetadataById = HashMap<String, KnownMetadata>;

/// Largest file, in bytes. All its records are held at once.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Most memory that records may take, in bytes: a small file can unfold to a large one.
const MAX_HELD_BYTES: u64 = 16 << 30;

/// Rows of a Parquet file converted at once.
const BATCH_ROWS: usize = 4096;

/// The name that pandas gives to a column of row numbers when it makes one of them.
const ROW_NUMBERS: &str = "index";

/// A file of metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataTable {
    /// The records.
    pub by_id: MetadataById,
    /// What people should know of how the file was read: columns that were left out, cells that commas do not separate.
    pub notes: Vec<String>,
}

/// Reads a file whose records name an image (`image_id`, as the input names it; where there is none, `filename` or
/// `file_name`) and optionally `person_id`, `camera_id`, and `captured_at` (RFC 3339) or `captured_at_ms`; every other
/// field, and every field of the object `attributes`, becomes an attribute.
///
/// # Errors
/// As [`read_metadata_table`].
pub fn read_metadata(path: &Path) -> Result<MetadataById, IntakeError> {
    read_metadata_table(path).map(|table| table.by_id)
}

/// The same as [`read_metadata`], with notes of how the file was read.
///
/// # Errors
/// [`IntakeError::UnknownEnding`] unless the name ends in `.csv`, `.tsv`, `.jsonl`, `.json`, `.ndjson` or `.parquet`;
/// [`IntakeError::MalformedRecord`] and [`IntakeError::DuplicateRecord`] name the line;
/// [`IntakeError::Unreadable`], [`IntakeError::TooLarge`] and [`IntakeError::Malformed`] for the file as a whole, which
/// must have a record.
pub fn read_metadata_table(path: &Path) -> Result<MetadataTable, IntakeError> {
    let bytes = fs::metadata(path).map_err(IntakeError::unreadable(path))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(IntakeError::TooLarge { path: path.to_owned(), bytes, max_bytes: MAX_FILE_BYTES });
    }
    let mut records =
        Records { path, table: MetadataTable::default(), id_field: None, row_numbers: None, held_bytes: 0 };
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("csv" | "tsv") => records.read_csv()?,
        Some("jsonl" | "json" | "ndjson") => records.read_json()?,
        Some("parquet") => records.read_parquet()?,
        _ => {
            let known = "metadata as .csv or .tsv (with a header), .jsonl (one JSON object a line), .json (an array of \
                         objects) or .parquet";
            return Err(IntakeError::UnknownEnding { path: path.to_owned(), known });
        }
    }
    records.finish()
}

struct Records<'a> {
    path: &'a Path,
    table: MetadataTable,
    /// The field that names the image, once a record or a header has told it.
    id_field: Option<&'static str>,
    /// As long as the column `index` counts the rows: how many there were, and the number of the first.
    row_numbers: Option<(u64, u64)>,
    /// What the records take in memory.
    held_bytes: u64,
}

impl Records<'_> {
    fn malformed(&self, line: u64, reason: impl ToString) -> IntakeError {
        IntakeError::MalformedRecord { path: self.path.to_owned(), line, reason: reason.to_string() }
    }

    /// Finds the field that names the image.
    fn name_by<'n>(&mut self, line: u64, names: impl Iterator<Item = &'n str> + Clone) -> Result<(), IntakeError> {
        let (field, note) = image_id_field(names).map_err(|reason| self.malformed(line, reason))?;
        self.id_field = Some(field);
        self.table.notes.extend(note);
        Ok(())
    }

    fn take_header(&mut self, columns: &mut TableColumns) -> Result<(), IntakeError> {
        self.table.notes.append(&mut columns.notes);
        let has_numbers = columns.names.iter().flatten().any(|name| name == ROW_NUMBERS);
        self.row_numbers = has_numbers.then_some((0, 0));
        self.name_by(1, columns.names.iter().flatten().map(String::as_str))
    }

    fn insert(&mut self, line: u64, mut record: Record) -> Result<(), IntakeError> {
        let field = match self.id_field {
            Some(field) => field,
            None => {
                self.name_by(line, record.keys().map(String::as_str))?;
                self.id_field.unwrap_or(record::IMAGE_ID)
            }
        };
        let image_id = record::take_image_id(&mut record, field).map_err(|reason| self.malformed(line, reason))?;
        let known = record::known(record).map_err(|reason| self.malformed(line, reason))?;
        self.count_row(&known);
        if self.table.by_id.contains_key(&image_id) {
            return Err(IntakeError::DuplicateRecord { path: self.path.to_owned(), line, image_id });
        }
        self.held_bytes += (size_of::<KnownMetadata>() + image_id.len()) as u64 + known.held_bytes();
        if self.held_bytes > MAX_HELD_BYTES {
            return Err(self.malformed(
                line,
                format!("up to here the records take over {MAX_HELD_BYTES} bytes of memory; split the file"),
            ));
        }
        self.table.by_id.insert(image_id, known);
        Ok(())
    }

    /// Looks whether the column `index` goes on counting.
    fn count_row(&mut self, known: &KnownMetadata) {
        let Some((rows, first)) = self.row_numbers else { return };
        let number = known.attributes.get(ROW_NUMBERS).and_then(|text| text.parse::<u64>().ok());
        let first = if rows == 0 { number.filter(|&first| first <= 1) } else { Some(first) };
        let counts = first.filter(|first| number == Some(first + rows));
        self.row_numbers = counts.map(|first| (rows + 1, first));
    }

    fn finish(mut self) -> Result<MetadataTable, IntakeError> {
        if self.table.by_id.is_empty() {
            let reason = "it has no record; a record for each image is expected";
            return Err(IntakeError::malformed(self.path, reason));
        }
        if self.row_numbers.is_some() {
            for known in self.table.by_id.values_mut() {
                known.attributes.remove(ROW_NUMBERS);
            }
            self.table.notes.push("the column `index` only counts the rows and is left out".to_owned());
        }
        Ok(self.table)
    }

    fn read_csv(&mut self) -> Result<(), IntakeError> {
        let mut csv = CsvTable::open(self.path, MAX_FILE_BYTES)?;
        self.take_header(&mut csv.columns)?;
        csv.read(|line, record| self.insert(line, record))
    }

    fn read_json(&mut self) -> Result<(), IntakeError> {
        let mut text = open_text(self.path, MAX_FILE_BYTES)?;
        if !begins_as_array(&mut text).map_err(IntakeError::unreadable(self.path))? {
            for line in TextLines::of(self.path, text) {
                let (number, text) = line?;
                let record = read_line(&text).map_err(|reason| self.malformed(number, reason))?;
                self.insert(number, record)?;
            }
            return Ok(());
        }
        // Records of an array are counted, as the lines of the other form are.
        let mut number = 0;
        let read = read_array(text, |record| {
            number += 1;
            self.insert(number, record)
        });
        read.map_err(|error| match error {
            ArrayError::Refused(error) => error,
            ArrayError::Malformed(reason) => IntakeError::malformed(self.path, reason),
        })
    }

    fn read_parquet(&mut self) -> Result<(), IntakeError> {
        let path = self.path;
        let fault = |reason: String| IntakeError::malformed(path, reason);
        let file = open_parquet(path, MAX_FILE_BYTES)?;
        let mut leaves = leaves_of_table(file.metadata().file_metadata().schema_descr()).map_err(fault)?;
        let names: Vec<String> = leaves.iter().map(FlatLeaf::column).collect();
        let mut columns = TableColumns::of(names.iter().map(String::as_str)).map_err(fault)?;
        self.take_header(&mut columns)?;
        let mut is_kept = columns.names.iter().map(Option::is_some);
        leaves.retain(|_| is_kept.next().unwrap_or(true));
        let mut line = 0;
        for group in 0..file.num_row_groups() {
            let mut rows_left = row_count(file.metadata().row_group(group)).map_err(fault)?;
            let mut columns = guarded(|| FlatColumns::open(&file, group, &leaves)).map_err(fault)?;
            while rows_left > 0 {
                let count = rows_left.min(BATCH_ROWS);
                for record in guarded(|| columns.read(count)).map_err(fault)? {
                    line += 1;
                    self.insert(line, record)?;
                }
                rows_left -= count;
            }
        }
        Ok(())
    }
}

/// Whether the first character that is no blank opens an array. Blanks are passed over.
pub(crate) fn begins_as_array(text: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let buffer = text.fill_buf()?;
        let blanks = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match buffer.get(blanks) {
            Some(&first) => return Ok(first == b'['),
            None if buffer.is_empty() => return Ok(false),
            None => text.consume(blanks),
        }
    }
}

#[cfg(test)]
mod tests;
