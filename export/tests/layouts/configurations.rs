//! What lies beside the weights and says what no tensor does: which file is heeded, and whose word the summary gives.

use crate::small_clip::{SMALL, Shape, clip, manifest, manifest_over, write, write_archive, write_some};
use descry_export::{Activation, ModelFlags};
use descry_model::{Manifest, Method, ResizeFilter};
use std::fs;
use std::path::{Path, PathBuf};

/// Of [`SMALL`], with GELU by OpenCLIP's default and heads that are not 64 wide.
const CONFIG: &str = r#"{"model_cfg": {"embed_dim": 8,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 9, "vocab_size": 11, "width": 64, "heads": 2, "layers": 1}},
    "preprocess_cfg": {"interpolation": "bilinear"}}"#;

/// What [`CONFIG`] says of the blocks, as flags.
fn gelu_and_heads() -> ModelFlags {
    ModelFlags { activation: Some(Activation::Gelu), heads: Some((4, 2)), ..ModelFlags::default() }
}

fn sized(height_px: usize, width_px: usize) -> ModelFlags {
    ModelFlags { image_size_px: Some((height_px, width_px)), ..ModelFlags::default() }
}

fn told<'a>(manifest: &'a Manifest, name: &str) -> &'a str {
    manifest.summary.get(name).map_or("nothing", String::as_str)
}

/// A checkpoint of this many positions beside the configuration.
fn beside_config(folder: &Path, positions: usize, named: impl Fn(&str) -> String) -> PathBuf {
    let path = folder.join("best.safetensors");
    write(&path, &clip(&Shape { positions, ..SMALL }), named);
    fs::write(folder.join("open_clip_config.json"), CONFIG).unwrap();
    path
}

/// Where TBPS-CLIP has the tensors of its text tower.
fn as_tbps_clip_names_it(key: &str) -> String {
    if key.starts_with("visual.") || key == "logit_scale" { key.to_owned() } else { format!("encode_text.{key}") }
}

/// A wrong activation or number of heads gives a model that works, only badly: who said them is told.
#[test]
fn activation_and_heads_are_stated_or_said_to_be_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("open_clip_model.safetensors");
    write(&path, &clip(&SMALL), str::to_owned);
    let assumed = manifest(&path, ModelFlags::default()).unwrap();
    assert!(told(&assumed, "activation").contains("quick-gelu, nobody says it"), "{:?}", assumed.summary);
    assert!(told(&assumed, "attention heads").contains("1 (vision), 1 (text), nobody says it"));
    let given = manifest(&path, gelu_and_heads()).unwrap();
    assert_eq!(told(&given, "activation"), "gelu, --activation");
    assert_eq!(told(&given, "attention heads"), "4 (vision), 2 (text), --heads");
    assert_ne!(given.fingerprint, assumed.fingerprint);
    fs::write(folder.path().join("open_clip_config.json"), CONFIG).unwrap();
    let stated = manifest(folder.path(), ModelFlags::default()).unwrap();
    assert_eq!(told(&stated, "activation"), "gelu, the default of OpenCLIP, as the settings name none");
    assert_eq!(told(&stated, "attention heads"), "4 (vision), 2 (text), the settings");
    assert_eq!(stated.fingerprint, given.fingerprint);
    let quick = ModelFlags { activation: Some(Activation::QuickGelu), ..ModelFlags::default() };
    let contradicted = manifest(folder.path(), quick.clone()).unwrap();
    assert_eq!(told(&contradicted, "activation"), "quick-gelu, --activation, though the default of OpenCLIP is gelu");
    let written = CONFIG.replace("\"embed_dim\"", "\"quick_gelu\": false, \"embed_dim\"");
    fs::write(folder.path().join("open_clip_config.json"), written).unwrap();
    let written = manifest(folder.path(), ModelFlags::default()).unwrap();
    assert_eq!(told(&written, "activation"), "gelu, the settings");
    let contradicted = manifest(folder.path(), quick).unwrap();
    assert_eq!(told(&contradicted, "activation"), "quick-gelu, --activation, though the settings say gelu");
    let pooled = CONFIG.replace("\"layers\"", "\"pool_type\": \"last\", \"layers\"");
    fs::write(folder.path().join("open_clip_config.json"), pooled).unwrap();
    let message = manifest(folder.path(), ModelFlags::default()).unwrap_err().to_string();
    assert!(message.contains("vision_cfg.pool_type in open_clip_config.json"), "{message}");
}

/// How a family names what OpenAI's files have under another name.
type Naming = fn(&str) -> String;

