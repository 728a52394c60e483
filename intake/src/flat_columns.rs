//! Columns of a Parquet file that hold one value a row, read as records.

use crate::IntakeError;
use crate::bounded_pages::BoundedPages;
use crate::record::Record;
use parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType, Int96};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use prost_types::Timestamp;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Name of the column, plain or of several fields, whose content becomes attributes.
const ATTRIBUTES: &str = "attributes";

/// Most columns of a table.
const MAX_COLUMNS: usize = 1000;

/// Longest text of a cell, in bytes.
const MAX_CELL_BYTES: usize = 1 << 20;

/// Longest texts of rows that are read at once, in bytes.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// Columns that are text by their meaning, also where a program wrote them as plain bytes.
const TEXT_COLUMNS: [&str; 8] =
    ["image_id", "person_id", "camera_id", ATTRIBUTES, "content_sha256", "track_id", "frame_id", "box"];

/// A column that [`FlatColumns`] can read.
#[derive(Debug, Clone)]
pub(crate) struct FlatLeaf {
    index: usize,
    name: String,
    /// A field of the column `attributes`.
    is_attribute: bool,
    kind: Kind,
}

impl FlatLeaf {
    /// The name of its column, with that of the column it is a field of.
    pub(crate) fn column(&self) -> String {
        if self.is_attribute { format!("{ATTRIBUTES}.{}", self.name) } else { self.name.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Unsigned,
    Day,
    Time(TimeUnit),
}

/// Opens a Parquet file of at most so many bytes.
///
/// # Errors
/// [`IntakeError::Unreadable`], [`IntakeError::TooLarge`] and [`IntakeError::Malformed`].
pub(crate) fn open_parquet(path: &Path, max_bytes: u64) -> Result<SerializedFileReader<File>, IntakeError> {
    let file = File::open(path).map_err(IntakeError::unreadable(path))?;
    let bytes = file.metadata().map_err(IntakeError::unreadable(path))?.len();
    if bytes > max_bytes {
        return Err(IntakeError::TooLarge { path: path.to_owned(), bytes, max_bytes });
    }
    let file = guarded(|| SerializedFileReader::new(file).map_err(fault))
        .map_err(|reason| IntakeError::malformed(path, format!("not a readable Parquet file: {reason}")))?;
    match unread_codec(file.metadata()) {
        None => Ok(file),
        Some(codec) => Err(IntakeError::malformed(
            path,
            format!(
                "its columns are compressed with {codec}, which is not read; write it with Snappy, Zstandard or gzip, \
                 such as df.to_parquet(path, compression=\"zstd\")"
            ),
        )),
    }
}

/// The compression of a column that cannot be read, where there is one.
fn unread_codec(metadata: &ParquetMetaData) -> Option<&'static str> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    columns.into_iter().find_map(|column| match column.compression() {
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZO => Some("LZO"),
        Compression::LZ4 | Compression::LZ4_RAW => Some("LZ4"),
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => None,
    })
}

/// Runs what may panic: the Parquet library asserts some properties of files that a damaged file lacks.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What the work left half done is not used again: every caller gives the file up on an error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the file is damaged".to_owned()))
}

/// For `map_err` on calls of the Parquet library.
pub(crate) fn fault(error: ParquetError) -> String {
    error.to_string()
}

/// Number of rows of a row group.
pub(crate) fn row_count(group: &RowGroupMetaData) -> Result<usize, String> {
    usize::try_from(group.num_rows()).map_err(|_| "the file is damaged: a row group of negative length".to_owned())
}

/// The columns of a table of metadata, where each one has to be usable.
///
/// # Errors
/// Names the column that is not.
pub(crate) fn leaves_of_table(schema: &SchemaDescriptor) -> Result<Vec<FlatLeaf>, String> {
    if schema.num_columns() > MAX_COLUMNS {
        return Err(format!("{} columns; at most {MAX_COLUMNS} are read", schema.num_columns()));
    }
    let leaves = schema.columns().iter().enumerate().map(|(index, column)| {
        flat_leaf(index, column).ok_or_else(|| {
            let name = column.path().string();
            format!("column {name:?} holds neither text, numbers, truth values nor times; leave it out")
        })
    });
    leaves.collect()
}

