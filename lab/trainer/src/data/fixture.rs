//! A small data set and settings for tests.

use crate::{AugmentationSettings, InputSettings, LoadingSettings};
use descry_model::{TextInput, TextTokenizer, Vocabulary};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Token ids of a caption at most.
pub(crate) const CONTEXT_LENGTH: usize = 24;

/// The demonstration's tokenizer.
pub(crate) fn tokenizer() -> (TextTokenizer, Vocabulary) {
    let bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/tokenizer.json")).unwrap();
    let vocabulary = Vocabulary::of_tokenizer(&bytes).unwrap();
    let input = TextInput {
        context_length: CONTEXT_LENGTH,
        vocabulary_size: usize::try_from(vocabulary.highest_id + 1).unwrap(),
        start_of_text_id: vocabulary.start_of_text_id,
        end_of_text_id: vocabulary.end_of_text_id,
        mask_id: vocabulary.mask_id,
        padding_id: 0,
        caption_rules: None,
    };
    (TextTokenizer::from_bytes(&bytes, input).unwrap(), vocabulary)
}

/// Images of 16x8 pixels.
pub(crate) fn input() -> InputSettings {
    InputSettings { height_px: 16, width_px: 8, stride_px: None, context_length: CONTEXT_LENGTH }
}

/// Room for everything, two batches ahead.
pub(crate) fn loading(threads: usize) -> LoadingSettings {
    LoadingSettings {
        threads,
        batches_ahead: 2,
        cache_mib: 64,
        max_unreadable_images: 100,
        max_image_pixels: 1_000_000,
    }
}

/// The published changes, with a border that fits the small images.
pub(crate) fn augmentation() -> AugmentationSettings {
    AugmentationSettings {
        flip_probability: 0.5,
        pad_px: 2,
        erase_probability: 0.5,
        erase_area: (0.02, 0.4),
        erase_aspect: (0.3, 3.3),
        mask_probability: 0.15,
    }
}

/// Writes a data set in CUHK-PEDES' layout: image `imgs/{i}.bmp` for each split and identity, with one caption of words
/// and a blank one.
pub(crate) fn write_dataset(root: &Path, images: &[(&str, i64)]) {
    fs::create_dir_all(root.join("imgs")).unwrap();
    let mut entries = Vec::new();
    for (index, (split, identity)) in images.iter().enumerate() {
        let name = format!("{index}.bmp");
        write_image(&root.join("imgs").join(&name), 10 + index, 20 + index, index);
        let caption = format!("A woman in a red jacket number {index}.");
        entries.push(json!({ "split": split, "id": identity, "file_path": name, "captions": [caption, " "] }));
    }
    fs::write(root.join("reid_raw.json"), json!(entries).to_string()).unwrap();
}

/// Writes an uncompressed 24-bit BMP; images of different patterns differ.
pub(crate) fn write_image(path: &Path, width: usize, height: usize, pattern: usize) {
    const HEADER_BYTES: usize = 14 + 40;
    let row_bytes = (width * 3).next_multiple_of(4);
    let size = HEADER_BYTES + row_bytes * height;
    let mut bytes = b"BM".to_vec();
    // File size, reserved, where the pixels begin; then the length of the second header and the image's size.
    for number in [size, 0, HEADER_BYTES, 40, width, height] {
        bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    // One plane, 24 bits a pixel.
    bytes.extend([1, 0, 24, 0]);
    // No compression, bytes of pixels, resolution both ways, no palette.
    for number in [0, row_bytes * height, 2835, 2835, 0, 0] {
        bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    for row in 0..height {
        let mut values: Vec<u8> =
            (0..width * 3).map(|column| ((row * 31 + column * 17 + pattern * 71) % 256) as u8).collect();
        values.resize(row_bytes, 0);
        bytes.extend(values);
    }
    fs::write(path, bytes).unwrap();
}
