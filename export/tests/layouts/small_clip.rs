//! A small CLIP under OpenAI's names, as tensors of made-up numbers in a file.

use descry_export::{ExportError, ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use descry_model::Manifest;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::path::Path;

/// Sizes of a small CLIP under OpenAI's names.
pub(crate) struct Shape {
    pub(crate) positions: usize,
    pub(crate) patch: usize,
    pub(crate) vision_width: usize,
    pub(crate) text_width: usize,
}

pub(crate) const SMALL: Shape = Shape { positions: 17, patch: 16, vision_width: 64, text_width: 64 };

pub(crate) const DIMENSION: usize = 8;
pub(crate) const CONTEXT: usize = 9;
pub(crate) const VOCABULARY: usize = 11;

/// Shapes of all tensors by name.
pub(crate) fn clip(shape: &Shape) -> BTreeMap<String, Vec<usize>> {
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
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, Vec<usize>>, named: impl Fn(&str) -> String) {
    write_views(path, tensors, |key| Some(named(key)), None);
}

/// Writes those of the tensors that are meant, with the numbers that they have among all.
pub(crate) fn write_some(path: &Path, tensors: &BTreeMap<String, Vec<usize>>, is_meant: impl Fn(&str) -> bool) {
    write_views(path, tensors, |key| is_meant(key).then(|| key.to_owned()), None);
}

/// Writes tensors and the whole number that OpenAI's archives carry: the side of the images in pixels.
pub(crate) fn write_archive(path: &Path, tensors: &BTreeMap<String, Vec<usize>>, side_px: i64) {
    write_views(path, tensors, |key| Some(key.to_owned()), Some(side_px));
}

fn write_views(
    path: &Path,
    tensors: &BTreeMap<String, Vec<usize>>,
    named: impl Fn(&str) -> Option<String>,
    side_px: Option<i64>,
) {
    let bytes = tensors.values().enumerate().map(|(tensor, shape)| {
        let number = |index: usize| ((index * 37 + tensor * 11) % 101) as f32 / 505.0 - 0.1;
        (0..shape.iter().product()).flat_map(|index| number(index).to_le_bytes()).collect::<Vec<u8>>()
    });
    let bytes: Vec<_> = bytes.collect();
    let side = side_px.map(i64::to_le_bytes);
    let side =
        side.iter().map(|side| ("input_resolution".to_owned(), TensorView::new(Dtype::I64, vec![], side).unwrap()));
    let views = tensors.iter().zip(&bytes).filter_map(|((key, shape), bytes)| {
        Some((named(key)?, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
    });
    safetensors::serialize_to_file(views.chain(side), None, path).unwrap();
}

/// The manifest of a checkpoint's bundle.
pub(crate) fn manifest(checkpoint: &Path, flags: ModelFlags) -> Result<Manifest, ExportError> {
    manifest_over(checkpoint, None, flags)
}

/// The same for a checkpoint whose missing tensors are a base's.
pub(crate) fn manifest_over(
    checkpoint: &Path,
    base: Option<&Path>,
    flags: ModelFlags,
) -> Result<Manifest, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let base = base.map(Path::to_owned);
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: checkpoint.to_owned(), config: None, base },
        tokenizer: None,
        without_tokenizer: true,
        flags,
        form: TowerForm::FP32,
        out: folder.path().join("bundle"),
    };
    export(&request, |_| {})?.publish()
}
