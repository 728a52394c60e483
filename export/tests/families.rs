//! Whose checkpoint it is: found by the names in it, told with the bundle, and what follows from it.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::{Bundle, Manifest, Method};
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures").join(name)
}

fn export_to(folder: &Path, source: ModelSource, form: TowerForm) -> Manifest {
    let request = ExportRequest {
        source,
        tokenizer: None,
        without_tokenizer: true,
        flags: ModelFlags::default(),
        form,
        out: folder.join("bundle"),
    };
    export(&request, |_| {}).unwrap().publish().unwrap()
}

fn of_checkpoint(path: PathBuf) -> ModelSource {
    ModelSource::Checkpoint { path, config: None, base: None }
}

fn manifest(checkpoint: &str) -> Manifest {
    let folder = tempfile::tempdir().unwrap();
    export_to(folder.path(), of_checkpoint(fixture(checkpoint)), TowerForm::FP32)
}

#[test]
fn families_are_found_by_their_names() {
    for (checkpoint, family) in [
        ("clip-hf", Method::Clip),
        ("openclip", Method::Clip),
        ("dm-adapter/best.pth", Method::DmAdapter),
        ("up-person/best.pth", Method::UpPerson),
        ("irra/best.pth", Method::Irra),
        ("rde/best.pth", Method::Rde),
        ("tbps-clip/checkpoint_best.pth", Method::TbpsClip),
    ] {
        let found = manifest(checkpoint);
        assert_eq!(found.family, family, "{checkpoint}");
        if family != Method::Clip {
            // What published code fixes is known, not assumed.
            assert_eq!(found.summary["activation"], "quick-gelu, as the published code computes", "{checkpoint}");
            let heads = &found.summary["attention heads"];
            assert!(heads.ends_with(", as the published code computes"), "{checkpoint}: {heads}");
        }
    }
}

/// Heads of losses are no part of the model: neither of its size, nor of what is read.
#[test]
fn parameters_are_counted_without_the_heads_of_losses() {
    // Two towers of three blocks, 128 and 64 wide, into 64 values; a block of width w has 12 w² + 13 w.
    let blocks: usize = 3 * (12 * 128 * 128 + 13 * 128) + 3 * (12 * 64 * 64 + 13 * 64);
    let image = 128 * 3 * 16 * 16 + 128 + 193 * 128 + 2 * 2 * 128 + 128 * 64;
    let text = 512 * 64 + 77 * 64 + 2 * 64 + 64 * 64;
    let summary = manifest("irra/best.pth").summary;
    assert_eq!(summary["parameters"], (blocks + image + text).to_string());
    assert!(!summary.contains_key("parameters trained by the method"), "all of them are");
}

/// The fixture away from its settings: what they say is what the method's paper did.
#[test]
fn irra_without_its_settings_is_the_published_size() {
    let stated = manifest("irra/best.pth");
    assert_eq!(stated.summary["image size taken from"], "the settings");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("best.pth");
    fs::copy(fixture("irra/best.pth"), &copy).unwrap();
    let found = export_to(folder.path(), of_checkpoint(copy), TowerForm::FP32);
    assert_eq!((found.image.height_px, found.image.width_px, found.family), (384, 128, Method::Irra));
    assert_eq!(found.fingerprint, stated.fingerprint);
    let origin = &found.summary["image size taken from"];
    assert!(origin.starts_with("nobody: the published 384x128 is assumed; 128x384 would fit"), "{origin}");
}

/// Bundles of these families were made under the name of plain CLIP before they had their own: they stay the same models.
#[test]
fn a_bundle_keeps_its_fingerprint_under_its_old_family() {
    let folder = tempfile::tempdir().unwrap();
    let made = export_to(folder.path(), of_checkpoint(fixture("irra/best.pth")), TowerForm::FP32);
    let path = folder.path().join("bundle/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let old = text.replace("\"irra\"", "\"clip\"");
    assert_ne!(old, text);
    fs::write(&path, old).unwrap();
    let bundle = Bundle::open(&folder.path().join("bundle")).unwrap();
    assert_eq!(bundle.manifest().family, Method::Clip);
    assert_eq!(bundle.fingerprint().as_str(), made.fingerprint);
}

/// Products of RDE's vision tower, counted by hand from its shapes.
#[test]
fn the_work_of_rdes_images_is_counted() {
    let count = |form: TowerForm| {
        let folder = tempfile::tempdir().unwrap();
        export_to(folder.path(), of_checkpoint(fixture("rde/best.pth")), form).image_gflop
    };
    // 24 x 8 patches of 16 x 16 pixels in three colours, a width of 128.
    let patches = 192 * (3 * 16 * 16) * 128;
    // Query, key, value and output; scores and their sums over values; the MLP.
    let block = |asking: usize| {
        193 * 2 * (128 * 128) + asking * 2 * (128 * 128) + 2 * asking * 193 * 128 + asking * 2 * (128 * 512)
    };
    // The class token's query, brought to the tokens' space, meets them in each of two heads.
    let row = 128 * 128 + 128 * 128 + 2 * 193 * 128;
    // Of 192 patches 0.3 are 57. They and the class token are projected, 128 to 64; they alone go on, 64 to 128 directly and
    // through 64 hidden values.
    let behind = 58 * (128 * 64) + 57 * (64 * 128 + 64 * 64 + 64 * 128);
    let expect = |last: usize| 2.0 * (patches + 2 * block(193) + last + row + behind) as f64 / 1e9;
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    close(count(TowerForm::FP32), expect(block(58)));
    close(count(TowerForm { plain: true, ..TowerForm::FP32 }), expect(block(193)));
}
