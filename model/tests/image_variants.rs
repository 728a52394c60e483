//! Unusual and damaged image files against what Pillow 13 makes of them (`data/generate_variants.py` makes both).

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_model::{RgbImage, decode_image};
use ndarray::{Array1, Array3};
use ndarray_npy::NpzReader;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const MAX_PIXELS: u64 = 1 << 24;

/// A file, and what Pillow gives for it.
struct Variant {
    file: Vec<u8>,
    pixels: Option<Array3<u8>>,
    /// Where they are not the same as `pixels`.
    upright: Option<Array3<u8>>,
}

fn variants() -> BTreeMap<String, Variant> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/image_variants.npz");
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive.names().unwrap();
    let mut variants = BTreeMap::new();
    for name in names.iter().filter_map(|name| name.strip_prefix("file/")) {
        let file: Array1<u8> = archive.by_name(&format!("file/{name}")).unwrap();
        let mut picture = |kind: &str| {
            let array = format!("{kind}/{name}");
            names.contains(&array).then(|| archive.by_name(&array).unwrap())
        };
        let (pixels, upright) = (picture("pixels"), picture("upright"));
        variants.insert(name.trim_end_matches(".npy").to_owned(), Variant { file: file.to_vec(), pixels, upright });
    }
    variants
}

fn is_the_same(found: &RgbImage, expected: &Array3<u8>) -> bool {
    (found.height, found.width, 3) == expected.dim() && expected.iter().eq(&found.samples)
}

/// Files whose pixels are all there, and which Pillow refuses for what stands beside them.
const READ_ALL_THE_SAME: [&str; 3] = ["cut_in_text_behind.png", "long_profile.png", "long_text.png"];
/// Files of which Pillow reads what is not there or not so, and JPEGs without an end marker, most of which Pillow refuses.
const REFUSED_ALL_THE_SAME: [&str; 5] =
    ["compression_method_1.png", "data_of_7_rows.png", "half_an_end.jpg", "no_end.jpg", "palette_none.png"];

#[test]
fn what_pillow_reads_is_read_and_equal_and_what_it_refuses_is_refused() {
    let variants = variants();
    let plain = variants["plain.png"].pixels.as_ref().unwrap();
    let mut wrong = Vec::new();
    for (name, Variant { file, pixels, .. }) in &variants {
        let is_listed = |list: &[&str]| list.contains(&name.as_str());
        match (decode_image(file, MAX_PIXELS, false), pixels) {
            (Err(_), None) if !is_listed(&READ_ALL_THE_SAME) => {}
            (Ok(found), Some(expected)) if is_the_same(&found, expected) && !is_listed(&REFUSED_ALL_THE_SAME) => {}
            (Ok(found), None) if is_listed(&READ_ALL_THE_SAME) => assert!(is_the_same(&found, plain), "{name}"),
            (Err(_), Some(_)) if is_listed(&REFUSED_ALL_THE_SAME) => {}
            (Ok(_), Some(_)) => wrong.push(format!("{name}: other pixels, or read all the same")),
            (Ok(_), None) => wrong.push(format!("{name}: read, and Pillow refuses it")),
            (Err(error), None) => wrong.push(format!("{name}: {error}")),
            (Err(error), Some(_)) => wrong.push(format!("{name}: {error}, and Pillow reads it")),
        }
    }
    assert!(variants.len() > 200 && wrong.is_empty(), "{} files: {wrong:#?}", variants.len());
}

#[test]
fn images_are_turned_as_exif_transpose_turns_them() {
    let mut wrong = Vec::new();
    let mut turned = 0;
    for (name, Variant { file, pixels, upright }) in variants() {
        let Some(expected) = upright.as_ref().or(pixels.as_ref()) else { continue };
        if REFUSED_ALL_THE_SAME.contains(&name.as_str()) {
            continue;
        }
        let found = decode_image(&file, MAX_PIXELS, true).unwrap();
        turned += usize::from(upright.is_some());
        if !is_the_same(&found, expected) {
            wrong.push(format!("{name}: turned {}", if upright.is_some() { "otherwise" } else { "at all" }));
        }
    }
    assert!(turned > 50 && wrong.is_empty(), "{turned} are to be turned: {wrong:#?}");
}

/// The reason is the file's, in words that say what to do or what is missing.
#[test]
fn refusals_say_what_is_wrong() {
    let variants = variants();
    let reasons = [
        ("half.jpg", "cut short"),
        ("half.png", "cut short"),
        ("no_pixels.png", "no pixels"),
        ("wrong_checksum_of_header.png", "checksum of its chunk IHDR"),
        ("wrong_checksum_of_text_before.png", "checksum of its chunk tEXt"),
        ("padded_cut.png", "cut short (pixels are missing)"),
        ("data_too_short.png", "cut short (pixels are missing)"),
        ("palette_771_bytes.png", "257 colours"),
        ("palette_none.png", "palette"),
        ("no_end_grey.jpg", "no end marker"),
        ("twelve_bits.jpg", "12"),
        ("lossless.jpg", "lossless"),
    ];
    for (name, expected) in reasons {
        let message = decode_image(&variants[name].file, MAX_PIXELS, false).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
    }
}
