//! Exported towers against the outputs of the published code, for every batch size and text length.

use descry_encoder::{DeviceName, EncoderConfig, OnnxTextTower, OnnxVisionTower, OpenedTowers, open_towers};
use descry_export::{ModelFlags, TowerForm};
use descry_model::Dialect;
use descry_tests::{export_form, golden_folder};
use ndarray::{Array2, Array4, ArrayView1, Axis, concatenate, s};
use ndarray_npy::NpzReader;
use std::fs::File;

/// Largest difference, as a share of the published outputs' largest magnitude.
const MAX_RELATIVE_DIFFERENCE: f32 = 2e-4;
/// Largest `1 - cosine`.
const MAX_COSINE_DISTANCE: f64 = 1e-6;
/// A row in a batch against the row alone, as a share of the largest magnitude.
const MAX_BATCH_DIFFERENCE: f32 = 1e-5;

struct Published {
    pixels: Array4<f32>,
    token_ids: Array2<i64>,
    image_features: Array2<f32>,
    text_features: Array2<f32>,
}

impl Published {
    fn read(name: &str) -> Self {
        let path = golden_folder().join("fixtures").join(name).join("io.npz");
        let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
        Self {
            pixels: archive.by_name("pixels").unwrap(),
            token_ids: archive.by_name("token_ids").unwrap(),
            image_features: archive.by_name("image_features").unwrap(),
            text_features: archive.by_name("text_features").unwrap(),
        }
    }
}

/// Every float32 form of a graph, each on the devices of this machine that are meant for it.
fn check(name: &str, file: &str, flags: &ModelFlags) {
    let published = Published::read(name);
    let checkpoint = golden_folder().join("fixtures").join(name).join(file);
    let contrib = TowerForm { dialect: Some(Dialect::Contrib), ..TowerForm::FP32 };
    let plain = TowerForm { plain: true, ..TowerForm::FP32 };
    let forms = [
        (contrib, DeviceName::Cpu),
        (TowerForm::FP32, DeviceName::Cpu),
        (TowerForm::FP32, DeviceName::Openvino),
        (plain, DeviceName::Cpu),
    ];
    for (form, device) in forms {
        let folder = tempfile::tempdir().unwrap();
        let bundle = export_form(&checkpoint, flags.clone(), form, folder.path());
        let mut config = EncoderConfig::load(None).unwrap();
        config.device.name = device;
        let OpenedTowers { mut vision, mut text, device: report } = open_towers(&bundle, &config).unwrap();
        assert_eq!(report.execution_provider, device.to_string());
        check_vision(&published, &mut vision[0]);
        check_text(&published, &mut text[0]);
    }
}

fn check_vision(published: &Published, vision: &mut OnnxVisionTower) {
    let run = |vision: &mut OnnxVisionTower, rows: &[usize]| {
        vision.run_array(&published.pixels.select(Axis(0), rows)).unwrap()
    };
    for batch in [1, 2, 3, 7] {
        let rows: Vec<usize> = (0..batch).map(|row| row % published.pixels.len_of(Axis(0))).collect();
        let features = run(vision, &rows);
        compare(&features, &published.image_features.select(Axis(0), &rows));
        let alone: Vec<Array2<f32>> = rows.iter().map(|&row| run(vision, &[row])).collect();
        let alone = concatenate(Axis(0), &alone.iter().map(|row| row.view()).collect::<Vec<_>>()).unwrap();
        assert!(relative_difference(&features, &alone) <= MAX_BATCH_DIFFERENCE);
    }
}

fn check_text(published: &Published, text: &mut OnnxTextTower) {
    for batch in [1, 2, 3, 7, 8] {
        let rows: Vec<usize> = (0..batch).collect();
        let whole = published.token_ids.select(Axis(0), &rows);
        let expected = published.text_features.select(Axis(0), &rows);
        let features = text.run_array(&whole).unwrap();
        compare(&features, &expected);
        let longest = whole.outer_iter().map(end_of_text).max().unwrap() + 1;
        for tokens in [longest, (longest + whole.ncols()) / 2] {
            let trimmed = text.run_array(&whole.slice(s![.., ..tokens]).to_owned()).unwrap();
            compare(&trimmed, &expected);
        }
    }
    for (row, expected) in published.token_ids.outer_iter().zip(published.text_features.outer_iter()) {
        let alone = row.slice(s![..=end_of_text(row)]).insert_axis(Axis(0)).to_owned();
        compare(&text.run_array(&alone).unwrap(), &expected.insert_axis(Axis(0)).to_owned());
    }
}

fn end_of_text(token_ids: ArrayView1<'_, i64>) -> usize {
    let highest = token_ids.iter().max().unwrap();
    token_ids.iter().position(|id| id == highest).unwrap()
}

fn relative_difference(found: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    assert_eq!(found.dim(), expected.dim());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| {
        assert!(a.is_finite());
        worst.max((a - b).abs())
    });
    difference / largest
}

fn compare(found: &Array2<f32>, expected: &Array2<f32>) {
    let difference = relative_difference(found, expected);
    assert!(difference <= MAX_RELATIVE_DIFFERENCE, "relative difference {difference:e}");
    for (a, b) in found.outer_iter().zip(expected.outer_iter()) {
        let dot = |x: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>| -> f64 {
            x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum()
        };
        let distance = 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(distance < MAX_COSINE_DISTANCE, "cosine distance {distance:e}");
    }
}

#[test]
fn hugging_face_clip() {
    check("clip-hf", "", &ModelFlags::default());
}

#[test]
fn dm_adapter() {
    check("dm-adapter", "best.pth", &ModelFlags::default());
}

#[test]
fn dm_adapter_in_float16() {
    check("dm-adapter-half", "best.pth", &ModelFlags::default());
}

#[test]
fn up_person_with_parts_on_some_layers() {
    check("up-person", "best.pth", &ModelFlags::default());
}

/// GELU, heads that are not 64 wide, and a text tower in a module of its own.
#[test]
fn open_clip() {
    check("openclip", "", &ModelFlags::default());
}
