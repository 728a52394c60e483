//! The column of a Parquet file that holds a list of numbers a row.

use crate::embedding_file::MAX_DIMENSION;
use crate::flat_columns::fault;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, DoubleType, FloatType};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;

/// Name of the column.
const EMBEDDING: &str = "embedding";

/// Where the embeddings' numbers are, and how lists and absent ones are told apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmbeddingLeaf {
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
pub(crate) fn embedding_leaf(schema: &SchemaDescriptor) -> Result<EmbeddingLeaf, String> {
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
pub(crate) struct EmbeddingColumn {
    leaf: EmbeddingLeaf,
    reader: Reader,
}

enum Reader {
    Float(ColumnReaderImpl<FloatType>),
    Double(ColumnReaderImpl<DoubleType>),
}

impl EmbeddingColumn {
    pub(crate) fn open(file: &SerializedFileReader<File>, group: usize, leaf: EmbeddingLeaf) -> Result<Self, String> {
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
    pub(crate) fn read(&mut self, count: usize) -> Result<Vec<Vec<f32>>, String> {
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
