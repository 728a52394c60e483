//! Published checkpoints and outputs, copied into `golden/` (`provenance.toml` there says from where), and the demo.

use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::Bundle;
use ndarray::ArrayD;
use serde_json::{Map, Value, json};
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

/// The letters of [`fixture_with_tokenizer`].
const LETTERS: &str = "acdeort";

/// Copies a published fixture's checkpoint into `folder`, with a tokenizer of `vocabulary_size` ids beside it that can spell
/// words of the letters in "a red coat". Returns the checkpoint: the folder itself, or a file in it.
///
/// # Panics
/// When files cannot be copied or written.
pub fn fixture_with_tokenizer(name: &str, file: &str, vocabulary_size: usize, folder: &Path) -> PathBuf {
    let entries = golden_folder().join("fixtures").join(name).read_dir().unwrap_or_else(|error| panic!("{error}"));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
        let name = path.file_name().unwrap_or_default();
        std::fs::copy(&path, folder.join(name)).unwrap_or_else(|error| panic!("{error}"));
    }
    let tokenizer = small_tokenizer(vocabulary_size).to_string();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap_or_else(|error| panic!("{error}"));
    if file.is_empty() { folder.to_owned() } else { folder.join(file) }
}

/// A letter a token, within a word and at its end; the first id is the padding's, the last two are the marks'.
fn small_tokenizer(vocabulary_size: usize) -> Value {
    let marks = [descry_model::START_OF_TEXT, descry_model::END_OF_TEXT];
    let mut tokens = vec!["<padding>".to_owned()];
    tokens.extend(LETTERS.chars().flat_map(|letter| [letter.to_string(), format!("{letter}</w>")]));
    tokens.extend((tokens.len()..vocabulary_size - marks.len()).map(|id| format!("<unused {id}>")));
    tokens.extend(marks.map(str::to_owned));
    let vocabulary: Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, Value::from(id))).collect();
    let added: Vec<Value> = marks
        .iter()
        .map(|mark| {
            json!({
                "id": vocabulary[*mark], "content": mark, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": [],
        },
    })
}

/// Writes tensors as a safetensors file: a length, a JSON header, and the bytes.
///
/// # Panics
/// When it cannot be written.
pub fn write_safetensors<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a String, &'a ArrayD<f32>)>) {
    let mut header = Map::new();
    let mut data = Vec::new();
    for (key, tensor) in tensors {
        let start = data.len();
        data.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": tensor.shape(), "data_offsets": [start, data.len()]});
        header.insert(key.clone(), entry);
    }
    let header = Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
