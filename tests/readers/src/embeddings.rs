//! Embeddings that were computed elsewhere: NumPy archives and Parquet files.

use descry_intake::{EmbeddingFile, EmbeddingOptions};
use descry_model::Fingerprint;

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let ending = if bytes.starts_with(b"PAR1") { "parquet" } else { "npz" };
    let path = folder.path().join(format!("embeddings.{ending}"));
    std::fs::write(&path, bytes).unwrap();
    let fingerprint = Some("0".repeat(64).parse::<Fingerprint>().unwrap());
    let options = EmbeddingOptions { fingerprint, allow_unmatched: true, ..EmbeddingOptions::default() };
    if let Ok(file) = EmbeddingFile::open(&path, options) {
        for row in file.flatten() {
            assert!(row.values.iter().all(|value| value.is_finite()));
        }
    }
}
