//! From a base checkpoint and a recipe to a model: which tensors there are, and which of them are trained.

mod positions;
mod shapes;

use crate::initialization::{Initializer, new_clip};
use crate::model::{Model, ModelSettings};
use crate::operation::Arithmetic;
use crate::parameters::Parameters;
use crate::run::ModelShape;
use crate::tower::TextBalance;
use crate::{DeviceKind, DeviceSettings, Recipe, TrainError, TrainingPrecision};
use candle_core::{DType, Device};
use descry_export::RunSettings;
use descry_model::method::clip::{PATCH_KERNEL, TEXT_POSITIONS, TOKEN_EMBEDDING, is_of_a_tower};
use descry_model::method::dm_adapter::is_of_the_domain_prompt;
use descry_model::method::up_person::{is_of_a_learner, is_prefix_alias};
use descry_model::method::{BlockKeys, MODEL_PREFIX, Method, Side};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// A model at the start of a run.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) model: Model,
    pub(crate) shape: ModelShape,
    /// For people: what computes.
    pub(crate) device: String,
}

/// Builds the model of a recipe.
///
/// - `base`: tensors of a plain CLIP under OpenAI's names, or of an earlier run of the same method; `None` for a CLIP
///   that starts from nothing
/// - `settings`: what is known of the base's own run
/// - `vocabulary_size`: ids of the tokenizer
///
/// # Errors
/// [`TrainError::Tensor`], [`TrainError::Setting`], [`TrainError::Checkpoint`] where base and recipe do not fit,
/// [`TrainError::Device`] where the device is not there.
pub(crate) fn assemble(
    recipe: &Recipe,
    base: Option<BTreeMap<String, ArrayD<f32>>>,
    settings: &RunSettings,
    vocabulary_size: usize,
) -> Result<Assembled, TrainError> {
    let (device, name) = open_device(&recipe.device)?;
    let mut tensors = match base {
        Some(tensors) => tensors,
        None => new_clip(recipe, vocabulary_size),
    };
    // Everything else of a checkpoint is left out.
    tensors.retain(|key, _| (is_of_a_tower(key) || is_of_a_learner(key)) && !is_prefix_alias(key));
    let shape = measure(recipe, &tensors)?;
    positions::fit(recipe, &shape, settings, &mut tensors)?;
    shapes::check(&shape, &tensors)?;
    let added = match recipe.method {
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => BTreeMap::new(),
        Method::DmAdapter => Initializer::new(recipe).dm_adapter(&tensors, &layers(&shape))?,
        Method::UpPerson => Initializer::new(recipe).up_person(&tensors, &layers(&shape))?,
    };
    if let Some(key) = tensors.keys().find(|key| is_added(key) && !added.contains_key(*key)) {
        let reason =
            format!("it does not belong to {} with these settings; give a plain CLIP as the base", recipe.method);
        return Err(TrainError::Tensor { key: key.clone(), reason });
    }
    let mut parameters = Parameters::new(device);
    for (name, values) in &tensors {
        if recipe.method == Method::Clip {
            parameters.add_trained(name.clone(), values)?;
        } else if !added.contains_key(name) {
            parameters.add_frozen(name.clone(), values)?;
        }
    }
    for (name, values) in added {
        let values = match tensors.remove(&name) {
            // Switched off is off, whatever an earlier run had there; and prompt and gate of zeros would stay zeros, because
            // the gradient of each is a multiple of the other.
            Some(earlier)
                if is_of_the_domain_prompt(&name) && (is_fixed(recipe, &name) || is_switched_off(&earlier)) =>
            {
                values
            }
            Some(earlier) if earlier.shape() == values.shape() => earlier,
            Some(earlier) => {
                let reason = format!("it is {:?}, the settings make it {:?}", earlier.shape(), values.shape());
                return Err(TrainError::Tensor { key: name, reason });
            }
            None => values,
        };
        if is_fixed(recipe, &name) {
            parameters.add_frozen(name, &values)?;
        } else {
            parameters.add_trained(name, &values)?;
        }
    }
    if parameters.trained().is_empty() {
        let reason = "all parts of the method are switched off, so there is nothing to train".to_owned();
        return Err(TrainError::Setting { name: recipe.method.to_string().replace('-', "_"), reason });
    }
    let settings = ModelSettings {
        arithmetic: arithmetic(&recipe.device),
        stride_px: shape.stride_px,
        top_k: recipe.dm_adapter.top_k,
        balance: balance(recipe),
    };
    Ok(Assembled { model: Model::new(parameters, settings)?, shape, device: name })
}

