//! Number formats below float32, and devices: what they may change, and what they must not.

use descry_encoder::{
    DeviceName, DevicePrecision, EncodeError, Encoder, EncoderConfig, OpenedTowers, has_exact_int8_products,
    open_towers,
};
use descry_export::{ModelFlags, TowerForm};
use descry_model::{Bundle, Dialect, Manifest, Precision};
use descry_tests::{demo_bundle, demo_folder, descry, export_form, fixture_with_tokenizer};
use ndarray::{Array2, ArrayView1, Axis, s};
use std::fs;
use std::path::{Path, PathBuf};

const CAPTIONS: [&str; 4] = [
    "a woman in a long purple coat with a blue backpack",
    "a man in a white shirt",
    "The person wears a black jacket, gray trousers and red shoes, and carries nothing at all.",
    "a girl with long black hair",
];

fn demo_images() -> Vec<PathBuf> {
    let mut images: Vec<PathBuf> =
        fs::read_dir(demo_folder().join("gallery/imgs/test")).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.sort();
    images.truncate(12);
    images
}

/// A folder of images with a captions file.
fn calibration_folder(folder: &Path) -> PathBuf {
    let set = folder.join("calibration");
    fs::create_dir_all(&set).unwrap();
    for image in demo_images() {
        fs::copy(&image, set.join(image.file_name().unwrap())).unwrap();
    }
    fs::write(set.join("captions.txt"), CAPTIONS.join("\n")).unwrap();
    set
}

fn export_demo(checkpoint: &str, out: &Path, more: &[&str]) -> Result<Bundle, String> {
    export(&demo_folder().join(checkpoint), out, more)
}

fn export(checkpoint: &Path, out: &Path, more: &[&str]) -> Result<Bundle, String> {
    let mut arguments = vec!["export", "--checkpoint", checkpoint.to_str().unwrap(), "--out", out.to_str().unwrap()];
    arguments.extend(more);
    let output = descry(arguments);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(Bundle::open(out).unwrap())
}

fn config(model: &Path) -> EncoderConfig {
    let mut config = EncoderConfig::load(None).unwrap();
    config.model = model.to_owned();
    config
}

struct Features {
    images: Array2<f32>,
    texts: Array2<f32>,
}

/// Encodes the demo's first images and some captions: all in one batch, and each alone.
fn encode(bundle: &Bundle) -> [Features; 2] {
    let config = config(bundle.directory());
    let OpenedTowers { mut vision, mut text, .. } = open_towers(bundle, &config).unwrap();
    let (vision, text) = (&mut vision[0], &mut text[0]);
    let input = &bundle.manifest().image;
    let pixels: Vec<_> = demo_images()
        .iter()
        .map(|path| descry_model::preprocess_image(&fs::read(path).unwrap(), input, 1_000_000).unwrap())
        .collect();
    let pixels = ndarray::stack(Axis(0), &pixels.iter().map(|image| image.view()).collect::<Vec<_>>()).unwrap();
    let tokenizer = bundle.tokenizer().unwrap();
    let ids: Vec<Vec<i64>> = CAPTIONS.iter().map(|text| tokenizer.tokenize(text).unwrap().token_ids).collect();
    let longest = ids.iter().map(Vec::len).max().unwrap();
    let padded =
        Array2::from_shape_fn((ids.len(), longest), |(row, column)| ids[row].get(column).copied().unwrap_or(0));
    let dimension = bundle.manifest().embedding_dimension;
    let mut alone = Features {
        images: Array2::zeros((pixels.len_of(Axis(0)), dimension)),
        texts: Array2::zeros((ids.len(), dimension)),
    };
    for (row, image) in pixels.axis_chunks_iter(Axis(0), 1).enumerate() {
        alone.images.row_mut(row).assign(&vision.run_array(&image.to_owned()).unwrap().row(0));
    }
    for (row, ids) in ids.iter().enumerate() {
        let ids = Array2::from_shape_vec((1, ids.len()), ids.clone()).unwrap();
        alone.texts.row_mut(row).assign(&text.run_array(&ids).unwrap().row(0));
    }
    [Features { images: vision.run_array(&pixels).unwrap(), texts: text.run_array(&padded).unwrap() }, alone]
}

