//! Small files that cost much: what ends the work on them, counted in looks at the patience and never by the clock.

#![expect(clippy::unwrap_used, reason = "the test exemption does not reach helper functions of an integration test")]

use descry_model::{ImageInput, ModelError, Patience, decode_image, preprocess_patiently};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Notes the largest piece of memory that was asked for.
struct Noting;

static LARGEST_BYTES: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature; this one only takes note")]
// SAFETY: all of the work is the system's allocator's.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

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

fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut content = b"WEBP".to_vec();
    for (name, chunk) in chunks {
        content.extend(*name);
        content.extend(u32::try_from(chunk.len()).unwrap().to_le_bytes());
        content.extend(*chunk);
        content.extend(&[0][..chunk.len() % 2]);
    }
    [&b"RIFF"[..], &u32::try_from(content.len()).unwrap().to_le_bytes(), &content].concat()
}

/// A lossy frame of nothing but zeros: grey, in some bits for each square of 16 pixels.
fn lossy(width: u16, height: u16) -> Vec<u8> {
    let squares = usize::from(width.div_ceil(16)) * usize::from(height.div_ceil(16));
    let (modes, tokens) = (vec![0; 100 + squares * 2 / 3], vec![0; 100 + squares * 4 / 3]);
    let tag = u32::try_from(modes.len()).unwrap() << 5 | 1 << 4;
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    [&tag.to_le_bytes()[..3], &[0x9D, 0x01, 0x2A], &sides, &modes, &tokens].concat()
}

/// Lossless data whose five codes have one symbol each, so that pixels take no bits.
fn lossless(width: u32, height: u32) -> Vec<u8> {
    [&[0x2F][..], &((width - 1) | (height - 1) << 14).to_le_bytes(), &[0x88, 0x88, 0x08, 0]].concat()
}

/// Decoding may have looked as seldom as it likes, since resizing looks often: unit tests count the looks of decoding alone.
#[test]
fn work_on_a_large_picture_ends_soon_after_the_patience() {
    let side = 1_500;
    let bytes = (side as usize + 1) * side as usize;
    let files = [
        ("rows", png(side, side, false, &packed(bytes))),
        ("interlaced rows", png(side, side, true, &packed(bytes + 2 * side as usize))),
        ("run lengths", bmp_bomb(side, side)),
        ("a lossy frame", webp(&[(b"VP8 ", &lossy(1_500, 1_500))])),
        ("lossless data", webp(&[(b"VP8L", &lossless(side, side))])),
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

/// Nothing is allocated for what a note claims to have.
#[test]
fn a_note_of_four_gigabytes_in_a_file_of_hundred_bytes_takes_no_memory() {
    let header: [u8; 10] = [1 << 3 | 1 << 2, 0, 0, 0, 3, 0, 0, 3, 0, 0];
    for name in [b"EXIF", b"XMP "] {
        let other = if name == b"EXIF" { b"XMP " } else { b"EXIF" };
        let mut file = webp(&[(b"VP8X", &header), (b"VP8L", &lossless(4, 4)), (other, &[]), (name, &[])]);
        let length_at = file.len() - 4;
        file[length_at..].copy_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
        assert!(file.len() < 100);
        for turns in [false, true] {
            decode_image(&file, MAX_PIXELS, turns).unwrap();
        }
    }
    let largest = LARGEST_BYTES.load(Ordering::Relaxed);
    assert!(largest < 1 << 30, "{largest} bytes at once");
}
