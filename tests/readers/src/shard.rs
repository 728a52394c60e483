//! Tar archives of images, plain and in gzip.

use descry_intake::{ImageSource, SourceOptions, TimeSources};

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let ending = if bytes.starts_with(&[0x1f, 0x8b]) { "tar.gz" } else { "tar" };
    let path = folder.path().join(format!("shard.{ending}"));
    std::fs::write(&path, bytes).unwrap();
    let options = SourceOptions {
        root: None,
        metadata: None,
        prefix: String::new(),
        allow_unmatched: true,
        max_image_bytes: 1 << 20,
        times: TimeSources::default(),
    };
    if let Ok(source) = ImageSource::open(&[path], options) {
        for entry in source.take(10_000).flatten() {
            assert!(entry.version.bytes <= 1 << 20);
        }
    }
}
