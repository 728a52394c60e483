use super::*;
use crate::{ImageSource, SourceOptions, TimeSources};
use std::fs;
use std::path::Path;

fn options(metadata: Option<PathBuf>) -> SourceOptions {
    SourceOptions {
        root: None,
        metadata,
        prefix: String::new(),
        allow_unmatched: false,
        max_image_bytes: 1 << 20,
        times: TimeSources::default(),
    }
}

#[test]
fn whatever_changes_a_crop_changes_its_version() {
    let part = CropBox { left_px: 1, top_px: 2, width_px: 30, height_px: 40 };
    let frame = FileVersion { bytes: 1000, modified_ms: 5 };
    let version = part_version(frame, false, part);
    assert_eq!(part_version(frame, false, part), version);
    assert_eq!(version.bytes, 30 * 40 * 3);
    for other in [
        part_version(FileVersion { bytes: 1001, ..frame }, false, part),
        part_version(FileVersion { modified_ms: 6, ..frame }, false, part),
        part_version(frame, true, part),
        part_version(frame, false, CropBox { left_px: 2, ..part }),
        part_version(frame, false, CropBox { left_px: 2, top_px: 1, ..part }),
    ] {
        assert_ne!(other, version);
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
    let camera_id = Some("c1".to_owned());
    let of_boxes =
        BoxOptions { path: boxes, min_width_px: 2, max_frame_pixels: 2000, camera_id, ..BoxOptions::default() };
    let mut source = ImageSource::open_frames(&[folder.path().join("c1")], options(Some(metadata)), of_boxes).unwrap();
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

/// The ids of the crops, and why others are none.
fn cut(folder: &Path, inputs: &[&str], boxes: &str) -> Result<(Vec<String>, Vec<String>), IntakeError> {
    let path = folder.join("boxes.csv");
    fs::write(&path, format!("frame,left,top,width,height\n{boxes}")).unwrap();
    let inputs: Vec<PathBuf> = inputs.iter().map(|name| folder.join(name)).collect();
    let of_boxes = BoxOptions { path, max_frame_pixels: 2000, ..BoxOptions::default() };
    let (mut ids, mut reasons) = (Vec::new(), Vec::new());
    for item in ImageSource::open_frames(&inputs, options(None), of_boxes)? {
        match item {
            Ok(entry) => ids.push(entry.image_id),
            Err(skipped) => reasons.push(skipped.reason),
        }
    }
    Ok((ids, reasons))
}

#[test]
fn boxes_of_another_folders_frame_are_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    for camera in ["c1", "c2"] {
        fs::create_dir(folder.path().join(camera)).unwrap();
    }
    fs::write(folder.path().join("c1/000001.bmp"), frame(40, 30)).unwrap();
    // The whole input, of which c2's frame is not there.
    let (ids, reasons) = cut(folder.path(), &["."], "c1/000001.bmp,1,2,3,4\nc2/000001.bmp,5,6,7,8\n").unwrap();
    assert_eq!(ids, ["c1/000001.bmp#1,2,3,4"]);
    assert!(reasons.len() == 1 && reasons[0].contains("no frame \"c2/000001.bmp\""), "{reasons:?}");
    // One camera's folder by itself: its frames' names have no folder that would tell them apart.
    let (ids, reasons) = cut(folder.path(), &["c1"], "c1/000001,1,2,3,4\n1,1,1,1,1\nc2/000001,5,6,7,8\n").unwrap();
    assert_eq!((ids.len(), reasons.len()), (0, 3), "{ids:?}");
    assert!(reasons.iter().all(|reason| reason.contains("\"c1/000001\" and \"c2/000001\"")), "{reasons:?}");
    assert_eq!(cut(folder.path(), &["c1"], "c1/000001,1,2,3,4\n1,1,1,1,1\nx/c1/000001,5,6,7,8\n").unwrap().0.len(), 3);
    // Two inputs with one name.
    fs::write(folder.path().join("c2/000001.bmp"), frame(40, 30)).unwrap();
    let complaint = cut(folder.path(), &["c1", "c2"], "000001.bmp,1,2,3,4\n").unwrap_err().to_string();
    assert!(complaint.contains("several frames"), "{complaint}");
    let both = "c1/000001.bmp,1,2,3,4\nc2/000001.bmp,1,2,3,4\n";
    assert_eq!(cut(folder.path(), &["."], both).unwrap().0, ["c1/000001.bmp#1,2,3,4", "c2/000001.bmp#1,2,3,4"]);
}