fn least_cosine(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    let dot = |x: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>| -> f64 {
        x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum()
    };
    let cosine = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.outer_iter().zip(b.outer_iter()).map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min)
}

/// Exports the demo's methods and RDE in a narrower format; they must stay close to float32, and rows must not feel each
/// other.
fn check_precision(arguments: &[&str], precision: Precision, dialect: Dialect, closeness: f64) {
    let copy = tempfile::tempdir().unwrap();
    let rde = fixture_with_tokenizer("rde", "best.pth", 512, copy.path());
    for checkpoint in [demo_folder().join("dm_adapter.safetensors"), demo_folder().join("up_person.safetensors"), rde] {
        let folder = tempfile::tempdir().unwrap();
        let bundle = export(&checkpoint, &folder.path().join("narrow"), arguments).unwrap();
        assert_eq!((bundle.manifest().precision, bundle.manifest().dialect), (precision, dialect));
        let whole = export(&checkpoint, &folder.path().join("fp32"), &[]).unwrap();
        assert_ne!(bundle.fingerprint(), whole.fingerprint());
        let [expected, _] = encode(&whole);
        let [found, alone] = encode(&bundle);
        let [images, texts] =
            [least_cosine(&found.images, &expected.images), least_cosine(&found.texts, &expected.texts)];
        let name = checkpoint.display();
        assert!(images > closeness && texts > closeness, "{name}: images {images}, texts {texts}");
        let bound = 1.0 - f64::from(bundle.manifest().row_independence.max_cosine_distance);
        assert!(least_cosine(&found.images, &alone.images) >= bound);
        assert!(least_cosine(&found.texts, &alone.texts) >= bound);
    }
}

/// How close int8 comes to float32: on processors that saturate sums of products, less.
fn int8_closeness() -> f64 {
    if has_exact_int8_products() { 0.98 } else { 0.9 }
}

#[test]
fn int8_with_static_scales() {
    let folder = tempfile::tempdir().unwrap();
    let set = calibration_folder(folder.path());
    let arguments = ["--precision", "int8", "--calibrate", set.to_str().unwrap()];
    check_precision(&arguments, Precision::Int8, Dialect::Standard, int8_closeness());
}

#[test]
fn int8_with_a_scale_a_row() {
    check_precision(&["--precision", "int8"], Precision::Int8, Dialect::Contrib, int8_closeness());
}

#[test]
fn fp16() {
    check_precision(&["--precision", "fp16"], Precision::Fp16, Dialect::Contrib, 0.9999);
}

#[test]
fn static_scales_leave_no_trace_of_neighbours() {
    // A neighbour with enormous values would widen a scale that is found over the whole batch.
    let folder = tempfile::tempdir().unwrap();
    let set = calibration_folder(folder.path());
    for arguments in [&["--precision", "int8", "--calibrate", set.to_str().unwrap()][..], &["--precision", "int8"][..]]
    {
        let bundle = export_demo("dm_adapter.safetensors", &folder.path().join("bundle"), arguments).unwrap();
        let OpenedTowers { mut vision, .. } = open_towers(&bundle, &config(bundle.directory())).unwrap();
        let input = &bundle.manifest().image;
        let image = descry_model::preprocess_image(&fs::read(&demo_images()[0]).unwrap(), input, 1_000_000).unwrap();
        let mut batch = ndarray::stack(Axis(0), &[image.view(), image.view()]).unwrap();
        batch.slice_mut(s![1, .., .., ..]).mapv_inplace(|value| value * 100.0);
        let together = vision[0].run_array(&batch).unwrap();
        let alone = vision[0].run_array(&image.insert_axis(Axis(0))).unwrap();
        let found = together.slice(s![..1, ..]).to_owned();
        let bound = 1.0 - f64::from(bundle.manifest().row_independence.max_cosine_distance);
        assert!(least_cosine(&found, &alone) >= bound);
    }
}

