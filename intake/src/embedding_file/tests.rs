use super::*;
use crate::{CropBox, EmbeddingArchive, GalleryFile, GalleryFileHeader};
use ndarray::{Array2, array};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};

fn fingerprint(seed: &str) -> Fingerprint {
    Fingerprint::of_parts([("seed", seed.as_bytes())])
}

fn with_fingerprint() -> EmbeddingOptions {
    EmbeddingOptions { fingerprint: Some(fingerprint("a")), ..EmbeddingOptions::default() }
}

/// Rows of every shape: with all that can be known, and with nothing.
fn rows(count: usize, dimension: usize) -> Vec<EmbeddingRow> {
    let row = |number: usize| {
        let is_known = number % 3 == 1;
        let text = |name: &str| is_known.then(|| format!("{name} {number}"));
        EmbeddingRow {
            image_id: format!("a/{number}.jpg"),
            values: (0..dimension).map(|place| (number * dimension + place) as f32).collect(),
            metadata: KnownMetadata {
                person_id: text("person"),
                camera_id: text("camera"),
                track_id: text("track"),
                frame_id: text("frame"),
                crop_box: is_known.then_some(CropBox { left_px: -7, top_px: 8, width_px: 9, height_px: number as u32 }),
                captured_at_ms: is_known.then_some(number as i64 - 5),
                attributes: text("\"rain\"").map(|text| ("weather".to_owned(), text)).into_iter().collect(),
            },
            content_sha256: text("sha"),
        }
    };
    (0..count).map(row).collect()
}

fn write_gallery(path: &Path, rows: &[EmbeddingRow], dimension: usize) -> u64 {
    let gallery_json = r#"{"name": "lobby"}"#.to_owned();
    let header = GalleryFileHeader { fingerprint: fingerprint("a"), dimension, gallery_json };
    let mut file = GalleryFile::create(path, header).unwrap();
    for part in rows.chunks(1000) {
        file.write(part).unwrap();
    }
    file.finish().unwrap()
}

#[test]
fn a_gallery_file_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.parquet");
    for count in [0, 1, 20_000] {
        let expected = rows(count, 5);
        assert_eq!(write_gallery(&path, &expected, 5), count as u64);
        let mut file = EmbeddingFile::open(&path, EmbeddingOptions::default()).unwrap();
        assert_eq!((file.total(), file.dimension()), (count as u64, 5));
        assert_eq!(file.fingerprint(), &fingerprint("a"));
        assert_eq!(file.gallery_json(), Some(r#"{"name": "lobby"}"#));
        let read: Vec<EmbeddingRow> = file.by_ref().map(Result::unwrap).collect();
        assert!(read == expected);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn rows_that_are_no_embedding_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.parquet");
    let mut written = rows(3, 2);
    written[1].values[1] = f32::NAN;
    write_gallery(&path, &written, 2);
    let read: Vec<_> = EmbeddingFile::open(&path, EmbeddingOptions::default()).unwrap().collect();
    let skipped = read[1].as_ref().unwrap_err();
    assert!(skipped.origin.ends_with("row 2") && skipped.image_id == "a/1.jpg", "{skipped:?}");
    assert!(read[0].is_ok() && read[2].is_ok());
    let mut file = GalleryFile::create(
        &path,
        GalleryFileHeader { fingerprint: fingerprint("a"), dimension: 3, gallery_json: String::new() },
    )
    .unwrap();
    assert!(matches!(file.write(&written), Err(IntakeError::WrongDimension { dimension: 2, expected: 3, .. })));
}

#[test]
fn archives_name_their_rows_or_get_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.npz");
    let values = array![[1.0_f32, 2.0], [3.0, f32::INFINITY], [5.0, 6.0]];
    let mut archive = EmbeddingArchive::create(&path).unwrap();
    archive.add_rows("images", values.view()).unwrap();
    archive.add_texts("image_ids", &["ä.jpg".to_owned(), "b".to_owned(), "c".to_owned()]).unwrap();
    archive.add_texts("fingerprint", &[fingerprint("a").to_string()]).unwrap();
    archive.finish().unwrap();
    let (list, metadata) = (folder.path().join("ids.txt"), folder.path().join("m.csv"));
    fs::write(&list, "x\ny\nz\n").unwrap();
    fs::write(&metadata, "image_id,person_id\nx,7\n").unwrap();
    let file = EmbeddingFile::open(&path, EmbeddingOptions::default()).unwrap();
    assert_eq!((file.total(), file.dimension(), file.fingerprint()), (3, 2, &fingerprint("a")));
    let read: Vec<_> = file.collect();
    assert_eq!(read[0].as_ref().unwrap().image_id, "ä.jpg");
    assert_eq!(read[1].as_ref().unwrap_err().image_id, "b");
    assert_eq!(read[2].as_ref().unwrap().values, [5.0, 6.0]);
    let options =
        EmbeddingOptions { image_ids: Some(list.clone()), metadata: Some(metadata), ..EmbeddingOptions::default() };
    let listed = EmbeddingFile::open(&path, options.clone()).unwrap().next().unwrap().unwrap();
    assert_eq!((listed.image_id.as_str(), listed.metadata.person_id.as_deref()), ("x", Some("7")));
    fs::write(&list, "x\ny\n").unwrap();
    assert!(EmbeddingFile::open(&path, options).err().unwrap().to_string().contains("2 image ids"));
    let other = EmbeddingOptions { fingerprint: Some(fingerprint("b")), ..EmbeddingOptions::default() };
    let message = EmbeddingFile::open(&path, other).err().unwrap().to_string();
    assert!(message.contains(fingerprint("a").as_str()) && message.contains(fingerprint("b").as_str()), "{message}");
}

#[test]
fn compressed_archives_of_other_programs_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, list) = (folder.path().join("e.npz"), folder.path().join("ids.txt"));
    let values: Array2<f64> = Array2::from_shape_fn((50, 3), |(row, column)| (row * 3 + column) as f64 / 8.0);
    let mut writer = ndarray_npy::NpzWriter::new_compressed(File::create(&path).unwrap());
    writer.add_array("embeddings", &values).unwrap();
    writer.finish().unwrap();
    fs::write(&list, (0..50).map(|row| format!("{row}.jpg\n")).collect::<String>()).unwrap();
    assert!(matches!(EmbeddingFile::open(&path, with_fingerprint()), Err(IntakeError::MissingImageIds { .. })));
    let options = EmbeddingOptions { image_ids: Some(list), ..with_fingerprint() };
    let nameless = EmbeddingOptions { fingerprint: None, ..options.clone() };
    assert!(matches!(EmbeddingFile::open(&path, nameless), Err(IntakeError::MissingFingerprint { .. })));
    let read: Vec<EmbeddingRow> = EmbeddingFile::open(&path, options).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 50);
    assert_eq!(read[49].values, [147.0 / 8.0, 148.0 / 8.0, 149.0 / 8.0]);
    assert_eq!(read[49].metadata.attributes, BTreeMap::new());
}

