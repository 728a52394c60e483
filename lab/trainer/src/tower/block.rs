//! One pre-norm block, with whatever a method adds to it.

use super::layers::{Linear, Norm};
use super::mixture::{Mixture, RoutingLoad};
use super::parallel::{Lora, ParallelAdapter, Prefix};
use crate::TrainError;
use crate::operation::{Arithmetic, AttentionShape, attention, linear, quick_gelu};
use crate::parameters::Parameters;
use candle_core::{Device, Result, Tensor};
use descry_model::method::{BlockKeys, Side};

/// What a tower makes of a part of a batch.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `[pairs, dimension]`, not of unit length.
    pub(crate) features: Tensor,
    /// How evenly each block's experts were used; empty where no balance is asked for.
    pub(crate) loads: Vec<RoutingLoad>,
}

/// What a block needs to know of the part of a batch that goes through it.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) arithmetic: Arithmetic,
    /// Who sees whom when all tokens ask.
    pub(crate) attention: AttentionShape,
    /// `[rows]`, 1 for tokens that count for the load-balancing loss; `None` where no balance is asked for.
    pub(crate) balance_weights: Option<Tensor>,
    pub(crate) final_rows: FinalRows,
}

/// The one token of each sequence that the features are taken from. The last block computes nothing else where nothing
/// else counts.
#[derive(Debug)]
pub(crate) struct FinalRows {
    /// `[pairs]` u32, rows of the tokens.
    rows: Tensor,
    attention: AttentionShape,
}

impl FinalRows {
    /// `positions`: the token of each sequence; `visible`: how many tokens it sees.
    pub(crate) fn new(tokens: usize, positions: &[usize], visible: Vec<usize>, device: &Device) -> Result<Self> {
        let rows = positions.iter().enumerate().map(|(pair, position)| (pair * tokens + position) as u32);
        let rows = Tensor::from_vec(rows.collect::<Vec<_>>(), positions.len(), device)?;
        Ok(Self { rows, attention: AttentionShape::one_each(tokens, visible) })
    }

    /// Only those rows.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        x.index_select(&self.rows, 0)
    }
}

/// A residual attention block.
#[derive(Debug)]
pub(super) struct Block {
    ln_1: Norm,
    query: Linear,
    key_value: Linear,
    attention_out: Linear,
    ln_2: Norm,
    mlp_in: Linear,
    mlp_out: Linear,
    lora: Option<Lora>,
    prefix: Option<Prefix>,
    attention_adapter: Option<ParallelAdapter>,
    mlp_adapter: Option<ParallelAdapter>,
    mixture: Option<(Norm, Mixture)>,
}

impl Block {
    /// Reads one block of a tower.
    pub(super) fn read(
        parameters: &Parameters,
        keys: BlockKeys,
        top_k: usize,
    ) -> std::result::Result<Self, TrainError> {
        let weight = parameters.get(&keys.in_projection_weight())?;
        let bias = parameters.get(&keys.in_projection_bias())?;
        let (_, width) = weight.dims2()?;
        let rows = |first: usize, count: usize| -> Result<Linear> {
            Ok(Linear { weight: weight.narrow(0, first, count)?, bias: bias.narrow(0, first, count)? })
        };
        let mixture = Mixture::read(parameters, keys, top_k)?
            .map(|mixture| Ok::<_, TrainError>((Norm::read(parameters, &keys.mixture_norm())?, mixture)))
            .transpose()?;
        Ok(Self {
            ln_1: Norm::read(parameters, &keys.attention_norm())?,
            query: rows(0, width)?,
            key_value: rows(width, 2 * width)?,
            attention_out: Linear::read(parameters, &keys.out_projection())?,
            ln_2: Norm::read(parameters, &keys.mlp_norm())?,
            mlp_in: Linear::read(parameters, &keys.mlp_in())?,
            mlp_out: Linear::read(parameters, &keys.mlp_out())?,
            lora: Lora::read(parameters, keys)?,
            prefix: Prefix::read(parameters, keys)?,
            attention_adapter: ParallelAdapter::read(parameters, &keys.attention_adapter())?,
            mlp_adapter: ParallelAdapter::read(parameters, &keys.mlp_adapter())?,
            mixture,
        })
    }