/// Tensors under the names that the published code saves.
pub(crate) fn published_names(method: Method, tensors: BTreeMap<String, ArrayD<f32>>) -> BTreeMap<String, ArrayD<f32>> {
    if method == Method::Clip {
        return tensors;
    }
    let blocks = blocks(&tensors);
    let mut named = BTreeMap::new();
    for (name, values) in tensors {
        // The published modules hold a prefix twice: in the learner, and attached to the attention that it precedes.
        for keys in &blocks {
            if let Some(rest) = name.strip_prefix(&keys.prefix_module()).and_then(|rest| rest.strip_prefix('.')) {
                named.insert(format!("{MODEL_PREFIX}{}", keys.prefix_alias(rest)), values.clone());
            }
        }
        let wrapper = if is_of_a_learner(&name) { "" } else { MODEL_PREFIX };
        named.insert(format!("{wrapper}{name}"), values);
    }
    named
}

/// The blocks that a model has.
fn blocks(tensors: &BTreeMap<String, ArrayD<f32>>) -> Vec<BlockKeys> {
    let of_side = |side: Side| {
        let blocks = (0..).map(move |layer| side.block(layer));
        blocks.take_while(|keys| tensors.contains_key(&format!("{}.weight", keys.attention_norm())))
    };
    Side::ALL.into_iter().flat_map(of_side).collect()
}

/// Whether a tensor was added to CLIP by one of the methods.
fn is_added(key: &str) -> bool {
    Method::ALL.iter().any(|method| method.adds(key))
}

/// Whether an added tensor only stands for a part that is switched off: a router without domain prompt is the published
/// one with a share of 0 for the prompt, so that every reader of the published format takes it.
fn is_fixed(recipe: &Recipe, name: &str) -> bool {
    !recipe.dm_adapter.domain_prompt && is_of_the_domain_prompt(name)
}

fn is_switched_off(values: &ArrayD<f32>) -> bool {
    values.iter().all(|&value| value == 0.0)
}

fn layers(shape: &ModelShape) -> [(Side, usize); 2] {
    [(Side::Vision, shape.vision_layers), (Side::Text, shape.text_layers)]
}

fn measure(recipe: &Recipe, tensors: &BTreeMap<String, ArrayD<f32>>) -> Result<ModelShape, TrainError> {
    let sizes = |key: &str| {
        let missing = || TrainError::Tensor { key: key.to_owned(), reason: "it is missing".to_owned() };
        tensors.get(key).map(ArrayD::shape).ok_or_else(missing)
    };
    let blocks = blocks(tensors);
    let depth = |side: Side| blocks.iter().filter(|keys| keys.side == side).count();
    let patches = sizes(PATCH_KERNEL)?;
    let &[vision_width, 3, patch_px, width] = patches else {
        let reason = format!("it is {patches:?}, expected [width, 3, patch, patch]");
        return Err(TrainError::Tensor { key: PATCH_KERNEL.to_owned(), reason });
    };
    let context = sizes(TEXT_POSITIONS)?.first().copied().unwrap_or_default();
    if patch_px != width {
        let reason = format!("its patches are {patch_px}x{width} pixels, expected squares");
        return Err(TrainError::Tensor { key: PATCH_KERNEL.to_owned(), reason });
    }
    if recipe.input.context_length > context {
        let reason = format!("{} is over the base's context of {context}", recipe.input.context_length);
        return Err(TrainError::Setting { name: "input.context_length".to_owned(), reason });
    }
    Ok(ModelShape {
        vision_width,
        vision_layers: depth(Side::Vision),
        text_layers: depth(Side::Text),
        vocabulary_size: sizes(TOKEN_EMBEDDING)?.first().copied().unwrap_or_default(),
        patch_px,
        stride_px: recipe.input.stride_px.unwrap_or(patch_px),
    })
}

fn balance(recipe: &Recipe) -> TextBalance {
    let has_loss = recipe.method == Method::DmAdapter && recipe.loss.balancing_weight > 0.0;
    match (has_loss, recipe.loss.balance_padding) {
        (false, _) => TextBalance::None,
        (true, true) => TextBalance::Context,
        (true, false) => TextBalance::Caption,
    }
}

fn arithmetic(settings: &DeviceSettings) -> Arithmetic {
    match (settings.kind, settings.precision) {
        (DeviceKind::Cpu, _) => Arithmetic::Fused,
        (DeviceKind::Cuda, TrainingPrecision::Float32) => Arithmetic::Composed { products: DType::F32 },
        (DeviceKind::Cuda, TrainingPrecision::Bfloat16) => Arithmetic::Composed { products: DType::BF16 },
    }
}

fn open_device(settings: &DeviceSettings) -> Result<(Device, String), TrainError> {
    match settings.kind {
        DeviceKind::Cpu => Ok((Device::Cpu, "cpu".to_owned())),
        DeviceKind::Cuda => {
            let name = format!("cuda:{}", settings.index);
            let reason = |error: candle_core::Error| {
                if cfg!(feature = "cuda") {
                    error.to_string()
                } else {
                    "this program was built without it; build with --features cuda".to_owned()
                }
            };
            let device = Device::new_cuda(settings.index)
                .map_err(|error| TrainError::Device { name: name.clone(), reason: reason(error) })?;
            Ok((device, name))
        }
    }
}
