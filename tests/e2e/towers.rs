//! Exported towers against the outputs of the published code, for every batch size and text length.

use descry_encoder::{
    DeviceName, Encoder, EncoderConfig, OnnxTextTower, OnnxVisionTower, OpenedTowers, Urgency, open_towers,
};
use descry_export::{ModelFlags, TowerForm};
use descry_model::{Dialect, Precision};
use descry_tests::{export_form, golden_folder};
use ndarray::{Array2, Array3, Array4, ArrayView1, Axis, concatenate, s};
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
        let mut array = |array: &str| -> Array2<f32> { archive.by_name(array).unwrap() };
        let [image_features, text_features] = ["image", "text"].map(|kind| match name {
            "rde" => both_embeddings(&array(&format!("{kind}_bge")), &array(&format!("{kind}_tse"))),
            _ => array(&format!("{kind}_features")),
        });
        let (pixels, token_ids) = (archive.by_name("pixels").unwrap(), archive.by_name("token_ids").unwrap());
        Self { pixels, token_ids, image_features, text_features }
    }
}

/// RDE's two embeddings, each of unit length, as one vector of unit length.
fn both_embeddings(whole: &Array2<f32>, selected: &Array2<f32>) -> Array2<f32> {
    let units = [whole, selected].map(|part| {
        let lengths = part.map_axis(Axis(1), |row| (2.0 * row.dot(&row)).sqrt()).insert_axis(Axis(1));
        part / &lengths
    });
    concatenate(Axis(1), &units.each_ref().map(|unit| unit.view())).unwrap()
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

/// Float16 weights and the heads of its losses beside the towers.
#[test]
fn irra() {
    check("irra", "best.pth", &ModelFlags::default());
}

#[test]
fn rde() {
    check("rde", "best.pth", &ModelFlags::default());
}

/// What the published code gives as similarities, and what it cannot give: the embedding of a text without words.
#[test]
fn rde_ranks_as_published_and_takes_texts_without_words() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = golden_folder().join("fixtures/rde/best.pth");
    let bundle = export_form(&checkpoint, ModelFlags::default(), TowerForm::FP32, folder.path());
    assert_eq!((bundle.manifest().embedding_dimension, bundle.manifest().family.name()), (192, "rde"));
    let mut config = EncoderConfig::load(None).unwrap();
    config.device.name = DeviceName::Cpu;
    let OpenedTowers { mut vision, mut text, .. } = open_towers(&bundle, &config).unwrap();
    let published = Published::read("rde");
    let images = vision[0].run_array(&published.pixels).unwrap();
    let texts = text[0].run_array(&published.token_ids).unwrap();
    let path = golden_folder().join("fixtures/rde/io.npz");
    let similarities: Array2<f32> = NpzReader::new(File::open(path).unwrap()).unwrap().by_name("similarities").unwrap();
    assert!(relative_difference(&texts.dot(&images.t()), &similarities) < 1e-5);
    let empty = Array2::from_shape_vec((1, 2), vec![510, 511]).unwrap();
    let alone = text[0].run_array(&empty).unwrap();
    assert!((alone.row(0).dot(&alone.row(0)) - 1.0).abs() < 1e-5);
    let mut padded = published.token_ids.clone();
    padded.row_mut(3).fill(0);
    padded.row_mut(3).slice_mut(s![..2]).assign(&empty.row(0));
    let among_others = text[0].run_array(&padded).unwrap();
    assert!(relative_difference(&among_others.slice(s![3..4, ..]).to_owned(), &alone) < MAX_BATCH_DIFFERENCE);
    assert!(
        relative_difference(&among_others.slice(s![..3, ..]).to_owned(), &texts.slice(s![..3, ..]).to_owned()) < 1e-5
    );
}

#[test]
fn tbps_clip() {
    check("tbps-clip", "checkpoint_best.pth", &ModelFlags::default());
}

