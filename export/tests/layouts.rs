//! Checkpoints in the layouts that people have: the same small CLIP under the names of several wrappers, of several sizes.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_export::{Activation, ExportError, ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::{Manifest, Method, ResizeFilter};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Sizes of a small CLIP under OpenAI's names.
struct Shape {
    positions: usize,
    patch: usize,
    vision_width: usize,
    text_width: usize,
}

const SMALL: Shape = Shape { positions: 17, patch: 16, vision_width: 64, text_width: 64 };

const DIMENSION: usize = 8;
const CONTEXT: usize = 9;
const VOCABULARY: usize = 11;

/// Shapes of all tensors by name.
fn clip(shape: &Shape) -> BTreeMap<String, Vec<usize>> {
    let Shape { positions, patch, vision_width, text_width } = *shape;
    let mut tensors = BTreeMap::from([
        ("visual.conv1.weight".to_owned(), vec![vision_width, 3, patch, patch]),
        ("visual.class_embedding".to_owned(), vec![vision_width]),
        ("visual.positional_embedding".to_owned(), vec![positions, vision_width]),
        ("visual.proj".to_owned(), vec![vision_width, DIMENSION]),
        ("token_embedding.weight".to_owned(), vec![VOCABULARY, text_width]),
        ("positional_embedding".to_owned(), vec![CONTEXT, text_width]),
        ("text_projection".to_owned(), vec![text_width, DIMENSION]),
        ("logit_scale".to_owned(), vec![]),
    ]);
    let mut linear = |name: &str, shape: Vec<usize>| {
        tensors.insert(format!("{name}bias"), shape[..1].to_vec());
        tensors.insert(format!("{name}weight"), shape);
    };
    for (tower, norms, width) in
        [("visual.", &["visual.ln_pre", "visual.ln_post"][..], vision_width), ("", &["ln_final"], text_width)]
    {
        let block = format!("{tower}transformer.resblocks.0");
        for norm in norms {
            linear(&format!("{norm}."), vec![width]);
        }
        for norm in ["ln_1", "ln_2"] {
            linear(&format!("{block}.{norm}."), vec![width]);
        }
        linear(&format!("{block}.attn.in_proj_"), vec![3 * width, width]);
        linear(&format!("{block}.attn.out_proj."), vec![width, width]);
        linear(&format!("{block}.mlp.c_fc."), vec![4 * width, width]);
        linear(&format!("{block}.mlp.c_proj."), vec![width, 4 * width]);
    }
    tensors
}

/// Writes tensors of small numbers that differ, each the same under any prefix.
fn write(path: &Path, tensors: &BTreeMap<String, Vec<usize>>, named: impl Fn(&str) -> String) {
    let bytes = tensors.values().enumerate().map(|(tensor, shape)| {
        let number = |index: usize| ((index * 37 + tensor * 11) % 101) as f32 / 505.0 - 0.1;
        (0..shape.iter().product()).flat_map(|index| number(index).to_le_bytes()).collect::<Vec<u8>>()
    });
    let bytes: Vec<_> = bytes.collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((key, shape), bytes)| (named(key), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn manifest(checkpoint: &Path, flags: ModelFlags) -> Result<Manifest, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint.to_owned(), config: None, base: None },
        tokenizer: None,
        without_tokenizer: true,
        flags,
        form: TowerForm::FP32,
        out: folder.path().join("bundle"),
    };
    export(&request, |_| {})?.publish()
}

#[test]
fn a_model_is_the_same_behind_any_wrappers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &clip(&SMALL), str::to_owned);
    let bare = manifest(&path, ModelFlags::default()).unwrap();
    for prefix in ["module.", "_orig_mod.", "model.", "clip.", "clip_model.", "module._orig_mod.model.clip."] {
        write(&path, &clip(&SMALL), |key| format!("{prefix}{key}"));
        let wrapped = manifest(&path, ModelFlags::default()).unwrap();
        assert_eq!(wrapped.fingerprint, bare.fingerprint, "{prefix}");
    }
}

/// IRRA and its kin, where the settings are lost: the number of positions is that of the published size.
#[test]
fn as_many_positions_as_the_published_size_has_are_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    for (prefix, family) in [("base_model.", Method::Irra), ("", Method::Clip)] {
        write(&path, &clip(&Shape { positions: 193, ..SMALL }), |key| format!("{prefix}{key}"));
        let found = manifest(&path, ModelFlags::default()).unwrap();
        assert_eq!((found.image.height_px, found.image.width_px, found.family), (384, 128, family));
        let origin = &found.summary["image size taken from"];
        assert!(origin.contains("published 384x128 is assumed") && origin.contains("128x384 would fit"), "{origin}");
    }
    write(&path, &clip(&Shape { positions: 194, ..SMALL }), str::to_owned);
    let message = manifest(&path, ModelFlags::default()).unwrap_err().to_string();
    assert!(message.contains("--image-size"), "{message}");
}

/// A square number of positions may be of a square, or of a tall image of as many patches: 128x32 has 16, too.
#[test]
fn positions_that_fit_the_stated_size_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    for (positions, size) in [(17, (128, 32)), (65, (256, 64)), (145, (384, 96))] {
        write(&path, &clip(&Shape { positions, ..SMALL }), str::to_owned);
        let given = manifest(&path, ModelFlags { image_size_px: Some(size), ..ModelFlags::default() }).unwrap();
        fs::write(folder.path().join("best.yaml"), format!("img_size: [{}, {}]\n", size.0, size.1)).unwrap();
        let stated = manifest(&path, ModelFlags::default()).unwrap();
        fs::remove_file(folder.path().join("best.yaml")).unwrap();
        for found in [&given, &stated] {
            assert_eq!((found.image.height_px, found.image.width_px), size);
            assert!(!found.summary["image size taken from"].contains("stretched"), "{:?}", found.summary);
        }
        assert_eq!(given.fingerprint, stated.fingerprint);
    }
}

