use super::*;
use proptest::prelude::*;

const PROGRESSIVE: &[u8] = include_bytes!("../../tests/data/images/04_progressive.jpg");

const MAX_PIXELS: u64 = 1 << 24;

/// A marker that one reader takes for a segment and the other skips hides one image behind another.
#[test]
fn the_limit_holds_for_the_image_that_is_decoded() {
    let frame = |marker: u8, content: &[u8]| {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], &length[..], content].concat()
    };
    let size = 20_000_u16.to_be_bytes();
    let start_of_frame = [&[8][..], &size, &size, &[1, 1, 0x11, 0]].concat();
    let scan = frame(0xDA, &[1, 1, 0, 0, 63, 0]);
    let bomb = [&[0xFF, 0xD8, 0xFF, 0x01][..], &frame(0xC0, &start_of_frame), &scan, &[0xFF, 0xD9]].concat();
    let found = decode(&bomb, MAX_PIXELS, Patience::ENDLESS);
    assert!(matches!(found, Err(ModelError::ImageTooLarge { width: 20_000, .. })), "{found:?}");
}

#[test]
fn every_cut_is_noticed() {
    assert!(decode(PROGRESSIVE, MAX_PIXELS, Patience::ENDLESS).is_ok());
    for length in 2..PROGRESSIVE.len() - 1 {
        assert!(check_segments(&PROGRESSIVE[..length]).is_err(), "cut to {length} bytes");
    }
}

/// The file with its last scan so many times more.
fn with_scans(count: usize) -> Vec<u8> {
    let scan = PROGRESSIVE.windows(2).rposition(|pair| pair == [0xFF, START_OF_SCAN]).unwrap();
    let end = PROGRESSIVE.len() - 2;
    let again = PROGRESSIVE[scan..scan + 2 + usize::from(PROGRESSIVE[scan + 3])].repeat(count);
    [&PROGRESSIVE[..end], &again, &PROGRESSIVE[end..]].concat()
}

/// Each costs as much as the whole picture, and hardly a byte.
#[test]
fn there_are_not_more_scans_than_anybody_writes() {
    let refused = decode(&with_scans(MAX_SCANS), MAX_PIXELS, Patience::ENDLESS).unwrap_err().to_string();
    assert!(refused.contains("more than 200 scans"), "{refused}");
    assert!(check_segments(&with_scans(100)).is_ok());
}

/// A long note before the first scan hides none of them, and neither does a frame that is not progressive.
#[test]
fn scans_are_what_a_picture_costs() {
    let passes = |file: &[u8]| frame(file).map(|frame| frame.passes);
    assert_eq!(passes(PROGRESSIVE), Some(3));
    assert_eq!(passes(&with_scans(100)), Some(28));
    assert_eq!(passes(&with_scans(MAX_SCANS)), None, "it is refused");
    let note = [&[0xFF, 0xFE, 0xFF, 0xFF][..], &[0; 0xFFFD]].concat();
    let file = with_scans(100);
    assert_eq!(passes(&[&file[..2], &note.repeat(20), &file[2..]].concat()), Some(28));
    let mut sequential = file;
    let frame_at = sequential.windows(2).position(|pair| pair == [0xFF, 0xC2]).unwrap();
    sequential[frame_at + 1] = 0xC1;
    assert_eq!(passes(&sequential), Some(28));
}

/// Each stray byte between segments, up to the last, may be followed by a marker.
#[test]
fn stray_bytes_are_skipped_up_to_the_next_marker() {
    for stray in 0..40 {
        let scan = [0xFF, START_OF_SCAN, 0, 2];
        let file =
            [&[0xFF, 0xD8][..], &vec![0; stray], &scan, &vec![1; stray], &scan, &[1, 0xFF, END_OF_IMAGE]].concat();
        assert_eq!(check_segments(&file).unwrap(), [2 + stray, 6 + 2 * stray]);
        assert!(check_segments(&file[..file.len() - 2]).is_err());
        assert!(check_segments(&file[..file.len() - 1]).is_err());
    }
}

