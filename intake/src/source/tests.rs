use super::*;
use crate::CropBox;

const MAX_IMAGE_BYTES: u64 = 10;

/// A folder with two images, a list and an archive.
fn inputs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("crops/a")).unwrap();
    fs::write(folder.path().join("crops/a/1.jpg"), b"one").unwrap();
    fs::write(folder.path().join("crops/2.PNG"), b"two").unwrap();
    fs::write(folder.path().join("crops/large.jpg"), [0; 11]).unwrap();
    fs::write(folder.path().join("crops/notes.md"), b"no image").unwrap();
    fs::write(folder.path().join("list.txt"), "./crops/a/1.jpg\ncrops/gone.jpg\n").unwrap();
    let mut builder = tar::Builder::new(fs::File::create(folder.path().join("shard.tar")).unwrap());
    for (name, content) in [("t/1.jpg", b"img".as_slice()), ("t/1.cls", b"7".as_slice())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }
    builder.into_inner().unwrap();
    folder
}

fn open(folder: &Path, names: &[&str], metadata: Option<&str>) -> Result<ImageSource, IntakeError> {
    let inputs: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let metadata = metadata.map(|content| {
        let path = folder.join("metadata.csv");
        fs::write(&path, content).unwrap();
        path
    });
    let options = SourceOptions {
        root: None,
        metadata,
        prefix: String::new(),
        allow_unmatched: false,
        max_image_bytes: MAX_IMAGE_BYTES,
        times: None,
    };
    ImageSource::open(&inputs, options)
}

#[test]
fn every_kind_of_input_names_its_images() {
    let folder = inputs();
    let names = ["crops", "crops/2.PNG", "list.txt", "shard.tar"];
    let mut source = open(folder.path(), &names, Some("image_id,camera_id\nt/1.jpg,c1\nz,c2\nlarge.jpg,c3\n")).unwrap();
    assert_eq!(source.total(), None);
    let items: Vec<_> = source.by_ref().collect();
    let ids: Vec<(&str, bool)> = items
        .iter()
        .map(|item| match item {
            Ok(entry) => (entry.image_id.as_str(), true),
            Err(skipped) => (skipped.image_id.as_str(), false),
        })
        .collect();
    let expected = [
        ("2.PNG", true),
        ("a/1.jpg", true),
        ("large.jpg", false),
        ("2.PNG", false),
        ("crops/a/1.jpg", true),
        ("crops/gone.jpg", false),
        ("t/1.jpg", true),
    ];
    assert_eq!(ids, expected);
    let member = items[6].clone().unwrap();
    assert_eq!(member.path(), None);
    assert_eq!(member.metadata.person_id.as_deref(), Some("7"));
    assert_eq!(member.metadata.camera_id.as_deref(), Some("c1"));
    assert_eq!(member.read(MAX_IMAGE_BYTES).unwrap(), b"img");
    let file = items[1].clone().unwrap();
    assert!(file.path().unwrap().ends_with("crops/a/1.jpg"));
    assert_eq!(file.read(MAX_IMAGE_BYTES).unwrap(), b"one");
    let summary = source.summary();
    assert_eq!((summary.unused_metadata, summary.first_unused_metadata), (1, vec!["z".to_owned()]));
    assert_eq!(summary.left_out.total(), 1);
}

#[test]
fn totals_are_known_without_archives() {
    let folder = inputs();
    let source = open(folder.path(), &["crops", "list.txt"], None).unwrap();
    assert_eq!(source.total(), Some(5));
    assert_eq!(source.count(), 5);
}

#[test]
fn wrong_inputs_are_named_at_once() {
    let folder = inputs();
    let message = |name: &str| open(folder.path(), &[name], None).err().unwrap().to_string();
    assert!(message("gone").contains("does not exist"));
    assert!(message("crops/notes.md").contains("notes.md") && message("crops/notes.md").contains(".tgz"));
}

#[test]
fn a_prefix_stands_before_every_id() {
    let folder = inputs();
    let metadata = folder.path().join("m.csv");
    fs::write(&metadata, "image_id,camera_id\nc1/t/1.jpg,c1\nlarge.jpg,c3\n2.PNG,c4\n").unwrap();
    let options = SourceOptions {
        root: None,
        metadata: Some(metadata),
        prefix: "c1/".to_owned(),
        allow_unmatched: false,
        max_image_bytes: MAX_IMAGE_BYTES,
        times: None,
    };
    let inputs = ["crops", "shard.tar"].map(|name| folder.path().join(name));
    let mut source = ImageSource::open(&inputs, options).unwrap();
    let ids: Vec<String> = source
        .by_ref()
        .map(|item| item.map_or_else(|skipped| format!("-{}", skipped.image_id), |entry| entry.image_id))
        .collect();
    assert_eq!(ids, ["c1/2.PNG", "c1/a/1.jpg", "-c1/large.jpg", "c1/t/1.jpg"]);
    assert_eq!(source.summary().unused_metadata, 0);
}

