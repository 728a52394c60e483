//! What is known of each image, from a CSV, JSON Lines or Parquet file.

use crate::flat_columns::{FlatColumns, guarded, leaves_of_table, open_parquet, row_count};
use crate::record::{self, Record};
use crate::text_lines::TextLines;
use crate::{IntakeError, KnownMetadata};
use parquet::file::reader::FileReader as _;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Metadata by image id.
pub type MetadataById = HashMap<String, KnownMetadata>;

/// Largest file, in bytes. All its records are held at once.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Rows of a Parquet file converted at once.
const BATCH_ROWS: usize = 4096;

/// Reads a file whose records name an image (`image_id`, as the input names it) and optionally `person_id`, `camera_id`,
/// and `captured_at` (RFC 3339) or `captured_at_ms`; every other field, and every field of the object `attributes`,
/// becomes an attribute.
///
/// # Errors
/// [`IntakeError::UnknownEnding`] unless the name ends in `.csv`, `.jsonl`, `.json`, `.ndjson` or `.parquet`;
/// [`IntakeError::MalformedRecord`] and [`IntakeError::DuplicateRecord`] name the line;
/// [`IntakeError::Unreadable`], [`IntakeError::TooLarge`] and [`IntakeError::Malformed`] for the file as a whole.
pub fn read_metadata(path: &Path) -> Result<MetadataById, IntakeError> {
    let bytes = fs::metadata(path).map_err(IntakeError::unreadable(path))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(IntakeError::TooLarge { path: path.to_owned(), bytes, max_bytes: MAX_FILE_BYTES });
    }
    let mut records = Records { path, by_id: MetadataById::new() };
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("csv") => records.read_csv()?,
        Some("jsonl" | "json" | "ndjson") => records.read_json_lines()?,
        Some("parquet") => records.read_parquet()?,
        _ => {
            let known = "metadata as .csv (with a header), .jsonl (one JSON object a line) or .parquet";
            return Err(IntakeError::UnknownEnding { path: path.to_owned(), known });
        }
    }
    Ok(records.by_id)
}

struct Records<'a> {
    path: &'a Path,
    by_id: MetadataById,
}

impl Records<'_> {
    fn malformed(&self, line: u64, reason: impl ToString) -> IntakeError {
        IntakeError::MalformedRecord { path: self.path.to_owned(), line, reason: reason.to_string() }
    }

    fn insert(&mut self, line: u64, mut record: Record) -> Result<(), IntakeError> {
        let image_id = record::take_image_id(&mut record).map_err(|reason| self.malformed(line, reason))?;
        let known = record::known(record).map_err(|reason| self.malformed(line, reason))?;
        if self.by_id.contains_key(&image_id) {
            return Err(IntakeError::DuplicateRecord { path: self.path.to_owned(), line, image_id });
        }
        self.by_id.insert(image_id, known);
        Ok(())
    }

    fn read_csv(&mut self) -> Result<(), IntakeError> {
        let path = self.path;
        let fault = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            IntakeError::MalformedRecord { path: path.to_owned(), line, reason: error.to_string() }
        };
        let mut reader = csv::Reader::from_path(path).map_err(fault)?;
        let names = reader.headers().map_err(fault)?.clone();
        for row in reader.records() {
            let row = row.map_err(fault)?;
            let line = row.position().map_or(0, csv::Position::line);
            let cells = names.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
            // Some programs begin a file with a byte order mark.
            let cells = cells.map(|(name, cell)| (name.trim_start_matches('\u{feff}').to_owned(), Value::from(cell)));
            self.insert(line, cells.collect())?;
        }
        Ok(())
    }

    fn read_json_lines(&mut self) -> Result<(), IntakeError> {
        for line in TextLines::open(self.path)? {
            let (number, text) = line?;
            let record = serde_json::from_str(&text)
                .map_err(|error| self.malformed(number, format!("expected a JSON object: {error}")))?;
            self.insert(number, record)?;
        }
        Ok(())
    }

    fn read_parquet(&mut self) -> Result<(), IntakeError> {
        let path = self.path;
        let fault = |reason: String| IntakeError::malformed(path, reason);
        let file = open_parquet(path)?;
        let leaves = leaves_of_table(file.metadata().file_metadata().schema_descr()).map_err(fault)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, content: &str) -> Result<MetadataById, IntakeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_metadata(&path)
    }

    #[test]
    fn both_text_formats_say_the_same() {
        let csv = "\u{feff}image_id,person_id,camera_id,captured_at,weather\n\
                   a/1.jpg,7,c2,2026-05-01T12:30:00Z,rain\nb.jpg,,,,\n";
        let jsonl = r#"{"image_id": "a/1.jpg", "person_id": 7, "camera_id": "c2", "captured_at": "2026-05-01T12:30:00Z", "attributes": {"weather": "rain"}}

{"image_id": "b.jpg", "person_id": null, "weather": null}
"#;
        let from_csv = check("metadata.csv", csv).unwrap();
        assert_eq!(from_csv, check("metadata.jsonl", jsonl).unwrap());
        let known = &from_csv["a/1.jpg"];
        assert_eq!(known.person_id.as_deref(), Some("7"));
        assert_eq!(known.captured_at_ms, Some(1_777_638_600_000));
        assert_eq!(known.attributes["weather"], "rain");
        assert_eq!(from_csv["b.jpg"], KnownMetadata::default());
    }

    #[test]
    fn faults_name_the_line() {
        for (name, content) in [
            ("m.csv", "image_id,captured_at\na.jpg,yesterday\n"),
            ("m.csv", "person_id,camera_id\n1,2\n"),
            ("m.csv", "image_id,camera_id\n1,2,3\n"),
            ("m.jsonl", "\n[1]\n"),
            ("m.jsonl", "\n{\"image_id\": [1]}\n"),
        ] {
            let message = check(name, content).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{message}");
        }
        let message = check("m.csv", "image_id\na\na\n").unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("twice"), "{message}");
        assert!(matches!(check("m.xlsx", ""), Err(IntakeError::UnknownEnding { .. })));
        assert!(matches!(check("m.parquet", "image_id"), Err(IntakeError::Malformed { .. })));
    }
}
