//! Published checkpoints and outputs, copied into `golden/` (`provenance.toml` there says from where).

use descry_export::{ExportRequest, ModelFlags, ModelSource, export};
use descry_model::{Bundle, Precision};
use std::path::{Path, PathBuf};

/// The folder of the golden data.
pub fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Exports a golden checkpoint with its own settings into `folder`.
///
/// # Panics
/// When the export fails: the tests that call this have nothing to test then.
pub fn export_fixture(checkpoint: &Path, flags: ModelFlags, folder: &Path) -> Bundle {
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint.to_owned(), config: None, base: None },
        tokenizer: None,
        flags,
        precision: Precision::Fp32,
        out: folder.join("bundle"),
    };
    let staged = export(&request, |_| {}).unwrap_or_else(|error| panic!("{}: {error}", checkpoint.display()));
    staged.publish().unwrap_or_else(|error| panic!("{error}"));
    Bundle::open(&request.out).unwrap_or_else(|error| panic!("{error}"))
}
