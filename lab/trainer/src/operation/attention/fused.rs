//! Attention on the processor.

use super::shape::{AttentionShape, score_scale};
use crate::operation::exponential::{softmax, sum, vectorized};
use crate::operation::product::{Destination, Matrix, multiply};
use crate::operation::slices::{of_storage, output, tensor, with_values};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use descry_model::method::clip::HEAD_WIDTH;
use std::sync::OnceLock;

/// All heads in one pass over plain slices, with a gradient written by hand.
pub(super) struct Attention {
    shape: AttentionShape,
    /// `[pairs, heads, queries, prefix + tokens]`, kept for the gradient.
    shares: OnceLock<Vec<f32>>,
}

/// The arguments as slices.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    queries: &'a [f32],
    keys_values: &'a [f32],
    prefix: &'a [f32],
    width: usize,
}

impl<'a> Inputs<'a> {
    fn prefix_length(&self) -> usize {
        self.prefix.len() / (2 * self.width)
    }

    /// Rows of one sequence's head out of `values`, which has `columns` columns.
    fn head(values: &'a [f32], first_row: usize, rows: usize, columns: usize, column: usize) -> Matrix<'a> {
        Matrix::strided(values.get(first_row * columns + column..).unwrap_or_default(), rows, HEAD_WIDTH, columns)
    }
}

/// The gradients, in the arguments' shapes.
struct Gradients {
    queries: Vec<f32>,
    keys_values: Vec<f32>,
    prefix: Vec<f32>,
}

impl Attention {
    pub(super) fn new(shape: AttentionShape) -> Self {
        Self { shape, shares: OnceLock::new() }
    }

    fn forward(&self, inputs: Inputs<'_>) -> Vec<f32> {
        let Inputs { queries, keys_values, prefix, width } = inputs;
        let (count, tokens, length) = self.sizes(inputs);
        let heads = width / HEAD_WIDTH;
        let columns = length + tokens;
        let mut shares = vec![0.0; self.shape.pairs * heads * count * columns];
        let mut out = vec![0.0; queries.len()];
        for pair in 0..self.shape.pairs {
            for head in 0..heads {
                let start = (pair * heads + head) * count * columns;
                let scores = &mut shares[start..start + count * columns];
                let column = head * HEAD_WIDTH;
                let query = Inputs::head(queries, pair * count, count, width, column);
                let key = Inputs::head(keys_values, pair * tokens, tokens, 2 * width, column);
                let value = Inputs::head(keys_values, pair * tokens, tokens, 2 * width, width + column);
                if length > 0 {
                    let key = Inputs::head(prefix, 0, length, 2 * width, column);
                    multiply(query, key.transposed(), score_scale(), Destination::new(scores, columns));
                }
                multiply(query, key.transposed(), score_scale(), Destination::new(&mut scores[length..], columns));
                vectorized(|| {
                    for (query, row) in scores.chunks_exact_mut(columns).enumerate() {
                        let seen = length + self.shape.visible(pair, query, count);
                        let (seen, unseen) = row.split_at_mut(seen);
                        softmax(seen);
                        unseen.fill(0.0);
                    }
                });
                let scores = &*scores;
                let target = &mut out[pair * count * width + column..];
                let share = |first| Matrix::strided(&scores[first..], count, columns - first, columns);
                multiply(share(length), value, 1.0, Destination::new(target, width));
                if length > 0 {
                    let value = Inputs::head(prefix, 0, length, 2 * width, width + column);
                    let share = Matrix::strided(scores, count, length, columns);
                    let target = &mut out[pair * count * width + column..];
                    multiply(share, value, 1.0, Destination::adding(target, width));
                }
            }
        }
        // A forward pass runs once for each operator.
        let _ = self.shares.set(shares);
        out
    }

    /// Queries and tokens of a sequence, and the prefix' length.
    fn sizes(&self, inputs: Inputs<'_>) -> (usize, usize, usize) {
        let rows = inputs.queries.len() / inputs.width;
        (self.shape.queries(rows), self.shape.tokens, inputs.prefix_length())
    }

