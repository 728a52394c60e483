//! A whole gallery's embeddings in one Parquet file.

use crate::parquet_embeddings::{DIMENSION_KEY, FINGERPRINT_KEY, GALLERY_KEY};
use crate::partial_file::PartialFile;
use crate::{CropBox, EmbeddingRow, IntakeError};
use descry_model::Fingerprint;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The columns, in the order in which [`write_group`] fills them.
const SCHEMA: &str = "
message descry_gallery {
  required binary image_id (STRING);
  required group embedding (LIST) { repeated group list { required float element; } }
  optional binary person_id (STRING);
  optional binary camera_id (STRING);
  optional int64 captured_at_ms;
  optional binary attributes (STRING);
  optional binary content_sha256 (STRING);
  optional binary track_id (STRING);
  optional binary frame_id (STRING);
  optional binary box (STRING);
}";

/// Rows of a row group: some 16 MB of embeddings, which a reader may hold at once.
const GROUP_ROWS: usize = 8192;

/// What a gallery file says of all its rows.
#[derive(Debug, Clone)]
pub struct GalleryFileHeader {
    /// The model that made the embeddings.
    pub fingerprint: Fingerprint,
    /// Values of each embedding.
    pub dimension: usize,
    /// The gallery's settings, as the caller wants them back.
    pub gallery_json: String,
}

/// Writes a Parquet file that [`EmbeddingFile`](crate::EmbeddingFile) and every Parquet reader understand. It appears
/// under its name when it is finished; dropped before, nothing stays.
pub struct GalleryFile {
    writer: SerializedFileWriter<File>,
    pending: Vec<EmbeddingRow>,
    dimension: usize,
    rows: u64,
    partial: PartialFile,
}

impl GalleryFile {
    /// Begins a file.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`].
    pub fn create(path: &Path, header: GalleryFileHeader) -> Result<Self, IntakeError> {
        let GalleryFileHeader { fingerprint, dimension, gallery_json } = header;
        let (partial, file) = PartialFile::create(path)?;
        let notes = vec![
            KeyValue::new(FINGERPRINT_KEY.to_owned(), fingerprint.to_string()),
            KeyValue::new(DIMENSION_KEY.to_owned(), dimension.to_string()),
            KeyValue::new(GALLERY_KEY.to_owned(), gallery_json),
        ];
        let element = ColumnPath::from(["embedding", "list", "element"].map(str::to_owned).to_vec());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // No two embeddings share values, so neither a dictionary nor their range helps anybody.
            .set_column_dictionary_enabled(element.clone(), false)
            .set_column_statistics_enabled(element, EnabledStatistics::None)
            .set_key_value_metadata(Some(notes))
            .build();
        let writer = parse_message_type(SCHEMA)
            .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)))
            .map_err(unwritable(path))?;
        Ok(Self { writer, pending: Vec::new(), dimension, rows: 0, partial })
    }

    /// Adds rows. They are collected until a row group is full.
    ///
    /// # Errors
    /// [`IntakeError::WrongDimension`] names the image; none of the rows is added then. [`IntakeError::Unwritable`].
    pub fn write(&mut self, rows: &[EmbeddingRow]) -> Result<(), IntakeError> {
        if let Some(row) = rows.iter().find(|row| row.values.len() != self.dimension) {
            let (image_id, dimension) = (row.image_id.clone(), row.values.len());
            return Err(IntakeError::WrongDimension { image_id, dimension, expected: self.dimension });
        }
        for row in rows {
            self.pending.push(row.clone());
            if self.pending.len() == GROUP_ROWS {
                self.write_pending()?;
            }
        }
        Ok(())
    }

    /// Completes the file and gives it its name. Returns the number of its rows.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`].
    pub fn finish(mut self) -> Result<u64, IntakeError> {
        self.write_pending()?;
        let file = self.writer.into_inner().map_err(unwritable(self.partial.path()))?;
        self.partial.publish(file)?;
        Ok(self.rows)
    }

    fn write_pending(&mut self) -> Result<(), IntakeError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.writer.next_row_group().and_then(|group| write_group(group, &self.pending));
        written.map_err(unwritable(self.partial.path()))?;
        self.rows += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// Writes the columns of [`SCHEMA`] one after another.
fn write_group(mut group: SerializedRowGroupWriter<'_, File>, rows: &[EmbeddingRow]) -> Result<(), ParquetError> {
    let image_ids: Vec<ByteArray> = rows.iter().map(|row| row.image_id.as_str().into()).collect();
    write_column::<ByteArrayType>(&mut group, &image_ids, None, None)?;

    let (mut values, mut definitions, mut repetitions) = (Vec::<f32>::new(), Vec::<i16>::new(), Vec::<i16>::new());
    for row in rows {
        values.extend_from_slice(&row.values);
        // An empty list takes one place without a value.
        for place in 0..row.values.len().max(1) {
            definitions.push(i16::from(!row.values.is_empty()));
            repetitions.push(i16::from(place > 0));
        }
    }
    write_column::<FloatType>(&mut group, &values, Some(&definitions), Some(&repetitions))?;

    write_texts(&mut group, rows.iter().map(|row| row.metadata.person_id.as_deref()))?;
    write_texts(&mut group, rows.iter().map(|row| row.metadata.camera_id.as_deref()))?;
    write_optional::<Int64Type>(&mut group, rows.iter().map(|row| row.metadata.captured_at_ms))?;
    let attributes = rows.iter().map(|row| &row.metadata.attributes);
    let attributes = attributes
        .map(|attributes| if attributes.is_empty() { Ok(None) } else { serde_json::to_string(attributes).map(Some) });
    let attributes: Vec<Option<String>> = attributes
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| ParquetError::External(Box::new(error)))?;
    write_texts(&mut group, attributes.iter().map(Option::as_deref))?;
    write_texts(&mut group, rows.iter().map(|row| row.content_sha256.as_deref()))?;
    write_texts(&mut group, rows.iter().map(|row| row.metadata.track_id.as_deref()))?;
    write_texts(&mut group, rows.iter().map(|row| row.metadata.frame_id.as_deref()))?;
    let boxes: Vec<_> = rows.iter().map(|row| row.metadata.crop_box.map(CropBox::to_json)).collect();
    write_texts(&mut group, boxes.iter().map(Option::as_deref))?;
    group.close()?;
    Ok(())
}

fn write_texts<'a>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> Result<(), ParquetError> {
    write_optional::<ByteArrayType>(group, texts.map(|text| text.map(ByteArray::from)))
}

fn write_optional<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    cells: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut values, mut definitions) = (Vec::<T::T>::new(), Vec::<i16>::new());
    for cell in cells {
        definitions.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    write_column::<T>(group, &values, Some(&definitions), None)
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()
}

fn unwritable(path: &Path) -> impl FnOnce(ParquetError) -> IntakeError {
    move |error| IntakeError::Unwritable { path: path.to_owned(), source: io::Error::other(error) }
}
