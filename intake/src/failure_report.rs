//! The images that did not get into the gallery, in a file.

use crate::{IntakeError, SkippedEntry};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// An image that is not in the gallery.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// Its name in the gallery; empty where it has none.
    pub image_id: String,
    /// Where it is.
    pub origin: String,
    /// Why it is not in the gallery.
    pub reason: String,
}

impl From<SkippedEntry> for Failure {
    fn from(SkippedEntry { image_id, origin, reason }: SkippedEntry) -> Self {
        Self { image_id, origin, reason }
    }
}

/// Writes failures as they come: as CSV with a header, or one JSON object a line.
pub struct FailureReport {
    path: PathBuf,
    format: Format,
}

enum Format {
    Csv(Box<csv::Writer<File>>),
    JsonLines(File),
}

/// Whether a file is missing, empty, no file at all, or begins as a report does.
fn may_be_replaced(path: &Path) -> bool {
    if !path.is_file() {
        return true;
    }
    let mut start = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or_default();
    let start = &start[..read];
    start.is_empty() || start.starts_with(b"image_id,origin,reason") || start.starts_with(b"{\"image_id\":")
}

impl FailureReport {
    /// Begins a report; an earlier report of that name is replaced.
    ///
    /// # Errors
    /// [`IntakeError::NotAReport`] for a file that is something else: it stays as it is.
    /// [`IntakeError::UnknownEnding`] unless the name ends in `.csv`, `.jsonl`, `.json` or `.ndjson`;
    /// [`IntakeError::Unwritable`].
    pub fn create(path: &Path) -> Result<Self, IntakeError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_csv = match ending.as_deref() {
            Some("csv") => true,
            Some("jsonl" | "json" | "ndjson") => false,
            _ => {
                let known = "a report as .csv or .jsonl (one JSON object a line)";
                return Err(IntakeError::UnknownEnding { path: path.to_owned(), known });
            }
        };
        if !may_be_replaced(path) {
            return Err(IntakeError::NotAReport { path: path.to_owned() });
        }
        let file = descry_private_files::create(path).map_err(IntakeError::unwritable(path))?;
        if !is_csv {
            return Ok(Self { path: path.to_owned(), format: Format::JsonLines(file) });
        }
        // The header is written at once, so that a report without failures says so.
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        writer
            .write_record(["image_id", "origin", "reason"])
            .map_err(std::io::Error::from)
            .and_then(|()| writer.flush())
            .map_err(IntakeError::unwritable(path))?;
        Ok(Self { path: path.to_owned(), format: Format::Csv(Box::new(writer)) })
    }

    /// Adds a failure. It is in the file when this returns.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`].
    pub fn write(&mut self, failure: &Failure) -> Result<(), IntakeError> {
        let written = match &mut self.format {
            Format::Csv(writer) => {
                writer.serialize(failure).map_err(std::io::Error::from).and_then(|()| writer.flush())
            }
            Format::JsonLines(file) => serde_json::to_string(failure)
                .map_err(std::io::Error::from)
                .and_then(|line| file.write_all(format!("{line}\n").as_bytes())),
        };
        written.map_err(IntakeError::unwritable(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_complete_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let failure =
            Failure { image_id: "a,b.jpg".to_owned(), origin: "x/a,b.jpg".to_owned(), reason: "torn".to_owned() };
        for (name, expected) in [
            ("r.csv", "image_id,origin,reason\n\"a,b.jpg\",\"x/a,b.jpg\",torn\n"),
            ("r.jsonl", "{\"image_id\":\"a,b.jpg\",\"origin\":\"x/a,b.jpg\",\"reason\":\"torn\"}\n"),
        ] {
            let path = folder.path().join(name);
            let mut report = FailureReport::create(&path).unwrap();
            report.write(&failure).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
        assert!(FailureReport::create(&folder.path().join("r.xml")).is_err());
    }

    #[test]
    fn only_earlier_reports_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        for earlier in ["", "image_id,origin,reason\na,b,c\n"] {
            std::fs::write(&path, earlier).unwrap();
            FailureReport::create(&path).unwrap();
        }
        let metadata = "image_id,person_id\na.jpg,7\n";
        std::fs::write(&path, metadata).unwrap();
        assert!(matches!(FailureReport::create(&path), Err(IntakeError::NotAReport { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), metadata);
    }
}
