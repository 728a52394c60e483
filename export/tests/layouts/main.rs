//! Checkpoints in the layouts that people have: the same small CLIP under the names of several wrappers, of several sizes.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod configurations;
mod siblings;
mod small_clip;

use descry_export::ModelFlags;
use descry_model::{Manifest, Method, ResizeFilter};
use small_clip::{SMALL, Shape, clip, manifest, write};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
