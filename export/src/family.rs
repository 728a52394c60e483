//! Which published method a checkpoint belongs to, and its towers with that method merged in.

use crate::checkpoint::RunSettings;
use crate::clip::{self, BlockPlace, Side};
use crate::dm_adapter::{self, DmAdapter};
use crate::geometry::{Grid, square_side};
use crate::tensors::Tensors;
use crate::tower::{Block, TextTower, VisionTower};
use crate::up_person::{self, UpPerson};
use crate::{ExportError, ModelFlags};
use descry_model::Family;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// What a family adds to CLIP's blocks.
pub(crate) trait BlockExtras {
    /// Reads the family's tensors of one block and merges them into it.
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, place: BlockPlace) -> Result<(), ExportError>;
}

/// Plain CLIP adds nothing.
struct PlainClip;

impl BlockExtras for PlainClip {
    fn merge_into(&self, _: &mut Block, _: &mut Tensors<'_>, _: BlockPlace) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Both towers, ready to be written, and the settings that were decided on.
pub(crate) struct Model {
    pub(crate) family: Family,
    pub(crate) grid: Grid,
    pub(crate) top_k: usize,
    pub(crate) context_length: usize,
    pub(crate) vision: VisionTower,
    pub(crate) text: TextTower,
}

/// The published image size of the retrieval papers, height and width in pixels.
pub(crate) const PUBLISHED_SIZE_PX: (usize, usize) = (384, 128);
/// The published number of experts a token is sent to.
const PUBLISHED_TOP_K: usize = 2;

/// Parameters of training losses, and numbers that OpenAI's archives carry along: no tower reads them.
const NOT_IN_A_TOWER: [&str; 4] = ["logit_scale", "input_resolution", "context_length", "vocab_size"];

/// Finds the family by the keys that only it has.
pub(crate) fn detect(tensors: &BTreeMap<String, ArrayD<f32>>) -> Result<Family, ExportError> {
    let any = |marks: &[&str]| tensors.keys().any(|key| marks.iter().any(|mark| key.contains(mark)));
    let dm_adapter = any(&[".feed_forward.experts."]);
    let up_person = any(&["LORA_learner.", "_prefix_learner.", ".adapter_ln_"]);
    let unknown = |reason: &str| Err(ExportError::UnknownFamily { reason: reason.to_owned() });
    match (dm_adapter, up_person) {
        (true, true) => unknown("it has experts of DM-Adapter and parts of UP-Person at once"),
        (true, false) => Ok(Family::DmAdapter),
        (false, true) => Ok(Family::UpPerson),
        (false, false) if tensors.contains_key("visual.conv1.weight") => Ok(Family::Clip),
        (false, false) if tensors.contains_key("visual.layer1.0.conv1.weight") => {
            unknown("its vision tower is a ResNet; only vision transformers are supported")
        }
        (false, false) => unknown("it has no `visual.conv1.weight`"),
    }
}

/// Merges a checkpoint's tensors into towers.
///
/// # Errors
/// [`ExportError`] naming the missing, unknown or misshapen tensor, or the setting that does not fit.
pub(crate) fn read_model(
    all: &BTreeMap<String, ArrayD<f32>>,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<Model, ExportError> {
    let family = detect(all)?;
    let mut tensors = Tensors::new(all);
    if !tensors.contains("visual.conv1.weight") {
        let expected = "CLIP's weights; give them with --base if this checkpoint holds the trained part only";
        return Err(ExportError::MissingTensor {
            key: "visual.conv1.weight".to_owned(),
            expected: expected.to_owned(),
        });
    }
    let (_, patch) = clip::vision_sizes(&tensors)?;
    let stride = flags.stride.or(settings.stride).unwrap_or(patch);
    let size = image_size(&tensors, family, settings, flags)?;
    let grid = Grid::new(size.0, size.1, patch, stride)?;
    warn_of_contradictions(settings, flags);
    let top_k = flags.top_k.or(settings.topk).unwrap_or(PUBLISHED_TOP_K);
    let dm_adapter = DmAdapter { top_k };
    let extras: &dyn BlockExtras = match family {
        Family::Clip => &PlainClip,
        Family::DmAdapter => &dm_adapter,
        Family::UpPerson => &UpPerson,
    };
    // Only plain CLIP's square grid may be stretched: a fine-tuned model knows the grid it was trained on.
    if family == Family::UpPerson {
        up_person::check_layers(&tensors, settings)?;
    }
    let vision = clip::read_vision(&mut tensors, grid, family == Family::Clip, extras)?;
    let text = clip::read_text(&mut tensors, vision.projection.ncols(), extras)?;
    let context_length = context_length(&text, settings)?;
    let keys = tensors.unread(is_training_only);
    if !keys.is_empty() {
        let count = keys.len();
        let keys = keys.into_iter().take(5).collect();
        return Err(ExportError::UnexpectedTensors { keys, count, family: family.to_string() });
    }
    Ok(Model { family, grid, top_k, context_length, vision, text })
}

/// A flag wins over the run's settings, but that is rarely meant.
fn warn_of_contradictions(settings: &RunSettings, flags: &ModelFlags) {
    if let (Some(given), Some(trained)) = (flags.image_size_px, settings.image_size_px)
        && given != trained
    {
        tracing::warn!(?given, ?trained, "the image size is not the one that the run's settings state");
    }
    let numbers = [("stride", flags.stride, settings.stride), ("topk", flags.top_k, settings.topk)];
    for (name, given, trained) in numbers {
        if given.is_some() && trained.is_some() && given != trained {
            tracing::warn!(name, given, trained, "the flag is not what the run's settings state");
        }
    }
}

/// Whether a key belongs to what a method's training changes.
pub(crate) fn is_trained(family: Family, key: &str) -> bool {
    let contains = |marks: &[&str]| marks.iter().any(|mark| key.contains(mark));
    match family {
        Family::Clip => false,
        Family::DmAdapter => contains(&dm_adapter::TRAINED),
        Family::UpPerson => contains(&up_person::TRAINED) && !up_person::is_prefix_alias(key),
    }
}

fn is_training_only(key: &str) -> bool {
    NOT_IN_A_TOWER.contains(&key)
        || dm_adapter::TRAINING_ONLY.contains(&key)
        || up_person::TRAINING_ONLY.iter().any(|start| key.starts_with(start))
        || up_person::is_prefix_alias(key)
}

fn image_size(
    tensors: &Tensors<'_>,
    family: Family,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<(usize, usize), ExportError> {
    if let Some(size) = flags.image_size_px.or(settings.image_size_px) {
        return Ok(size);
    }
    if family != Family::Clip {
        return Ok(PUBLISHED_SIZE_PX);
    }
    let [positions, _] = tensors.shape("visual.positional_embedding", "[positions, width]")?;
    let (_, patch) = clip::vision_sizes(tensors)?;
    let Some(side) = square_side(positions) else {
        let reason = format!("{positions} position embeddings are of no square image; give --image-size HEIGHTxWIDTH");
        return Err(ExportError::Setting { name: "image-size".to_owned(), reason });
    };
    // CLIP's own patches do not overlap; a given stride changes the grid, not the image.
    let side_px = side * patch;
    Ok((side_px, side_px))
}

fn context_length(text: &TextTower, settings: &RunSettings) -> Result<usize, ExportError> {
    let positions = text.positional_embedding.nrows();
    match settings.context_length {
        Some(length) if length > positions || length < 2 => {
            let reason = format!("{length}; the checkpoint has position embeddings for 2 to {positions} tokens");
            Err(ExportError::Setting { name: "text_length".to_owned(), reason })
        }
        Some(length) => Ok(length),
        None if positions < 2 => {
            let reason = format!("{positions} position embeddings; a text has at least 2 tokens");
            Err(ExportError::Setting { name: "positional_embedding".to_owned(), reason })
        }
        None => Ok(positions),
    }
}

/// Sizes worth knowing, for the export's report and the manifest.
pub(crate) fn summarise(model: &Model, all: &BTreeMap<String, ArrayD<f32>>) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        summary.insert(name.to_owned(), value);
    };
    let parameters: usize =
        all.iter().filter(|(key, _)| !up_person::is_prefix_alias(key)).map(|(_, tensor)| tensor.len()).sum();
    let trained: usize =
        all.iter().filter(|(key, _)| is_trained(model.family, key)).map(|(_, tensor)| tensor.len()).sum();
    put("parameters", parameters.to_string());
    if model.family != Family::Clip {
        put("parameters trained by the method", trained.to_string());
    }
    let Grid { patch, stride, .. } = model.grid;
    let vision_width = model.vision.class_embedding.len();
    put(
        "vision tower",
        format!("{} blocks, width {vision_width}, patch {patch}, stride {stride}", model.vision.blocks.len()),
    );
    put("vision tokens", format!("1 + {} x {}", model.grid.rows(), model.grid.columns()));
    let (vocabulary, text_width) = model.text.token_embedding.dim();
    put("text tower", format!("{} blocks, width {text_width}, vocabulary {vocabulary}", model.text.blocks.len()));
    for (side, blocks) in [("vision", &model.vision.blocks), ("text", &model.text.blocks)] {
        if let Some(experts) = blocks.iter().find_map(|block| block.experts.as_ref()) {
            let text = format!("{}, top-{}, {} hidden units", experts.count(), experts.top_k, experts.hidden());
            put(&format!("{side} experts"), text);
        }
        let prefixed = blocks.iter().filter_map(|block| block.attention.prefix.as_ref());
        if let Some(length) = prefixed.clone().map(|prefix| prefix.keys.nrows()).next() {
            put(&format!("{side} prefix"), format!("length {length}, in {} blocks", prefixed.count()));
        }
        let adapted = blocks.iter().filter_map(|block| block.attention_adapter.as_ref());
        if let Some(hidden) = adapted.clone().map(|adapter| adapter.down.bias.len()).next() {
            put(&format!("{side} adapters"), format!("{hidden} hidden units, in {} blocks", adapted.count()));
        }
    }
    for (side, learner) in [("vision", "LORA_learner.lora_image."), ("text", "LORA_learner.lora_text.")] {
        let ranks = all.iter().filter(|(key, _)| key.starts_with(learner) && key.ends_with(".lora_A.0"));
        if let Some(rank) = ranks.clone().map(|(_, tensor)| tensor.shape()[0]).next() {
            put(&format!("{side} LoRA"), format!("rank {rank}, in {} blocks", ranks.count()));
        }
    }
    summary
}

/// Number of blocks of a tower in a state dict, for the evaluation of unmerged weights.
pub(crate) fn depth(all: &BTreeMap<String, ArrayD<f32>>, side: Side) -> usize {
    clip::depth(&Tensors::new(all), side)
}
