//! From a request to a staged bundle: reading and merging once, then graphs in as many forms as are asked for.

use crate::bundle_writer::{self, StagedBundle};
use crate::checkpoint::{PixelSettings, RunSettings};
use crate::eager::Eager;
use crate::goldens::{self, GoldenInputs};
use crate::merging::{self, Model};
use crate::onnx_graph::{self, ActivationRanges, GraphForm};
use crate::request::{ExportRequest, ExportStep, ModelSource};
use crate::tokenizer_file::{TokenizerFile, find_tokenizer};
use crate::tower_form::precision_bounds;
use crate::weights::{Unmerged, load};
use crate::{ExportError, abandoned};
use descry_model::manifest::{FORMAT_VERSION, PARITY_FILE, TEXT_FILE, TOKENIZER_FILE, VISION_FILE};
use descry_model::{Dialect, ImageInput, Manifest, Source, TextInput, TextTokenizer};
use ndarray::ArrayD;
use std::collections::BTreeMap;

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
    /// `None` for noise.
    golden_inputs: Option<GoldenInputs>,
}

/// Graphs that tell the ranges of their products' inputs, in float32.
#[derive(Debug, Clone)]
pub struct CalibrationGraphs {
    /// `pixels` to outputs named [`crate::RANGE_PREFIX`] and a product's name, and `features`.
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
        abandoned::tidy(&request.out);
        bundle_writer::check_target(&request.out)?;
        request.form.check()?;
        progress(ExportStep::Read);
        let Unmerged { tensors, settings, source, positions } = load(request)?;
        progress(ExportStep::Merge);
        let model = merging::read_model(&tensors, &settings, &request.flags, &positions)?;
        let vocabulary_size = model.text.token_embedding.nrows();
        let checkpoint = match &request.source {
            ModelSource::Checkpoint { path, .. } => Some(path.as_path()),
            ModelSource::Random { .. } => None,
        };
        let tokenizer = if request.without_tokenizer {
            None
        } else {
            Some(find_tokenizer(request.tokenizer.as_deref(), checkpoint, vocabulary_size)?)
        };
        tokenizer.iter().try_for_each(|tokenizer| check_end_mark(tokenizer, &settings))?;
        let mut text = text_input(vocabulary_size, model.context_length, tokenizer.as_ref());
        text.caption_rules.clone_from(&settings.caption_rules);
        Ok(Self { request: request.clone(), tensors, model, source, tokenizer, text, golden_inputs: None })
    }

    /// Lets the bundle be judged by these inputs. Without them it is by noise, whose outputs in a narrow number format say
    /// little of what images and texts of people will meet.
    #[must_use]
    pub fn with_golden_inputs(self, inputs: Option<GoldenInputs>) -> Self {
        Self { golden_inputs: inputs, ..self }
    }

    /// What images and texts of a calibration set must be prepared with.
    pub fn inputs(&self) -> (ImageInput, TextInput) {
        (image_input(&self.model), self.text.clone())
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
        let Self { request, tensors, model, source, tokenizer, text, golden_inputs } = self;
        progress(ExportStep::Goldens);
        let eager = Eager {
            tensors: &tensors,
            grid: model.grid,
            vision_positions: &model.vision.positional_embedding,
            top_k: model.top_k,
            select_ratio: model.select_ratio,
            context_length: model.context_length,
            vision: model.vision_facts,
            text: model.text_facts,
        };
        let golden_inputs = golden_inputs.unwrap_or_else(|| GoldenInputs::noise(model.grid, &text));
        let goldens = goldens::make_goldens(&eager, &golden_inputs, &text)?;
        progress(ExportStep::Write);
        let form = request.form.graph_form(ranges);
        let vision_graph = onnx_graph::write_vision(&model.vision, model.grid, form)?;
        let text_graph = onnx_graph::write_text(&model.text, model.context_length, form)?;
        let mut summary = merging::summarise(&model, &tensors);
        let origin = tokenizer.as_ref().map_or_else(
            || "none, as asked for; this bundle takes token ids only".to_owned(),
            |tokenizer| tokenizer.origin.clone() + &unused_ids(tokenizer, text.vocabulary_size),
        );
        summary.insert("tokenizer".to_owned(), origin);
        if let Some(tokenizer) = &tokenizer
            && let Some(missing) = TextTokenizer::from_bytes(&tokenizer.json, text.clone())?.missing_letters()
        {
            summary.insert("vocabulary".to_owned(), format!("{missing}; such letters of a text do not count"));
        }
        if matches!(request.source, ModelSource::Checkpoint { .. }) {
            summary.extend(model.origins.iter().map(|(name, origin)| ((*name).to_owned(), origin.clone())));
        }
        summary.extend(request.form.summarise(ranges));
        let bounds = precision_bounds(request.form.precision);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            fingerprint: String::new(),
            family: model.method,
            embedding_dimension: model.vision.dimension(),
            image: image_input(&model),
            text,
            precision: request.form.precision,
            dialect: form.dialect,
            source,
            image_gflop: model.vision.image_gflop(request.form.plain),
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

fn image_input(model: &Model) -> ImageInput {
    let usual = ImageInput::clip(model.grid.height_px, model.grid.width_px);
    let PixelSettings { mean, std, resize_filter } = model.pixels;
    ImageInput {
        resize_filter: resize_filter.unwrap_or(usual.resize_filter),
        mean: mean.unwrap_or(usual.mean),
        std: std.unwrap_or(usual.std),
        ..usual
    }
}

/// What to tell of a tokenizer with fewer ids than the text tower has: it may be another model's.
fn unused_ids(tokenizer: &TokenizerFile, vocabulary_size: usize) -> String {
    let highest = tokenizer.vocabulary.highest_id;
    if usize::try_from(highest).is_ok_and(|highest| highest.checked_add(1) == Some(vocabulary_size)) {
        return String::new();
    }
    format!("; its ids end at {highest}, the text tower's at {}", vocabulary_size.saturating_sub(1))
}

/// Refuses a tokenizer whose end mark is not the one that the model's configuration names: there the model looks for what a
/// text says. Its start mark may be any: published configurations name wrong ones, and nothing computes with it.
fn check_end_mark(tokenizer: &TokenizerFile, settings: &RunSettings) -> Result<(), ExportError> {
    let found = tokenizer.vocabulary.end_of_text_id;
    match settings.end_of_text_id {
        Some(stated) if i64::try_from(stated) != Ok(found) => {
            let reason = format!(
                "{} ends texts with the id {found}, and the model's configuration says {stated}; give the tokenizer that the \
                 model was trained with",
                tokenizer.origin
            );
            Err(ExportError::Setting { name: "tokenizer".to_owned(), reason })
        }
        Some(_) | None => Ok(()),
    }
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
        caption_rules: None,
    }
}
