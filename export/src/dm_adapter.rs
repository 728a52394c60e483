//! DM-Adapter (AAAI 2025): a sparse mixture of adapters beside every MLP, with a domain-aware router.
//!
//! Published form, per token: `logits = (1 - alpha) · W_input · u + alpha · W_task · prompt` with `u = ln_3(x)`; the top-k
//! logits go through a softmax of their own and weigh `up(relu(down(u)))` of their experts; the sum, times a constant of
//! the tower, is added beside the MLP.

use crate::ExportError;
use crate::clip::{BlockPlace, Side};
use crate::family::BlockExtras;
use crate::tensors::Tensors;
use crate::tower::{Block, Experts, Linear};
use ndarray::{Array1, Array2, Axis, concatenate};

/// Weight of the mixture beside the MLP: constants of the published code, different for each tower.
pub(crate) fn mixture_scale(side: Side) -> f32 {
    match side {
        Side::Vision => 0.1,
        Side::Text => 4.0,
    }
}

/// Parameters of training only: unused by the published code when it encodes.
pub(crate) const TRAINING_ONLY: [&str; 5] =
    ["vision_param", "text_param", "co_vision_param", "v2i_proj.weight", "v2i_proj.bias"];

/// Names the family's own tensors contain; they are what its training changes.
pub(crate) const TRAINED: [&str; 3] = ["feed_forward.", ".ln_3.", ".task_param"];

/// Merges the experts of each block.
pub(crate) struct DmAdapter {
    /// How many experts a token is sent to; the checkpoint does not tell.
    pub(crate) top_k: usize,
}

/// How many experts a block has.
pub(crate) fn expert_count(tensors: &Tensors<'_>, block_key: &str) -> usize {
    (0..)
        .take_while(|expert| tensors.contains(&format!("{block_key}.feed_forward.experts.{expert}.down.weight")))
        .count()
}

impl BlockExtras for DmAdapter {
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, place: BlockPlace) -> Result<(), ExportError> {
        let key = place.key();
        let width = place.width;
        let count = expert_count(tensors, &key);
        let first = format!("{key}.feed_forward.experts.0.down.weight");
        if count == 0 {
            return Err(ExportError::MissingTensor { key: first, expected: "at least one expert".to_owned() });
        }
        if self.top_k == 0 || self.top_k > count {
            let reason = format!("{} of {count} experts; give --topk 1 to {count}", self.top_k);
            return Err(ExportError::Setting { name: "topk".to_owned(), reason });
        }
        let [hidden, _] = tensors.shape(&first, "[hidden, width]")?;
        let scale = mixture_scale(place.side);
        let experts = (0..count)
            .map(|expert| {
                let expert_key = format!("{key}.feed_forward.experts.{expert}");
                let down = tensors.linear(&format!("{expert_key}.down"), width, hidden)?;
                let up = tensors.linear(&format!("{expert_key}.up"), hidden, width)?;
                Ok((down, up))
            })
            .collect::<Result<Vec<(Linear, Linear)>, ExportError>>()?;
        let stack = |axis: usize, parts: Vec<Array2<f32>>| -> Result<Array2<f32>, ExportError> {
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            concatenate(Axis(axis), &views).map_err(|error| ExportError::Setting {
                name: key.clone(),
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
            norm: tensors.layer_norm(&format!("{key}.ln_3"), width)?,
            router: read_router(tensors, &key, width, count)?,
            top_k: self.top_k,
            down,
            up,
            up_bias,
        });
        Ok(())
    }
}

/// Folds `alpha` and the learned domain prompt, a constant, into one product.
fn read_router(tensors: &mut Tensors<'_>, key: &str, width: usize, count: usize) -> Result<Linear, ExportError> {
    let alpha = tensors.scalar(&format!("{key}.feed_forward.alpha"))?;
    let input_gate = tensors.matrix(&format!("{key}.feed_forward.input_gate.weight"), count, width)?;
    let task_gate = tensors.matrix(&format!("{key}.feed_forward.task_gate.weight"), count, width)?;
    let prompt: Array1<f32> = tensors.vector(&format!("{key}.task_param"), width)?;
    Ok(Linear {
        weight: (input_gate * (1.0 - alpha)).reversed_axes().as_standard_layout().into_owned(),
        bias: task_gate.dot(&prompt) * alpha,
    })
}