/// A wrong activation or number of heads gives a model that works, only badly: who said them is told.
#[test]
fn activation_and_heads_are_stated_or_said_to_be_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("open_clip_model.safetensors");
    write(&path, &clip(&SMALL), str::to_owned);
    let assumed = manifest(&path, ModelFlags::default()).unwrap();
    let told = |manifest: &Manifest, name: &str| manifest.summary[name].clone();
    assert!(told(&assumed, "activation").contains("quick-gelu, nobody says it"), "{:?}", assumed.summary);
    assert!(told(&assumed, "attention heads").contains("1 (vision), 1 (text), nobody says it"));
    let gelu = ModelFlags { activation: Some(Activation::Gelu), heads: Some((4, 2)), ..ModelFlags::default() };
    let given = manifest(&path, gelu).unwrap();
    assert_eq!(told(&given, "activation"), "gelu, --activation");
    assert_eq!(told(&given, "attention heads"), "4 (vision), 2 (text), --heads");
    assert_ne!(given.fingerprint, assumed.fingerprint);
    let config = r#"{"model_cfg": {"embed_dim": 8,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 9, "vocab_size": 11, "width": 64, "heads": 2, "layers": 1}}}"#;
    fs::write(folder.path().join("open_clip_config.json"), config).unwrap();
    let stated = manifest(folder.path(), ModelFlags::default()).unwrap();
    assert_eq!(told(&stated, "activation"), "gelu, the settings");
    assert_eq!(told(&stated, "attention heads"), "4 (vision), 2 (text), the settings");
    assert_eq!(stated.fingerprint, given.fingerprint);
    let quick = ModelFlags { activation: Some(Activation::QuickGelu), ..ModelFlags::default() };
    let contradicted = manifest(folder.path(), quick).unwrap();
    assert_eq!(told(&contradicted, "activation"), "quick-gelu, --activation, though the settings say gelu");
    let pooled = config.replace("\"layers\"", "\"pool_type\": \"last\", \"layers\"");
    fs::write(folder.path().join("open_clip_config.json"), pooled).unwrap();
    let message = manifest(folder.path(), ModelFlags::default()).unwrap_err().to_string();
    assert!(message.contains("vision_cfg.pool_type in open_clip_config.json"), "{message}");
}

#[test]
fn a_width_that_is_no_multiple_of_64_needs_its_heads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &clip(&Shape { vision_width: 80, ..SMALL }), str::to_owned);
    let message = manifest(&path, ModelFlags::default()).unwrap_err().to_string();
    assert!(message.contains("80") && message.contains("--heads VISION,TEXT"), "{message}");
    let heads = |heads| manifest(&path, ModelFlags { heads: Some(heads), ..ModelFlags::default() });
    assert!(heads((5, 1)).is_ok());
    for wrong in [(3, 1), (0, 1), (5, 7)] {
        assert!(heads(wrong).unwrap_err().to_string().contains("heads do not share"));
    }
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

/// What TBPS-CLIP's code does to images and captions stands in the manifest.
#[test]
fn inputs_of_tbps_clip_are_those_of_its_published_code() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures/tbps-clip/checkpoint_best.pth");
    let found = manifest(&fixture, ModelFlags::default()).unwrap();
    assert_eq!((found.image.height_px, found.image.width_px), (224, 224));
    assert_eq!(found.image.resize_filter, ResizeFilter::PillowBicubic);
    assert_eq!((found.image.mean, found.image.std), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]));
    let rules = found.text.caption_rules.as_ref().unwrap();
    assert_eq!((rules.characters_to_spaces.as_str(), rules.max_words), (".!\"()*#:;~", 77));
    assert_eq!(found.summary["activation"], "quick-gelu, as the published code computes");
    // Both are part of the model's name.
    let mut other = found.clone();
    other.text.caption_rules = None;
    assert_ne!(other.compute_fingerprint().as_str(), found.fingerprint);
    other.text.caption_rules.clone_from(&found.text.caption_rules);
    assert_eq!(other.compute_fingerprint().as_str(), found.fingerprint);
    other.image.resize_filter = ResizeFilter::PillowBilinear;
    assert_ne!(other.compute_fingerprint().as_str(), found.fingerprint);
    // Written and read again, it is the same model.
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), found);
    let without = text.replace("\"caption_rules\":", "\"rules\":");
    assert!(serde_json::from_str::<Manifest>(&without).is_err());
}

#[test]
fn a_file_of_another_kind_is_shown_by_its_own_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = BTreeMap::from([
        ("model.backbone.conv1.weight".to_owned(), vec![2, 2]),
        ("model.head.bias".to_owned(), vec![2]),
    ]);
    write(&path, &tensors, str::to_owned);
    let message = manifest(&path, ModelFlags::default()).unwrap_err().to_string();
    for part in ["visual.conv1.weight", "2 others", "`model.backbone.conv1.weight`", "`model.head.bias`"] {
        assert!(message.contains(part), "{message}");
    }
}