/// The column with this number, if it holds one text, number, truth value or time a row.
pub(crate) fn flat_leaf(index: usize, column: &ColumnDescriptor) -> Option<FlatLeaf> {
    let (name, is_attribute) = match column.path().parts() {
        [name] => (name, false),
        [parent, name] if parent == ATTRIBUTES => (name, true),
        _ => return None,
    };
    if column.max_rep_level() > 0 {
        return None;
    }
    let converted = column.converted_type();
    let logical = column.logical_type_ref();
    let unsigned = [ConvertedType::UINT_8, ConvertedType::UINT_16, ConvertedType::UINT_32, ConvertedType::UINT_64];
    if converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal(_))) {
        return None;
    }
    let kind = match column.physical_type() {
        Type::FIXED_LEN_BYTE_ARRAY => return None,
        Type::BOOLEAN | Type::FLOAT | Type::DOUBLE => Kind::Plain,
        Type::BYTE_ARRAY => {
            let is_text = [ConvertedType::UTF8, ConvertedType::ENUM, ConvertedType::JSON].contains(&converted)
                || matches!(logical, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json));
            if !is_text && !TEXT_COLUMNS.contains(&name.as_str()) {
                return None;
            }
            Kind::Plain
        }
        Type::INT96 => Kind::Time(TimeUnit::MILLIS),
        Type::INT32 | Type::INT64 => {
            if let Some(LogicalType::Timestamp(time)) = logical {
                Kind::Time(time.unit)
            } else if converted == ConvertedType::TIMESTAMP_MILLIS {
                Kind::Time(TimeUnit::MILLIS)
            } else if converted == ConvertedType::TIMESTAMP_MICROS {
                Kind::Time(TimeUnit::MICROS)
            } else if converted == ConvertedType::DATE || matches!(logical, Some(LogicalType::Date)) {
                Kind::Day
            } else if unsigned.contains(&converted) {
                Kind::Unsigned
            } else {
                Kind::Plain
            }
        }
    };
    Some(FlatLeaf { index, name: name.clone(), is_attribute, kind })
}

/// The flat columns of one row group, read side by side a few rows at a time.
pub(crate) struct FlatColumns {
    columns: Vec<FlatColumn>,
}

struct FlatColumn {
    leaf: FlatLeaf,
    max_definition: i16,
    reader: ColumnReader,
}

impl FlatColumns {
    pub(crate) fn open(file: &SerializedFileReader<File>, group: usize, leaves: &[FlatLeaf]) -> Result<Self, String> {
        let schema = file.metadata().file_metadata().schema_descr();
        let group = file.get_row_group(group).map_err(fault)?;
        let held_bytes = Arc::new(AtomicU64::new(0));
        let columns = leaves.iter().map(|leaf| -> Result<FlatColumn, String> {
            let column = schema.column(leaf.index);
            let max_definition = column.max_def_level();
            let pages = group.get_column_page_reader(leaf.index).map_err(fault)?;
            let pages = BoundedPages::new(pages, Arc::clone(&held_bytes));
            let reader = get_column_reader(column, Box::new(pages));
            Ok(FlatColumn { leaf: leaf.clone(), max_definition, reader })
        });
        Ok(Self { columns: columns.collect::<Result<_, String>>()? })
    }

    /// The next `count` rows, of at most 256 MiB of text together; times become RFC 3339 text, absent values are left out.
    pub(crate) fn read(&mut self, count: usize) -> Result<Vec<Record>, String> {
        let mut records = vec![Record::new(); count];
        let bytes_left = Cell::new(MAX_BATCH_BYTES);
        for column in &mut self.columns {
            let values =
                column.read(count, &bytes_left).map_err(|reason| format!("column {:?}: {reason}", column.leaf.name))?;
            for (record, value) in records.iter_mut().zip(values) {
                if value.is_null() {
                    continue;
                }
                if column.leaf.is_attribute {
                    let attributes = record.entry(ATTRIBUTES).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(attributes) = attributes {
                        attributes.insert(column.leaf.name.clone(), value);
                    }
                } else {
                    record.insert(column.leaf.name.clone(), value);
                }
            }
        }
        Ok(records)
    }
}

