//! From a base checkpoint and a recipe to a model: which tensors there are, and which of them are trained.

mod positions;
mod shapes;

use crate::initialization::{Initializer, new_clip};
use crate::model::{Model, ModelSettings};
use crate::operation::Arithmetic;
use crate::parameters::Parameters;
use crate::run::ModelShape;
use crate::tower::{Side, TextBalance};
use crate::{DeviceKind, DeviceSettings, Method, Recipe, TrainError, TrainingPrecision};
use candle_core::{DType, Device};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// What the names of the towers' tensors start with; everything else of a checkpoint is left out.
const TOWERS: [&str; 6] =
    ["visual.", "transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection"];
/// UP-Person's parts that do not belong to the wrapped CLIP.
const LEARNERS: [&str; 3] = ["LORA_learner.", "vit_prefix_learner.", "text_prefix_learner."];

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
/// - `vocabulary_size`: ids of the tokenizer
///
/// # Errors
/// [`TrainError::Tensor`], [`TrainError::Setting`], [`TrainError::Checkpoint`] where base and recipe do not fit,
/// [`TrainError::Device`] where the device is not there.
pub(crate) fn assemble(
    recipe: &Recipe,
    base: Option<BTreeMap<String, ArrayD<f32>>>,
    vocabulary_size: usize,
) -> Result<Assembled, TrainError> {
    let (device, name) = open_device(&recipe.device)?;
    let mut tensors = match base {
        Some(tensors) => tensors,
        None => new_clip(recipe, vocabulary_size),
    };
    tensors.retain(|key, _| {
        TOWERS.iter().chain(&LEARNERS).any(|start| key.starts_with(start)) && !key.contains(".attn.prefix.")
    });
    let shape = measure(recipe, &tensors)?;
    positions::fit(recipe, &shape, &mut tensors)?;
    shapes::check(&shape, &tensors)?;
    let added = match recipe.method {
        Method::Clip => BTreeMap::new(),
        Method::DmAdapter => Initializer::new(recipe).dm_adapter(&tensors, &layers(&shape))?,
        Method::UpPerson => Initializer::new(recipe).up_person(&tensors, &layers(&shape))?,
    };
    if let Some(key) = tensors.keys().find(|key| is_method_part(key) && !added.contains_key(*key)) {
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
            Some(earlier) if is_of_prompt(&name) && (is_fixed(recipe, &name) || is_switched_off(&earlier)) => values,
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
    let mut named = BTreeMap::new();
    for (name, values) in tensors {
        // The published modules hold a prefix twice: in the learner, and attached to the attention that it precedes.
        for side in Side::ALL {
            let start = side.prefix(0);
            let start = start.trim_end_matches('0');
            if let Some((layer, rest)) = name.strip_prefix(start).and_then(|rest| rest.split_once('.'))
                && let Ok(layer) = layer.parse()
            {
                named.insert(format!("base_model.{}.attn.prefix.{rest}", side.block(layer)), values.clone());
            }
        }
        let is_learner = LEARNERS.iter().any(|start| name.starts_with(start));
        named.insert(if is_learner { name } else { format!("base_model.{name}") }, values);
    }
    named
}

/// Whether an added tensor only stands for a part that is switched off: a router without domain prompt is the published
/// one with a share of 0 for the prompt, so that every reader of the published format takes it.
fn is_fixed(recipe: &Recipe, name: &str) -> bool {
    !recipe.dm_adapter.domain_prompt && is_of_prompt(name)
}

fn is_of_prompt(name: &str) -> bool {
    [".task_param", ".task_gate.weight", ".feed_forward.alpha"].iter().any(|end| name.ends_with(end))
}

fn is_switched_off(values: &ArrayD<f32>) -> bool {
    values.iter().all(|&value| value == 0.0)
}

/// Whether a tensor was added to CLIP by one of the methods.
fn is_method_part(key: &str) -> bool {
    LEARNERS.iter().any(|start| key.starts_with(start))
        || [".feed_forward.", ".ln_3.", ".task_param", ".adapter_ln_", ".scale_1", ".scale_2"]
            .iter()
            .any(|part| key.contains(part))
}

fn layers(shape: &ModelShape) -> [(Side, usize); 2] {
    [(Side::Vision, shape.vision_layers), (Side::Text, shape.text_layers)]
}

fn measure(recipe: &Recipe, tensors: &BTreeMap<String, ArrayD<f32>>) -> Result<ModelShape, TrainError> {
    let sizes = |key: &str| {
        let missing = || TrainError::Tensor { key: key.to_owned(), reason: "it is missing".to_owned() };
        tensors.get(key).map(ArrayD::shape).ok_or_else(missing)
    };
    let depth =
        |side: Side| (0..).take_while(|&layer| sizes(&format!("{}.ln_1.weight", side.block(layer))).is_ok()).count();
    let patches = sizes("visual.conv1.weight")?;
    let &[vision_width, 3, patch_px, width] = patches else {
        let reason = format!("it is {patches:?}, expected [width, 3, patch, patch]");
        return Err(TrainError::Tensor { key: "visual.conv1.weight".to_owned(), reason });
    };
    let context = sizes("positional_embedding")?.first().copied().unwrap_or_default();
    if patch_px != width {
        let reason = format!("its patches are {patch_px}x{width} pixels, expected squares");
        return Err(TrainError::Tensor { key: "visual.conv1.weight".to_owned(), reason });
    }
    if recipe.input.context_length > context {
        let reason = format!("{} is over the base's context of {context}", recipe.input.context_length);
        return Err(TrainError::Setting { name: "input.context_length".to_owned(), reason });
    }
    Ok(ModelShape {
        vision_width,
        vision_layers: depth(Side::Vision),
        text_layers: depth(Side::Text),
        vocabulary_size: sizes("token_embedding.weight")?.first().copied().unwrap_or_default(),
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
