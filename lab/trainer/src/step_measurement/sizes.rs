//! A method's sizes as its tensors show them.

use super::StepBenchmark;
use crate::tower::Side;
use crate::{
    DeviceSettings, DmAdapterSettings, InputSettings, LossSettings, MatchingLoss, Method, OptimizerSettings, Recipe,
    UpPersonSettings,
};
use descry_evaluation::DatasetLayout;
use descry_export::RunSettings;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Named tensors.
type Tensors = BTreeMap<String, ArrayD<f32>>;

/// DM-Adapter's weight of its load-balancing loss.
const BALANCING_WEIGHT: f64 = 0.5;

/// The recipe of a benchmark: sizes from the tensors, image size, stride and chosen experts from the run's settings,
/// everything else as published.
pub(super) fn recipe(benchmark: &StepBenchmark, method: Method, tensors: &Tensors, settings: &RunSettings) -> Recipe {
    let published = Recipe::published(method, DatasetLayout::CuhkPedes);
    let published_size_px = (published.input.height_px, published.input.width_px);
    let (height_px, width_px) = settings.image_size_px.unwrap_or(published_size_px);
    let threads = match benchmark.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Recipe {
        batch_size: benchmark.pairs,
        micro_batch_size: benchmark.micro_batch_size,
        input: InputSettings { height_px, width_px, stride_px: settings.stride, context_length: benchmark.tokens },
        // A low rate: after any number of steps, random weights are about what they were.
        optimizer: OptimizerSettings {
            learning_rate: 1e-4,
            bias_learning_rate_factor: 1.0,
            weight_decay: 0.0,
            weight_decay_bias: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-3,
            gradient_clip_norm: None,
        },
        loss: LossSettings {
            matching: MatchingLoss::Sdm,
            temperature: 0.02,
            balancing_weight: if benchmark.balancing_loss { BALANCING_WEIGHT } else { 0.0 },
            balance_padding: true,
        },
        dm_adapter: dm_adapter(tensors, settings, published.dm_adapter),
        up_person: up_person(tensors, published.up_person),
        device: DeviceSettings { threads, ..published.device },
        ..published
    }
}

fn dm_adapter(tensors: &Tensors, settings: &RunSettings, published: DmAdapterSettings) -> DmAdapterSettings {
    let block = Side::Vision.block(0);
    let adapter = |expert: usize| format!("{block}.feed_forward.experts.{expert}");
    let experts = (0..).take_while(|&expert| tensors.contains_key(&format!("{}.down.weight", adapter(expert)))).count();
    let Some(reduction) = reduction(tensors, &adapter(0)) else { return published };
    DmAdapterSettings {
        experts,
        top_k: settings.topk.unwrap_or(published.top_k.min(experts)),
        reduction,
        // A router without the prompt is stored with one of zeros.
        domain_prompt: tensors
            .get(&format!("{block}.task_param"))
            .is_some_and(|prompt| prompt.iter().any(|&x| x != 0.0)),
    }
}

fn up_person(tensors: &Tensors, published: UpPersonSettings) -> UpPersonSettings {
    let has_lora = |side: Side, layer: usize| tensors.contains_key(&format!("{}.lora_A.0", side.lora(layer)));
    let has_prefix = |side: Side, layer: usize| tensors.contains_key(&format!("{}.key.tokens", side.prefix(layer)));
    let has_adapter = |side: Side, layer: usize| tensors.contains_key(&format!("{}.scale_1", side.block(layer)));
    let is_block = |side: Side, layer: usize| tensors.contains_key(&format!("{}.ln_1.weight", side.block(layer)));
    let adapters = Side::ALL.into_iter().filter_map(|side| {
        (0..)
            .take_while(|&layer| is_block(side, layer))
            .find(|&layer| has_adapter(side, layer))
            .map(|layer| (side, layer))
    });
    let first_adapter = adapters.min_by_key(|&(_, layer)| layer);
    let adapter_reduction =
        first_adapter.and_then(|(side, layer)| reduction(tensors, &format!("{}.adapter_ln_msa", side.block(layer))));
    UpPersonSettings {
        rank: rows(tensors, &format!("{}.lora_A.0", Side::Vision.lora(0))).unwrap_or(published.rank),
        prefix_length: rows(tensors, &format!("{}.key.tokens", Side::Vision.prefix(0)))
            .unwrap_or(published.prefix_length),
        reduction: adapter_reduction.unwrap_or(published.reduction),
        depth_lora: Some(depth(&has_lora)),
        depth_prefix: Some(depth(&has_prefix)),
        depth_adapter: first_adapter.map(|(_, layer)| layer),
        prefix_scale: published.prefix_scale,
    }
}

/// How many first blocks of the deeper tower have a part.
fn depth(has_part: &dyn Fn(Side, usize) -> bool) -> usize {
    let of_side = |side: Side| (0..).take_while(|&layer| has_part(side, layer)).count();
    Side::ALL.into_iter().map(of_side).max().unwrap_or_default()
}

/// Tower width over the hidden width of an adapter.
fn reduction(tensors: &Tensors, adapter: &str) -> Option<usize> {
    match *tensors.get(&format!("{adapter}.down.weight"))?.shape() {
        [units, width] if units > 0 => Some(width / units),
        _ => None,
    }
}

fn rows(tensors: &Tensors, key: &str) -> Option<usize> {
    tensors.get(key)?.shape().first().copied()
}
