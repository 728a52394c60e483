//! A method's sizes as its tensors show them.

use super::benchmark::StepBenchmark;
use crate::{
    DeviceKind, DeviceSettings, DmAdapterSettings, InputSettings, LossSettings, MatchingLoss, OptimizerSettings,
    Recipe, UpPersonSettings,
};
use descry_evaluation::DatasetLayout;
use descry_export::RunSettings;
use descry_model::method::dm_adapter::BALANCING_WEIGHT;
use descry_model::method::{BlockKeys, Method, Side};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Named tensors.
type Tensors = BTreeMap<String, ArrayD<f32>>;

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
        device: DeviceSettings {
            // One thread feeds a GPU.
            threads: if benchmark.device == DeviceKind::Cpu { threads } else { 1 },
            kind: benchmark.device,
            index: benchmark.device_index,
            precision: benchmark.precision,
        },
        ..published
    }
}

fn dm_adapter(tensors: &Tensors, settings: &RunSettings, published: DmAdapterSettings) -> DmAdapterSettings {
    let block = Side::Vision.block(0);
    let experts = block.expert_count(|key| tensors.contains_key(key));
    let Some(reduction) = reduction(tensors, &block.expert(0)) else { return published };
    DmAdapterSettings {
        experts,
        top_k: settings.topk.unwrap_or(published.top_k.min(experts)),
        reduction,
        // A router without the prompt is stored with one of zeros.
        domain_prompt: tensors.get(&block.domain_prompt()).is_some_and(|prompt| prompt.iter().any(|&x| x != 0.0)),
    }
}

fn up_person(tensors: &Tensors, published: UpPersonSettings) -> UpPersonSettings {
    let is_there = |key: &str| tensors.contains_key(key);
    let adapters = Side::ALL.into_iter().filter_map(|side| {
        (0..)
            .map(|layer| side.block(layer))
            .take_while(|keys| is_there(&format!("{}.weight", keys.attention_norm())))
            .find(|keys| is_there(&keys.attention_adapter().scale))
    });
    let first_adapter = adapters.min_by_key(|keys| keys.layer);
    let adapter_reduction = first_adapter.and_then(|keys| reduction(tensors, &keys.attention_adapter().adapter));
    let first = Side::Vision.block(0);
    UpPersonSettings {
        rank: rows(tensors, &lora_key(first)).unwrap_or(published.rank),
        prefix_length: rows(tensors, &first.prefix().key_tokens).unwrap_or(published.prefix_length),
        reduction: adapter_reduction.unwrap_or(published.reduction),
        depth_lora: Some(depth(&|keys| is_there(&lora_key(keys)))),
        depth_prefix: Some(depth(&|keys| is_there(&keys.prefix().key_tokens))),
        depth_adapter: first_adapter.map(|keys| keys.layer),
        prefix_scale: published.prefix_scale,
    }
}

/// A tensor that every block with LoRA has.
fn lora_key(keys: BlockKeys) -> String {
    let [of_keys, _] = keys.lora();
    of_keys.a
}

/// How many first blocks of the deeper tower have a part.
fn depth(has_part: &dyn Fn(BlockKeys) -> bool) -> usize {
    let of_side = |side: Side| (0..).take_while(|&layer| has_part(side.block(layer))).count();
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