#[test]
fn a_comparison_on_a_data_set_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let set = calibration_folder(folder.path());
    let dataset = folder.path().join("CUHK-PEDES");
    fs::create_dir_all(dataset.join("imgs")).unwrap();
    let entries: Vec<_> = demo_images()
        .iter()
        .enumerate()
        .map(|(index, image)| {
            let name = image.file_name().unwrap().to_str().unwrap();
            fs::copy(image, dataset.join("imgs").join(name)).unwrap();
            serde_json::json!({"split": "test", "id": index, "file_path": name, "captions": [CAPTIONS[index % 4]]})
        })
        .collect();
    fs::write(dataset.join("reid_raw.json"), serde_json::to_string(&entries).unwrap()).unwrap();
    let checkpoint = demo_folder().join("dm_adapter.safetensors");
    let out = folder.path().join("bundles/int8");
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    let arguments = ["export", "--checkpoint", checkpoint.to_str().unwrap(), "--precision", "int8", "--calibrate"];
    let more = [set.to_str().unwrap(), "--eval", dataset.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = descry(arguments.into_iter().chain(more));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["Rank-1", "mAP", "12 captions against 12 images", "cosine to fp32"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    // Another model was measured, not the same one twice.
    let least = text.split("12 images: least ").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap();
    assert!(least > int8_closeness() && least < 0.999_99, "{least}");
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 1, "the float32 bundle is gone");
}

#[test]
fn contradictory_forms_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle");
    let calibration = folder.path().to_str().unwrap();
    for (arguments, mention) in [
        (vec!["--plain", "--precision", "int8"], "--precision"),
        (vec!["--plain", "--dialect", "contrib"], "--dialect"),
        (vec!["--calibrate", calibration], "int8"),
        (vec!["--precision", "int8", "--calibrate", calibration], "captions.txt"),
        (vec!["--precision", "int8", "--eval", calibration], "data sets"),
        (vec!["--eval", calibration], "--precision"),
    ] {
        let message = export_demo("dm_adapter.safetensors", &out, &arguments).unwrap_err();
        assert!(message.contains(mention), "{mention:?} is not in: {message}");
    }
}

#[test]
fn a_device_asked_for_by_name_comes_up_or_the_start_fails() {
    let bundle = Bundle::open(demo_bundle()).unwrap();
    for (device, library) in [(DeviceName::Cuda, "onnxruntime-gpu"), (DeviceName::Tensorrt, "onnxruntime-gpu")] {
        let mut config = config(demo_bundle());
        config.device.name = device;
        let error = open_towers(&bundle, &config).map(|_| ()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&device.to_string()) && message.contains(library), "{message}");
    }
}

#[test]
fn a_tampered_bound_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let form = TowerForm { dialect: Some(Dialect::Standard), ..TowerForm::FP32 };
    let checkpoint = demo_folder().join("dm_adapter.safetensors");
    let bundle = export_form(&checkpoint, ModelFlags::default(), form, folder.path());
    let path = bundle.directory().join("manifest.json");
    let mut manifest: Manifest = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    manifest.parity.max_cosine_distance = -1.0;
    fs::write(&path, serde_json::to_string(&manifest).unwrap()).unwrap();
    let bundle = Bundle::open(bundle.directory()).unwrap();
    let error = open_towers(&bundle, &config(bundle.directory())).map(|_| ()).unwrap_err();
    assert!(matches!(error, EncodeError::SelfTest { .. }), "{error}");
}

#[test]
fn bf16_has_a_fingerprint_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let form = TowerForm { dialect: Some(Dialect::Standard), ..TowerForm::FP32 };
    let checkpoint = demo_folder().join("up_person.safetensors");
    let bundle = export_form(&checkpoint, ModelFlags::default(), form, folder.path());
    let open = |device: DeviceName, precision: DevicePrecision| {
        let mut config = config(bundle.directory());
        config.device.name = device;
        config.device.precision = precision;
        let (encoder, _workers) = Encoder::open(&config).unwrap();
        (encoder.fingerprint().clone(), encoder.device().precision)
    };
    let as_exported = open(DeviceName::Openvino, DevicePrecision::Fp32);
    assert_eq!(as_exported, (bundle.fingerprint().clone(), DevicePrecision::Fp32));
    let (narrow, precision) = open(DeviceName::Openvino, DevicePrecision::Bf16);
    assert_eq!(precision, DevicePrecision::Bf16);
    assert_ne!(&narrow, bundle.fingerprint());
    let auto = open(DeviceName::Auto, DevicePrecision::Bf16);
    assert_eq!(auto, (narrow, DevicePrecision::Bf16));
}