/// From image files to embeddings with TBPS-CLIP's own resize and numbers. What is expected comes from Pillow's pixels.
#[tokio::test]
async fn image_files_are_prepared_as_tbps_clip_prepares_them() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = golden_folder().join("fixtures/tbps-clip/checkpoint_best.pth");
    let bundle = export_form(&checkpoint, ModelFlags::default(), TowerForm::FP32, folder.path());
    let mut config = EncoderConfig::load(None).unwrap();
    config.model = bundle.directory().to_owned();
    config.device.name = DeviceName::Cpu;
    let data = golden_folder().join("../../model/tests/data");
    let mut archive = NpzReader::new(File::open(data.join("images_224x224_bicubic.npz")).unwrap()).unwrap();
    let names = ["00_q75_s2.jpg", "09_palette.png", "12_lossless.webp", "15_wide.png"];
    let mut expected = Vec::new();
    let OpenedTowers { mut vision, .. } = open_towers(&bundle, &config).unwrap();
    for name in names {
        let samples: Array3<u8> = archive.by_name(&format!("{name}.npy")).unwrap();
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let pixels = Array4::from_shape_fn((1, 3, 224, 224), |(_, channel, row, column)| {
            (f32::from(samples[[row, column, channel]]) / 255.0 - mean[channel]) / std[channel]
        });
        expected.push(vision[0].run_array(&pixels).unwrap().row(0).to_owned());
    }
    let (encoder, _workers) = Encoder::open(&config).unwrap();
    let files: Vec<Vec<u8>> = names.map(|name| std::fs::read(data.join("images").join(name)).unwrap()).into();
    let found = encoder.encode_images(files, Urgency::INTERACTIVE).await.unwrap();
    for ((name, found), expected) in names.iter().zip(found).zip(expected) {
        let found = found.unwrap().embedding;
        let length = expected.dot(&expected).sqrt();
        for (found, expected) in found.as_slice().iter().zip(&expected) {
            assert!((found - expected / length).abs() < 1e-5, "{name}: {found}, not {}", expected / length);
        }
    }
}

/// Whether the processor multiplies bytes with instructions of its own (VNNI). ONNX Runtime takes others where it does not, whose
/// sums are cut off at 16 bits: `docs/PERFORMANCE.md` says what that costs.
fn sums_of_bytes_are_exact() -> bool {
    #[cfg(target_arch = "x86_64")]
    let is_exact = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let is_exact = true;
    is_exact
}

/// Number formats below float32, against the published outputs.
#[test]
fn narrow_forms_stay_close_to_the_published_outputs() {
    for (name, file) in
        [("tbps-clip", "checkpoint_best.pth"), ("openclip", ""), ("irra", "best.pth"), ("rde", "best.pth")]
    {
        let published = Published::read(name);
        let checkpoint = golden_folder().join("fixtures").join(name).join(file);
        for precision in [Precision::Fp16, Precision::Int8] {
            if precision == Precision::Int8 && !sums_of_bytes_are_exact() {
                eprintln!("SKIPPED: {name} in int8, because this processor has no VNNI (docs/PERFORMANCE.md)");
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let form = TowerForm { precision, ..TowerForm::FP32 };
            let bundle = export_form(&checkpoint, ModelFlags::default(), form, folder.path());
            let mut config = EncoderConfig::load(None).unwrap();
            config.device.name = DeviceName::Cpu;
            let OpenedTowers { mut vision, mut text, .. } = open_towers(&bundle, &config).unwrap();
            let images = vision[0].run_array(&published.pixels).unwrap();
            let texts = text[0].run_array(&published.token_ids).unwrap();
            for (found, expected) in [(images, &published.image_features), (texts, &published.text_features)] {
                for (found, expected) in found.outer_iter().zip(expected.outer_iter()) {
                    let cosine = found.dot(&expected) / (found.dot(&found) * expected.dot(&expected)).sqrt();
                    assert!(cosine > 0.98, "{name} in {precision}: {cosine}");
                }
            }
        }
    }
}