#[test]
fn torn_files_are_refused_or_end_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.parquet");
    write_gallery(&path, &rows(5000, 4), 4);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(EmbeddingFile::open(&path, with_fingerprint()), Err(IntakeError::Malformed { .. })));
    assert!(EmbeddingFile::open(&folder.path().join("e.pt"), with_fingerprint()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn damage_never_panics(place in 0_usize..4000, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.parquet");
        write_gallery(&path, &rows(40, 4), 4);
        let mut bytes = fs::read(&path).unwrap();
        let place = place % bytes.len();
        bytes[place] = byte;
        fs::write(&path, &bytes).unwrap();
        if let Ok(file) = EmbeddingFile::open(&path, with_fingerprint()) {
            prop_assert!(file.take(100).count() <= 41);
        }
    }
}

/// The second of two rows would silently take the place of the first.
#[test]
fn an_image_with_two_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (npz, parquet) = (folder.path().join("e.npz"), folder.path().join("e.parquet"));
    let mut twice = rows(5, 2);
    twice[4].image_id = twice[1].image_id.clone();
    write_gallery(&parquet, &twice, 2);
    let mut archive = EmbeddingArchive::create(&npz).unwrap();
    archive.add_rows("images", Array2::zeros((5, 2)).view()).unwrap();
    archive.add_texts("image_ids", &twice.iter().map(|row| row.image_id.clone()).collect::<Vec<_>>()).unwrap();
    archive.finish().unwrap();
    for path in [npz, parquet] {
        let message = EmbeddingFile::open(&path, with_fingerprint()).err().unwrap().to_string();
        assert!(message.contains("rows 2 and 5") && message.contains("a/1.jpg"), "{message}");
    }
}

#[test]
fn records_and_prefixes_go_by_the_ids_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (path, metadata) = (folder.path().join("e.parquet"), folder.path().join("m.csv"));
    write_gallery(&path, &rows(3, 2), 2);
    let open = |records: &str, allow_unmatched: bool| {
        fs::write(&metadata, format!("image_id,camera_id\n{records}\n")).unwrap();
        let (metadata, prefix) = (Some(metadata.clone()), "c1/".to_owned());
        EmbeddingFile::open(&path, EmbeddingOptions { metadata, prefix, allow_unmatched, ..with_fingerprint() })
    };
    let mut file = open("c1/a/0.jpg,c9\na/2.jpg,c8\nz,c7", false).unwrap();
    let read: Vec<EmbeddingRow> = file.by_ref().map(Result::unwrap).collect();
    assert!(read.iter().map(|row| row.image_id.as_str()).eq(["c1/a/0.jpg", "c1/a/1.jpg", "c1/a/2.jpg"]));
    assert_eq!(
        (read[0].metadata.camera_id.as_deref(), read[2].metadata.camera_id.as_deref()),
        (Some("c9"), Some("c8"))
    );
    assert_eq!(file.summary().first_unused_metadata, ["z"]);
    assert!(matches!(open("0.jpg,c9", false).err(), Some(IntakeError::NothingMatches { images: 3, .. })));
    assert!(open("0.jpg,c9", true).is_ok());
}