    /// `[rows, width]` to the same, or to the final rows only when `is_last`.
    pub(super) fn forward(&self, x: &Tensor, pass: &Pass, is_last: bool) -> Result<(Tensor, Option<RoutingLoad>)> {
        let arithmetic = pass.arithmetic;
        let input = beside(arithmetic, &self.ln_1, self.attention_adapter.as_ref(), x)?;
        let mut keys_values = self.key_value.forward(arithmetic, &input)?;
        if let Some(lora) = &self.lora {
            keys_values = keys_values.add(&lora.forward(arithmetic, &input)?)?;
        }
        // The balance of a block's experts is that of all tokens, so all of them have to get as far as its router.
        let balanced = pass.balance_weights.as_ref().filter(|_| self.mixture.is_some());
        let asks_final_only = is_last && balanced.is_none();
        let (x, asking, shape) = if asks_final_only {
            (pass.final_rows.of(x)?, pass.final_rows.of(&input)?, pass.final_rows.attention.clone())
        } else {
            (x.clone(), input, pass.attention.clone())
        };
        let queries = self.query.forward(arithmetic, &asking)?;
        let prefix = self.prefix.as_ref().map(Prefix::keys_values).transpose()?;
        let attended = attention(arithmetic, &queries, &keys_values, prefix.as_ref(), shape)?;
        let mut x = x.add(&self.attention_out.forward(arithmetic, &attended)?)?;

        let mut load = None;
        let mut routed = None;
        if let Some((norm, mixture)) = &self.mixture {
            let mut u = norm.forward(arithmetic, &x)?;
            let mut logits = mixture.logits(arithmetic, &u)?;
            load = balanced.map(|weights| mixture.load(arithmetic, &logits, weights)).transpose()?;
            if is_last && !asks_final_only {
                (u, logits) = (pass.final_rows.of(&u)?, pass.final_rows.of(&logits)?);
            }
            routed = Some((mixture, u, logits));
        }
        if is_last && !asks_final_only {
            x = pass.final_rows.of(&x)?;
        }
        let input = beside(arithmetic, &self.ln_2, self.mlp_adapter.as_ref(), &x)?;
        let hidden = quick_gelu(arithmetic, &self.mlp_in.forward(arithmetic, &input)?)?;
        let mut change = self.mlp_out.forward(arithmetic, &hidden)?;
        if let Some((mixture, u, logits)) = routed {
            change = change.add(&mixture.forward(arithmetic, &u, &logits)?)?;
        }
        Ok((x.add(&change)?, load))
    }
}

/// A layer norm with the adapter beside it.
fn beside(arithmetic: Arithmetic, norm: &Norm, adapter: Option<&ParallelAdapter>, x: &Tensor) -> Result<Tensor> {
    let normed = norm.forward(arithmetic, x)?;
    adapter.map_or(Ok(normed.clone()), |adapter| normed.add(&adapter.forward(arithmetic, x)?))
}

/// Blocks one after the other.
pub(super) fn run(blocks: &[Block], mut x: Tensor, pass: &Pass) -> Result<(Tensor, Vec<RoutingLoad>)> {
    let mut loads = Vec::new();
    for (layer, block) in blocks.iter().enumerate() {
        let load;
        (x, load) = block.forward(&x, pass, layer + 1 == blocks.len())?;
        loads.extend(load);
    }
    Ok((x, loads))
}

/// Reads all blocks of a tower.
pub(super) fn read_all(
    parameters: &Parameters,
    side: Side,
    top_k: usize,
) -> std::result::Result<Vec<Block>, TrainError> {
    let is_there = |keys: &BlockKeys| parameters.has(&format!("{}.weight", keys.attention_norm()));
    let keys = (0..).map(|layer| side.block(layer)).take_while(is_there);
    let blocks = keys.map(|keys| Block::read(parameters, keys, top_k)).collect::<std::result::Result<Vec<_>, _>>()?;
    if blocks.is_empty() {
        let reason = "the tower has no blocks".to_owned();
        return Err(TrainError::Tensor { key: format!("{}.weight", side.block(0).attention_norm()), reason });
    }
    Ok(blocks)
}

/// `x * projection` for a projection that is stored `[inputs, outputs]`.
pub(super) fn project(arithmetic: Arithmetic, x: &Tensor, projection: &Tensor) -> Result<Tensor> {
    linear(arithmetic, x, &projection.t()?.contiguous()?, None)
}
