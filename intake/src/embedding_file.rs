//! Embeddings that were computed elsewhere or earlier, and what is known of their images.

use crate::image_entry::id_digest;
use crate::image_records::ImageRecords;
use crate::npz::NpzRows;
use crate::parquet_embeddings::{FINGERPRINT_KEY, GALLERY_KEY, ParquetRows};
use crate::record::{self, EmbeddingRecord, IMAGE_ID};
use crate::{InputSummary, IntakeError, KnownMetadata, SkippedEntry};
use descry_model::Fingerprint;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What the file does not say itself.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingOptions {
    /// The model that made the embeddings.
    pub fingerprint: Option<Fingerprint>,
    /// For npz: a text file with one image id a line, in the order of the rows, instead of the array `image_ids`.
    pub image_ids: Option<PathBuf>,
    /// A file of records for [`read_metadata`](crate::read_metadata). They override what the embedding file says, field
    /// by field.
    pub metadata: Option<PathBuf>,
    /// Put before every image id.
    pub prefix: String,
    /// Whether the file is read where no record of the metadata fits any of its images.
    pub allow_unmatched: bool,
}

/// One image's embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingRow {
    /// Its name in the gallery.
    pub image_id: String,
    /// The values as stored: finite, but not necessarily of unit length.
    pub values: Vec<f32>,
    /// What is known of the image.
    pub metadata: KnownMetadata,
    /// SHA-256 of the encoded image, as 64 hexadecimal digits, where the file keeps it.
    pub content_sha256: Option<String>,
}

enum Rows {
    Npz(Box<NpzRows>),
    Parquet(Box<ParquetRows>),
}

/// Reads embeddings row by row from a NumPy archive or a Parquet file.
///
/// Rows that are no embedding are given as a [`SkippedEntry`] that names them. Where the file breaks off, one of them
/// says how much is lost, and ends the iteration.
pub struct EmbeddingFile {
    path: PathBuf,
    rows: Rows,
    fingerprint: Fingerprint,
    dimension: usize,
    total: u64,
    gallery_json: Option<String>,
    records: ImageRecords,
    /// Rows given so far.
    given: u64,
    is_over: bool,
}

impl EmbeddingFile {
    /// Opens a `.npz` file (array `images` or `embeddings` of float32, `image_ids` of text, optionally `fingerprint`) or
    /// a `.parquet` file (columns `image_id`, `embedding`, and optionally `person_id`, `camera_id`, `captured_at_ms` or
    /// `captured_at`, `attributes` as a JSON object, `content_sha256`; other columns become attributes).
    ///
    /// # Errors
    /// [`IntakeError::UnknownEnding`]; [`IntakeError::MissingFingerprint`] and [`IntakeError::FingerprintMismatch`];
    /// [`IntakeError::MissingImageIds`]; [`IntakeError::DuplicateRow`]; [`IntakeError::NothingMatches`];
    /// [`IntakeError::Malformed`] says what the file lacks; others as [`read_metadata`](crate::read_metadata).
    pub fn open(path: &Path, options: EmbeddingOptions) -> Result<Self, IntakeError> {
        let EmbeddingOptions { fingerprint: given, image_ids, metadata, prefix, allow_unmatched } = options;
        let records = ImageRecords::open(metadata.as_deref(), prefix)?;
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let (rows, in_file, gallery_json, dimension, total) = match ending.as_deref() {
            Some("npz") => {
                let rows = NpzRows::open(path, image_ids.as_deref())?;
                let (in_file, dimension, total) = (rows.fingerprint.clone(), rows.dimension, rows.total);
                // Read a second time, because the ids lie in front of the rows or behind them.
                let ids = NpzRows::open(path, image_ids.as_deref())?.into_image_ids();
                check_ids(path, ids, &records, allow_unmatched)?;
                (Rows::Npz(Box::new(rows)), in_file, None, dimension, total)
            }
            Some("parquet") => {
                let rows = ParquetRows::open(path)?;
                let in_file = rows.note(FINGERPRINT_KEY).map(str::to_owned);
                let gallery_json = rows.note(GALLERY_KEY).map(str::to_owned);
                let (dimension, total) = (rows.dimension, rows.total);
                check_ids(path, rows.image_ids(), &records, allow_unmatched)?;
                (Rows::Parquet(Box::new(rows)), in_file, gallery_json, dimension, total)
            }
            _ => {
                let known = "embeddings as .npz or .parquet";
                return Err(IntakeError::UnknownEnding { path: path.to_owned(), known });
            }
        };
        let fingerprint = agree(path, in_file, given)?;
        let path = path.to_owned();
        Ok(Self { path, rows, fingerprint, dimension, total, gallery_json, records, given: 0, is_over: false })
    }

