//! Data sets in the public layouts through `descry eval`, and the demo's gallery against PyTorch's results.

use descry_export::ModelFlags;
use descry_tests::{demo_bundle, demo_folder, descry, export_fixture, golden_folder};
use ndarray::Array2;
use ndarray_npy::NpzReader;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;

/// Points of a percentage.
const MAX_METRIC_DIFFERENCE: f64 = 0.15;
const MIN_COSINE: f32 = 0.9995;

fn eval(model: &Path, dataset: &str, root: &Path, more: &[&str]) -> Result<Value, String> {
    let mut arguments = vec!["eval", "--model", model.to_str().unwrap(), "--dataset", dataset];
    arguments.extend(["--root", root.to_str().unwrap(), "--json"]);
    arguments.extend(more);
    let output = descry(arguments);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// Writes a data set whose images are all the same picture: every score of a caption is equal, so the gallery's order
/// decides, and the metrics can be computed by hand.
fn write_dataset(folder: &Path, annotation: &str, entries: &Value) {
    fs::create_dir_all(folder.join("imgs")).unwrap();
    let picture = demo_folder().join("gallery/imgs/test/p2601_c3_0.jpg");
    for entry in entries.as_array().unwrap() {
        let name = entry.get("file_path").or_else(|| entry.get("img_path")).unwrap().as_str().unwrap();
        let path = folder.join("imgs").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&picture, path).unwrap();
    }
    fs::write(folder.join(annotation), entries.to_string()).unwrap();
}

fn check(report: &Value, expected: [f64; 5], queries: u64, gallery: u64) {
    for (field, expected) in ["rank1", "rank5", "rank10", "map", "minp"].iter().zip(expected) {
        let found = report[field].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "{field}: {found}, by hand {expected}");
    }
    assert_eq!((report["queries"].as_u64(), report["gallery"].as_u64()), (Some(queries), Some(gallery)));
}

#[test]
fn cuhk_pedes() {
    let folder = tempfile::tempdir().unwrap();
    // Gallery order: 1, 2, 2. A caption of 1: first. Captions of 2: ranks 2 and 3.
    let entries = json!([
        {"split": "train", "id": 9, "file_path": "t/x.jpg", "captions": ["not in the test split"]},
        {"split": "test", "id": 1, "file_path": "a/1.jpg", "captions": ["a man in gray"]},
        {"split": "test", "id": 2, "file_path": "a/2.jpg", "captions": ["a woman", "a woman in red"]},
        {"split": "test", "id": 2, "file_path": "a/3.jpg", "captions": ["a girl"]},
    ]);
    write_dataset(&folder.path().join("CUHK-PEDES"), "reid_raw.json", &entries);
    let ap = (1.0 / 2.0 + 2.0 / 3.0) / 2.0;
    let expected = [25.0, 100.0, 100.0, 100.0 * (1.0 + 3.0 * ap) / 4.0, 100.0 * (1.0 + 3.0 * 2.0 / 3.0) / 4.0];
    // The folder itself, or the one above it.
    for root in [folder.path().join("CUHK-PEDES"), folder.path().to_owned()] {
        check(&eval(demo_bundle(), "cuhk-pedes", &root, &[]).unwrap(), expected, 4, 3);
    }
    let message = eval(demo_bundle(), "cuhk-pedes", folder.path(), &["--split", "val"]).unwrap_err();
    assert!(message.contains("val") && message.contains("train"), "{message}");
}

#[test]
fn icfg_pedes() {
    let folder = tempfile::tempdir().unwrap();
    // Six images of others before the only one of identity 5: rank 7.
    let mut entries: Vec<Value> = (0..6)
        .map(|index| json!({"split": "test", "id": 4, "file_path": format!("test/{index}.jpg"), "captions": ["a man"]}))
        .collect();
    entries.push(json!({"split": "test", "id": 5, "file_path": "test/6.jpg", "captions": ["a man in red"]}));
    write_dataset(&folder.path().join("ICFG-PEDES"), "ICFG-PEDES.json", &Value::from(entries));
    // Identity 4: all first. Identity 5: AP 1/7, the last relevant image at rank 7 of 1.
    let of_seven = |four: f64, five: f64| 100.0 * (6.0 * four + five) / 7.0;
    let expected = [of_seven(1.0, 0.0), of_seven(1.0, 0.0), 100.0, of_seven(1.0, 1.0 / 7.0), of_seven(1.0, 1.0 / 7.0)];
    check(&eval(demo_bundle(), "icfg-pedes", folder.path(), &[]).unwrap(), expected, 7, 7);
}

