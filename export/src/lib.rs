//! Checkpoint → merged towers → ONNX bundle.
//!
//! Must never be needed at serving time. The order of things: `checkpoint` (files to named tensors) → `family` with
//! `clip`, `dm_adapter` and `up_person` (named tensors to merged `tower`s) → `onnx_graph` (towers to graphs) →
//! `bundle_writer`. Beside them `eager` evaluates the unmerged checkpoint literally; its outputs travel with the bundle
//! as goldens.

mod bundle_writer;
mod checkpoint;
mod clip;
mod dm_adapter;
mod eager;
mod error;
mod family;
mod form;
mod geometry;
mod goldens;
mod onnx_graph;
mod operations;
mod quantization;
mod random;
mod tensors;
mod tokenizer_file;
mod tower;
mod up_person;

pub use bundle_writer::StagedBundle;
pub use checkpoint::{Checkpoint, ElementType, RunSettings};
pub use error::ExportError;
pub use form::TowerForm;
pub use onnx_graph::{ActivationRanges, RANGE_PREFIX, matrix_product_graph};
pub use random::{Preset, random_tensors};

use crate::eager::Eager;
use crate::family::{Model, PUBLISHED_SIZE_PX};
use crate::form::precision_bounds;
use crate::geometry::Grid;
use crate::onnx_graph::GraphForm;
use crate::tokenizer_file::TokenizerFile;
use descry_model::manifest::{FORMAT_VERSION, PARITY_FILE, TEXT_FILE, TOKENIZER_FILE, VISION_FILE};
use descry_model::{Dialect, Family, ImageInput, Manifest, Source, TextInput};
use ndarray::{Array2, ArrayD, Ix2};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to export.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// Weights of a training run.
    Checkpoint {
        /// PyTorch checkpoint, `.safetensors` file or Hugging Face folder.
        path: PathBuf,
        /// The run's settings; `None` to look beside the checkpoint.
        config: Option<PathBuf>,
        /// Plain CLIP that fills in what the checkpoint lacks.
        base: Option<PathBuf>,
    },
    /// Random weights at full size.
    Random {
        /// The sizes.
        preset: Preset,
        /// The method.
        family: Family,
        /// Same seed, same weights.
        seed: u64,
    },
}

/// Settings that no checkpoint holds. They win over the run's settings, which win over the published defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFlags {
    /// Image height and width in pixels.
    pub image_size_px: Option<(usize, usize)>,
    /// Step between patches in pixels.
    pub stride: Option<usize>,
    /// How many experts a token is sent to.
    pub top_k: Option<usize>,
}

/// An export, as asked for.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// What to export.
    pub source: ModelSource,
    /// `tokenizer.json` or a merge table; `None` to look beside the checkpoint, then to CLIP's own.
    pub tokenizer: Option<PathBuf>,
    /// Settings that no checkpoint holds.
    pub flags: ModelFlags,
    /// The graphs' number format and operators.
    pub form: TowerForm,
    /// The bundle's folder.
    pub out: PathBuf,
}

/// What an export is doing, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportStep {
    /// Reading the checkpoint.
    Read,
    /// Merging and writing the graphs.
    Merge,
    /// Evaluating the unmerged checkpoint on the golden inputs.
    Goldens,
    /// Writing the files.
    Write,
}

/// Content of the `tokenizer.json` that belongs to a checkpoint, and where it came from in words: the given one, the one
/// beside the checkpoint, or CLIP's own. `Ok(None)`: none was given and none is known.
///
/// - `vocabulary_size`: ids of the checkpoint's text tower; `None` where there is none yet
///
/// # Errors
/// [`ExportError`] when a given tokenizer is unusable or has ids that the tower does not know.
pub fn tokenizer_json(
    given: Option<&Path>,
    checkpoint: Option<&Path>,
    vocabulary_size: Option<usize>,
) -> Result<Option<(Vec<u8>, String)>, ExportError> {
    let size = vocabulary_size.unwrap_or(tokenizer_file::CLIP_VOCABULARY_SIZE);
    let found = tokenizer_file::find_tokenizer(given, checkpoint, size)?;
    Ok(found.map(|file| (file.json, file.origin)))
}

/// Position embeddings of a vision tower for images of another size: as stored where they fit, else resized from the
/// square grid that CLIP is trained with.
///
/// # Shapes
/// - `stored`: `[1 + patches, width]`; returns the like
///
/// # Errors
/// [`ExportError::Setting`] for an image size or stride that makes no grid, [`ExportError::PositionCount`].
pub fn fit_image_positions(
    stored: Array2<f32>,
    (height_px, width_px): (usize, usize),
    patch_px: usize,
    stride_px: usize,
) -> Result<Array2<f32>, ExportError> {
    geometry::fit_positions(stored, Grid::new(height_px, width_px, patch_px, stride_px)?, true)
}

