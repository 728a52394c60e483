//! What no tensor says is never taken in silence: the summary tells who decided it, and what contradicts is refused.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_export::{ExportError, ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::Manifest;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures").join(name)
}

fn flags(image_size_px: Option<(usize, usize)>) -> ModelFlags {
    ModelFlags { image_size_px, ..ModelFlags::default() }
}

fn manifest(checkpoint: &Path, flags: ModelFlags, without_tokenizer: bool) -> Result<Manifest, ExportError> {
    manifest_with(checkpoint, flags, None, without_tokenizer)
}

fn manifest_with(
    checkpoint: &Path,
    flags: ModelFlags,
    tokenizer: Option<PathBuf>,
    without_tokenizer: bool,
) -> Result<Manifest, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint.to_owned(), config: None, base: None },
        tokenizer,
        without_tokenizer,
        flags,
        form: TowerForm::FP32,
        out: folder.path().join("bundle"),
    };
    export(&request, |_| {})?.publish()
}

/// The published checkpoint away from its settings.
fn without_settings(folder: &Path) -> PathBuf {
    let copy = folder.join("best.pth");
    fs::copy(fixture("dm-adapter/best.pth"), &copy).unwrap();
    copy
}

#[test]
fn swapped_sides_are_refused_where_the_settings_tell_the_grid() {
    let message = manifest(&fixture("dm-adapter/best.pth"), flags(Some((128, 384))), true).unwrap_err().to_string();
    for word in ["128x384", "8 x 24", "24 x 8", "--image-size 384x128"] {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(manifest(&fixture("dm-adapter/best.pth"), flags(Some((384, 128))), true).is_ok());
    // Of CLIP itself the settings state a square, which is stretched to any size.
    for size in [(384, 128), (128, 384), (448, 112)] {
        let summary = manifest(&fixture("clip-hf"), flags(Some(size)), true).unwrap().summary;
        let expected = "--image-size, though the settings say 224x224; position embeddings stretched from 14 x 14";
        assert_eq!(summary["image size taken from"], expected, "{size:?}");
    }
}

#[test]
fn where_both_orders_fit_the_summary_says_which_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = without_settings(folder.path());
    let of_size = |size| manifest(&checkpoint, flags(size), true).unwrap().summary["image size taken from"].clone();
    let assumed = of_size(None);
    assert!(assumed.contains("assumed") && assumed.contains("384x128") && assumed.contains("128x384"), "{assumed}");
    let given = of_size(Some((128, 384)));
    assert!(given.starts_with("--image-size; 384x128 would fit"), "{given}");
    let stated = manifest(&fixture("dm-adapter/best.pth"), flags(None), true).unwrap();
    assert_eq!(stated.summary["image size taken from"], "the settings");
}

/// A grid whose number of patches is a square number is still not a square grid, unless the weights' own configuration says
/// so: 28 x 7 patches instead of 14 x 14.
#[test]
fn a_fine_tuned_grid_of_a_square_number_is_not_stretched() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("model.safetensors");
    fs::copy(fixture("clip-hf/model.safetensors"), &checkpoint).unwrap();
    let square = manifest(&checkpoint, flags(None), true).unwrap();
    assert_eq!((square.image.height_px, square.image.width_px), (224, 224));
    fs::write(folder.path().join("model.yaml"), "img_size: [448, 112]\n").unwrap();
    let tall = manifest(&checkpoint, flags(None), true).unwrap();
    assert_eq!((tall.image.height_px, tall.image.width_px), (448, 112));
    let refused = manifest(&checkpoint, flags(Some((112, 448))), true);
    assert!(matches!(refused, Err(ExportError::OtherGrid { .. })), "{refused:?}");
    fs::copy(fixture("clip-hf/config.json"), folder.path().join("config.json")).unwrap();
    let stretched = manifest(&checkpoint, flags(None), true).unwrap();
    assert_eq!((stretched.image.height_px, stretched.image.width_px), (448, 112));
    assert!(stretched.summary["image size taken from"].contains("stretched from 14 x 14"), "{:?}", stretched.summary);
    assert_ne!(tall.files["vision.onnx"], stretched.files["vision.onnx"]);
    assert!(manifest(&checkpoint, flags(Some((112, 448))), true).is_ok());
}