    fn backward(&self, inputs: Inputs<'_>, gradient: &[f32]) -> Gradients {
        let Inputs { queries, keys_values, prefix, width } = inputs;
        let (count, tokens, length) = self.sizes(inputs);
        let heads = width / HEAD_WIDTH;
        let columns = length + tokens;
        let shares = self.shares.get().map(Vec::as_slice).unwrap_or_default();
        let mut result = Gradients {
            queries: vec![0.0; queries.len()],
            keys_values: vec![0.0; keys_values.len()],
            prefix: vec![0.0; prefix.len()],
        };
        let mut of_scores = vec![0.0; count * columns];
        for pair in 0..self.shape.pairs {
            for head in 0..heads {
                let start = (pair * heads + head) * count * columns;
                let shares = &shares[start..start + count * columns];
                let column = head * HEAD_WIDTH;
                let query = Inputs::head(queries, pair * count, count, width, column);
                let gradient = Inputs::head(gradient, pair * count, count, width, column);
                let key = Inputs::head(keys_values, pair * tokens, tokens, 2 * width, column);
                let value = Inputs::head(keys_values, pair * tokens, tokens, 2 * width, width + column);
                if length > 0 {
                    let value = Inputs::head(prefix, 0, length, 2 * width, width + column);
                    multiply(gradient, value.transposed(), 1.0, Destination::new(&mut of_scores, columns));
                }
                multiply(gradient, value.transposed(), 1.0, Destination::new(&mut of_scores[length..], columns));
                vectorized(|| {
                    for (of_scores, shares) in of_scores.chunks_exact_mut(columns).zip(shares.chunks_exact(columns)) {
                        let mean = sum(columns, |index| of_scores[index] * shares[index]);
                        for (of_score, share) in of_scores.iter_mut().zip(shares) {
                            *of_score = share * (*of_score - mean);
                        }
                    }
                });
                let part = |values| Matrix::strided(values, count, tokens, columns);
                let (of_tokens, of_shares) = (part(&of_scores[length..]), part(&shares[length..]));
                let at = |row: usize, columns: usize, column: usize| row * columns + column;
                let target = &mut result.queries[at(pair * count, width, column)..];
                multiply(of_tokens, key, score_scale(), Destination::new(target, width));
                let target = &mut result.keys_values[at(pair * tokens, 2 * width, column)..];
                multiply(of_tokens.transposed(), query, score_scale(), Destination::new(target, 2 * width));
                let target = &mut result.keys_values[at(pair * tokens, 2 * width, width + column)..];
                multiply(of_shares.transposed(), gradient, 1.0, Destination::new(target, 2 * width));
                if length > 0 {
                    let key = Inputs::head(prefix, 0, length, 2 * width, column);
                    let part = |values| Matrix::strided(values, count, length, columns);
                    let (of_prefix, of_shares) = (part(&of_scores), part(shares));
                    let target = &mut result.queries[at(pair * count, width, column)..];
                    multiply(of_prefix, key, score_scale(), Destination::adding(target, width));
                    let target = &mut result.prefix[column..];
                    multiply(of_prefix.transposed(), query, score_scale(), Destination::adding(target, 2 * width));
                    let target = &mut result.prefix[width + column..];
                    multiply(of_shares.transposed(), gradient, 1.0, Destination::adding(target, 2 * width));
                }
            }
        }
        result
    }
}

impl Attention {
    fn run(
        &self,
        (queries, queries_layout): (&CpuStorage, &Layout),
        (keys_values, keys_values_layout): (&CpuStorage, &Layout),
        prefix: &[f32],
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = queries_layout.shape().dims2()?;
        let queries = of_storage(queries, queries_layout)?;
        let keys_values = of_storage(keys_values, keys_values_layout)?;
        output(self.forward(Inputs { queries, keys_values, prefix, width }), queries_layout.shape())
    }

    fn gradients(
        &self,
        queries: &Tensor,
        keys_values: &Tensor,
        prefix: &[f32],
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Vec<f32>)> {
        let (_, width) = queries.dims2()?;
        let result = with_values(queries, |queries| {
            with_values(keys_values, |keys_values| {
                with_values(gradient, |gradient| {
                    Ok(self.backward(Inputs { queries, keys_values, prefix, width }, gradient))
                })
            })
        })?;
        let of_queries = Some(tensor(result.queries, queries.shape())?);
        Ok((of_queries, Some(tensor(result.keys_values, keys_values.shape())?), result.prefix))
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys_values: &CpuStorage,
        keys_values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((queries, queries_layout), (keys_values, keys_values_layout), &[])
    }

    fn bwd(
        &self,
        queries: &Tensor,
        keys_values: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_queries, of_keys_values, _) = self.gradients(queries, keys_values, &[], gradient)?;
        Ok((of_queries, of_keys_values))
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "prefix-attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys_values: &CpuStorage,
        keys_values_layout: &Layout,
        prefix: &CpuStorage,
        prefix_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let prefix = of_storage(prefix, prefix_layout)?;
        self.run((queries, queries_layout), (keys_values, keys_values_layout), prefix)
    }

    fn bwd(
        &self,
        queries: &Tensor,
        keys_values: &Tensor,
        prefix: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_queries, of_keys_values, of_prefix) =
            with_values(prefix, |prefix| self.gradients(queries, keys_values, prefix, gradient))?;
        Ok((of_queries, of_keys_values, Some(tensor(of_prefix, prefix.shape())?)))
    }
}
