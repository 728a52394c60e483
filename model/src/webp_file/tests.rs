use super::*;
use crate::{decode_image, image_cost};

const MAX_PIXELS: u64 = 1 << 24;
const HAS_TRANSPARENCY: u8 = 1 << 4;

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    [&name[..], &length, content, &[0][..content.len() % 2]].concat()
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let content = [b"WEBP", &chunks.concat()[..]].concat();
    [b"RIFF", &(content.len() as u32).to_le_bytes()[..], &content].concat()
}

fn three_bytes(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes().into_iter().take(3)).collect()
}

fn header(flags: u8, (width, height): Size) -> Vec<u8> {
    chunk(b"VP8X", &[&[flags, 0, 0, 0][..], &three_bytes(&[width - 1, height - 1])].concat())
}

/// A lossy frame of zeros, which is grey.
fn lossy((width, height): Size) -> Vec<u8> {
    let bytes = 200 + (width * height / 64) as usize;
    let tag = (bytes as u32) << 5 | 1 << 4;
    let sides = [(width as u16).to_le_bytes(), (height as u16).to_le_bytes()].concat();
    [&tag.to_le_bytes()[..3], &[0x9D, 0x01, 0x2A], &sides, &vec![0; 2 * bytes]].concat()
}

/// Lossless data whose five codes have one symbol each, so that pixels take no bits, with bytes behind them.
fn lossless((width, height): Size, behind: usize) -> Vec<u8> {
    let sides = ((width - 1) | (height - 1) << 14).to_le_bytes();
    [&[0x2F][..], &sides, &[0x88, 0x88, 0x08, 0], &vec![0; behind]].concat()
}

/// Transparency that is packed as lossless data are, without their sizes, with bytes behind them.
fn packed_transparency(behind: usize) -> Vec<u8> {
    [&[1, 0x88, 0x88, 0x08, 0][..], &vec![0; behind]].concat()
}

/// An animation of one frame.
fn animation(picture: Size, left: u32, frame: Size, chunks: &[Vec<u8>]) -> Vec<u8> {
    let place = three_bytes(&[left / 2, 0, frame.0 - 1, frame.1 - 1, 100]);
    let frame = chunk(b"ANMF", &[&place[..], &[0], &chunks.concat()].concat());
    file(&[header(IS_ANIMATED | HAS_TRANSPARENCY, picture), chunk(b"ANIM", &[0; 6]), frame])
}

fn reason(file: &[u8]) -> String {
    assert_eq!(image_cost(file, MAX_PIXELS), file.len() as u64, "it is refused, and costs its bytes");
    decode_image(file, MAX_PIXELS, true).unwrap_err().to_string()
}

