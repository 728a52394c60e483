//! What is known of images: CSV, TSV, JSON and Parquet.

use descry_intake::read_metadata_table;

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (ending, content) = match bytes.split_first() {
        Some((b'P', _)) => ("parquet", bytes),
        Some((0, rest)) => ("csv", rest),
        Some((1, rest)) => ("tsv", rest),
        Some((2, rest)) => ("json", rest),
        _ => ("jsonl", bytes),
    };
    let path = folder.path().join(format!("metadata.{ending}"));
    std::fs::write(&path, content).unwrap();
    let _ = read_metadata_table(&path);
}