#[test]
fn metadata_of_other_images_is_refused_before_any_is_given() {
    let folder = inputs();
    for names in [&["crops"][..], &["shard.tar"], &["list.txt", "shard.tar"]] {
        let opened = open(folder.path(), names, Some("image_id,camera_id\nx/1.jpg,c1\n"));
        assert!(matches!(opened.err(), Some(IntakeError::NothingMatches { .. })), "{names:?}");
        assert!(open(folder.path(), names, None).is_ok());
    }
    // One that fits is enough, also of an image that cannot be read.
    assert!(open(folder.path(), &["crops", "shard.tar"], Some("image_id,camera_id\nt/1.jpg,c1\nz,c1\n")).is_ok());
    assert!(open(folder.path(), &["crops"], Some("image_id\nlarge.jpg\n")).is_ok());
}

#[test]
fn archives_that_are_not_read_are_named() {
    let folder = inputs();
    for name in ["s.tar.zst", "s.tzst"] {
        fs::write(folder.path().join(name), b"\x28\xb5\x2f\xfd...").unwrap();
        let message = open(folder.path(), &[name], None).err().unwrap().to_string();
        assert!(message.contains("Zstandard") && message.contains("zstd -d"), "{message}");
    }
}

/// A frame whose pixels tell where they lie, as an uncompressed bitmap.
fn frame(width: u32, height: u32) -> Vec<u8> {
    let row_bytes = (width * 3).div_ceil(4) * 4;
    let mut file = b"BM".to_vec();
    for number in [54 + row_bytes * height, 0, 54, 40, width, height] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1, 0, 24, 0]);
    file.extend([0; 24]);
    // Rows go up, and blue stands first.
    for row in (0..height).rev() {
        let start = file.len();
        file.extend((0..width).flat_map(|column| [7, row as u8, column as u8]));
        file.resize(start + row_bytes as usize, 0);
    }
    file
}

#[test]
fn boxes_are_cut_out_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("c1")).unwrap();
    for name in ["c1/1.bmp", "c1/2.bmp"] {
        fs::write(folder.path().join(name), frame(40, 30)).unwrap();
    }
    fs::write(folder.path().join("c1/3.bmp"), b"no image").unwrap();
    let boxes = folder.path().join("boxes.csv");
    let rows = "1,-5,20,15,50\n1,10,5,4,6\n1,10,5,4,6\n1,50,5,4,6\n1,1e12,0,4,6\n1,NaN,0,4,6\n1,1,1,-4,6\n1,1,1,1,1\n\
                2,0,0,1e9,1e9\n3,0,0,9,9\n4,0,0,9,9\n";
    fs::write(&boxes, format!("frame,left,top,width,height\n{rows}")).unwrap();
    // Of a frame's record all crops take what no record of their own says.
    let metadata = folder.path().join("m.csv");
    let records = "1.bmp,c7,2026-05-01T12:30:00Z\n\"1.bmp#10,5,4,6\",c8,\n2.bmp,,2026-05-01T12:30:01Z\n";
    fs::write(&metadata, format!("image_id,camera_id,captured_at\n{records}")).unwrap();
    let options = SourceOptions {
        root: None,
        metadata: Some(metadata),
        prefix: String::new(),
        allow_unmatched: false,
        max_image_bytes: 1 << 20,
        times: None,
    };
    let camera_id = Some("c1".to_owned());
    let of_boxes =
        BoxOptions { path: boxes, min_width_px: 2, max_frame_pixels: 2000, camera_id, ..BoxOptions::default() };
    let mut source = ImageSource::open_frames(&[folder.path().join("c1")], options, of_boxes).unwrap();
    let (mut cut, mut known, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for item in source.by_ref() {
        match item {
            Ok(entry) => {
                let CropBox { left_px, top_px, width_px, height_px } = entry.metadata.crop_box.unwrap();
                let image_id = entry.image_id.clone();
                known
                    .push((entry.metadata.camera_id.clone().unwrap(), entry.metadata.captured_at_ms.unwrap() % 60_000));
                let pixels = descry_model::decode_image(&entry.read(1 << 20).unwrap(), 1 << 20, false).unwrap();
                assert_eq!((pixels.width, pixels.height), (width_px as usize, height_px as usize));
                let last = [left_px as u8 + width_px as u8 - 1, top_px as u8 + height_px as u8 - 1, 7];
                assert_eq!(pixels.samples[..3], [left_px as u8, top_px as u8, 7]);
                assert_eq!(pixels.samples[pixels.samples.len() - 3..], last);
                cut.push((image_id, [left_px, top_px, width_px as i32, height_px as i32]));
            }
            Err(skipped) => reasons.push(skipped.reason),
        }
    }
    let expected = [
        ("1.bmp#-5,20,15,50", [0, 20, 10, 10]),
        ("1.bmp#10,5,4,6", [10, 5, 4, 6]),
        ("2.bmp#0,0,1000000000,1000000000", [0, 0, 40, 30]),
    ];
    assert_eq!(cut, expected.map(|(id, sides)| (id.to_owned(), sides)));
    let said = ["another box", "outside", "is none", "is none", "is none", "its frame", "no frame \"4\""];
    assert_eq!(known, [("c7", 0), ("c8", 0), ("c1", 1000)].map(|(camera, time_ms)| (camera.to_owned(), time_ms)));
    assert_eq!(reasons.len(), said.len(), "{reasons:?}");
    for (reason, said) in reasons.iter().zip(said) {
        assert!(reason.contains(said), "{said}: {reason}");
    }
    assert!(source.summary().left_out.to_string().contains("least size"));
}
