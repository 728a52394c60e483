//! The text tower.

use super::block::{Block, Encoded, FinalRows, Pass, project, read_all, run};
use super::layers::Norm;
use crate::TrainError;
use crate::operation::{Arithmetic, AttentionShape};
use crate::parameters::Parameters;
use candle_core::Tensor;
use descry_model::method::Side;
use descry_model::method::clip::{TEXT_NORM_AFTER, TEXT_POSITIONS, TEXT_PROJECTION, TOKEN_EMBEDDING};
use ndarray::{ArrayView1, ArrayView2, s};

/// What counts for the load-balancing loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextBalance {
    /// There is none.
    None,
    /// Tokens up to the end-of-text.
    Caption,
    /// All positions of the context, padding included, as in the published code.
    Context,
}

/// Captions to features.
#[derive(Debug)]
pub(crate) struct TextTower {
    /// `[ids, width]`
    embedding: Tensor,
    /// `[context length, width]`
    positions: Tensor,
    blocks: Vec<Block>,
    ln_final: Norm,
    projection: Tensor,
}

impl TextTower {
    pub(crate) fn read(parameters: &Parameters, top_k: usize) -> Result<Self, TrainError> {
        Ok(Self {
            embedding: parameters.get(TOKEN_EMBEDDING)?,
            positions: parameters.get(TEXT_POSITIONS)?,
            blocks: read_all(parameters, Side::Text, top_k)?,
            ln_final: Norm::read(parameters, TEXT_NORM_AFTER)?,
            projection: parameters.get(TEXT_PROJECTION)?,
        })
    }

    /// # Shapes
    /// - `token_ids`: `[pairs, tokens]`, right-padded with 0, at most the context length
    /// - returns: `[pairs, dimension]`
    pub(crate) fn forward(
        &self,
        arithmetic: Arithmetic,
        token_ids: ArrayView2<'_, i64>,
        balance: TextBalance,
    ) -> Result<Encoded, TrainError> {
        let device = self.embedding.device();
        let pairs = token_ids.nrows();
        let ends: Vec<usize> = token_ids.outer_iter().map(end_of_text).collect();
        // The mask is causal: what stands behind the longest caption changes nothing but the count of all positions.
        let longest = ends.iter().copied().max().unwrap_or_default() + 1;
        let tokens = if balance == TextBalance::Context { token_ids.ncols() } else { longest };
        let ids = token_ids.slice(s![.., ..tokens]).iter().map(|&id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
        let ids = Tensor::from_vec::<_, u32>(ids, pairs * tokens, device)?;
        let (_, width) = self.embedding.dims2()?;
        let embedded = self.embedding.index_select(&ids, 0)?.reshape((pairs, tokens, width))?;
        let x = embedded.broadcast_add(&self.positions.narrow(0, 0, tokens)?)?.reshape((pairs * tokens, width))?;
        let balance_weights = match balance {
            TextBalance::None => None,
            TextBalance::Caption | TextBalance::Context => {
                let counts = |end: usize, token: usize| balance == TextBalance::Context || token <= end;
                let weights = ends
                    .iter()
                    .flat_map(|&end| (0..tokens).map(move |token| if counts(end, token) { 1.0f32 } else { 0.0 }));
                Some(Tensor::from_vec(weights.collect::<Vec<_>>(), pairs * tokens, device)?)
            }
        };
        let pass = Pass {
            arithmetic,
            attention: AttentionShape::causal(pairs, tokens),
            balance_weights,
            final_rows: FinalRows::new(tokens, &ends, ends.iter().map(|end| end + 1).collect(), device)?,
        };
        let (x, loads) = run(&self.blocks, x, &pass)?;
        let features = project(arithmetic, &self.ln_final.forward(arithmetic, &x)?, &self.projection)?;
        Ok(Encoded { features, loads })
    }
}

/// The end-of-text token has the highest id; the first of several counts, as in PyTorch's argmax.
fn end_of_text(ids: ArrayView1<'_, i64>) -> usize {
    ids.iter().enumerate().fold((0, i64::MIN), |best, (index, &id)| if id > best.1 { (index, id) } else { best }).0
}
