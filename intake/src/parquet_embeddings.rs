//! Embeddings in a Parquet file.

use crate::IntakeError;
use crate::embedding_column::{EmbeddingColumn, EmbeddingLeaf, embedding_leaf};
use crate::embedding_file::{MAX_DIMENSION, RawRow};
use crate::flat_columns::{FlatColumns, FlatLeaf, flat_leaf, guarded, open_parquet, row_count};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use std::fs::File;
use std::path::Path;

/// Keys of the file's own metadata, as [`GalleryFile`](crate::GalleryFile) writes them.
pub(crate) const FINGERPRINT_KEY: &str = "descry.fingerprint";
pub(crate) const GALLERY_KEY: &str = "descry.gallery";
pub(crate) const DIMENSION_KEY: &str = "descry.dimension";

/// Rows read at once. Row groups may be of any size: no more than this of them, and a page of each column, is in memory.
const BATCH_ROWS: usize = 1024;

/// The rows of the file.
pub(crate) struct ParquetRows {
    file: SerializedFileReader<File>,
    embedding: EmbeddingLeaf,
    leaves: Vec<FlatLeaf>,
    next_group: usize,
    group: Option<Group>,
    batch: std::vec::IntoIter<RawRow>,
    /// Number of rows.
    pub(crate) total: u64,
    /// Values of a row.
    pub(crate) dimension: usize,
}

/// A row group being read.
struct Group {
    rows_left: usize,
    embeddings: EmbeddingColumn,
    columns: FlatColumns,
}

impl ParquetRows {
    pub(crate) fn open(path: &Path) -> Result<Self, IntakeError> {
        let fault = |reason: String| IntakeError::malformed(path, reason);
        let file = open_parquet(path)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let embedding = embedding_leaf(schema).map_err(fault)?;
        // Columns of other types are left out: tables of embeddings often carry the images beside them.
        let leaves: Vec<_> =
            schema.columns().iter().enumerate().filter_map(|(index, column)| flat_leaf(index, column)).collect();
        let mut total = 0_u64;
        for group in file.metadata().row_groups() {
            total = total.saturating_add(row_count(group).map_err(fault)? as u64);
        }
        let batch = Vec::new().into_iter();
        let mut rows = Self { file, embedding, leaves, next_group: 0, group: None, batch, total, dimension: 0 };
        rows.dimension = guarded(|| rows.find_dimension()).map_err(fault)?;
        Ok(rows)
    }

    /// A text of the file's own metadata.
    pub(crate) fn note(&self, key: &str) -> Option<&str> {
        let notes = self.file.metadata().file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == key)?.value.as_deref()
    }

    /// What the file says, or the length of the first embedding that is not empty.
    fn find_dimension(&self) -> Result<usize, String> {
        let mut dimension = self.note(DIMENSION_KEY).and_then(|text| text.parse::<usize>().ok());
        for (index, group) in self.file.metadata().row_groups().iter().enumerate() {
            let count = row_count(group)?.min(BATCH_ROWS);
            if dimension.is_none() && count > 0 {
                let rows = EmbeddingColumn::open(&self.file, index, self.embedding)?.read(count)?;
                dimension = rows.iter().map(Vec::len).find(|&length| length > 0);
            }
        }
        match dimension {
            Some(dimension) if (1..=MAX_DIMENSION).contains(&dimension) => Ok(dimension),
            Some(dimension) => Err(format!("{dimension} values a row; from 1 to {MAX_DIMENSION} are read")),
            None => Err("column `embedding` is empty".to_owned()),
        }
    }

    /// The next row, or `None` behind the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, String> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            if !guarded(|| self.read_batch())? {
                return Ok(None);
            }
        }
    }

    /// Whether there is another batch, which may be empty.
    fn read_batch(&mut self) -> Result<bool, String> {
        let Some(mut group) = self.group.take() else {
            let index = self.next_group;
            if index >= self.file.num_row_groups() {
                return Ok(false);
            }
            self.next_group += 1;
            self.group = Some(Group {
                rows_left: row_count(self.file.metadata().row_group(index))?,
                embeddings: EmbeddingColumn::open(&self.file, index, self.embedding)?,
                columns: FlatColumns::open(&self.file, index, &self.leaves)?,
            });
            return Ok(true);
        };
        let count = group.rows_left.min(BATCH_ROWS);
        if count == 0 {
            return Ok(true);
        }
        let (embeddings, records) = (group.embeddings.read(count)?, group.columns.read(count)?);
        let rows = embeddings.into_iter().zip(records).map(|(values, record)| RawRow { record, values });
        self.batch = rows.collect::<Vec<_>>().into_iter();
        group.rows_left -= count;
        self.group = Some(group);
        Ok(true)
    }
}
