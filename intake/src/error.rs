//! Errors of the whole crate.

use descry_model::Fingerprint;
use std::path::{Path, PathBuf};

/// Why an input cannot be used, or an output cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// An input that is not there.
    #[error("{path} does not exist; check the path")]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A pattern of times that no name could meet.
    #[error("{reason}")]
    NotAPattern {
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// A file name ending that says nothing about what is inside.
    #[error("cannot tell what {path} is by its name; expected {known}")]
    UnknownEnding {
        /// The file.
        path: PathBuf,
        /// What is understood, for people to read.
        known: &'static str,
    },
    /// A file over the limit.
    #[error("{path} has {bytes} bytes, at most {max_bytes} can be read at once; split it")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// A line of a text file, or a row of a table, that says nothing usable.
    #[error("{path} line {line}: {reason}")]
    MalformedRecord {
        /// The file.
        path: PathBuf,
        /// Number of the line or row, from 1.
        line: u64,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// Two records of the same image.
    #[error("{path} line {line}: {image_id:?} stands there twice; keep one of them")]
    DuplicateRecord {
        /// The file.
        path: PathBuf,
        /// Number of the second record's line or row, from 1.
        line: u64,
        /// The image.
        image_id: String,
    },
    /// Two embeddings of the same image.
    #[error("rows {first_row} and {row} of {path} are both of {image_id:?}; keep one of them")]
    DuplicateRow {
        /// The file.
        path: PathBuf,
        /// Number of the first row, from 1.
        first_row: u64,
        /// Number of the second row.
        row: u64,
        /// The image.
        image_id: String,
    },
    /// Metadata of other images, or of these under other names.
    #[error(
        "none of the {records} records in {path} fits any of the {images} images: a record names {record_id:?}, an image \
         is called {image_id:?}.{advice} With --allow-unmatched they are indexed without metadata"
    )]
    NothingMatches {
        /// The file of records.
        path: PathBuf,
        /// How many records it has.
        records: usize,
        /// The id of one of them.
        record_id: String,
        /// How many images there are.
        images: usize,
        /// The id of one of them.
        image_id: String,
        /// What would make them fit, as a sentence with a blank before it; or nothing.
        advice: String,
    },
    /// A file that is not what its name says, or is damaged.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A text that is not a point in time.
    #[error("{text:?} is not a time such as 2026-05-01T12:30:00Z")]
    NotATime {
        /// The text, cut to a readable length.
        text: String,
    },
    /// An image over the limit.
    #[error("{origin} has {bytes} bytes, at most {max_bytes} are accepted; make it smaller")]
    ImageTooLarge {
        /// Where the image is.
        origin: String,
        /// Its size, or the first size known to be too large.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// A file in the journal's place that is something else.
    #[error("{path} is not a journal of an indexing job and stays as it is; name another file, or remove it")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A journal that another process is writing.
    #[error("another job is writing the journal {path}; wait for it, or name another journal")]
    JournalInUse {
        /// The journal.
        path: PathBuf,
    },
    /// A report of failures would take the place of something else.
    #[error("{path} is no report of failures, and stays as it is; name another file for the report")]
    NotAReport {
        /// The file.
        path: PathBuf,
    },
    /// Embeddings of an unknown model.
    #[error(
        "{path} does not say which model made its embeddings; give the model's fingerprint with --fingerprint \
         (it stands in the manifest.json of the model's bundle)"
    )]
    MissingFingerprint {
        /// The file.
        path: PathBuf,
    },
    /// Embeddings of another model than the caller says.
    #[error("{path} holds embeddings of model {in_file}, but --fingerprint says {given}; one of them is wrong")]
    FingerprintMismatch {
        /// The file.
        path: PathBuf,
        /// What the file says.
        in_file: Fingerprint,
        /// What the caller says.
        given: Fingerprint,
    },
    /// Embeddings without names.
    #[error(
        "{path} has no array `image_ids`; give a text file with one image id a line, in the order of the rows, with \
         --ids"
    )]
    MissingImageIds {
        /// The file.
        path: PathBuf,
    },
    /// An embedding of another length than the file it is written to.
    #[error("the embedding of {image_id:?} has {dimension} values, the file takes {expected}")]
    WrongDimension {
        /// The image.
        image_id: String,
        /// Values given.
        dimension: usize,
        /// Values of every row of the file.
        expected: usize,
    },
}

impl IntakeError {
    /// For `map_err` on reading calls.
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Unreadable { path: path.to_owned(), source }
    }

    /// For `map_err` on writing calls.
    pub(crate) fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Unwritable { path: path.to_owned(), source }
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.into() }
    }
}
