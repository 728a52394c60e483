//! Which published method a checkpoint belongs to, and its towers with that method merged in.

use crate::ExportError;
use crate::activation::BlockFacts;
use crate::checkpoint::{PixelSettings, RunSettings};
use crate::clip::{self, BlockExtras, PlainClip};
use crate::decisions::{Decisions, decide};
use crate::dm_adapter::DmAdapter;
use crate::geometry::Grid;
use crate::rde;
use crate::request::ModelFlags;
use crate::tensors::Tensors;
use crate::tower::{TextTower, VisionTower};
use crate::up_person::{self, UpPerson};
use crate::weights::PositionSource;
use descry_model::method::clip::{PATCH_KERNEL, RESNET_KERNEL, TEXT_POSITIONS};
use descry_model::method::{self, Method, Side};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Both towers, ready to be written, and the settings that were decided on.
pub(crate) struct Model {
    pub(crate) method: Method,
    pub(crate) grid: Grid,
    pub(crate) top_k: usize,
    pub(crate) context_length: usize,
    /// Share of the tokens that RDE selects; others select none.
    pub(crate) select_ratio: f64,
    pub(crate) vision_facts: BlockFacts,
    pub(crate) text_facts: BlockFacts,
    pub(crate) pixels: PixelSettings,
    pub(crate) vision: VisionTower,
    pub(crate) text: TextTower,
    /// Settings that no tensor says, and where each was taken from.
    pub(crate) origins: Vec<(&'static str, String)>,
}

/// Finds the method by the keys that only it has.
///
/// - `saved_by`: what the file's names told before they became those of OpenAI's CLIP
pub(crate) fn detect(tensors: &BTreeMap<String, ArrayD<f32>>, saved_by: Option<Method>) -> Result<Method, ExportError> {
    let any = |is_its: fn(&str) -> bool| tensors.keys().any(|key| is_its(key));
    let unknown = |reason: &str| Err(ExportError::UnknownMethod { reason: reason.to_owned() });
    let is_rde = any(method::rde::is_added);
    match (any(method::dm_adapter::is_of_an_expert), any(method::up_person::is_added)) {
        (true, true) => unknown("it has experts of DM-Adapter and parts of UP-Person at once"),
        (true, false) | (false, true) if is_rde => {
            unknown("it has RDE's selection of tokens and parts of another method at once")
        }
        (true, false) => Ok(Method::DmAdapter),
        (false, true) => Ok(Method::UpPerson),
        (false, false) if is_rde => Ok(Method::Rde),
        (false, false) if tensors.contains_key(PATCH_KERNEL) => {
            let is_irra = any(method::irra::is_training_only);
            Ok(saved_by.unwrap_or(if is_irra { Method::Irra } else { Method::Clip }))
        }
        (false, false) if tensors.contains_key(RESNET_KERNEL) => {
            unknown("its vision tower is a ResNet; only vision transformers are supported")
        }
        (false, false) => unknown(&format!("it has no `{PATCH_KERNEL}`, but {}", some_keys(tensors))),
    }
}

/// A few names spread over the whole, for people to see what kind of file it is.
fn some_keys(tensors: &BTreeMap<String, ArrayD<f32>>) -> String {
    const SHOWN: usize = 5;
    const LONGEST: usize = 80;
    let step = tensors.len().div_ceil(SHOWN).max(1);
    let shown: Vec<String> = tensors.keys().step_by(step).map(|key| format!("`{key:.LONGEST$}`")).collect();
    format!("{} others, such as {}", tensors.len(), shown.join(", "))
}

/// Merges a checkpoint's tensors into towers.
///
/// - `source`: where the vision tower's position embeddings are from
///
/// # Errors
/// [`ExportError`] naming the missing, unknown or misshapen tensor, or the setting that does not fit.
pub(crate) fn read_model(
    all: &BTreeMap<String, ArrayD<f32>>,
    settings: &RunSettings,
    flags: &ModelFlags,
    source: &PositionSource,
) -> Result<Model, ExportError> {
    let method = detect(all, settings.saved_by)?;
    let mut tensors = Tensors::new(all);
    if !tensors.contains(PATCH_KERNEL) {
        let expected = "CLIP's weights; give them with --base if this checkpoint holds the trained part only";
        return Err(ExportError::MissingTensor { key: PATCH_KERNEL.to_owned(), expected: expected.to_owned() });
    }
    let Decisions { grid, top_k, may_resize, vision_facts, text_facts, pixels, mut origins } =
        decide(&tensors, method, settings, flags, source)?;
    let dm_adapter = DmAdapter { top_k };
    let extras: &dyn BlockExtras = match method {
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => &PlainClip,
        Method::DmAdapter => &dm_adapter,
        Method::UpPerson => &UpPerson,
    };
    if method == Method::UpPerson {
        up_person::check_layers(&tensors, settings)?;
    }
    let mut vision = clip::read_vision(&mut tensors, grid, may_resize, vision_facts, extras)?;
    let mut text = clip::read_text(&mut tensors, vision.projection.ncols(), text_facts, extras)?;
    let context_length = context_length(&text, settings)?;
    let its_origin =
        if settings.context_length.is_some() { "the settings" } else { "the text tower's position embeddings" };
    origins.push(("context length taken from", its_origin.to_owned()));
    let (select_ratio, ratio_origin) = rde::decide_ratio(settings);
    if method == Method::Rde {
        let dimension = vision.projection.ncols();
        let (patches, words) = (grid.positions() - 1, context_length - 2);
        let mut read =
            |side, tokens| rde::read_selection(&mut tensors, side, dimension, rde::selected(tokens, select_ratio));
        vision.selection = Some(read(Side::Vision, patches)?);
        text.selection = Some(read(Side::Text, words)?);
        if vision.dimension() != text.dimension() {
            let found = vec![text.dimension() - dimension];
            let expected = format!("as many as the vision tower's, {}", vision.dimension() - dimension);
            return Err(ExportError::WrongShape { key: method::rde::direct(Side::Text), found, expected });
        }
        origins.push(("share of selected tokens", ratio_origin));
    }
    let keys = tensors.unread(|key| method.leaves_out(key));
    if !keys.is_empty() {
        let count = keys.len();
        let keys = keys.into_iter().take(5).collect();
        return Err(ExportError::UnexpectedTensors { keys, count, method: method.to_string() });
    }
    Ok(Model {
        method,
        grid,
        top_k,
        context_length,
        select_ratio,
        vision_facts,
        text_facts,
        pixels,
        vision,
        text,
        origins,
    })
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
            Err(ExportError::Setting { name: TEXT_POSITIONS.to_owned(), reason })
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
    let count = |is_meant: &dyn Fn(&str) -> bool| -> usize {
        all.iter().filter(|(key, _)| is_meant(key)).map(|(_, tensor)| tensor.len()).sum()
    };
    put("parameters", count(&|key| !model.method.leaves_out(key)).to_string());
    let added = count(&|key| model.method.adds(key) && !model.method.leaves_out(key)).to_string();
    match model.method {
        Method::Clip | Method::Irra | Method::TbpsClip => {}
        Method::DmAdapter | Method::UpPerson => put("parameters trained by the method", added),
        // It trains CLIP's as well.
        Method::Rde => put("parameters added by the method", added),
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
    let selections = [(Side::Vision, &model.vision.selection), (Side::Text, &model.text.selection)];
    for (side, selection) in selections {
        if let Some(selection) = selection {
            let text = format!("{} at most, {} values", selection.count, selection.direct.bias.len());
            put(&format!("{} tokens selected", side.name()), text);
        }
    }
    for (side, blocks) in [(Side::Vision, &model.vision.blocks), (Side::Text, &model.text.blocks)] {
        let side_name = side.name();
        if let Some(experts) = blocks.iter().find_map(|block| block.experts.as_ref()) {
            let text = format!("{}, top-{}, {} hidden units", experts.count(), experts.top_k, experts.hidden());
            put(&format!("{side_name} experts"), text);
        }
        let prefixed = blocks.iter().filter_map(|block| block.attention.prefix.as_ref());
        if let Some(length) = prefixed.clone().map(|prefix| prefix.keys.nrows()).next() {
            put(&format!("{side_name} prefix"), format!("length {length}, in {} blocks", prefixed.count()));
        }
        let adapted = blocks.iter().filter_map(|block| block.attention_adapter.as_ref());
        if let Some(hidden) = adapted.clone().map(|adapter| adapter.down.bias.len()).next() {
            put(&format!("{side_name} adapters"), format!("{hidden} hidden units, in {} blocks", adapted.count()));
        }
        let ranks = (0..blocks.len()).filter_map(|layer| {
            let [of_keys, _] = side.block(layer).lora();
            all.get(&of_keys.a)?.shape().first().copied()
        });
        if let Some(rank) = ranks.clone().next() {
            put(&format!("{side_name} LoRA"), format!("rank {rank}, in {} blocks", ranks.count()));
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A method by its own names, else by what the file's names told, else by the heads beside the towers.
    #[test]
    fn what_only_one_method_has_tells_it() {
        let of = |keys: &[&str], saved_by| {
            let keys = keys.iter().chain(&[PATCH_KERNEL]);
            detect(&keys.map(|key| ((*key).to_owned(), ArrayD::zeros(vec![1]))).collect(), saved_by).unwrap()
        };
        assert_eq!(of(&[], None), Method::Clip);
        assert_eq!(of(&["classifier.weight"], None), Method::Irra);
        assert_eq!(of(&["visual.ln_post.weight"], None), Method::Clip);
        assert_eq!(of(&[], Some(Method::Irra)), Method::Irra);
        assert_eq!(of(&["classifier.weight"], Some(Method::TbpsClip)), Method::TbpsClip);
        // What was built on IRRA's code has its names, too.
        for (key, method) in [
            ("visul_emb_layer.fc.weight", Method::Rde),
            ("visual.transformer.resblocks.0.feed_forward.experts.0.down.weight", Method::DmAdapter),
            ("LORA_learner.lora_image.0.lora_A.0", Method::UpPerson),
        ] {
            assert_eq!(of(&["mlm_head.fc.weight", key], Some(Method::Irra)), method, "{key}");
        }
    }
}