/// Whoever trains an OpenCLIP model with a paper's code keeps its configuration beside the weights: blocks stay what they
/// were, whatever stands before their names.
#[test]
fn a_configuration_is_heeded_under_the_names_of_every_family() {
    let names: [(Method, Naming); 3] = [
        (Method::Clip, str::to_owned),
        (Method::Irra, |key| format!("base_model.{key}")),
        (Method::TbpsClip, as_tbps_clip_names_it),
    ];
    for (family, named) in names {
        let folder = tempfile::tempdir().unwrap();
        let path = beside_config(folder.path(), 17, named);
        let stated = manifest(&path, ModelFlags::default()).unwrap();
        assert_eq!((stated.family, stated.image.height_px, stated.image.width_px), (family, 64, 64));
        assert!(
            told(&stated, "activation").starts_with("gelu, the default of OpenCLIP"),
            "{family}: {:?}",
            stated.summary
        );
        assert_eq!(told(&stated, "attention heads"), "4 (vision), 2 (text), the settings", "{family}");
        // What images go through is the configuration's word, too, and told where the published code had another.
        assert_eq!(stated.image.resize_filter, ResizeFilter::PillowBilinear, "{family}");
        let prepared = told(&stated, "image preparation");
        let contradicts = prepared.contains("the settings, though the published code of tbps-clip has pillow-bicubic");
        assert_eq!(contradicts, family == Method::TbpsClip, "{prepared}");
        fs::remove_file(folder.path().join("open_clip_config.json")).unwrap();
        let given = manifest(&path, ModelFlags { image_size_px: Some((64, 64)), ..gelu_and_heads() }).unwrap();
        assert_eq!(given.files["vision.onnx"], stated.files["vision.onnx"], "{family}");
        assert_eq!(given.files["text.onnx"], stated.files["text.onnx"], "{family}");
    }
}

/// The base's images were of another size than those of the fine-tuned model: its positions tell that. Where only a head
/// tells that it is one, too.
#[test]
fn a_bases_image_size_does_not_count_where_the_positions_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = beside_config(folder.path(), 193, str::to_owned);
    let mut tensors = clip(&Shape { positions: 193, ..SMALL });
    tensors.insert("classifier.bias".to_owned(), vec![3]);
    for prefix in ["base_model.", ""] {
        write(&path, &tensors, |key| format!("{prefix}{key}"));
        let found = manifest(&path, ModelFlags::default()).unwrap();
        assert_eq!((found.image.height_px, found.image.width_px, found.family), (384, 128, Method::Irra));
        assert!(told(&found, "image size taken from").contains("published 384x128 is assumed"), "{:?}", found.summary);
        assert!(told(&found, "activation").starts_with("gelu"), "{:?}", found.summary);
    }
}

/// Four rows of four patches are as many as eight rows of two: where the weights' own configuration says which they are, a
/// size that only has as many is another one, whoever names it.
#[test]
fn positions_of_a_square_that_is_stated_are_stretched_to_a_size_of_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = beside_config(folder.path(), 17, str::to_owned);
    let given = manifest(&path, sized(128, 32)).unwrap();
    let origin = told(&given, "image size taken from");
    let expected = "--image-size, though the settings say 64x64; position embeddings stretched from 4 x 4";
    assert_eq!(origin, expected);
    // The run's settings say what is wanted, not how the positions lie.
    fs::write(folder.path().join("best.yaml"), "img_size: [128, 32]\n").unwrap();
    let stated = manifest(&path, ModelFlags::default()).unwrap();
    assert_eq!(told(&stated, "image size taken from"), "the settings; position embeddings stretched from 4 x 4");
    assert_eq!(stated.fingerprint, given.fingerprint);
}

/// OpenAI's archives carry the side of their images as a whole number.
#[test]
fn positions_of_an_archives_square_are_stretched_to_a_size_of_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ViT-B-16.safetensors");
    write(&path, &clip(&SMALL), str::to_owned);
    let unsaid = manifest(&path, sized(128, 32)).unwrap();
    write_archive(&path, &clip(&SMALL), 64);
    let stated = manifest(&path, sized(128, 32)).unwrap();
    let origin = told(&stated, "image size taken from");
    assert_eq!(origin, "--image-size; position embeddings stretched from 4 x 4");
    assert_ne!(stated.files["vision.onnx"], unsaid.files["vision.onnx"]);
    assert_eq!(told(&stated, "activation"), "quick-gelu, as in OpenAI's archives");
}

#[test]
fn positions_that_are_taken_as_they_are_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    write(&path, &clip(&SMALL), str::to_owned);
    let expected = "; position embeddings taken as they are, for 8 x 2 patches, though 4 x 4 are as many";
    let given = manifest(&path, sized(128, 32)).unwrap();
    assert!(told(&given, "image size taken from").contains(expected), "{:?}", given.summary);
    fs::write(folder.path().join("best.yaml"), "img_size: [128, 32]\n").unwrap();
    let stated = manifest(&path, ModelFlags::default()).unwrap();
    assert_eq!(told(&stated, "image size taken from"), format!("the settings{expected}"));
    // Of a square there is nothing to say.
    fs::remove_file(folder.path().join("best.yaml")).unwrap();
    let square = manifest(&path, sized(64, 64)).unwrap();
    assert!(!told(&square, "image size taken from").contains("taken as they are"), "{:?}", square.summary);
}

