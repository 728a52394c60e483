//! UP-Person (TCSVT 2025): S-Prefix, LoRA and L-Adapter in one, each on a range of layers.
//!
//! Which layers have which part shows in the keys themselves. LoRA and prefix stand in the first layers, adapters in the
//! last ones, so a gap is a loss and not a setting; the run's `depth_lora`, `depth_prefix` and `depth_adapter` are
//! compared where they are known.

use crate::ExportError;
use crate::checkpoint::RunSettings;
use crate::clip::{self, BlockPlace, Side};
use crate::family::BlockExtras;
use crate::tensors::Tensors;
use crate::tower::{Adapter, Block, Linear, Prefix};
use half::f16;
use ndarray::Array2;
use std::ops::Range;

/// Names the family's own tensors contain; they are what its training changes.
pub(crate) const TRAINED: [&str; 5] = ["LORA_learner.", "_prefix_learner.", ".adapter_ln_", ".scale_1", ".scale_2"];

/// Parts of the training losses that the published code may have saved beside the towers.
pub(crate) const TRAINING_ONLY: [&str; 9] = [
    "classifier.",
    "mlm_head.",
    "cross_attn.",
    "cross_modal_transformer.",
    "ln_pre_t.",
    "ln_pre_i.",
    "ln_post.",
    "logit_scale",
    "prompt_learner.",
];

/// Whether a key is the copy of a prefix that the published code registers a second time inside its attention.
pub(crate) fn is_prefix_alias(key: &str) -> bool {
    key.contains(".attn.prefix.")
}

/// Merges whichever of the three parts a block has.
pub(crate) struct UpPerson;

/// Checks that no layer's part is missing: the parts of a tower are contiguous and as many as the run's settings say.
///
/// # Errors
/// [`ExportError::MissingTensor`] naming a tensor of the first layer that lacks its part.
pub(crate) fn check_layers(tensors: &Tensors<'_>, settings: &RunSettings) -> Result<(), ExportError> {
    for side in [Side::Vision, Side::Text] {
        let depth = clip::depth(tensors, side);
        let (lora, prefix) = learner_keys(side);
        let lora_key = |layer: usize| format!("LORA_learner.{lora}.{layer}.lora_A.0");
        let prefix_key = |layer: usize| format!("{prefix}.{layer}.key.tokens");
        let adapter_key = |layer: usize| format!("{}.{layer}.scale_1", side.blocks_key());
        let first = |depth_of_part: Option<usize>| depth_of_part.map(|layers| 0..layers.min(depth));
        check_part(tensors, depth, first(settings.depth_lora), &lora_key)?;
        check_part(tensors, depth, first(settings.depth_prefix), &prefix_key)?;
        check_part(tensors, depth, settings.depth_adapter.map(|layer| layer.min(depth)..depth), &adapter_key)?;
    }
    Ok(())
}

/// `expected`: the layers that the run's settings give this part; without them, no gap between its layers is allowed.
fn check_part(
    tensors: &Tensors<'_>,
    depth: usize,
    expected: Option<Range<usize>>,
    key: &dyn Fn(usize) -> String,
) -> Result<(), ExportError> {
    let present: Vec<usize> = (0..depth).filter(|&layer| tensors.contains(&key(layer))).collect();
    let span = match (present.first(), present.last()) {
        (Some(&first), Some(&last)) => first..last + 1,
        _ => 0..0,
    };
    let expected = expected.filter(|_| !present.is_empty()).unwrap_or(span);
    match expected.clone().find(|layer| !present.contains(layer)) {
        Some(layer) => {
            let expected = format!("one for each layer from {} to {}", expected.start, expected.end.saturating_sub(1));
            Err(ExportError::MissingTensor { key: key(layer), expected })
        }
        None => Ok(()),
    }
}

impl BlockExtras for UpPerson {
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, place: BlockPlace) -> Result<(), ExportError> {
        let (lora_side, prefix_learner) = learner_keys(place.side);
        let lora = format!("LORA_learner.{lora_side}.{}", place.layer);
        if tensors.contains(&format!("{lora}.lora_A.0")) {
            add_lora(&mut block.attention.key, tensors, &lora, 0, place.width)?;
            add_lora(&mut block.attention.value, tensors, &lora, 1, place.width)?;
        }
        let prefix = format!("{prefix_learner}.{}", place.layer);
        if tensors.contains(&format!("{prefix}.key.tokens")) {
            block.attention.prefix = Some(read_prefix(tensors, &prefix, place.width)?);
        }
        let key = place.key();
        if ["scale_1", "scale_2", "adapter_ln_msa.down.weight", "adapter_ln_mlp.down.weight"]
            .iter()
            .any(|name| tensors.contains(&format!("{key}.{name}")))
        {
            block.attention_adapter = Some(read_adapter(tensors, &key, "adapter_ln_msa", "scale_1", place.width)?);
            block.mlp_adapter = Some(read_adapter(tensors, &key, "adapter_ln_mlp", "scale_2", place.width)?);
        }
        Ok(())
    }
}

