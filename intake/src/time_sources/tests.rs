use super::*;
use crate::{BoxOptions, ImageSource, MAX_FRAME_PIXELS, SourceOptions};
use std::fs;
use std::path::PathBuf;

fn told(sources: &TimeSources, name: &str, exif: Option<&str>) -> (Option<i64>, Vec<String>) {
    let mut teller = TimeTeller::new(sources.clone());
    let mut metadata = KnownMetadata::default();
    let exif = exif.map(|local| ExifTime { local: local.to_owned(), ..ExifTime::default() });
    teller.tell(name, &mut metadata, || exif);
    (metadata.captured_at_ms, teller.notes().collect())
}

#[test]
fn exif_data_come_before_names_and_what_has_neither_is_counted() {
    let names = Some(TimePattern::new("%Y%m%d_%H%M", Some("UTC")).unwrap());
    let clock = |zone| Some(ExifClock::new(zone).unwrap());
    let both = TimeSources { exif: clock(Some("UTC")), names };
    let exif = Some("1970:01:01 00:01:00");
    assert_eq!(told(&both, "19700101_0002.jpg", exif), (Some(60_000), Vec::new()));
    assert_eq!(told(&both, "19700101_0002.jpg", None), (Some(120_000), Vec::new()));
    let zoneless = TimeSources { exif: clock(None), ..both.clone() };
    assert_eq!(told(&zoneless, "19700101_0002.jpg", exif), (Some(120_000), Vec::new()));
    let exif_alone = TimeSources { names: None, ..both.clone() };
    for (sources, exif, said) in [
        (&both, None, "do not fit the time pattern"),
        (&exif_alone, None, "have no time in EXIF"),
        (&zoneless, exif, "--clock-zone"),
    ] {
        let (time_ms, notes) = told(sources, "a.jpg", exif);
        assert!(time_ms.is_none() && notes.len() == 1, "{notes:?}");
        assert!(notes[0].contains(said) && notes[0].starts_with("1 ") && notes[0].contains("a.jpg"), "{notes:?}");
    }
    assert_eq!(told(&TimeSources::default(), "a.jpg", exif), (None, Vec::new()));
}

#[test]
fn what_is_known_is_not_looked_for() {
    let mut teller = TimeTeller::new(TimeSources { exif: Some(ExifClock::default()), names: None });
    let mut metadata = KnownMetadata { captured_at_ms: Some(7), ..KnownMetadata::default() };
    teller.tell("a.jpg", &mut metadata, || unreachable!("the file is opened"));
    assert_eq!((metadata.captured_at_ms, teller.notes().count()), (Some(7), 0));
}

/// A PNG file of 8 by 8 pixels whose EXIF data says that it was taken at 14:30:45, and perhaps by which clock.
fn picture(offset: Option<&str>) -> Vec<u8> {
    // A directory that leads to another, whose texts stand behind it.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0".to_vec();
    let texts: Vec<(u16, &str)> =
        [(0x9003, "2026:05:01 14:30:45")].into_iter().chain(offset.map(|text| (0x9011, text))).collect();
    exif.extend((texts.len() as u16).to_le_bytes());
    let mut at = exif.len() + 12 * texts.len();
    for (tag, text) in &texts {
        exif.extend(tag.to_le_bytes());
        exif.extend([2, 0]);
        exif.extend((text.len() as u32).to_le_bytes());
        exif.extend((at as u32).to_le_bytes());
        at += text.len();
    }
    exif.extend(texts.iter().flat_map(|(_, text)| text.bytes()));
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::ChunkType(*b"eXIf"), &exif).unwrap();
    writer.write_image_data(&[7; 8 * 8 * 3]).unwrap();
    writer.finish().unwrap();
    file
}

#[test]
fn images_frames_and_members_of_archives_tell_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    fs::create_dir(&frames).unwrap();
    // 12:30:45 and 13:30:45 by UTC; the last one does not say by which clock.
    for (name, offset) in [("a.png", Some("+02:00")), ("b.png", Some("+01:00")), ("c.png", None)] {
        fs::write(frames.join(name), picture(offset)).unwrap();
    }
    let archive = folder.path().join("s.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
    builder.append_dir_all("", &frames).unwrap();
    builder.into_inner().unwrap();
    let boxes = folder.path().join("boxes.csv");
    let rows = "a,0,0,4,4,\nb,0,0,4,4,\nb,4,4,4,4,1970-01-01T00:00:01Z\nc,0,0,4,4,\n";
    fs::write(&boxes, format!("frame,left,top,width,height,captured_at\n{rows}")).unwrap();
    let first_ms = 1_777_638_645_000;
    let read = |input: PathBuf, boxes: Option<&PathBuf>| {
        let options = SourceOptions {
            root: None,
            metadata: None,
            prefix: String::new(),
            allow_unmatched: false,
            max_image_bytes: 1 << 20,
            times: TimeSources { exif: Some(ExifClock::default()), names: None },
        };
        let of_boxes = boxes.map(|path| BoxOptions {
            path: path.clone(),
            max_frame_pixels: MAX_FRAME_PIXELS,
            ..BoxOptions::default()
        });
        let mut source = match of_boxes {
            Some(of_boxes) => ImageSource::open_frames(&[input], options, of_boxes).unwrap(),
            None => ImageSource::open(&[input], options).unwrap(),
        };
        let times: Vec<Option<i64>> = source.by_ref().map(|item| item.unwrap().metadata.captured_at_ms).collect();
        (times, source.summary().notes)
    };
    let hour_ms = 3_600_000;
    let expected = vec![Some(first_ms), Some(first_ms + hour_ms), None];
    for (input, boxes) in [(frames.clone(), None), (archive, None), (frames, Some(&boxes))] {
        let (mut times, notes) = read(input, boxes);
        if boxes.is_some() {
            assert_eq!(times.remove(2), Some(1000), "a table of boxes wins");
        }
        times.sort_by_key(|time| (time.is_none(), *time));
        assert_eq!(times, expected);
        assert!(notes.len() == 1 && notes[0].contains("--clock-zone") && notes[0].contains("c.png"), "{notes:?}");
    }
}
