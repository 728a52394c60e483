//! Small files that cost much: what ends the work on them, counted in looks at the patience and never by the clock.

#![expect(clippy::unwrap_used, reason = "the test exemption does not reach helper functions of an integration test")]

use descry_model::{ImageInput, ModelError, Patience, decode_image, preprocess_patiently};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::cell::Cell;
use std::io::Write as _;

const MAX_PIXELS: u64 = 50_000_000;

/// Works on a file with patience for so many looks. Returns what became of it, and how often was looked.
fn work(file: &[u8], looks: u64) -> (Result<(), ModelError>, u64) {
    let looked = Cell::new(0);
    let is_over = || looked.replace(looked.get() + 1) >= looks;
    let pixels = preprocess_patiently(file, &ImageInput::clip(32, 16), MAX_PIXELS, Patience::until(&is_over));
    (pixels.map(drop), looked.get())
}

fn png(width: u32, height: u32, interlaced: bool, packed: &[u8]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(content);
        [&u32::try_from(content.len()).unwrap().to_be_bytes()[..], name, content, &crc.sum().to_be_bytes()].concat()
    };
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&sides[..], &[8, 0, 0, 0, u8::from(interlaced)]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", packed), &chunk(b"IEND", &[])].concat()
}

fn packed(bytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; bytes]).unwrap();
    encoder.finish().unwrap()
}

/// A bitmap of run lengths that ends at once: as many pixels as its header says, in seventy bytes.
fn bmp_bomb(width: u32, height: u32) -> Vec<u8> {
    let colors = [0; 4 * 2];
    let end_of_bitmap = [0, 1];
    let pixels_at = 14 + 40 + colors.len();
    let mut file = b"BM".to_vec();
    file.extend(u32::try_from(pixels_at + end_of_bitmap.len()).unwrap().to_le_bytes());
    file.extend([0; 4]);
    file.extend(u32::try_from(pixels_at).unwrap().to_le_bytes());
    for field in [40, width, height, 8 << 16 | 1, 1, 2, 2835, 2835, 2, 0] {
        file.extend(field.to_le_bytes());
    }
    [&file[..], &colors, &end_of_bitmap].concat()
}

#[test]
fn work_on_a_large_picture_ends_soon_after_the_patience() {
    let side = 1_500;
    let bytes = (side as usize + 1) * side as usize;
    let files = [
        ("rows", png(side, side, false, &packed(bytes))),
        ("interlaced rows", png(side, side, true, &packed(bytes + 2 * side as usize))),
        ("run lengths", bmp_bomb(side, side)),
    ];
    for (name, file) in files {
        assert!(file.len() < 20_000, "{name}: {} bytes", file.len());
        let (done, looks) = work(&file, u64::MAX);
        done.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(looks >= 5, "{name}: {looks} looks at two million pixels");
        for patience in [0, looks / 2, looks - 1] {
            let (done, looked) = work(&file, patience);
            assert!(matches!(done, Err(ModelError::Abandoned)), "{name}, after {patience} looks: {done:?}");
            assert!(looked <= patience + 2, "{name}: {looked} looks, and no work was to follow {patience}");
        }
    }
}

/// A file may hold a thousand times its size behind the last pixel.
#[test]
fn what_is_packed_behind_the_pixels_stays_packed() {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&vec![0; 1 << 22]).unwrap();
    let file = png(1, 1, false, &encoder.finish().unwrap());
    let (done, looks) = work(&file, u64::MAX);
    done.unwrap();
    assert!(looks < 20, "{looks} looks, each at some kilobytes of {} and no more", file.len());
}

#[test]
fn a_picture_beyond_the_limit_is_refused_by_its_header() {
    let found = decode_image(&bmp_bomb(50_000, 50_000), MAX_PIXELS, false);
    assert!(matches!(found, Err(ModelError::ImageTooLarge { .. })), "{found:?}");
    assert!(decode_image(&bmp_bomb(64, 64), MAX_PIXELS, false).is_ok());
}