/// Reads, merges and writes a model into a staged bundle. Verify it, then [`StagedBundle::publish`] it.
///
/// # Errors
/// [`ExportError`] naming the key, file or setting and what was expected.
pub fn export(request: &ExportRequest, mut progress: impl FnMut(ExportStep)) -> Result<StagedBundle, ExportError> {
    Export::read(request, &mut progress)?.write(None, progress)
}

/// A model, read and merged, from which graphs can be written in several forms.
pub struct Export {
    request: ExportRequest,
    tensors: BTreeMap<String, ArrayD<f32>>,
    model: Model,
    source: Source,
    tokenizer: Option<TokenizerFile>,
    text: TextInput,
}

/// Graphs that tell the ranges of their products' inputs, in float32.
#[derive(Debug, Clone)]
pub struct CalibrationGraphs {
    /// `pixels` to outputs named [`RANGE_PREFIX`] and a product's name, and `features`.
    pub vision: Vec<u8>,
    /// `token_ids` to the like. Run texts without padding, or it counts.
    pub text: Vec<u8>,
}

impl Export {
    /// Reads and merges what a request names.
    ///
    /// # Errors
    /// [`ExportError`] naming the key, file or setting and what was expected.
    pub fn read(request: &ExportRequest, mut progress: impl FnMut(ExportStep)) -> Result<Self, ExportError> {
        bundle_writer::check_target(&request.out)?;
        request.form.check()?;
        progress(ExportStep::Read);
        let Weights { tensors, settings, source } = load(request)?;
        progress(ExportStep::Merge);
        let model = family::read_model(&tensors, &settings, &request.flags)?;
        let vocabulary_size = model.text.token_embedding.nrows();
        let checkpoint = match &request.source {
            ModelSource::Checkpoint { path, .. } => Some(path.as_path()),
            ModelSource::Random { .. } => None,
        };
        let tokenizer = tokenizer_file::find_tokenizer(request.tokenizer.as_deref(), checkpoint, vocabulary_size)?;
        let text = text_input(vocabulary_size, model.context_length, tokenizer.as_ref());
        Ok(Self { request: request.clone(), tensors, model, source, tokenizer, text })
    }

    /// What images and texts of a calibration set must be prepared with.
    pub fn inputs(&self) -> (ImageInput, TextInput) {
        (ImageInput::clip(self.model.grid.height_px, self.model.grid.width_px), self.text.clone())
    }

    /// The tokenizer that will be in the bundle, as the content of `tokenizer.json`.
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        self.tokenizer.as_ref().map(|tokenizer| tokenizer.json.as_slice())
    }

    /// Graphs that observe the activations' ranges.
    ///
    /// # Errors
    /// [`ExportError`] for a tower that cannot be written.
    pub fn calibration_graphs(&self) -> Result<CalibrationGraphs, ExportError> {
        let form = GraphForm { observe: true, ..GraphForm::float32(Dialect::Standard) };
        Ok(CalibrationGraphs {
            vision: onnx_graph::write_vision(&self.model.vision, self.model.grid, form)?,
            text: onnx_graph::write_text(&self.model.text, self.model.context_length, form)?,
        })
    }

    /// Writes a staged bundle. With `ranges`, int8 activations have fixed scales; without, one a row, found at run time.
    ///
    /// # Errors
    /// [`ExportError`] naming the file or setting.
    pub fn write(
        self,
        ranges: Option<&ActivationRanges>,
        mut progress: impl FnMut(ExportStep),
    ) -> Result<StagedBundle, ExportError> {
        let Self { request, tensors, model, source, tokenizer, text } = self;
        progress(ExportStep::Goldens);
        let eager = Eager {
            tensors: &tensors,
            grid: model.grid,
            vision_positions: &model.vision.positional_embedding,
            top_k: model.top_k,
        };
        let goldens = goldens::make_goldens(&eager, model.grid, &text)?;
        progress(ExportStep::Write);
        let form = request.form.graph_form(ranges);
        let vision_graph = onnx_graph::write_vision(&model.vision, model.grid, form)?;
        let text_graph = onnx_graph::write_text(&model.text, model.context_length, form)?;
        let mut summary = family::summarise(&model, &tensors);
        let origin = tokenizer.as_ref().map_or_else(
            || format!("none fits {} token ids; this bundle takes token ids only", text.vocabulary_size),
            |tokenizer| tokenizer.origin.clone(),
        );
        summary.insert("tokenizer".to_owned(), origin);
        summary.extend(request.form.summarise(ranges));
        let bounds = precision_bounds(request.form.precision);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            fingerprint: String::new(),
            family: model.family,
            embedding_dimension: model.vision.projection.ncols(),
            image: ImageInput::clip(model.grid.height_px, model.grid.width_px),
            text,
            precision: request.form.precision,
            dialect: form.dialect,
            source,
            image_gflop: operations::image_gflop(&model.vision, model.grid, request.form.plain),
            summary,
            parity: bounds,
            row_independence: bounds,
            files: BTreeMap::new(),
        };
        // Half a gigabyte of tensors is not needed any more, and the graphs hold as much again.
        drop((tensors, model.vision, model.text));
        let mut files = vec![(VISION_FILE, vision_graph), (TEXT_FILE, text_graph), (PARITY_FILE, goldens)];
        if let Some(tokenizer) = tokenizer {
            files.push((TOKENIZER_FILE, tokenizer.json));
        }
        StagedBundle::write(&request.out, files, manifest)
    }
}

