//! Awkward image files against the pixels that Pillow 13 gives (`data/provenance.toml` says how they were made).

use descry_model::{ResizeFilter, decode_image, resize};
use ndarray::{Array3, Array4};
use ndarray_npy::NpzReader;
use std::fs::{self, File};
use std::path::Path;

const MAX_PIXELS: u64 = 1 << 24;

#[test]
fn pixels_equal_pillows() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut archive = NpzReader::new(File::open(data.join("images_384x128.npz")).unwrap()).unwrap();
    let expected: Array4<u8> = archive.by_name("pixels").unwrap();
    let mut files: Vec<_> = fs::read_dir(data.join("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), expected.dim().0);
    for (file, expected) in files.iter().zip(expected.outer_iter()) {
        let decoded = decode_image(&fs::read(file).unwrap(), MAX_PIXELS, false).unwrap();
        let resized = resize(&decoded, 384, 128, ResizeFilter::PillowBilinear);
        let differences: Vec<u8> = resized.samples.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).collect();
        let name = file.file_name().unwrap().to_string_lossy();
        assert_eq!(differences.iter().max(), Some(&0), "{name} must be exact");
    }
}

#[test]
fn bicubic_pixels_equal_pillows() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut archive = NpzReader::new(File::open(data.join("images_224x224_bicubic.npz")).unwrap()).unwrap();
    let names = archive.names().unwrap();
    assert_eq!(names.len(), 16);
    for name in names {
        let expected: Array3<u8> = archive.by_name(&name).unwrap();
        let name = name.trim_end_matches(".npy");
        let decoded = decode_image(&fs::read(data.join("images").join(name)).unwrap(), MAX_PIXELS, false).unwrap();
        let resized = resize(&decoded, 224, 224, ResizeFilter::PillowBicubic);
        assert_eq!((resized.height, resized.width, 3), expected.dim(), "{name}");
        assert!(resized.samples.iter().eq(&expected), "{name} must be exact");
    }
}