fn learner_keys(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::Vision => ("lora_image", "vit_prefix_learner.vit_prefix"),
        Side::Text => ("lora_text", "text_prefix_learner.text_prefix"),
    }
}

/// Adds `scale · (B · A)` to a projection, rounded to float16 first as the published code does.
fn add_lora(
    projection: &mut Linear,
    tensors: &mut Tensors<'_>,
    key: &str,
    index: usize,
    width: usize,
) -> Result<(), ExportError> {
    let a_key = format!("{key}.lora_A.{index}");
    let [rank, _] = tensors.shape(&a_key, "[rank, width]")?;
    let a = tensors.matrix(&a_key, rank, width)?;
    let b = tensors.matrix(&format!("{key}.lora_B.{index}"), width, rank)?;
    let scale = tensors.scalar(&format!("{key}.scale.{index}.scale"))?;
    let change = (same_product_everywhere(&b, &a) * scale).mapv(round_to_half);
    // The projection is stored `[in, out]`, LoRA's product `[out, in]`.
    projection.weight += &change.t();
    Ok(())
}

/// `left · right`, every sum in the order of its terms and with one rounding a term.
///
/// A matrix library takes the best instructions that the processor has, which fuse multiplication and addition or don't.
/// Weights that are merged at the export are part of the fingerprint: they must not depend on the machine it runs on.
fn same_product_everywhere(left: &Array2<f32>, right: &Array2<f32>) -> Array2<f32> {
    let mut product = Array2::zeros((left.nrows(), right.ncols()));
    for (factors, mut sums) in left.outer_iter().zip(product.outer_iter_mut()) {
        for (&factor, terms) in factors.iter().zip(right.outer_iter()) {
            sums.zip_mut_with(&terms, |sum: &mut f32, &term| *sum = factor.mul_add(term, *sum));
        }
    }
    product
}

fn read_prefix(tensors: &mut Tensors<'_>, key: &str, width: usize) -> Result<Prefix, ExportError> {
    let tokens_key = format!("{key}.key.tokens");
    let [length, _] = tensors.shape(&tokens_key, "[length, width]")?;
    let mut scaled = |part: &str| -> Result<Array2<f32>, ExportError> {
        let tokens = tensors.matrix(&format!("{key}.{part}.tokens"), length, width)?;
        let scale = tensors.scalar(&format!("{key}.{part}.scaler.scale"))?;
        Ok((tokens * scale).mapv(round_to_half))
    };
    let keys = scaled("key")?;
    let values = scaled("val")?;
    // The published code multiplies the prefix' probabilities after the softmax; the values take it as well.
    let scale_to_grad = tensors.scalar(&format!("{key}.scale_to_grad"))?;
    Ok(Prefix { keys, values: values * scale_to_grad })
}

fn read_adapter(
    tensors: &mut Tensors<'_>,
    block_key: &str,
    name: &str,
    scale_name: &str,
    width: usize,
) -> Result<Adapter, ExportError> {
    let key = format!("{block_key}.{name}");
    let [hidden, _] = tensors.shape(&format!("{key}.down.weight"), "[hidden, width]")?;
    let scale = tensors.scalar(&format!("{block_key}.{scale_name}"))?;
    let down = tensors.linear(&format!("{key}.down"), width, hidden)?;
    let up = tensors.linear(&format!("{key}.up"), hidden, width)?;
    Ok(Adapter { down, up: Linear { weight: up.weight * scale, bias: up.bias * scale } })
}

/// The published code keeps prefixes and LoRA products in float16.
pub(crate) fn round_to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn products_are_rounded_once_a_term_on_every_processor() {
        // The square of the second factor needs one bit more than a float32 has; rounded by itself it would cancel out.
        let (factor, square) = (1.0 + 2.0_f32.powi(-12), 1.0 + 2.0_f32.powi(-11));
        let product = same_product_everywhere(&array![[-1.0, factor]], &array![[square], [factor]]);
        assert_eq!(product, array![[2.0_f32.powi(-24)]]);
    }
}