#[test]
fn pictures_that_are_what_they_say_are_read() {
    let size = (50, 40);
    let plain = vec![0; 1 + 50 * 40];
    let files = [
        ("lossy", file(&[chunk(b"VP8 ", &lossy(size))])),
        ("lossless", file(&[chunk(b"VP8L", &lossless(size, 0))])),
        ("lossy with a header", file(&[header(0, size), chunk(b"VP8 ", &lossy(size))])),
        ("lossless with a header", file(&[header(0, size), chunk(b"VP8L", &lossless(size, 0))])),
        ("transparent", file(&[header(HAS_TRANSPARENCY, size), chunk(b"ALPH", &plain), chunk(b"VP8 ", &lossy(size))])),
        (
            "packed transparency",
            file(&[
                header(HAS_TRANSPARENCY, size),
                chunk(b"ALPH", &packed_transparency(0)),
                chunk(b"VP8 ", &lossy(size)),
            ]),
        ),
        ("a lossy frame", animation(size, 10, (40, 40), &[chunk(b"VP8 ", &lossy((40, 40)))])),
        ("a lossless frame", animation(size, 10, (40, 40), &[chunk(b"VP8L", &lossless((40, 40), 0))])),
        ("a transparent frame", animation(size, 0, size, &[chunk(b"ALPH", &plain), chunk(b"VP8 ", &lossy(size))])),
        (
            "more behind the file",
            [file(&[header(0, size), chunk(b"VP8L", &lossless(size, 0))]), vec![0; 1 << 16]].concat(),
        ),
    ];
    for (name, file) in files {
        let decoded = decode_image(&file, MAX_PIXELS, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((decoded.width, decoded.height), (50, 40), "{name}");
        assert!(image_cost(&file, MAX_PIXELS) >= 50 * 40 + file.len() as u64, "{name}");
    }
}

/// The decoder would decode it to its end, beyond any limit, or run over the end of the smaller picture.
#[test]
fn a_frame_of_another_size_than_its_picture_is_refused() {
    let (small, large) = ((2, 2), (900, 800));
    let frame = chunk(b"VP8 ", &lossy(large));
    let behind_transparency = |name: &[u8; 4]| [chunk(b"ALPH", &[0; 5]), chunk(name, &lossy(large))];
    let files = [
        file(&[header(0, small), frame.clone()]),
        file(&[header(0, large), chunk(b"VP8 ", &lossy(small))]),
        file(&[header(0, small), chunk(b"VP8L", &lossless(large, 0))]),
        animation(small, 0, small, std::slice::from_ref(&frame)),
        animation(small, 0, small, &[chunk(b"VP8L", &lossless(large, 0))]),
        animation(small, 0, small, &behind_transparency(b"VP8 ")),
        animation(small, 0, small, &behind_transparency(b"junk")),
    ];
    for (number, file) in files.iter().enumerate() {
        let reason = reason(file);
        assert!(reason.contains("it has a frame of"), "file {number}: {reason}");
    }
    let beyond = reason(&animation(small, 0, large, &[frame]));
    assert!(beyond.contains("900x800 pixels goes beyond its 2x2"), "{beyond}");
    let beside = reason(&animation(small, 2, small, &[chunk(b"VP8 ", &lossy(small))]));
    assert!(beside.contains("goes beyond"), "{beside}");
}

#[test]
fn a_frame_that_only_changes_another_is_refused() {
    let mut frame = lossy((4, 4));
    frame[0] |= 1;
    for file in [
        file(&[header(0, (4, 4)), chunk(b"VP8 ", &frame)]),
        animation((4, 4), 0, (4, 4), &[chunk(b"ALPH", &[0; 17]), chunk(b"VP8 ", &frame)]),
    ] {
        let reason = reason(&file);
        assert!(reason.contains("a frame without a size"), "{reason}");
    }
}

/// They are tables of codes, which take many times their bytes of memory.
#[test]
fn lossless_data_are_no_longer_than_their_picture_needs() {
    let size = (4, 4);
    let most = (LOSSLESS_TABLE_BYTES + 16 * MAX_LOSSLESS_BYTES_PER_PIXEL) as usize;
    let files = |behind: usize| {
        let data = chunk(b"VP8L", &lossless(size, behind));
        let transparency = chunk(b"ALPH", &packed_transparency(behind));
        let frame = chunk(b"VP8 ", &lossy(size));
        [
            file(std::slice::from_ref(&data)),
            file(&[header(0, size), data.clone()]),
            animation((90, 90), 0, size, &[data]),
            file(&[header(HAS_TRANSPARENCY, size), transparency.clone(), frame.clone()]),
            animation((90, 90), 0, size, &[transparency, frame]),
        ]
    };
    for file in files(most - 9) {
        decode_image(&file, MAX_PIXELS, true).unwrap();
        assert!(image_cost(&file, MAX_PIXELS) > 9 * LOSSLESS_TABLE_BYTES, "its bytes cost more than others");
    }
    for file in files(most) {
        let reason = reason(&file);
        assert!(reason.contains("no picture of that size needs so many"), "{reason}");
    }
}

#[test]
fn chunks_are_walked_so_far_and_no_further() {
    let size = (4, 4);
    let of_chunks = |count: usize| {
        let junk = vec![chunk(b"junk", &[]); count - 1].concat();
        file(&[header(0, size), junk, chunk(b"VP8L", &lossless(size, 0))])
    };
    decode_image(&of_chunks(MAX_CHUNKS), MAX_PIXELS, false).unwrap();
    let reason = reason(&of_chunks(MAX_CHUNKS + 1));
    assert!(reason.contains("more than 4096 chunks"), "{reason}");
}

#[test]
fn notes_are_those_that_are_there() {
    let size = (4, 4);
    let file = file(&[
        header(0, size),
        chunk(b"VP8L", &lossless(size, 0)),
        chunk(b"EXIF", b"first"),
        chunk(b"EXIF", b"second"),
        chunk(b"XMP ", b"packet"),
    ]);
    let notes = WebpFile::open(&file).unwrap().notes();
    assert_eq!((notes.exif.as_deref(), notes.xmp.as_deref()), (Some(&b"first"[..]), Some(&b"packet"[..])));
    let cut = WebpFile::open(&file[..file.len() - 1]).unwrap().notes();
    assert_eq!((cut.exif.as_deref(), cut.xmp), (Some(&b"first"[..]), None));
}

#[test]
fn every_cut_and_every_changed_byte_is_read_or_refused() {
    let size = (20, 20);
    let frame = [chunk(b"ALPH", &[0; 401]), chunk(b"VP8 ", &lossy(size))];
    for file in [
        animation(size, 0, size, &frame),
        file(&[header(HAS_TRANSPARENCY, size), frame.concat()]),
        file(&[header(0, size), chunk(b"VP8L", &lossless(size, 0)), chunk(b"EXIF", b"note")]),
    ] {
        // Behind the headers there are zeros.
        for position in (0..120.min(file.len())).chain(500..560) {
            let _ = decode_image(file.get(..position).unwrap_or(&file), MAX_PIXELS, true);
            for change in [0x01, 0x80, 0xFF] {
                let mut damaged = file.clone();
                let Some(byte) = damaged.get_mut(position) else { continue };
                *byte ^= change;
                let _ = decode_image(&damaged, 1 << 16, true);
            }
        }
    }
}
