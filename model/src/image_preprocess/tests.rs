use super::*;
use image::ImageFormat;
use std::cell::Cell;
use std::io::Cursor;

/// Bytes between two looks at the patience, at most.
const PIECE: usize = 1 << 14;
const JPEG_PIECE: usize = 1 << 16;

/// A picture that hardly packs.
fn noise(format: ImageFormat) -> Vec<u8> {
    let mut state = 1_u32;
    let picture = image::RgbImage::from_fn(600, 600, |_, _| {
        image::Rgb(std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// What became of decoding with patience for so many looks, and how often was looked. Nothing is resized.
fn decode(file: &[u8], looks: usize) -> (Result<RgbImage, ModelError>, usize) {
    let looked = Cell::new(0);
    let is_over = || looked.replace(looked.get() + 1) >= looks;
    let decoded = decode_patiently(file, 1 << 24, true, Patience::until(&is_over));
    (decoded, looked.get())
}

#[test]
fn decoding_alone_ends_within_a_piece_of_the_end_of_patience() {
    let formats = [
        (ImageFormat::Png, PIECE),
        (ImageFormat::Bmp, PIECE),
        (ImageFormat::WebP, PIECE),
        (ImageFormat::Jpeg, JPEG_PIECE),
    ];
    for (format, piece) in formats {
        let file = noise(format);
        let pieces = file.len() / piece;
        assert!(pieces > 3, "{format:?}: {} bytes", file.len());
        let (decoded, looks) = decode(&file, usize::MAX);
        decoded.unwrap();
        assert!(looks > pieces, "{format:?}: {looks} looks at {pieces} pieces");
        for patience in [0, 1, pieces / 2, pieces - 1, looks - 1] {
            let (decoded, looked) = decode(&file, patience);
            assert!(matches!(decoded, Err(ModelError::Abandoned)), "{format:?}, after {patience} looks: {decoded:?}");
            assert!(looked <= patience + 2, "{format:?}: {looked} looks, and no work was to follow {patience}");
        }
    }
}

/// A look costs more than a pixel does.
#[test]
fn patience_is_not_asked_for_every_pixel() {
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Jpeg] {
        let file = noise(format);
        let (_, looks) = decode(&file, usize::MAX);
        assert!(looks <= file.len() / PIECE + 16, "{format:?}: {looks} looks at {} bytes", file.len());
    }
}

/// A file that was cut is refused after one try.
#[test]
fn pixels_that_are_not_there_are_looked_for_once() {
    let file = noise(ImageFormat::Png);
    let (_, looks) = decode(&file, usize::MAX);
    let (refused, looked) = decode(&file[..file.len() - 1_000], usize::MAX);
    assert!(refused.unwrap_err().to_string().contains("cut short"));
    assert!(looked <= looks + 2, "{looked} looks, and {looks} do for the whole file");
}
