//! Boxes of frames in every form.

use descry_intake::{BoxFormat, BoxOptions, ImageSource, SourceOptions, TimeSources};
use std::path::Path;

/// A frame of 16 by 16 pixels, for boxes to be cut out of.
const FRAME: &[u8] = include_bytes!("../../../fuzz/corpus/image/frame.png");

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let frame = folder.path().join("000001.png");
    std::fs::write(&frame, FRAME).unwrap();
    let (format, name, content) = match bytes.split_first() {
        Some((b'P', _)) => (BoxFormat::Table, "boxes.parquet", bytes),
        Some((0, rest)) => (BoxFormat::Mot, "det.txt", rest),
        Some((1, rest)) => (BoxFormat::Table, "boxes.csv", rest),
        Some((2, rest)) => (BoxFormat::Table, "boxes.jsonl", rest),
        Some((3, rest)) => (BoxFormat::Yolo, "labels/000001.txt", rest),
        _ => (BoxFormat::Coco, "boxes.json", bytes),
    };
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
    std::fs::write(&path, content).unwrap();
    let path = if matches!(format, BoxFormat::Yolo) { folder.path().join("labels") } else { path };
    let boxes = BoxOptions { path, format: Some(format), max_frame_pixels: 1 << 20, ..BoxOptions::default() };
    let options = SourceOptions {
        root: None,
        metadata: None,
        prefix: String::new(),
        allow_unmatched: true,
        max_image_bytes: 1 << 20,
        times: TimeSources::default(),
    };
    if let Ok(source) = ImageSource::open_frames(&[frame], options, boxes) {
        for entry in source.take(1_000).flatten() {
            let _ = entry.read(1 << 20);
        }
    }
}
