//! Everything that can go wrong with a data set and the embeddings made from it.

use std::fmt;
use std::path::PathBuf;

/// Why a data set cannot be read or its embeddings cannot be scored.
///
/// Entries of an annotation file are numbered from 0, as are rows of embeddings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A layout name that is none of the known ones.
    #[error("unknown data set layout {name:?}; known are {known}")]
    UnknownLayout {
        /// The name given.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// The data set's root is not there, or not a folder.
    #[error("{root} is not a folder; give the data set's folder or its parent")]
    NotAFolder {
        /// The root given.
        root: PathBuf,
    },
    /// No annotation file under the root.
    #[error("no {annotation_file} in {root}, in {root}/{published_folder} or in any other direct subfolder of it")]
    MissingAnnotation {
        /// The root given.
        root: PathBuf,
        /// Name of the file that the layout calls for.
        annotation_file: &'static str,
        /// Name under which the data set is published.
        published_folder: &'static str,
    },
    /// Several data sets under one root.
    #[error("several folders in {root} hold a {annotation_file}: {}; name one of them", folders.join(", "))]
    AmbiguousRoot {
        /// The root given.
        root: PathBuf,
        /// Name of the file that the layout calls for.
        annotation_file: &'static str,
        /// Names of the folders that hold it, sorted.
        folders: Vec<String>,
    },
    /// Image files of a split that are not on disk.
    #[error("{count} images of the split are missing, the first: {first}")]
    MissingImages {
        /// How many.
        count: usize,
        /// Where the first of them should be.
        first: PathBuf,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An annotation file in another encoding.
    #[error("{path} cannot be read: {reason}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// An annotation file that is not a JSON list.
    #[error("{path}: {source}; expected a JSON list of objects, each with {expected}")]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// Fields that every entry needs.
        expected: &'static str,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// An entry that lacks a field, holds one of another type, or is not valid JSON.
    #[error("{path}, entry {entry}: {source}; expected an object with {expected}")]
    MalformedEntry {
        /// The file.
        path: PathBuf,
        /// Number of the entry, from 0.
        entry: usize,
        /// Fields that every entry needs.
        expected: &'static str,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// An image path that leads out of the data set, or nowhere.
    #[error(
        "{path}, entry {entry}: image path {image:?} is refused; expected a relative path inside imgs/ without `..`"
    )]
    EscapingPath {
        /// The file.
        path: PathBuf,
        /// Number of the entry, from 0.
        entry: usize,
        /// The image as the entry names it.
        image: String,
    },
    /// A split that no entry belongs to.
    #[error("no split {split:?} in {path}; it has {}", list_splits(available))]
    UnknownSplit {
        /// The file.
        path: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits that exist, in order of first appearance.
        available: Vec<SplitSize>,
    },
    /// Embeddings and identities that do not pair up.
    #[error("{embeddings} {side} embeddings but {identities} {side} identities")]
    LengthMismatch {
        /// Which side is wrong.
        side: EmbeddingSide,
        /// Rows of embeddings.
        embeddings: usize,
        /// Identities given.
        identities: usize,
    },
    /// Captions and images that were not embedded by the same model.
    #[error("caption embeddings have {captions} dimensions, image embeddings {images}; were both made by one model?")]
    DimensionMismatch {
        /// Columns of the caption embeddings.
        captions: usize,
        /// Columns of the image embeddings.
        images: usize,
    },
    /// A row that has no cosine by dot product: not normalised, NaN or infinite.
    #[error("{side} embedding {row} has length {length}, expected 1; embeddings must be finite and L2-normalised")]
    NotUnitLength {
        /// Which side is wrong.
        side: EmbeddingSide,
        /// Number of the row, from 0.
        row: usize,
        /// Euclidean length found; NaN when the row holds one.
        length: f64,
    },
    /// No captions or no images.
    #[error("nothing to score: {queries} captions against {gallery} images")]
    NothingToScore {
        /// Captions given.
        queries: usize,
        /// Images given.
        gallery: usize,
    },
    /// Not one caption whose identity is in the gallery.
    #[error(
        "none of the {queries} captions has an image of its identity among the {gallery} images; \
         do both come from the same split?"
    )]
    NothingMatches {
        /// Captions given.
        queries: usize,
        /// Images given.
        gallery: usize,
    },
}

/// The two sides of retrieval, to say which array is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingSide {
    /// The queries.
    Caption,
    /// The gallery.
    Image,
}

impl fmt::Display for EmbeddingSide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Caption => "caption",
            Self::Image => "image",
        })
    }
}

/// A split that an annotation file has, offered where another was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSize {
    /// Name of the split.
    pub name: String,
    /// Number of its images.
    pub images: usize,
}

fn list_splits(available: &[SplitSize]) -> String {
    if available.is_empty() {
        return "no entries at all".to_owned();
    }
    let splits: Vec<String> =
        available.iter().map(|split| format!("{} ({} images)", split.name, split.images)).collect();
    splits.join(", ")
}
