//! RDE's second embedding, literally from the unmerged tensors.

use super::{Eager, length_of};
use crate::ExportError;
use ndarray::{Array1, Array2, Axis};

/// PyTorch's default.
const BATCH_NORM_EPSILON: f32 = 1e-5;

impl Eager<'_> {
    /// `[bge/|bge| ; tse/|tse|] / √2`.
    ///
    /// - `projected`: all tokens behind the projection, `[tokens, dimension]`
    /// - `row`: attention of the token at `asking`, averaged over heads, `[tokens]`
    /// - `candidates`: positions that may be selected
    pub(super) fn both_embeddings(
        &self,
        module: &str,
        direct: &str,
        projected: &Array2<f32>,
        (asking, row): (usize, &Array1<f32>),
        (mut candidates, count): (Vec<usize>, usize),
    ) -> Result<Array1<f32>, ExportError> {
        // The published code has no embedding for a text without words; ours is that of its end mark.
        if candidates.is_empty() {
            candidates.push(asking);
        }
        candidates.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        candidates.truncate(count.max(1));
        let mut tokens = projected.select(Axis(0), &candidates);
        for mut token in tokens.outer_iter_mut() {
            let length = length_of(token.iter()) + 1e-8;
            token.mapv_inplace(|value| value / length);
        }
        let mut hidden = self.linear(&tokens, &format!("{module}.mlp.layers.0"))?;
        hidden -= &self.vector(&format!("{module}.mlp.bns.0.running_mean"))?;
        hidden /=
            &self.vector(&format!("{module}.mlp.bns.0.running_var"))?.mapv(|value| (value + BATCH_NORM_EPSILON).sqrt());
        hidden *= &self.vector(&format!("{module}.mlp.bns.0.weight"))?;
        hidden += &self.vector(&format!("{module}.mlp.bns.0.bias"))?;
        let hidden = hidden.mapv(|value| value.max(0.0));
        let through = self.linear(&hidden, &format!("{module}.mlp.layers.1"))?;
        let both = through + self.linear(&tokens, &format!("{module}.{direct}"))?;
        let selected = both.fold_axis(Axis(0), f32::NEG_INFINITY, |largest, value| largest.max(*value));
        let whole = projected.row(asking);
        let parts = [whole.to_vec(), selected.to_vec()].into_iter().flat_map(|part| {
            let length = length_of(part.iter()) * 2.0_f32.sqrt();
            part.into_iter().map(move |value| value / length)
        });
        Ok(parts.collect())
    }
}
