//! Tiny data sets in the three published layouts, whole and damaged.

#![expect(clippy::unwrap_used, reason = "the test exemption does not reach helper functions of an integration test")]

use std::fs;
use std::path::Path;

use descry_evaluation::{Dataset, DatasetLayout, EvaluationError, SplitSize};
use tempfile::TempDir;

const PEDES: &str = r#"[
    {"split": "train", "id": 1, "file_path": "train/a.jpg", "captions": ["one"], "processed_tokens": [["one"]]},
    {"split": "test", "id": 12, "file_path": "CUHK01/b.png", "captions": ["a man", "a tall man"]},
    {"split": "test", "id": "12", "file_path": "CUHK01/c.png", "captions": ["a short man"]}
]"#;

const RSTPREID: &str = r#"[
    {"id": 3, "img_path": "0003_c1.jpg", "captions": ["a man", "a tall man"], "split": "test"},
    {"id": 4, "img_path": "0004_c1.jpg", "captions": ["a woman"], "split": "val"}
]"#;

fn write(folder: &Path, file: &str, json: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(file), json).unwrap();
}

/// Loads a CUHK-PEDES annotation file's test split and gives the error's text.
fn refusal(json: &str) -> String {
    let root = TempDir::new().unwrap();
    write(root.path(), "reid_raw.json", json);
    let error = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap_err();
    let message = error.to_string();
    assert!(message.contains("reid_raw.json"), "{message}");
    message
}

fn entry(fields: &str) -> String {
    format!(r#"[{{"split": "test", "id": 1, "file_path": "a.jpg", "captions": ["a man"]}}, {{{fields}}}]"#)
}

#[test]
fn each_layout_is_read_in_file_order() {
    for (layout, file) in [(DatasetLayout::CuhkPedes, "reid_raw.json"), (DatasetLayout::IcfgPedes, "ICFG-PEDES.json")] {
        let root = TempDir::new().unwrap();
        write(root.path(), file, PEDES);
        let dataset = Dataset::load(layout, root.path(), "test").unwrap();
        let names: Vec<&str> = dataset.images().iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["CUHK01/b.png", "CUHK01/c.png"]);
        assert_eq!(dataset.images()[0].path, root.path().join("imgs/CUHK01/b.png"));
        let captions: Vec<(&str, usize)> =
            dataset.captions().iter().map(|caption| (caption.text.as_str(), caption.image)).collect();
        assert_eq!(captions, [("a man", 0), ("a tall man", 0), ("a short man", 1)]);
        assert_eq!(dataset.image_identities(), [12, 12]);
        assert_eq!(dataset.caption_identities(), [12, 12, 12]);
        assert_eq!((dataset.layout(), dataset.split(), dataset.folder()), (layout, "test", root.path()));
    }
    let root = TempDir::new().unwrap();
    write(root.path(), "data_captions.json", RSTPREID);
    let dataset = Dataset::load(DatasetLayout::RstpReid, root.path(), "test").unwrap();
    assert_eq!(dataset.images()[0].name, "0003_c1.jpg");
    assert_eq!(dataset.caption_identities(), [3, 3]);
}

#[test]
fn the_root_may_be_the_parent() {
    let root = TempDir::new().unwrap();
    write(&root.path().join("mine"), "reid_raw.json", PEDES);
    write(&root.path().join("RSTPReid"), "data_captions.json", RSTPREID);
    let dataset = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap();
    assert_eq!(dataset.folder(), root.path().join("mine"));

    write(&root.path().join("also"), "reid_raw.json", PEDES);
    let error = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap_err();
    assert!(error.to_string().contains("also, mine"), "{error}");

    write(&root.path().join("CUHK-PEDES"), "reid_raw.json", PEDES);
    let dataset = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap();
    assert_eq!(dataset.folder(), root.path().join("CUHK-PEDES"));
}