struct Weights {
    tensors: BTreeMap<String, ArrayD<f32>>,
    settings: RunSettings,
    source: Source,
}

fn load(request: &ExportRequest) -> Result<Weights, ExportError> {
    match &request.source {
        ModelSource::Checkpoint { path, config, base } => {
            let checkpoint = match config {
                Some(config) => Checkpoint::open_with_settings(path, config)?,
                None => Checkpoint::open(path)?,
            };
            let mut tensors = checkpoint.tensors;
            let mut source = Source { checkpoint: checkpoint.source_sha256, base: None };
            if let Some(base) = base {
                let base = Checkpoint::open(base)?;
                source.base = Some(base.source_sha256);
                fill_from_base(&mut tensors, base.tensors, &checkpoint.settings, &request.flags)?;
            }
            Ok(Weights { tensors, settings: checkpoint.settings, source })
        }
        ModelSource::Random { preset, family, seed } => {
            let (height, width) = request.flags.image_size_px.unwrap_or(PUBLISHED_SIZE_PX);
            let stride = request.flags.stride;
            let tensors = random::random_tensors_for_grid(*preset, *family, *seed, |patch| {
                Ok(Grid::new(height, width, patch, stride.unwrap_or(patch))?.positions())
            })?;
            let settings = RunSettings { image_size_px: Some((height, width)), ..RunSettings::default() };
            let checkpoint = format!("random {preset:?} {family}, seed {seed}");
            Ok(Weights { tensors, settings, source: Source { checkpoint, base: None } })
        }
    }
}

/// Adds the base's tensors where the checkpoint has none, its square grid of positions stretched to the run's size.
fn fill_from_base(
    tensors: &mut BTreeMap<String, ArrayD<f32>>,
    base: BTreeMap<String, ArrayD<f32>>,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<(), ExportError> {
    const POSITIONS: &str = "visual.positional_embedding";
    if family::detect(&base)? != Family::Clip {
        let reason = "the base is fine-tuned itself; give plain CLIP".to_owned();
        return Err(ExportError::Setting { name: "base".to_owned(), reason });
    }
    let lacks_positions = !tensors.contains_key(POSITIONS);
    for (key, tensor) in base {
        tensors.entry(key).or_insert(tensor);
    }
    if !lacks_positions {
        return Ok(());
    }
    let (_, patch) = clip::vision_sizes(&tensors::Tensors::new(tensors))?;
    let stride = flags.stride.or(settings.stride).unwrap_or(patch);
    let (height, width) = flags.image_size_px.or(settings.image_size_px).unwrap_or(PUBLISHED_SIZE_PX);
    let grid = Grid::new(height, width, patch, stride)?;
    let stored: Option<Array2<f32>> =
        tensors.get(POSITIONS).and_then(|stored| stored.clone().into_dimensionality::<Ix2>().ok());
    if let Some(stored) = stored {
        tensors.insert(POSITIONS.to_owned(), geometry::fit_positions(stored, grid, true)?.into_dyn());
    }
    Ok(())
}

fn text_input(vocabulary_size: usize, context_length: usize, tokenizer: Option<&TokenizerFile>) -> TextInput {
    let last_id = vocabulary_size as i64 - 1;
    TextInput {
        context_length,
        vocabulary_size,
        // Without a tokenizer: CLIP's own convention, the two highest ids.
        start_of_text_id: tokenizer.map_or(last_id - 1, |tokenizer| tokenizer.vocabulary.start_of_text_id),
        end_of_text_id: tokenizer.map_or(last_id, |tokenizer| tokenizer.vocabulary.end_of_text_id),
        mask_id: tokenizer.and_then(|tokenizer| tokenizer.vocabulary.mask_id),
        padding_id: 0,
    }
}