    /// The model that made the embeddings.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Values of each embedding.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What [`GalleryFile`](crate::GalleryFile) noted of the gallery it came from. Parquet only.
    pub fn gallery_json(&self) -> Option<&str> {
        self.gallery_json.as_deref()
    }

    /// After the iteration: what is to be said of the metadata.
    pub fn summary(self) -> InputSummary {
        let (unused_metadata, first_unused_metadata) = self.records.unused();
        InputSummary { notes: self.records.notes, unused_metadata, first_unused_metadata, ..InputSummary::default() }
    }

    fn skipped(&self, image_id: &str, reason: String) -> SkippedEntry {
        let origin = format!("{} row {}", self.path.display(), self.given);
        SkippedEntry { image_id: image_id.to_owned(), origin, reason }
    }

    fn complete(&mut self, row: EmbeddingRecord) -> Result<EmbeddingRow, SkippedEntry> {
        let EmbeddingRecord { mut record, values } = row;
        let name = record::take_image_id(&mut record, IMAGE_ID).map_err(|reason| self.skipped("", reason))?;
        let image_id = self.records.image_id(&name);
        let known = record::take_text(&mut record, "content_sha256")
            .and_then(|content_sha256| Ok((content_sha256, record::known(record)?)));
        let (content_sha256, mut metadata) = known.map_err(|reason| self.skipped(&image_id, reason))?;
        if values.len() != self.dimension {
            let reason = format!("{} values, the other rows have {}", values.len(), self.dimension);
            return Err(self.skipped(&image_id, reason));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.skipped(&image_id, format!("value {index} is not finite")));
        }
        if let Some(stronger) = self.records.take(&name) {
            metadata.overlay(stronger);
        }
        Ok(EmbeddingRow { image_id, values, metadata, content_sha256 })
    }
}

impl Iterator for EmbeddingFile {
    type Item = Result<EmbeddingRow, SkippedEntry>;

    /// Rows are counted from 1.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = match &mut self.rows {
            Rows::Npz(rows) => rows.next_row(),
            Rows::Parquet(rows) => rows.next_row(),
        };
        match row {
            Ok(Some(row)) => {
                self.given += 1;
                Some(self.complete(row))
            }
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err(reason) => {
                self.is_over = true;
                let lost = self.total.saturating_sub(self.given);
                self.given += 1;
                Some(Err(self.skipped("", format!("damaged, {lost} rows from here are lost: {reason}"))))
            }
        }
    }
}

/// Refuses files that have an image twice: the second row would silently replace the first. Refuses metadata of which
/// nothing fits, unless it may.
fn check_ids(
    path: &Path,
    ids: impl Iterator<Item = String>,
    records: &ImageRecords,
    allow_unmatched: bool,
) -> Result<(), IntakeError> {
    let (mut rows, mut twice) = (HashMap::new(), None);
    let mut row = 0_u64;
    let ids = ids.filter(|id| {
        row += 1;
        if !id.is_empty()
            && let Some(first_row) = rows.insert(id_digest(id), row)
            && twice.is_none()
        {
            twice = Some((first_row, row, id.clone()));
        }
        !id.is_empty()
    });
    let mut ids = ids.fuse();
    let matched = if allow_unmatched { Ok(()) } else { records.require_match(ids.by_ref()) };
    // Looking for a record ends at the first one.
    ids.for_each(drop);
    if let Some((first_row, row, image_id)) = twice {
        return Err(IntakeError::DuplicateRow { path: path.to_owned(), first_row, row, image_id });
    }
    matched
}

/// The fingerprint that the file and the caller agree on.
fn agree(path: &Path, in_file: Option<String>, given: Option<Fingerprint>) -> Result<Fingerprint, IntakeError> {
    let in_file = in_file.map(|text| text.parse::<Fingerprint>()).transpose();
    let in_file = in_file.map_err(|error| IntakeError::malformed(path, format!("its fingerprint: {error}")))?;
    match (in_file, given) {
        (Some(in_file), Some(given)) if in_file != given => {
            Err(IntakeError::FingerprintMismatch { path: path.to_owned(), in_file, given })
        }
        (Some(fingerprint), _) | (None, Some(fingerprint)) => Ok(fingerprint),
        (None, None) => Err(IntakeError::MissingFingerprint { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
