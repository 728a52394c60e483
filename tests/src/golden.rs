//! Published checkpoints and outputs, copied into `golden/` (`provenance.toml` there says from where), and the demo.

use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::Bundle;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The folder of the golden data.
pub fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The folder of the demo's gallery and checkpoints.
pub fn demo_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}

/// Exports a checkpoint, with the settings beside it, into `folder`, in float32.
///
/// # Panics
/// When the export fails.
pub fn export_fixture(checkpoint: &Path, flags: ModelFlags, folder: &Path) -> Bundle {
    export_form(checkpoint, flags, TowerForm::FP32, folder)
}

/// As [`export_fixture`], in another form.
///
/// # Panics
/// When the export fails.
pub fn export_form(checkpoint: &Path, flags: ModelFlags, form: TowerForm, folder: &Path) -> Bundle {
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint.to_owned(), config: None, base: None },
        tokenizer: None,
        // The published fixtures have vocabularies of their own, and tests give them ids.
        without_tokenizer: !checkpoint.with_file_name("tokenizer.json").is_file(),
        flags,
        form,
        out: folder.join("bundle"),
    };
    let staged = export(&request, |_| {}).unwrap_or_else(|error| panic!("{}: {error}", checkpoint.display()));
    staged.publish().unwrap_or_else(|error| panic!("{error}"));
    Bundle::open(&request.out).unwrap_or_else(|error| panic!("{error}"))
}

/// The demo's DM-Adapter model, exported once a test run.
///
/// # Panics
/// When the export fails.
pub fn demo_bundle() -> &'static Path {
    static BUNDLE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUNDLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let bundle =
            export_fixture(&demo_folder().join("dm_adapter.safetensors"), ModelFlags::default(), folder.path());
        let path = bundle.directory().to_owned();
        (folder, path)
    });
    path
}
