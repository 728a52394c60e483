//! What is minimised.

use crate::operation::{Arithmetic, linear};
use crate::recipe::MatchingLoss;
use crate::tower::RoutingLoad;
use candle_core::{D, Result, Tensor, Var};

/// Keeps the logarithm of a pair that does not match finite, as in the published code.
const EPSILON: f32 = 1e-8;

/// The matching loss of a whole batch and its gradients with respect to the features.
#[derive(Debug)]
pub(crate) struct Matching {
    pub(crate) loss: f64,
    /// `[pairs, dimension]`
    pub(crate) image_gradient: Tensor,
    /// `[pairs, dimension]`
    pub(crate) text_gradient: Tensor,
}

/// Computes the matching loss of features that are cut off from their towers.
///
/// # Shapes
/// - `images`, `texts`: `[pairs, dimension]`, not of unit length
/// - `identities`: the person of each pair
pub(crate) fn matching(
    kind: MatchingLoss,
    images: &Tensor,
    texts: &Tensor,
    identities: &[i64],
    temperature: f64,
) -> Result<Matching> {
    let images = Var::from_tensor(&images.detach())?;
    let texts = Var::from_tensor(&texts.detach())?;
    let cosines = cosines(texts.as_tensor(), images.as_tensor())?;
    let logits = (cosines / temperature)?;
    let loss = match kind {
        MatchingLoss::Sdm => {
            let target = matching_shares(identities, logits.device())?;
            (divergence(&logits, &target)? + divergence(&logits.t()?.contiguous()?, &target)?)?
        }
        MatchingLoss::Itc => {
            let own = Tensor::eye(identities.len(), logits.dtype(), logits.device())?;
            let side = |logits: &Tensor| log_softmax(logits)?.mul(&own)?.sum_all()? / identities.len() as f64;
            ((side(&logits)? + side(&logits.t()?.contiguous()?)?)? * -0.5)?
        }
    };
    let gradients = loss.backward()?;
    let of = |variable: &Var| gradients.get(variable.as_tensor()).cloned().map_or_else(|| variable.zeros_like(), Ok);
    Ok(Matching { loss: f64::from(loss.to_scalar::<f32>()?), image_gradient: of(&images)?, text_gradient: of(&texts)? })
}

/// `[texts, images]`
fn cosines(texts: &Tensor, images: &Tensor) -> Result<Tensor> {
    let unit = |features: &Tensor| features.broadcast_div(&features.sqr()?.sum_keepdim(1)?.sqrt()?);
    let arithmetic = if texts.device().is_cpu() {
        Arithmetic::Fused
    } else {
        Arithmetic::Composed { products: candle_core::DType::F32 }
    };
    linear(arithmetic, &unit(texts)?, &unit(images)?, None)
}

/// Logarithm of each pair's share of its row's matches: all pairs of one identity match.
fn matching_shares(identities: &[i64], device: &candle_core::Device) -> Result<Tensor> {
    let mut shares = Vec::with_capacity(identities.len().pow(2));
    for identity in identities {
        let matches = identities.iter().filter(|other| *other == identity).count() as f32;
        shares.extend(identities.iter().map(|other| {
            let share = if other == identity { 1.0 / matches } else { 0.0 };
            (share + EPSILON).ln()
        }));
    }
    Tensor::from_vec(shares, (identities.len(), identities.len()), device)
}

/// Kullback-Leibler divergence of the predicted from the true matches, the mean over the rows (SDM, IRRA, eq. 4 to 6).
fn divergence(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let log = log_softmax(logits)?;
    log.exp()?.mul(&log.sub(target)?)?.sum_all()? / logits.dim(0)? as f64
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// DM-Adapter's load-balancing loss over a whole batch, summed over blocks: mean over the experts of (mean probability *
/// share of tokens), times the number of experts.
///
/// It is linear in the probabilities once all tokens are counted, so each part of a batch can compute its own gradient.
#[derive(Debug, Clone)]
pub(crate) struct Balance {
    /// For each block and expert, the factor of the sum of probabilities.
    factors: Vec<Vec<f64>>,
}

impl Balance {
    /// Counts the tokens of all parts of a batch; each part lists the same blocks.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [RoutingLoad]>) -> Self {
        let mut counts: Vec<(Vec<f64>, f64)> = Vec::new();
        for part in parts {
            if counts.is_empty() {
                counts = part.iter().map(|load| (vec![0.0; load.counts.len()], 0.0)).collect();
            }
            for ((counts, tokens), load) in counts.iter_mut().zip(part) {
                counts.iter_mut().zip(&load.counts).for_each(|(sum, count)| *sum += count);
                *tokens += load.tokens;
            }
        }
        let factors = counts.into_iter().map(|(counts, tokens)| {
            let tokens = tokens.max(1.0);
            counts.into_iter().map(|count| count / (tokens * tokens)).collect()
        });
        Self { factors: factors.collect() }
    }

    /// A part's share of the loss, a scalar that carries the gradient; `None` without any block.
    pub(crate) fn of_part(&self, part: &[RoutingLoad]) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (factors, load) in self.factors.iter().zip(part) {
            let sums = &load.probability_sums;
            let factors = factors.iter().map(|&factor| factor as f32).collect::<Vec<_>>();
            let factors = Tensor::from_vec(factors, sums.dims1()?, sums.device())?;
            let loss = sums.mul(&factors)?.sum_all()?;
            total = Some(total.map_or(Ok(loss.clone()), |total| total.add(&loss))?);
        }
        Ok(total)
    }
}