#[test]
fn rstpreid() {
    let folder = tempfile::tempdir().unwrap();
    let entries = json!([
        {"id": 0, "img_path": "0.jpg", "captions": ["a man", "a tall man"], "split": "test"},
        {"id": 1, "img_path": "1.jpg", "captions": ["a woman", "a tall woman"], "split": "test"},
        {"id": 2, "img_path": "2.jpg", "captions": ["x", "y"], "split": "val"},
    ]);
    write_dataset(&folder.path().join("RSTPReid"), "data_captions.json", &entries);
    check(&eval(demo_bundle(), "rstpreid", folder.path(), &[]).unwrap(), [50.0, 100.0, 100.0, 75.0, 75.0], 4, 2);
    // A missing image is named before anything is computed.
    fs::remove_file(folder.path().join("RSTPReid/imgs/1.jpg")).unwrap();
    let message = eval(demo_bundle(), "rstpreid", folder.path(), &[]).unwrap_err();
    assert!(message.contains("1.jpg"), "{message}");
}

fn check_pytorch(checkpoint: &str) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export_fixture(&demo_folder().join(checkpoint), ModelFlags::default(), folder.path());
    let name = checkpoint.trim_end_matches(".safetensors");
    let golden = golden_folder().join("demo");
    let computed: Value = serde_json::from_slice(&fs::read(golden.join(format!("{name}.json"))).unwrap()).unwrap();
    let report = eval(bundle.directory(), "cuhk-pedes", &demo_folder().join("gallery"), &[]).unwrap();
    for field in ["rank1", "rank5", "rank10", "map", "minp", "queries", "gallery"] {
        let (found, expected) = (report[field].as_f64().unwrap(), computed[field].as_f64().unwrap());
        assert!((found - expected).abs() <= MAX_METRIC_DIFFERENCE, "{field}: {found}, PyTorch {expected}");
    }

    // The first images and captions, through `descry embed`.
    let annotations: Value =
        serde_json::from_slice(&fs::read(demo_folder().join("gallery/reid_raw.json")).unwrap()).unwrap();
    let entries = annotations.as_array().unwrap();
    let mut computed = NpzReader::new(File::open(golden.join(format!("{name}.npz"))).unwrap()).unwrap();
    let images: Array2<f32> = computed.by_name("images").unwrap();
    let texts: Array2<f32> = computed.by_name("texts").unwrap();
    let captions = entries.iter().flat_map(|entry| entry["captions"].as_array().unwrap()).take(texts.nrows());
    let lines: String = captions.map(|caption| format!("{caption}\n")).collect();
    let (texts_file, out) = (folder.path().join("captions.jsonl"), folder.path().join("out.npz"));
    fs::write(&texts_file, lines).unwrap();
    let mut arguments = vec!["embed".into(), "--model".into(), bundle.directory().to_owned(), "--images".into()];
    let paths = entries.iter().take(images.nrows()).map(|entry| entry["file_path"].as_str().unwrap());
    arguments.extend(paths.map(|path| demo_folder().join("gallery/imgs").join(path)));
    arguments.extend(["--texts".into(), texts_file, "--out".into(), out.clone()]);
    let output = descry(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut written = NpzReader::new(File::open(out).unwrap()).unwrap();
    for (array, computed) in [("images", images), ("texts", texts)] {
        let found: Array2<f32> = written.by_name(array).unwrap();
        assert_eq!(found.dim(), computed.dim());
        for (row, (a, b)) in found.outer_iter().zip(computed.outer_iter()).enumerate() {
            let cosine = a.dot(&b);
            assert!(cosine >= MIN_COSINE, "{array} row {row}: cosine {cosine}");
        }
    }
}

#[test]
fn dm_adapter_repeats_pytorchs_results() {
    check_pytorch("dm_adapter.safetensors");
}

#[test]
fn up_person_repeats_pytorchs_results() {
    check_pytorch("up_person.safetensors");
}
