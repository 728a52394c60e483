use super::*;
use crate::{KnownMetadata, read_metadata, read_metadata_table};
use parquet::basic::{BrotliLevel, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::{ColumnChunkMetaData, FileMetaData};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

/// Writes a file of one row group.
pub(crate) fn write(path: &Path, schema: &str, fill: impl FnOnce(&mut SerializedRowGroupWriter<'_, File>)) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    fill(&mut group);
    group.close().unwrap();
    writer.close().unwrap();
}

/// Writes the next column of a row group: its values, and at which rows there is one.
pub(crate) fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    definitions: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, definitions, None).unwrap();
    column.close().unwrap();
}

#[test]
fn a_table_says_what_records_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.parquet");
    let schema = "message m { required binary image_id (STRING); optional binary person_id;
        optional int64 captured_at (TIMESTAMP(MICROS,true)); optional int32 lane; optional boolean wet;
        optional double speed; optional int32 day (DATE);
        optional group attributes { optional binary weather (STRING); } }";
    write(&path, schema, |group| {
        column::<ByteArrayType>(group, &["a.jpg".into(), "b.jpg".into()], None);
        column::<ByteArrayType>(group, &["7".into()], Some(&[1, 0]));
        column::<Int64Type>(group, &[1_777_638_600_250_000], Some(&[1, 0]));
        column::<Int32Type>(group, &[-3], Some(&[1, 0]));
        column::<BoolType>(group, &[true], Some(&[1, 0]));
        column::<DoubleType>(group, &[0.5, f64::NAN], Some(&[1, 1]));
        column::<Int32Type>(group, &[365], Some(&[1, 0]));
        column::<ByteArrayType>(group, &["rain".into()], Some(&[2, 0]));
    });
    let records = read_metadata(&path).unwrap();
    assert_eq!(records["b.jpg"], KnownMetadata::default());
    let known = &records["a.jpg"];
    assert_eq!(known.person_id.as_deref(), Some("7"));
    assert_eq!(known.captured_at_ms, Some(1_777_638_600_250));
    let attributes: Vec<(&str, &str)> = known.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected = [("day", "1971-01-01"), ("lane", "-3"), ("speed", "0.5"), ("weather", "rain"), ("wet", "true")];
    assert_eq!(attributes, expected);
}

#[test]
fn unusable_columns_and_damage_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.parquet");
    write(&path, "message m { required binary image_id (STRING); required binary pixels; }", |group| {
        column::<ByteArrayType>(group, &["a.jpg".into()], None);
        column::<ByteArrayType>(group, &["x".into()], None);
    });
    assert!(read_metadata(&path).unwrap_err().to_string().contains("pixels"));
    write(&path, "message m { required binary image_id (STRING); }", |group| {
        column::<ByteArrayType>(group, &["a.jpg".into(), "a.jpg".into()], None);
    });
    assert!(matches!(read_metadata(&path), Err(IntakeError::DuplicateRecord { line: 2, .. })));
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[4..40] {
        *byte = 0xff;
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(read_metadata(&path).is_err());
}

/// `DataFrame.to_parquet` writes an index that has no name under this one.
#[test]
fn row_numbers_of_pandas_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.parquet");
    let schema =
        "message m { required binary image_id (STRING); optional int64 index; optional int64 __index_level_0__; }";
    write(&path, schema, |group| {
        column::<ByteArrayType>(group, &["a.jpg".into(), "b.jpg".into()], None);
        column::<Int64Type>(group, &[0, 1], Some(&[1, 1]));
        column::<Int64Type>(group, &[7, 9], Some(&[1, 1]));
    });
    let table = read_metadata_table(&path).unwrap();
    assert!(table.by_id["b.jpg"].attributes.is_empty(), "{:?}", table.by_id);
    assert_eq!(table.notes.len(), 2, "{:?}", table.notes);
    write(&path, "message m { required binary image_id (STRING); optional int64 a; optional int64 a; }", |group| {
        column::<ByteArrayType>(group, &["a.jpg".into()], None);
        column::<Int64Type>(group, &[0], Some(&[1]));
        column::<Int64Type>(group, &[7], Some(&[1]));
    });
    assert!(read_metadata(&path).unwrap_err().to_string().contains("`a`"));
}

#[test]
fn compressions_that_are_not_read_are_named() {
    let schema = Arc::new(parse_message_type("message m { required int32 a; }").unwrap());
    let schema = Arc::new(SchemaDescriptor::new(schema));
    for (compression, name) in [
        (Compression::BROTLI(BrotliLevel::default()), Some("Brotli")),
        (Compression::LZ4_RAW, Some("LZ4")),
        (Compression::SNAPPY, None),
        (Compression::ZSTD(ZstdLevel::default()), None),
    ] {
        let column = ColumnChunkMetaData::builder(schema.column(0)).set_compression(compression).build().unwrap();
        let group = RowGroupMetaData::builder(Arc::clone(&schema)).set_column_metadata(vec![column]).build().unwrap();
        let file = FileMetaData::new(1, 0, None, None, Arc::clone(&schema), None);
        assert_eq!(unread_codec(&ParquetMetaData::new(file, vec![group])), name);
    }
}

#[test]
fn what_is_too_much_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.parquet");
    write(&path, "message m { required binary image_id (STRING); }", |group| {
        column::<ByteArrayType>(group, &["a".repeat(MAX_CELL_BYTES + 1).as_str().into()], None);
    });
    let complaint = read_metadata(&path).unwrap_err().to_string();
    assert!(complaint.contains("a cell has 1048577 bytes"), "{complaint}");
    // Rows may share a text of the file, and then have more together than the file.
    let left = Cell::new(5);
    assert_eq!(text_of(&"abc".into(), &left), Ok(Value::from("abc")));
    assert!(text_of(&"abc".into(), &left).unwrap_err().contains("268435456 bytes of text together"));
    let columns: String = (0..=MAX_COLUMNS).map(|number| format!("optional int32 c{number};")).collect();
    write(&path, &format!("message m {{ {columns} }}"), |group| {
        for _ in 0..=MAX_COLUMNS {
            column::<Int32Type>(group, &[1], Some(&[1]));
        }
    });
    let complaint = read_metadata(&path).unwrap_err().to_string();
    assert!(complaint.contains("1001 columns; at most 1000"), "{complaint}");
    let large = open_parquet(&path, 100).map(|_| ());
    assert!(matches!(large, Err(IntakeError::TooLarge { max_bytes: 100, .. })));
}