impl FlatColumn {
    fn read(&mut self, count: usize, bytes_left: &Cell<usize>) -> Result<Vec<Value>, String> {
        let (max, kind) = (self.max_definition, self.leaf.kind);
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                values(reader, max, count, |&value: &bool| Ok(Value::from(value)))
            }
            ColumnReader::Int32ColumnReader(reader) => values(reader, max, count, |&value: &i32| match kind {
                Kind::Unsigned => Ok(Value::from(value.cast_unsigned())),
                Kind::Plain | Kind::Day | Kind::Time(_) => Ok(whole(i64::from(value), kind)),
            }),
            ColumnReader::Int64ColumnReader(reader) => {
                values(reader, max, count, |&value: &i64| Ok(whole(value, kind)))
            }
            ColumnReader::Int96ColumnReader(reader) => {
                values(reader, max, count, |value: &Int96| Ok(whole(value.to_millis(), kind)))
            }
            // Through text, because 0.1 as a float is 0.10000000149 as a double.
            ColumnReader::FloatColumnReader(reader) => values(reader, max, count, |&value: &f32| {
                Ok(if value.is_finite() { Value::from(value.to_string()) } else { Value::Null })
            }),
            ColumnReader::DoubleColumnReader(reader) => values(reader, max, count, |&value: &f64| {
                Ok(if value.is_finite() { Value::from(value.to_string()) } else { Value::Null })
            }),
            ColumnReader::ByteArrayColumnReader(reader) => {
                values(reader, max, count, |value: &ByteArray| text_of(value, bytes_left))
            }
            ColumnReader::FixedLenByteArrayColumnReader(_) => Err("bytes are no text".to_owned()),
        }
    }
}

/// The text of a cell.
fn text_of(value: &ByteArray, bytes_left: &Cell<usize>) -> Result<Value, String> {
    if value.len() > MAX_CELL_BYTES {
        return Err(format!("a cell has {} bytes, at most {MAX_CELL_BYTES} are read", value.len()));
    }
    // Many rows may share one text of a dictionary, and each has it for itself here.
    let too_much = || format!("some rows have over {MAX_BATCH_BYTES} bytes of text together");
    bytes_left.set(bytes_left.get().checked_sub(value.len()).ok_or_else(too_much)?);
    value.as_utf8().map(Value::from).map_err(fault)
}

fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    max_definition: i16,
    count: usize,
    convert: impl Fn(&T::T) -> Result<Value, String>,
) -> Result<Vec<Value>, String> {
    let mut definitions: Vec<i16> = Vec::new();
    let mut present: Vec<T::T> = Vec::new();
    let (rows, _, _) = reader.read_records(count, Some(&mut definitions), None, &mut present).map_err(fault)?;
    if rows != count {
        return Err(format!("ends {} rows early", count - rows.min(count)));
    }
    if max_definition == 0 {
        return present.iter().map(convert).collect();
    }
    let mut present = present.iter();
    let value = |&definition: &i16| {
        let value = if definition == max_definition { present.next() } else { None };
        value.map_or(Ok(Value::Null), &convert)
    };
    definitions.iter().map(value).collect()
}

fn whole(value: i64, kind: Kind) -> Value {
    let (seconds, nanos) = match kind {
        Kind::Plain => return Value::from(value),
        Kind::Unsigned => return Value::from(value.cast_unsigned()),
        Kind::Day => {
            let time = time_text(value.saturating_mul(86_400), 0);
            return Value::from(time.split('T').next().unwrap_or_default());
        }
        Kind::Time(TimeUnit::MILLIS) => (value.div_euclid(1000), value.rem_euclid(1000) * 1_000_000),
        Kind::Time(TimeUnit::MICROS) => (value.div_euclid(1_000_000), value.rem_euclid(1_000_000) * 1000),
        Kind::Time(TimeUnit::NANOS) => (value.div_euclid(1_000_000_000), value.rem_euclid(1_000_000_000)),
    };
    Value::from(time_text(seconds, nanos as i32))
}

fn time_text(seconds: i64, nanos: i32) -> String {
    Timestamp { seconds, nanos }.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
