//! Embeddings in a NumPy archive.

use crate::IntakeError;
use crate::npy_array::{NpyArchive, NpyArray};
use crate::npy_header::{ElementKind, NpyHeader};
use crate::record::{EmbeddingRecord, MAX_DIMENSION, Record};
use crate::text_lines::TextLines;
use serde_json::Value;
use std::path::Path;

/// Largest list of image ids, in bytes.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// Names that the array of embeddings may have; `descry embed` writes the first.
const EMBEDDING_ARRAYS: [&str; 2] = ["images", "embeddings"];

/// Array of image ids, in the order of the rows.
const IMAGE_ID_ARRAY: &str = "image_ids";

/// Array of one text, the model's fingerprint.
const FINGERPRINT_ARRAY: &str = "fingerprint";

/// The rows of the archive's embeddings and image ids, side by side.
pub(crate) struct NpzRows {
    embeddings: NpyArray,
    image_ids: ImageIds,
    rows_left: u64,
    /// Number of rows.
    pub(crate) total: u64,
    /// Values of a row.
    pub(crate) dimension: usize,
    /// What the archive says of the model.
    pub(crate) fingerprint: Option<String>,
}

enum ImageIds {
    Array(NpyArray),
    Listed(std::vec::IntoIter<String>),
}

impl ImageIds {
    fn next_id(&mut self) -> Result<String, String> {
        match self {
            Self::Array(array) => array.text(),
            Self::Listed(lines) => Ok(lines.next().unwrap_or_default()),
        }
    }
}

impl NpzRows {
    /// Opens an archive; `image_ids` is a text file with one id a line that stands for the array of ids.
    pub(crate) fn open(path: &Path, image_ids: Option<&Path>) -> Result<Self, IntakeError> {
        let fault = |reason: String| IntakeError::malformed(path, reason);
        let mut archive = NpyArchive::open(path).map_err(fault)?;
        let mut embeddings = None;
        for name in EMBEDDING_ARRAYS {
            if embeddings.is_none() {
                embeddings = archive.array(name).map_err(fault)?;
            }
        }
        let Some(embeddings) = embeddings else {
            return Err(fault("no array `images` or `embeddings`; save embeddings as one of them".to_owned()));
        };
        let (total, dimension) = embedding_shape(&embeddings.header).map_err(fault)?;
        let (image_ids, ids) = match image_ids {
            Some(list) => {
                let lines = TextLines::open(list, MAX_LIST_BYTES)?.map(|line| line.map(|(_, image_id)| image_id));
                let lines = lines.collect::<Result<Vec<_>, IntakeError>>()?;
                let ids = lines.len() as u64;
                (ImageIds::Listed(lines.into_iter()), ids)
            }
            None => {
                let missing = || IntakeError::MissingImageIds { path: path.to_owned() };
                let array = archive.array(IMAGE_ID_ARRAY).map_err(fault)?.ok_or_else(missing)?;
                let &[ids] = array.header.shape.as_slice() else {
                    return Err(fault("array `image_ids` must have one axis".to_owned()));
                };
                (ImageIds::Array(array), ids)
            }
        };
        if ids != total {
            return Err(fault(format!("{total} embeddings but {ids} image ids; give one for each, in their order")));
        }
        let fingerprint = archive.array(FINGERPRINT_ARRAY).map_err(fault)?;
        let fingerprint = fingerprint.map(|mut array| one_text(&mut array)).transpose();
        let fingerprint = fingerprint.map_err(|reason| fault(format!("array `fingerprint`: {reason}")))?;
        Ok(Self { embeddings, image_ids, rows_left: total, total, dimension, fingerprint })
    }

    /// The image ids of all rows, for a reader of which nothing has been read. Ends where the file is damaged.
    pub(crate) fn into_image_ids(mut self) -> impl Iterator<Item = String> {
        (0..self.total).map_while(move |_| self.image_ids.next_id().ok())
    }

    /// The next row, or `None` behind the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<EmbeddingRecord>, String> {
        if self.rows_left == 0 {
            return Ok(None);
        }
        self.rows_left -= 1;
        let values = self.embeddings.floats(self.dimension)?;
        let image_id = self.image_ids.next_id()?;
        let record = Record::from_iter([("image_id".to_owned(), Value::from(image_id))]);
        Ok(Some(EmbeddingRecord { record, values }))
    }
}

fn embedding_shape(header: &NpyHeader) -> Result<(u64, usize), String> {
    if !matches!(header.kind, ElementKind::Float16 | ElementKind::Float32 | ElementKind::Float64) {
        return Err("the array of embeddings holds texts; save numbers as np.float32".to_owned());
    }
    let &[rows, dimension] = header.shape.as_slice() else {
        return Err(format!("embeddings must have the shape [rows, dimension], found {:?}", header.shape));
    };
    if header.is_fortran && rows > 1 && dimension > 1 {
        return Err("embeddings lie in columns; save np.ascontiguousarray(embeddings)".to_owned());
    }
    match usize::try_from(dimension) {
        Ok(dimension) if (1..=MAX_DIMENSION).contains(&dimension) => Ok((rows, dimension)),
        Ok(_) | Err(_) => Err(format!("{dimension} values a row; from 1 to {MAX_DIMENSION} are read")),
    }
}

fn one_text(array: &mut NpyArray) -> Result<String, String> {
    match array.header.shape.as_slice() {
        [] | [1] => array.text(),
        shape => Err(format!("expected one text, found the shape {shape:?}")),
    }
}