/// OpenCLIP's configuration also says how images are prepared.
#[test]
fn images_are_prepared_as_open_clips_configuration_says() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures/openclip");
    let found = manifest(&fixture, ModelFlags::default()).unwrap();
    assert_eq!(found.image.resize_filter, ResizeFilter::PillowBicubic);
    assert_eq!((found.image.mean, found.image.std), ([0.5, 0.4, 0.3], [0.25, 0.26, 0.27]));
    assert_eq!((found.image.height_px, found.image.width_px), (12, 12));
}

/// OpenCLIP resizes bicubically where its configuration names no filter, and where it names one for training alone.
#[test]
fn images_are_resized_as_open_clip_does_where_its_configuration_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = beside_config(folder.path(), 17, str::to_owned);
    for preparation in [r#"{}"#, r#"{"mean": [0.5, 0.4, 0.3]}"#, r#"{"interpolation": "random"}"#] {
        let config = CONFIG.replace(r#"{"interpolation": "bilinear"}"#, preparation);
        fs::write(folder.path().join("open_clip_config.json"), config).unwrap();
        let found = manifest(&path, ModelFlags::default()).unwrap();
        assert_eq!(found.image.resize_filter, ResizeFilter::PillowBicubic, "{preparation}");
        let origin = told(&found, "image preparation");
        assert!(origin.starts_with("pillow-bicubic, the default of OpenCLIP"), "{preparation}: {origin}");
        assert_eq!(origin.contains("mean and standard deviation: the settings"), preparation.contains("mean"));
    }
    // A paper's code resizes the images that its models are trained with, whatever its base was.
    write(&path, &clip(&SMALL), |key| format!("base_model.{key}"));
    let config = CONFIG.replace(r#"{"interpolation": "bilinear"}"#, "{}");
    fs::write(folder.path().join("open_clip_config.json"), config).unwrap();
    assert_eq!(manifest(&path, ModelFlags::default()).unwrap().image.resize_filter, ResizeFilter::PillowBilinear);
}

/// A part over a base: the flags are for the whole that comes of it, and so is the base's configuration.
#[test]
fn flags_and_configuration_count_over_a_base() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, base] = ["whole.safetensors", "base.safetensors"].map(|name| folder.path().join(name));
    let part = folder.path().join("part");
    fs::create_dir(&part).unwrap();
    let part = part.join("best.safetensors");
    let tensors = clip(&SMALL);
    write(&whole, &tensors, str::to_owned);
    write(&base, &tensors, str::to_owned);
    write_some(&part, &tensors, |key| !key.starts_with("visual."));
    let flags = ModelFlags { image_size_px: Some((64, 64)), ..gelu_and_heads() };
    let expected = manifest(&whole, flags.clone()).unwrap();
    let plain = manifest_over(&part, Some(&base), sized(64, 64)).unwrap();
    assert_ne!(plain.fingerprint, expected.fingerprint);
    let given = manifest_over(&part, Some(&base), flags).unwrap();
    assert_eq!(told(&given, "activation"), "gelu, --activation");
    assert_eq!(told(&given, "attention heads"), "4 (vision), 2 (text), --heads");
    assert_eq!(given.fingerprint, expected.fingerprint);
    fs::write(folder.path().join("open_clip_config.json"), CONFIG).unwrap();
    let stated = manifest_over(&part, Some(&base), sized(64, 64)).unwrap();
    assert!(told(&stated, "activation").starts_with("gelu, the default of OpenCLIP"), "{:?}", stated.summary);
    assert_eq!(stated.fingerprint, expected.fingerprint);
    let quick = ModelFlags { activation: Some(Activation::QuickGelu), heads: Some((1, 1)), ..sized(64, 64) };
    let contradicted = manifest_over(&part, Some(&base), quick).unwrap();
    assert_eq!(told(&contradicted, "activation"), "quick-gelu, --activation, though the default of OpenCLIP is gelu");
    assert_eq!(contradicted.fingerprint, plain.fingerprint);
}

/// What becomes of the base's position embeddings is told as that of a checkpoint's own is.
#[test]
fn what_becomes_of_a_bases_positions_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [base, part] = ["base.safetensors", "part.safetensors"].map(|name| folder.path().join(name));
    write(&base, &clip(&SMALL), str::to_owned);
    write_some(&part, &clip(&SMALL), |key| !key.starts_with("visual."));
    let origin = |height_px, width_px| {
        let found = manifest_over(&part, Some(&base), sized(height_px, width_px)).unwrap();
        told(&found, "image size taken from").to_owned()
    };
    assert!(origin(128, 48).contains("the base's position embeddings stretched from 4 x 4"), "{}", origin(128, 48));
    let taken = "the base's position embeddings taken as they are, for 8 x 2 patches, though 4 x 4 are as many";
    assert!(origin(128, 32).contains(taken), "{}", origin(128, 32));
    assert_eq!(origin(64, 64), "--image-size");
}
