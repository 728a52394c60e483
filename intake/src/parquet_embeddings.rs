//! Embeddings in a Parquet file.

use crate::IntakeError;
use crate::flat_columns::{FlatColumns, FlatLeaf, fault, flat_leaf, guarded, open_parquet, row_count};
use crate::record::{EmbeddingRecord, IMAGE_ID, MAX_DIMENSION, take_image_id};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, DoubleType, FloatType};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
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
    batch: std::vec::IntoIter<EmbeddingRecord>,
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
        let file = open_parquet(path, u64::MAX)?;
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

    /// The image ids of all rows, some at once. Ends where the file is damaged.
    pub(crate) fn image_ids(&self) -> impl Iterator<Item = String> {
        let leaves: Vec<_> = self.leaves.iter().filter(|leaf| leaf.column() == IMAGE_ID).cloned().collect();
        let groups = (0..self.file.num_row_groups()).map_while(move |index| {
            let rows = row_count(self.file.metadata().row_group(index)).ok()?;
            let columns = guarded(|| FlatColumns::open(&self.file, index, &leaves)).ok()?;
            Some(GroupIds { columns, rows_left: rows })
        });
        groups.flatten().flatten()
    }

    /// The next row, or `None` behind the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<EmbeddingRecord>, String> {
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
        let rows = embeddings.into_iter().zip(records).map(|(values, record)| EmbeddingRecord { record, values });
        self.batch = rows.collect::<Vec<_>>().into_iter();
        group.rows_left -= count;
        self.group = Some(group);
        Ok(true)
    }
}

/// The image ids of a row group, in batches.
struct GroupIds {
    columns: FlatColumns,
    rows_left: usize,
}

impl Iterator for GroupIds {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        let count = self.rows_left.min(BATCH_ROWS);
        if count == 0 {
            return None;
        }
        self.rows_left -= count;
        let records = guarded(|| self.columns.read(count)).ok()?;
        // Rows without an id count, too.
        let id = |mut record| take_image_id(&mut record, IMAGE_ID).unwrap_or_default();
        Some(records.into_iter().map(id).collect())
    }
}

/// Name of the column.
const EMBEDDING: &str = "embedding";

/// Where the embeddings' numbers are, and how lists and absent ones are told apart.
#[derive(Debug, Clone, Copy)]
struct EmbeddingLeaf {
    index: usize,
    /// Definition level of a number.
    value: i16,
    /// Definition level from which there is an element, be it a number or null.
    element: i16,
}

/// Finds the column in a schema.
///
/// # Errors
/// Says what is there instead.
fn embedding_leaf(schema: &SchemaDescriptor) -> Result<EmbeddingLeaf, String> {
    let is_embedding = |name: Option<&String>| name.is_some_and(|name| name == EMBEDDING);
    let mut leaves =
        schema.columns().iter().enumerate().filter(|(_, column)| is_embedding(column.path().parts().first()));
    let (Some((index, column)), None) = (leaves.next(), leaves.next()) else {
        return Err("no column `embedding` with a list of numbers in each row".to_owned());
    };
    if column.max_rep_level() != 1 {
        return Err("column `embedding` must hold one list of numbers in each row".to_owned());
    }
    let (value, element) = (column.max_def_level(), column.repeated_ancestor_def_level());
    Ok(EmbeddingLeaf { index, value, element })
}

/// The embeddings of one row group, read a few rows at a time.
struct EmbeddingColumn {
    leaf: EmbeddingLeaf,
    reader: Reader,
}

enum Reader {
    Float(ColumnReaderImpl<FloatType>),
    Double(ColumnReaderImpl<DoubleType>),
}

impl EmbeddingColumn {
    fn open(file: &SerializedFileReader<File>, group: usize, leaf: EmbeddingLeaf) -> Result<Self, String> {
        let rows = file.metadata().row_group(group).num_rows();
        let values = file.metadata().row_group(group).column(leaf.index).num_values();
        if values > rows.saturating_mul(MAX_DIMENSION as i64) {
            return Err(format!("column `embedding` has more than {MAX_DIMENSION} values in a row"));
        }
        let group = file.get_row_group(group).map_err(fault)?;
        let reader = match group.get_column_reader(leaf.index).map_err(fault)? {
            ColumnReader::FloatColumnReader(reader) => Reader::Float(reader),
            ColumnReader::DoubleColumnReader(reader) => Reader::Double(reader),
            ColumnReader::BoolColumnReader(_)
            | ColumnReader::Int32ColumnReader(_)
            | ColumnReader::Int64ColumnReader(_)
            | ColumnReader::Int96ColumnReader(_)
            | ColumnReader::ByteArrayColumnReader(_)
            | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err("column `embedding` must hold lists of float32 or float64".to_owned());
            }
        };
        Ok(Self { leaf, reader })
    }

    /// The next `count` rows. A null within a row becomes NaN, an absent row an empty one.
    fn read(&mut self, count: usize) -> Result<Vec<Vec<f32>>, String> {
        match &mut self.reader {
            Reader::Float(reader) => lists(reader, self.leaf, count, |&value: &f32| value),
            Reader::Double(reader) => lists(reader, self.leaf, count, |&value: &f64| value as f32),
        }
    }
}

fn lists<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    leaf: EmbeddingLeaf,
    count: usize,
    convert: impl Fn(&T::T) -> f32,
) -> Result<Vec<Vec<f32>>, String> {
    let (mut definitions, mut repetitions): (Vec<i16>, Vec<i16>) = (Vec::new(), Vec::new());
    let mut values: Vec<T::T> = Vec::new();
    let (rows, _, _) =
        reader.read_records(count, Some(&mut definitions), Some(&mut repetitions), &mut values).map_err(fault)?;
    if rows != count {
        return Err(format!("column `embedding` ends {} rows early", count - rows.min(count)));
    }
    let mut lists: Vec<Vec<f32>> = Vec::with_capacity(count);
    let values_per_row = values.len() / count.max(1);
    let mut values = values.iter().map(convert);
    for (&repetition, &definition) in repetitions.iter().zip(&definitions) {
        if repetition == 0 {
            lists.push(Vec::with_capacity(values_per_row));
        }
        let Some(list) = lists.last_mut() else {
            return Err("column `embedding` begins inside a list; the file is damaged".to_owned());
        };
        if definition == leaf.value {
            list.extend(values.next());
        } else if definition >= leaf.element {
            list.push(f32::NAN);
        }
    }
    Ok(lists)
}
