//! Galleries are filled under a fingerprint, for years: the same weights must have the same one in every release, in
//! every folder and on every machine.

use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::{Manifest, Precision};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FP16: TowerForm = TowerForm { precision: Precision::Fp16, ..TowerForm::FP32 };
const INT8: TowerForm = TowerForm { precision: Precision::Int8, ..TowerForm::FP32 };

/// Fingerprints as version 0.1.0 made them. A change here makes every gallery of these models useless: it needs a reason
/// that is worth indexing all of them anew, and a word in the release notes.
const FINGERPRINTS: [(&str, TowerForm, &str); 6] = [
    ("clip-hf", TowerForm::FP32, "0b6c88c24013eefeb91ca9173268762082434f6cc76c57570254ffbe824c8c14"),
    ("clip-hf", INT8, "495f064c16737f11490a2d9b54678bfff76ff757aa725f259db274bb9ff5cbe5"),
    ("dm-adapter/best.pth", TowerForm::FP32, "1ec5b0c8b4fab7a570c7df7209f5617f798a77171cc8124f6986986f0851a53d"),
    ("dm-adapter/best.pth", FP16, "69cb92a36f86fdb08420ecee25173e54f83b0cfd06f8de232a3a21a86663e428"),
    ("up-person/best.pth", TowerForm::FP32, "af6418caf93da269a92d88f834bdaba67d40988b23e41bb57a01efba9342c58f"),
    ("up-person/best.pth", INT8, "e812cdec2efa3f6ed530bd3ba7e01e6cf031abcf2829eeb85a90530572280960"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures")
}

type AnyError = Box<dyn std::error::Error>;

/// Exports a checkpoint into `folder`.
fn export_to(folder: &Path, checkpoint: PathBuf, form: TowerForm) -> Result<Manifest, AnyError> {
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint, config: None, base: None },
        tokenizer: None,
        without_tokenizer: true,
        flags: ModelFlags::default(),
        form,
        out: folder.join("bundle"),
    };
    Ok(export(&request, |_| {})?.publish()?)
}

/// The bundle's files by name.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, AnyError> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder.join("bundle"))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(files)
}

#[test]
fn models_keep_their_fingerprints() {
    let mut changed = Vec::new();
    for (fixture, form, expected) in FINGERPRINTS {
        let folder = tempfile::tempdir().unwrap();
        let manifest = export_to(folder.path(), fixtures().join(fixture), form).unwrap();
        if manifest.fingerprint != expected {
            changed.push(format!("{fixture} in {}: {}", form.precision, manifest.fingerprint));
        }
    }
    assert!(changed.is_empty(), "{changed:#?}");
}

/// Neither where a checkpoint lies nor where its bundle goes is in the bundle, nor when it was made.
#[test]
fn a_model_is_the_same_bytes_wherever_and_whenever_it_is_exported() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = second.path().join("another-name.pth");
    fs::copy(fixtures().join("up-person/best.pth"), &copy).unwrap();
    fs::copy(fixtures().join("up-person/configs.yaml"), second.path().join("configs.yaml")).unwrap();
    export_to(first.path(), fixtures().join("up-person/best.pth"), TowerForm::FP32).unwrap();
    export_to(second.path(), copy, TowerForm::FP32).unwrap();
    let (original, moved) = (files(first.path()).unwrap(), files(second.path()).unwrap());
    let names: Vec<_> = original.keys().collect();
    assert_eq!(names, ["manifest.json", "parity.npz", "text.onnx", "vision.onnx"]);
    for (name, content) in &original {
        assert!(moved.get(name) == Some(content), "{name} differs");
    }
}

/// What a bundle holds follows from its weights, never from the build of the program: cargo changes the version with
/// every release, and the clock does so by itself.
#[test]
fn nothing_that_writes_a_bundle_knows_its_own_version_or_the_time() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![here.join("src"), here.join("../model/src")];
    let mut known = Vec::new();
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            read += 1;
            let source = fs::read_to_string(&path).unwrap();
            for word in ["CARGO_PKG_", "SystemTime", "Instant::now"] {
                if source.contains(word) {
                    known.push(format!("{} has {word}", path.display()));
                }
            }
        }
    }
    assert!(read > 40, "only {read} files found");
    assert!(known.is_empty(), "{known:#?}");
}
