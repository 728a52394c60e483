//! UP-Person's three parts merged into the blocks: LoRA into keys' and values' weights, prefix and adapters with their
//! factors (`descry_model::method::up_person`).
//!
//! Which layers have which part shows in the keys themselves. LoRA and prefix stand in the first layers, adapters in the
//! last ones, so a gap is a loss and not a setting; the run's `depth_lora`, `depth_prefix` and `depth_adapter` are
//! compared where they are known.

use crate::ExportError;
use crate::checkpoint::RunSettings;
use crate::clip::{self, BlockExtras, BlockSource};
use crate::tensors::Tensors;
use crate::tower::{Adapter, Block, Linear, Prefix};
use descry_model::method::Side;
use descry_model::method::up_person::{AdapterKeys, LoraKeys, PrefixKeys};
use half::f16;
use ndarray::Array2;
use std::ops::Range;

/// Merges whichever of the three parts a block has.
pub(crate) struct UpPerson;

/// Checks that no layer's part is missing: the parts of a tower are contiguous and as many as the run's settings say.
///
/// # Errors
/// [`ExportError::MissingTensor`] naming a tensor of the first layer that lacks its part.
pub(crate) fn check_layers(tensors: &Tensors<'_>, settings: &RunSettings) -> Result<(), ExportError> {
    for side in Side::ALL {
        let depth = clip::depth(tensors, side);
        let lora_key = |layer: usize| {
            let [of_keys, _] = side.block(layer).lora();
            of_keys.a
        };
        let prefix_key = |layer: usize| side.block(layer).prefix().key_tokens;
        let adapter_key = |layer: usize| side.block(layer).attention_adapter().scale;
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
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, source: BlockSource) -> Result<(), ExportError> {
        let BlockSource { keys, width, .. } = source;
        let [of_keys, of_values] = keys.lora();
        if tensors.contains(&of_keys.a) {
            add_lora(&mut block.attention.key, tensors, &of_keys, width)?;
            add_lora(&mut block.attention.value, tensors, &of_values, width)?;
        }
        let prefix = keys.prefix();
        if tensors.contains(&prefix.key_tokens) {
            block.attention.prefix = Some(read_prefix(tensors, &prefix, width)?);
        }
        let adapters = [keys.attention_adapter(), keys.mlp_adapter()];
        let is_there = |AdapterKeys { adapter, scale }: &AdapterKeys| {
            tensors.contains(scale) || tensors.contains(&format!("{adapter}.down.weight"))
        };
        if adapters.iter().any(is_there) {
            let [beside_attention, beside_mlp] = adapters;
            block.attention_adapter = Some(read_adapter(tensors, &beside_attention, width)?);
            block.mlp_adapter = Some(read_adapter(tensors, &beside_mlp, width)?);
        }
        Ok(())
    }
}

/// Adds `scale · (B · A)` to a projection, rounded to float16 first as the published code does.
fn add_lora(
    projection: &mut Linear,
    tensors: &mut Tensors<'_>,
    keys: &LoraKeys,
    width: usize,
) -> Result<(), ExportError> {
    let [rank, _] = tensors.shape(&keys.a, "[rank, width]")?;
    let a = tensors.matrix(&keys.a, rank, width)?;
    let b = tensors.matrix(&keys.b, width, rank)?;
    let scale = tensors.scalar(&keys.scale)?;
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

fn read_prefix(tensors: &mut Tensors<'_>, keys: &PrefixKeys, width: usize) -> Result<Prefix, ExportError> {
    let [length, _] = tensors.shape(&keys.key_tokens, "[length, width]")?;
    let mut scaled = |tokens: &str, scale: &str| -> Result<Array2<f32>, ExportError> {
        let tokens = tensors.matrix(tokens, length, width)?;
        let scale = tensors.scalar(scale)?;
        Ok((tokens * scale).mapv(round_to_half))
    };
    let prefix_keys = scaled(&keys.key_tokens, &keys.key_scale)?;
    let prefix_values = scaled(&keys.value_tokens, &keys.value_scale)?;
    // The published code multiplies the prefix' probabilities after the softmax; the values take it as well.
    let attention_scale = tensors.scalar(&keys.attention_scale)?;
    Ok(Prefix { keys: prefix_keys, values: prefix_values * attention_scale })
}

fn read_adapter(tensors: &mut Tensors<'_>, keys: &AdapterKeys, width: usize) -> Result<Adapter, ExportError> {
    let AdapterKeys { adapter, scale } = keys;
    let [hidden, _] = tensors.shape(&format!("{adapter}.down.weight"), "[hidden, width]")?;
    let scale = tensors.scalar(scale)?;
    let down = tensors.linear(&format!("{adapter}.down"), width, hidden)?;
    let up = tensors.linear(&format!("{adapter}.up"), hidden, width)?;
    Ok(Adapter { down, up: Linear { weight: up.weight * scale, bias: up.bias * scale } })
}

/// The published code keeps prefixes and LoRA products in float16.
fn round_to_half(value: f32) -> f32 {
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
