//! DM-Adapter's sparse mixture of adapters with its domain-aware router.

use super::layers::Linear;
use crate::TrainError;
use crate::operation::{Arithmetic, gate_hidden, linear, probability_sums, route};
use crate::parameters::Parameters;
use candle_core::{Result, Tensor};
use descry_model::method::BlockKeys;
use descry_model::method::dm_adapter::mixture_scale;

/// How evenly a block's experts were used by a part of a batch; the parts of a batch add up.
#[derive(Debug)]
pub(crate) struct RoutingLoad {
    /// `[experts]`, sums of the router's softmax over all experts; carries the gradient.
    pub(crate) probability_sums: Tensor,
    /// How many tokens went to each expert.
    pub(crate) counts: Vec<f64>,
    /// How many tokens there were.
    pub(crate) tokens: f64,
}

/// The experts of one block. All of them run as one pair of products, and those not chosen are multiplied by 0.
#[derive(Debug)]
pub(super) struct Mixture {
    alpha: Tensor,
    input_gate: Tensor,
    prompt_gate: Tensor,
    /// The learned domain prompt.
    prompt: Tensor,
    experts: Vec<(Linear, Linear)>,
    top_k: usize,
    scale: f64,
}

impl Mixture {
    /// Reads a block's mixture; `None` where it has none.
    pub(super) fn read(
        parameters: &Parameters,
        keys: BlockKeys,
        top_k: usize,
    ) -> std::result::Result<Option<Self>, TrainError> {
        if !parameters.has(&keys.prompt_share()) {
            return Ok(None);
        }
        let read = |expert| {
            let key = keys.expert(expert);
            let down = Linear::read(parameters, &format!("{key}.down"))?;
            Ok((down, Linear::read(parameters, &format!("{key}.up"))?))
        };
        let count = keys.expert_count(|key| parameters.has(key));
        let experts = (0..count).map(read).collect::<std::result::Result<Vec<_>, TrainError>>()?;
        Ok(Some(Self {
            alpha: parameters.get(&keys.prompt_share())?,
            input_gate: parameters.get(&keys.input_gate())?,
            prompt_gate: parameters.get(&keys.prompt_gate())?,
            prompt: parameters.get(&keys.domain_prompt())?,
            top_k: top_k.min(experts.len()),
            experts,
            scale: mixture_scale(keys.side),
        }))
    }

    /// The router's logits, `(1 - alpha) * W_in * u + alpha * W_task * prompt`.
    ///
    /// # Shapes
    /// - `u`: `[rows, width]`; returns `[rows, experts]`
    pub(super) fn logits(&self, arithmetic: Arithmetic, u: &Tensor) -> Result<Tensor> {
        // The factors are small beside the tokens, so they go into the weights.
        let rest = self.alpha.affine(-1.0, 1.0)?;
        let weight = self.input_gate.broadcast_mul(&rest)?;
        let bias = self.prompt_gate.broadcast_mul(&self.prompt)?.sum(1)?.broadcast_mul(&self.alpha)?;
        linear(arithmetic, u, &weight, Some(&bias))
    }

    /// What the chosen experts add to the MLP.
    ///
    /// # Shapes
    /// - `u`: `[rows, width]`; `logits`: `[rows, experts]`; returns `[rows, width]`
    pub(super) fn forward(&self, arithmetic: Arithmetic, u: &Tensor, logits: &Tensor) -> Result<Tensor> {
        let gates = (route(arithmetic, logits, self.top_k)? * self.scale)?;
        let joined = |part: &dyn Fn(&(Linear, Linear)) -> Tensor, dimension: usize| {
            Tensor::cat(&self.experts.iter().map(part).collect::<Vec<_>>(), dimension)
        };
        let down = joined(&|(down, _)| down.weight.clone(), 0)?;
        let down_bias = joined(&|(down, _)| down.bias.clone(), 0)?;
        let up = joined(&|(_, up)| up.weight.clone(), 1)?.contiguous()?;
        let up_bias = Tensor::stack(&self.experts.iter().map(|(_, up)| &up.bias).collect::<Vec<_>>(), 1)?;
        let hidden = linear(arithmetic, u, &down, Some(&down_bias))?;
        let gated = gate_hidden(arithmetic, &hidden, &gates)?;
        linear(arithmetic, &gated, &up, None)?.add(&linear(arithmetic, &gates, &up_bias.contiguous()?, None)?)
    }

    /// The block's part of the load-balancing loss.
    ///
    /// # Shapes
    /// - `logits`: `[rows, experts]`; `weights`: `[rows]`, 1 for tokens that count, else 0
    pub(super) fn load(&self, arithmetic: Arithmetic, logits: &Tensor, weights: &Tensor) -> Result<RoutingLoad> {
        let probability_sums = probability_sums(arithmetic, logits, weights)?;
        // Which experts are chosen has no gradient.
        let gates = route(arithmetic, &logits.detach(), self.top_k)?;
        let is_chosen = gates.gt(0.0)?.to_dtype(gates.dtype())?;
        let counts = is_chosen.broadcast_mul(&weights.unsqueeze(1)?)?.sum(0)?;
        // Read back together: each reading waits for a GPU.
        let sums = Tensor::cat(&[counts, weights.sum_all()?.unsqueeze(0)?], 0)?.to_vec1::<f32>()?;
        let mut counts: Vec<f64> = sums.into_iter().map(f64::from).collect();
        let tokens = counts.pop().unwrap_or_default();
        Ok(RoutingLoad { probability_sums, counts, tokens })
    }
}
