use super::*;
use crate::flat_columns::tests::{column, write};
use parquet::data_type::{ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use std::fs;

fn read(name: &str, content: &str) -> Result<BoxTable, IntakeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    BoxTable::read(&BoxOptions { path, ..BoxOptions::default() })
}

fn sides(table: &BoxTable) -> Vec<(&str, [f64; 4], Option<&str>)> {
    let sides = |given: &GivenBox| match given.sides {
        Sides::Pixels(sides) | Sides::Shares(sides) => sides,
    };
    table.boxes.iter().map(|given| (&*given.frame, sides(given), given.metadata.track_id.as_deref())).collect()
}

#[test]
fn mot_counts_from_one() {
    let table = read("det.txt", "1,-1,11,21,30.5,40,0.9,-1,-1,-1\n2,7,1,1,3,4,0.5\nx,1\n").unwrap();
    let expected = [("1", [10.0, 20.0, 30.5, 40.0], None), ("2", [0.0, 0.0, 3.0, 4.0], Some("7"))];
    assert_eq!(sides(&table), expected);
    assert_eq!((table.skipped.len(), table.boxes[0].score), (1, Some(0.9)));
    // The truth has a class, and says by the confidence what counts.
    let table = read("gt.txt", "1,3,1,1,2,2,1,1,0.25\n1,4,1,1,2,2,0,1,1\n1,5,1,1,2,2,1,8,1\n").unwrap();
    assert_eq!(sides(&table), [("1", [0.0, 0.0, 2.0, 2.0], Some("3"))]);
    assert_eq!((table.left_out.total(), table.boxes[0].score), (2, None));
    assert_eq!(table.boxes[0].metadata.attributes["visibility"], "0.25");
}

#[test]
fn coco_names_its_people() {
    let file = r#"{"images": [{"id": 9, "file_name": "a.jpg"}], "categories": [{"id": 4, "name": "Person"}, {"id": 1, "name": "car"}],
        "annotations": [{"image_id": 9, "bbox": [1, 2, 3.5, 4], "category_id": 4, "track_id": 6}, {"image_id": 9, "bbox": [1, 2, 3, 4], "category_id": 1},
                        {"image_id": 8, "bbox": [1, 2, 3, 4], "category_id": 4}, {"image_id": 9, "bbox": null, "category_id": 4}]}"#;
    let table = read("boxes.json", file).unwrap();
    assert_eq!(sides(&table), [("a.jpg", [1.0, 2.0, 3.5, 4.0], Some("6"))]);
    assert_eq!((table.skipped.len(), table.left_out.total()), (2, 1));
    let results = r#"[{"image_id": 12, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}, {"image_id": "b", "category_id": 3, "bbox": []}]"#;
    let table = read("results.json", results).unwrap();
    assert_eq!(sides(&table), [("12", [1.0, 2.0, 3.0, 4.0], None)]);
    assert_eq!((table.boxes[0].score, table.notes.len()), (Some(0.5), 1));
}

#[test]
fn yolo_tells_scores_from_tracks() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("000001.txt"), "0 0.5 0.5 0.2 0.4 0.75 3\n2 0.5 0.5 0.1 0.1 0.5 4\n0 0.5\n").unwrap();
    fs::write(folder.path().join("000002.txt"), "0 0.5 0.5 0.5 0.5 9\n").unwrap();
    let table = BoxTable::read(&BoxOptions { path: folder.path().to_owned(), ..BoxOptions::default() }).unwrap();
    let expected = [("000001", [0.4, 0.3, 0.2, 0.4], Some("3")), ("000002", [0.25, 0.25, 0.5, 0.5], Some("9"))];
    assert_eq!(sides(&table), expected);
    assert_eq!((table.skipped.len(), table.left_out.total(), table.boxes[0].score), (1, 1, Some(0.75)));
}