/// The same where a flag names the size, and no settings speak of a square.
#[test]
fn position_embeddings_that_fit_a_given_size_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("model.safetensors");
    fs::copy(fixture("clip-hf/model.safetensors"), &checkpoint).unwrap();
    let given = manifest(&checkpoint, flags(Some((448, 112))), true).unwrap();
    let origin = &given.summary["image size taken from"];
    assert_eq!(
        origin,
        "--image-size; position embeddings taken as they are, for 28 x 7 patches, though 14 x 14 are as many"
    );
    fs::write(folder.path().join("model.yaml"), "img_size: [448, 112]\n").unwrap();
    let stated = manifest(&checkpoint, flags(None), true).unwrap();
    assert_eq!(given.files["vision.onnx"], stated.files["vision.onnx"]);
    fs::remove_file(folder.path().join("model.yaml")).unwrap();
    // 24 x 8 patches are not 196, so these are stretched, and alone they are of a square.
    let stretched = manifest(&checkpoint, flags(Some((384, 128))), true).unwrap();
    assert!(stretched.summary["image size taken from"].contains("stretched from 14 x 14"));
    let alone = manifest(&checkpoint, flags(None), true).unwrap();
    assert_eq!((alone.image.height_px, alone.image.width_px), (224, 224));
}

#[test]
fn an_assumed_number_of_experts_is_said_to_be_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = without_settings(folder.path());
    let top_k = |checkpoint: &Path, top_k| {
        let flags = ModelFlags { top_k, ..ModelFlags::default() };
        manifest(checkpoint, flags, true).unwrap().summary["top-k taken from"].clone()
    };
    assert!(top_k(&checkpoint, None).contains("published 2 is assumed"));
    assert_eq!(top_k(&checkpoint, Some(3)), "--topk");
    assert_eq!(top_k(&fixture("dm-adapter/best.pth"), None), "the settings");
    assert_eq!(top_k(&fixture("dm-adapter/best.pth"), Some(3)), "--topk, though the settings say 2");
}

#[test]
fn a_bundle_without_a_tokenizer_must_be_asked_for() {
    let refused = manifest(&fixture("dm-adapter/best.pth"), ModelFlags::default(), false).unwrap_err();
    assert!(matches!(refused, ExportError::NoTokenizer { .. }), "{refused}");
    assert!(refused.to_string().contains("--tokenizer") && refused.to_string().contains("--without-tokenizer"));
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = without_settings(folder.path());
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let message = manifest(&checkpoint, ModelFlags::default(), false).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json: unusable tokenizer: "), "{message}");
    let made = manifest(&fixture("dm-adapter/best.pth"), ModelFlags::default(), true).unwrap();
    assert!(!made.files.contains_key("tokenizer.json"));
}

/// A tokenizer whose only tokens are numbered ones and, at their end, the marks.
fn tokenizer(folder: &Path, ids: usize) -> PathBuf {
    let names = (0..ids - 2).map(|id| format!("<{id}>"));
    let names: Vec<String> = names.chain(["<|startoftext|>", "<|endoftext|>"].map(str::to_owned)).collect();
    let vocabulary: Vec<String> = names.iter().enumerate().map(|(id, name)| format!("\"{name}\": {id}")).collect();
    let added = [ids - 2, ids - 1].map(|id| {
        let name = &names[id];
        format!(
            r#"{{"id": {id}, "content": "{name}", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}}"#
        )
    });
    let path = folder.join(format!("{ids}-ids.json"));
    let text = format!(
        r#"{{"version": "1.0", "added_tokens": [{}], "model": {{"type": "BPE", "vocab": {{{}}}, "merges": []}}}}"#,
        added.join(", "),
        vocabulary.join(", ")
    );
    fs::write(&path, text).unwrap();
    path
}

/// Any tokenizer with few enough ids would do, and every text would be another.
#[test]
fn a_tokenizer_of_another_model_is_refused_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, smaller] = [512, 300].map(|ids| tokenizer(folder.path(), ids));
    let with = |checkpoint: &Path, tokenizer: &Path| {
        manifest_with(checkpoint, ModelFlags::default(), Some(tokenizer.to_owned()), false)
    };
    let own = with(&fixture("clip-hf"), &whole).unwrap();
    assert_eq!(own.summary["tokenizer"], whole.display().to_string());
    let message = with(&fixture("clip-hf"), &smaller).unwrap_err().to_string();
    for part in ["300-ids.json ends texts with the id 299", "configuration says 511", "trained with"] {
        assert!(message.contains(part), "{message}");
    }
    // Nothing names the end mark of the others, so it is told how many ids are never used.
    let told = with(&fixture("dm-adapter/best.pth"), &smaller).unwrap();
    assert!(told.summary["tokenizer"].ends_with("; its ids end at 299, the text tower's at 511"), "{:?}", told.summary);
}
