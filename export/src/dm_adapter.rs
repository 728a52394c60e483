//! DM-Adapter's mixture merged into the blocks (`descry_model::method::dm_adapter` has the published form): the experts
//! become one pair of products, `alpha` and the domain prompt go into the router, the tower's constant into the experts.

use crate::ExportError;
use crate::clip::{BlockExtras, BlockSource};
use crate::tensors::Tensors;
use crate::tower::{Block, Experts, Linear};
use descry_model::method::BlockKeys;
use descry_model::method::dm_adapter::mixture_scale;
use ndarray::{Array1, Array2, Axis, concatenate};

/// Merges the experts of each block.
pub(crate) struct DmAdapter {
    /// How many experts a token is sent to; the checkpoint does not tell.
    pub(crate) top_k: usize,
}

impl BlockExtras for DmAdapter {
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, source: BlockSource) -> Result<(), ExportError> {
        let BlockSource { keys, width, .. } = source;
        let count = keys.expert_count(|key| tensors.contains(key));
        let first = format!("{}.down.weight", keys.expert(0));
        if count == 0 {
            return Err(ExportError::MissingTensor { key: first, expected: "at least one expert".to_owned() });
        }
        if self.top_k == 0 || self.top_k > count {
            let reason = format!("{} of {count} experts; give --topk 1 to {count}", self.top_k);
            return Err(ExportError::Setting { name: "topk".to_owned(), reason });
        }
        let [hidden, _] = tensors.shape(&first, "[hidden, width]")?;
        let scale = mixture_scale(keys.side) as f32;
        let experts = (0..count)
            .map(|expert| {
                let key = keys.expert(expert);
                let down = tensors.linear(&format!("{key}.down"), width, hidden)?;
                let up = tensors.linear(&format!("{key}.up"), hidden, width)?;
                Ok((down, up))
            })
            .collect::<Result<Vec<(Linear, Linear)>, ExportError>>()?;
        let stack = |axis: usize, parts: Vec<Array2<f32>>| -> Result<Array2<f32>, ExportError> {
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            concatenate(Axis(axis), &views).map_err(|error| ExportError::Setting {
                name: keys.to_string(),
                reason: format!("experts of different sizes: {error}"),
            })
        };
        let down = Linear {
            weight: stack(1, experts.iter().map(|(down, _)| down.weight.clone()).collect())?,
            bias: experts.iter().flat_map(|(down, _)| down.bias.iter().copied()).collect(),
        };
        let up = stack(0, experts.iter().map(|(_, up)| &up.weight * scale).collect())?;
        let up_bias = stack(0, experts.iter().map(|(_, up)| (&up.bias * scale).insert_axis(Axis(0))).collect())?;
        block.experts = Some(Experts {
            norm: tensors.layer_norm(&keys.mixture_norm(), width)?,
            router: read_router(tensors, keys, width, count)?,
            top_k: self.top_k,
            down,
            up,
            up_bias,
        });
        Ok(())
    }
}

/// Folds `alpha` and the learned domain prompt, a constant, into one product.
fn read_router(tensors: &mut Tensors<'_>, keys: BlockKeys, width: usize, count: usize) -> Result<Linear, ExportError> {
    let alpha = tensors.scalar(&keys.prompt_share())?;
    let input_gate = tensors.matrix(&keys.input_gate(), count, width)?;
    let prompt_gate = tensors.matrix(&keys.prompt_gate(), count, width)?;
    let prompt: Array1<f32> = tensors.vector(&keys.domain_prompt(), width)?;
    Ok(Linear {
        weight: (input_gate * (1.0 - alpha)).reversed_axes().as_standard_layout().into_owned(),
        bias: prompt_gate.dot(&prompt) * alpha,
    })
}