#[test]
fn tables_bring_what_else_is_known() {
    let csv = "frame,left,top,width,height,track_id,camera_id,bag\n7,1,2,3,4,t,c1,red\na.jpg,NaN,2,3,4,,,\na.jpg,x,2,3,4,,,\n";
    let table = read("boxes.csv", csv).unwrap();
    assert_eq!((table.boxes.len(), table.skipped.len()), (2, 1));
    let metadata = &table.boxes[0].metadata;
    assert_eq!((metadata.camera_id.as_deref(), metadata.attributes["bag"].as_str()), (Some("c1"), "red"));
    for (name, line) in [("b.jsonl", "{LINE}"), ("b.json", "[{LINE}]")] {
        let line = line.replace("LINE", r#""frame": "a.jpg", "left": 1, "top": 2, "width": 3, "height": 4"#);
        assert_eq!(sides(&read(name, &line).unwrap()), [("a.jpg", [1.0, 2.0, 3.0, 4.0], None)], "{name}");
    }
}

#[test]
fn one_bad_row_costs_no_other() {
    let good = r#"{"image_id": "a", "bbox": [1, 2, 3, 4], "category_id": 1}"#;
    let coco = format!(r#"[{good}, {{"image_id": "a", "bbox": [NaN, 2, 3, 4]}}, {{"bbox": [1, 2, 3, 4]}}, 7, {good}]"#);
    let row = r#"{"frame": "a", "left": 1, "top": 2, "width": 3, "height": 4}"#;
    let array =
        format!(r#"[{row}, {{"frame": "a", "left": NaN, "top": 2, "width": 3, "height": 4}}, {{"frame": 1}}, {row}]"#);
    for (name, content, faults) in [
        ("coco.json", coco.into_bytes(), 3),
        ("array.json", array.into_bytes(), 2),
        ("rows.jsonl", format!("{row}\n{{\"frame\"\n[1]\n{row}\n").into_bytes(), 2),
        (
            "rows.csv",
            b"frame,left,top,width,height\na,1,2,3,4\na,1\na,\xff,2,3,4\na,1,2,3,4,5\na,1,2,3,4\n".to_vec(),
            3,
        ),
        ("det.txt", b"1,-1,2,3,3,4,1\n\xff\n1,-1,2\n1,-1,2,3,3,4,1\n".to_vec(), 2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let table = BoxTable::read(&BoxOptions { path, ..BoxOptions::default() }).unwrap();
        assert_eq!((table.boxes.len(), table.skipped.len()), (2, faults), "{name}: {:?}", table.skipped);
        assert!(table.boxes.iter().all(|given| given.sides == Sides::Pixels([1.0, 2.0, 3.0, 4.0])), "{name}");
        assert!(table.skipped.iter().all(|skipped| skipped.origin.contains(&format!("{name}:"))), "{name}");
    }
}

#[test]
fn a_box_may_be_a_list() {
    let row = r#"{"frame": "a", "box": [1, 2.5, 3, 4]}"#;
    for (name, content) in [
        ("b.csv", "frame,box\na,\"[1, 2.5, 3, 4]\"\na,wide\na,\n".to_owned()),
        ("b.jsonl", format!("{row}\n{{\"frame\": \"a\", \"box\": [1]}}\n{{\"frame\": \"a\"}}")),
    ] {
        let table = read(name, &content).unwrap();
        assert_eq!((sides(&table), table.skipped.len()), (vec![("a", [1.0, 2.5, 3.0, 4.0], None)], 2), "{name}");
    }
}

#[test]
fn damaged_files_fail_politely() {
    let deep = "[".repeat(100_000);
    for (name, content) in [("a.json", "{\"images\": ["), ("b.json", deep.as_str()), ("c.json", ""), ("d.xml", "<a>")] {
        assert!(read(name, content).is_err(), "{name}");
    }
}

#[test]
fn what_is_too_much_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"image_id": "a", "bbox": [1, 2, 3, 4], "category_id": 1}"#;
    // An element of more than a mebibyte costs no other, however many parts it has; nor does a box of many sides.
    let long = format!("[{}1]", "[],".repeat(400_000));
    let many = format!(r#"{{"image_id": "a", "bbox": [{}1]}}"#, "1,".repeat(100_000));
    let table = read("coco.json", &format!("[{good}, {long}, {many}, {good}]")).unwrap();
    assert_eq!((table.boxes.len(), table.skipped.len()), (2, 2));
    assert!(table.skipped.iter().all(|skipped| skipped.reason.len() < 400), "{:?}", table.skipped);
    assert!(table.skipped[0].reason.contains("1048576"), "{:?}", table.skipped);
    let row = r#"{"frame": "a", "box": [1, 2, 3, 4]}"#;
    let table = read("array.json", &format!("[{row}, {long}, {row}]")).unwrap();
    assert_eq!((table.boxes.len(), table.skipped.len()), (2, 1));
    // Of a label line with endless fields, or a field without an end, nothing is kept.
    let endless = format!("0 0.5 0.5 0.5 {}\n0 {} 1 1 1\n0 0.5 0.5 0.5 0.5\n", "0.5 ".repeat(10_000), "9".repeat(1000));
    fs::write(folder.path().join("1.txt"), endless).unwrap();
    let table = BoxTable::read(&BoxOptions { path: folder.path().to_owned(), ..BoxOptions::default() }).unwrap();
    assert_eq!((table.boxes.len(), table.skipped.len()), (1, 2));
    assert!(table.skipped.iter().all(|skipped| skipped.reason.len() < 400), "{:?}", table.skipped);
}

#[test]
fn boxes_take_no_more_memory_than_there_may_be() {
    let of_attributes = |count: usize| {
        let attributes = (0..count).map(|number| (number.to_string(), "x".repeat(1000))).collect();
        let metadata = KnownMetadata { attributes, ..KnownMetadata::default() };
        GivenBox { frame: "a".into(), place: 1, sides: Sides::Pixels([0.0; 4]), score: None, metadata }
    };
    let path = Path::new("boxes.csv");
    let mut table = BoxTable { held_bytes: MAX_HELD_BYTES - 50_000, ..BoxTable::default() };
    table.push(path, of_attributes(40)).unwrap();
    let complaint = table.push(path, of_attributes(40)).unwrap_err().to_string();
    assert!(complaint.contains("4294967296 bytes of memory"), "{complaint}");
    // Boxes of one frame share its name.
    let mut table = BoxTable::default();
    let frame: Arc<str> = "f".repeat(4000).into();
    for _ in 0..2 {
        table.push(path, GivenBox { frame: Arc::clone(&frame), ..of_attributes(0) }).unwrap();
    }
    assert!(table.held_bytes < 1000);
}

#[test]
fn parquet_tells_what_other_tables_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boxes.parquet");
    let schema =
        "message m { optional binary frame (STRING); required double left; required int32 top; required float width;
        required int64 height; optional binary track_id (STRING); optional double score;
        optional int64 captured_at (TIMESTAMP(MILLIS,true)); optional binary bag (STRING); }";
    write(&path, schema, |group| {
        column::<ByteArrayType>(group, &["c1/a.jpg".into(), "b.jpg".into(), "b.jpg".into()], Some(&[1, 0, 1, 1]));
        column::<DoubleType>(group, &[1.5, 1.0, f64::NAN, 3.0], None);
        column::<Int32Type>(group, &[2; 4], None);
        column::<FloatType>(group, &[3.25; 4], None);
        column::<Int64Type>(group, &[4; 4], None);
        column::<ByteArrayType>(group, &["7".into()], Some(&[1, 0, 0, 0]));
        column::<DoubleType>(group, &[0.5, 0.25], Some(&[1, 0, 0, 1]));
        column::<Int64Type>(group, &[1000], Some(&[1, 0, 0, 0]));
        column::<ByteArrayType>(group, &["red".into()], Some(&[1, 0, 0, 0]));
    });
    let mut options = BoxOptions { path, min_score: 0.3, ..BoxOptions::default() };
    let table = BoxTable::read(&options).unwrap();
    assert_eq!(sides(&table), [("c1/a.jpg", [1.5, 2.0, 3.25, 4.0], Some("7"))]);
    let GivenBox { score, metadata, .. } = &table.boxes[0];
    assert_eq!((*score, metadata.captured_at_ms, metadata.attributes["bag"].as_str()), (Some(0.5), Some(1000), "red"));
    // A row without a frame, one without a side, and one of a low score.
    assert_eq!((table.skipped.len(), table.left_out.total()), (2, 1), "{:?}", table.skipped);
    assert!(table.skipped[0].origin.ends_with("boxes.parquet:2"), "{:?}", table.skipped);
    // The ending decides, or the option.
    fs::rename(&options.path, folder.path().join("boxes")).unwrap();
    options.path = folder.path().join("boxes");
    assert!(matches!(BoxTable::read(&options), Err(IntakeError::UnknownEnding { .. })));
}