#[test]
fn a_large_picture_comes_in_fewer_scans() {
    let scans = with_scans(100);
    let pixels = 4 * decode(&scans, MAX_PIXELS, Patience::ENDLESS).unwrap().samples.len() as u64 / 3;
    let refused = decode(&scans, pixels, Patience::ENDLESS).unwrap_err().to_string();
    assert!(refused.contains("save the picture again"), "{refused}");
    assert!(decode(PROGRESSIVE, pixels / 4, Patience::ENDLESS).is_ok());
}

#[test]
fn a_header_is_read_so_far_and_no_further() {
    let note = [0xFF, 0xFE, 0, 2];
    let of_notes = |count: usize| [&PROGRESSIVE[..2], &note.repeat(count), &PROGRESSIVE[2..]].concat();
    assert!(frame(&of_notes(MAX_HEADER_SEGMENTS)).is_none());
    let refused = decode(&of_notes(MAX_HEADER_SEGMENTS), MAX_PIXELS, Patience::ENDLESS).unwrap_err().to_string();
    assert!(refused.contains("more than 4096 segments"), "{refused}");
    assert!(frame(&of_notes(4_000)).is_some_and(|frame| frame.passes == 3));
    assert!(decode(&of_notes(4_000), MAX_PIXELS, Patience::ENDLESS).is_ok());
}

/// libjpeg finds no restart marker, passes over the reserved one, and goes on with what looks like its content.
#[test]
fn no_scan_hides_behind_a_reserved_marker() {
    let scan = PROGRESSIVE.windows(2).rposition(|pair| pair == [0xFF, START_OF_SCAN]).unwrap();
    let hidden = PROGRESSIVE[scan..scan + 2 + usize::from(PROGRESSIVE[scan + 3])].repeat(1_000);
    let length = u16::try_from(hidden.len() + 2).unwrap().to_be_bytes();
    let restarts = [0xFF, 0xDD, 0, 4, 0, 1];
    let end = PROGRESSIVE.len() - 2;
    let parts = [&PROGRESSIVE[..scan], &restarts, &PROGRESSIVE[scan..end], &[0xFF, 0x02], &length, &hidden];
    let file = [&parts.concat()[..], &PROGRESSIVE[end..]].concat();
    let refused = decode(&file, MAX_PIXELS, Patience::ENDLESS).unwrap_err().to_string();
    assert!(refused.contains("more than 200 scans"), "{refused}");
}

/// At each scan, however small, somebody asks whether it is still wanted.
#[test]
fn decoding_ends_within_a_scan_of_the_end_of_patience() {
    let file = with_scans(100);
    let asked = std::cell::Cell::new(0);
    let count_down = |from: u32| {
        asked.set(0);
        let is_over = || asked.replace(asked.get() + 1) >= from;
        decode(&file, MAX_PIXELS, Patience::until(&is_over))
    };
    assert!(count_down(u32::MAX).is_ok());
    let all = asked.get();
    assert!(all >= 100, "asked {all} times for more than a hundred scans");
    for patience in [0, 1, 50, all - 2] {
        let found = count_down(patience);
        assert!(matches!(found, Err(ModelError::Abandoned)), "{found:?}");
        assert!(asked.get() <= patience + 2, "asked {} times, and no work was to follow {patience}", asked.get());
    }
}

#[test]
fn every_process_that_is_not_read_is_named() {
    for process in ["0xc3", "0xce", "0xcf"] {
        let told = explain(format!("Unsupported JPEG process: SOF type {process}"));
        assert!(told.contains("lossless or hierarchical"), "{told}");
    }
}

#[test]
fn bytes_behind_the_end_do_no_harm() {
    let mut appended = PROGRESSIVE.to_vec();
    appended.extend(b"a camera's own notes");
    assert_eq!(
        decode(&appended, MAX_PIXELS, Patience::ENDLESS).unwrap(),
        decode(PROGRESSIVE, MAX_PIXELS, Patience::ENDLESS).unwrap()
    );
}

proptest! {
    #[test]
    fn damaged_files_are_decoded_or_refused(position in 0..PROGRESSIVE.len(), byte: u8) {
        let mut damaged = PROGRESSIVE.to_vec();
        damaged[position] = byte;
        if let Ok(image) = decode(&damaged, MAX_PIXELS, Patience::ENDLESS) {
            prop_assert_eq!(image.samples.len(), image.width * image.height * 3);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes, MAX_PIXELS, Patience::ENDLESS).is_err());
    }
}