#[test]
fn a_root_without_annotations_is_refused() {
    let root = TempDir::new().unwrap();
    let error = Dataset::load(DatasetLayout::IcfgPedes, root.path(), "test").unwrap_err();
    assert!(matches!(error, EvaluationError::MissingAnnotation { .. }), "{error}");
    assert!(error.to_string().contains("ICFG-PEDES.json"), "{error}");
    let error = Dataset::load(DatasetLayout::IcfgPedes, &root.path().join("absent"), "test").unwrap_err();
    assert!(matches!(error, EvaluationError::NotAFolder { .. }), "{error}");
}

#[test]
fn an_unknown_split_names_those_that_exist() {
    let root = TempDir::new().unwrap();
    write(root.path(), "reid_raw.json", PEDES);
    let error = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "val").unwrap_err();
    assert!(error.to_string().ends_with("it has train (1 images), test (2 images)"), "{error}");
    let EvaluationError::UnknownSplit { available, .. } = error else { panic!("{error}") };
    let size = |name: &str, images| SplitSize { name: name.to_owned(), images };
    assert_eq!(available, [size("train", 1), size("test", 2)]);
    assert!(refusal("[]").ends_with("it has no entries at all"));
}

#[test]
fn damaged_files_and_entries_are_named() {
    for (json, expected) in [
        ("", "EOF while parsing"),
        (r#"{"split": "test"}"#, "expected a JSON list"),
        (&entry(r#""split": "test", "id": 1, "file_path": "b.jpg""#), "entry 1: missing field `captions`"),
        (
            &entry(r#""split": "test", "id": 1, "img_path": "b.jpg", "captions": ["x"]"#),
            "entry 1: missing field `file_path`",
        ),
        (&entry(r#""split": "test", "id": "p1", "file_path": "b.jpg", "captions": ["x"]"#), "entry 1: invalid value"),
        (&entry(r#""split": "test", "id": 1, "file_path": "b.jpg", "captions": "x""#), "entry 1: invalid type"),
        (&PEDES[..PEDES.len() - 10], "entry 2: EOF"),
        (&format!("{PEDES} x"), "trailing characters"),
    ] {
        let message = refusal(json);
        assert!(message.contains(expected), "{message}\nlacks {expected}");
    }
}

#[test]
fn image_paths_that_leave_the_image_folder_are_refused() {
    for path in ["../a.jpg", "test/../../a.jpg", "/etc/passwd", "", ".", ".."] {
        let message =
            refusal(&entry(&format!(r#""split": "test", "id": 1, "file_path": "{path}", "captions": ["x"]"#)));
        assert!(message.contains("entry 1: image path"), "{path}: {message}");
    }
}

#[test]
fn flaws_of_another_split_do_not_matter() {
    let root = TempDir::new().unwrap();
    let json = entry(r#""split": "train", "id": 1, "file_path": "../b.jpg", "captions": []"#);
    write(root.path(), "reid_raw.json", &json);
    assert_eq!(Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap().images().len(), 1);
}

#[test]
fn missing_image_files_are_listed_not_refused() {
    let root = TempDir::new().unwrap();
    write(root.path(), "reid_raw.json", PEDES);
    write(&root.path().join("imgs/CUHK01"), "c.png", "");
    let dataset = Dataset::load(DatasetLayout::CuhkPedes, root.path(), "test").unwrap();
    let missing: Vec<&str> = dataset.missing_images().iter().map(|image| image.name.as_str()).collect();
    assert_eq!(missing, ["CUHK01/b.png"]);
}

#[test]
fn missing_image_files_are_refused_where_they_are_needed() {
    let root = TempDir::new().unwrap();
    write(root.path(), "reid_raw.json", PEDES);
    write(&root.path().join("imgs/CUHK01"), "c.png", "");
    let load = || Dataset::load_with_images(DatasetLayout::CuhkPedes, root.path(), "test");
    let message = load().unwrap_err().to_string();
    assert!(message.contains("1 images") && message.contains("CUHK01/b.png"), "{message}");
    write(&root.path().join("imgs/CUHK01"), "b.png", "");
    assert_eq!(load().unwrap().missing_images(), Vec::<&descry_evaluation::DatasetImage>::new());
}
