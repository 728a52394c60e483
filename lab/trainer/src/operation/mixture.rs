//! The routing of DM-Adapter's mixture of adapters.

use super::Arithmetic;
use super::exponential::{softmax, sum, vectorized};
use super::slices::{of_storage, output, tensor, with_values};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};

/// Gates of the experts: the softmax over the `top_k` largest logits of each row, 0 for experts not chosen.
///
/// # Shapes
/// - `logits`: `[rows, experts]`
/// - returns: `[rows, experts]`
pub(crate) fn route(arithmetic: Arithmetic, logits: &Tensor, top_k: usize) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Fused => logits.apply_op1(Route { top_k }),
        Arithmetic::Composed { .. } => {
            // Which experts are chosen has no gradient: a constant that lowers all others to nothing.
            let order = logits.detach().arg_sort_last_dim(false)?.arg_sort_last_dim(true)?;
            let is_left_out = order.to_dtype(logits.dtype())?.ge(top_k as f64)?.to_dtype(logits.dtype())?;
            let lowered = logits.sub(&(is_left_out * 1e30)?)?;
            let shifted = lowered.broadcast_sub(&lowered.detach().max_keepdim(D::Minus1)?)?.exp()?;
            shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)
        }
    }
}

/// Sums of the softmax over all experts, for the load-balancing loss. Only rows with weight 1 count.
///
/// # Shapes
/// - `logits`: `[rows, experts]`; `weights`: `[rows]`, 0 or 1
/// - returns: `[experts]`
pub(crate) fn probability_sums(arithmetic: Arithmetic, logits: &Tensor, weights: &Tensor) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Fused => logits.apply_op1(ProbabilitySums { weights: weights.clone() }),
        Arithmetic::Composed { .. } => {
            let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?.exp()?;
            let probabilities = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?;
            probabilities.broadcast_mul(&weights.unsqueeze(1)?)?.sum(0)
        }
    }
}

/// Hidden units of all experts after ReLU, each times its expert's gate.
///
/// # Shapes
/// - `hidden`: `[rows, experts * units]`, before ReLU
/// - `gates`: `[rows, experts]`
/// - returns: `[rows, experts * units]`
pub(crate) fn gate_hidden(arithmetic: Arithmetic, hidden: &Tensor, gates: &Tensor) -> Result<Tensor> {
    match arithmetic {
        Arithmetic::Fused => hidden.apply_op2(gates, GateHidden),
        Arithmetic::Composed { .. } => {
            let (rows, units) = hidden.dims2()?;
            let (_, experts) = gates.dims2()?;
            let hidden = hidden.relu()?.reshape((rows, experts, units / experts))?;
            hidden.broadcast_mul(&gates.unsqueeze(2)?)?.reshape((rows, units))
        }
    }
}

struct Route {
    top_k: usize,
}

impl CustomOp1 for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = of_storage(storage, layout)?;
        let (_, experts) = layout.shape().dims2()?;
        let mut gates = vec![0.0; logits.len()];
        let mut order: Vec<usize> = Vec::with_capacity(experts);
        let mut chosen: Vec<f32> = Vec::with_capacity(self.top_k);
        for (logits, gates) in logits.chunks_exact(experts).zip(gates.chunks_exact_mut(experts)) {
            order.clear();
            order.extend(0..experts);
            // Of equal logits the first expert wins.
            order.sort_by(|&one, &other| logits[other].total_cmp(&logits[one]));
            order.truncate(self.top_k);
            chosen.clear();
            chosen.extend(order.iter().map(|&expert| logits[expert]));
            softmax(&mut chosen);
            for (&expert, &gate) in order.iter().zip(&chosen) {
                gates[expert] = gate;
            }
        }
        output(gates, layout.shape())
    }

    fn bwd(&self, logits: &Tensor, gates: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, experts) = logits.dims2()?;
        let values = with_values(gates, |gates| {
            with_values(gradient, |gradient| {
                let mut values = vec![0.0; gates.len()];
                let rows = gates.chunks_exact(experts).zip(gradient.chunks_exact(experts));
                for ((gates, gradient), out) in rows.zip(values.chunks_exact_mut(experts)) {
                    softmax_gradient(gates, gradient, 1.0, out);
                }
                Ok(values)
            })
        })?;
        tensor(values, logits.shape()).map(Some)
    }
}

/// Gradient of a softmax from its result.
#[inline(always)]
fn softmax_gradient(probabilities: &[f32], gradient: &[f32], scale: f32, out: &mut [f32]) {
    let mean = sum(out.len(), |index| probabilities[index] * gradient[index]);
    for ((out, &probability), &gradient) in out.iter_mut().zip(probabilities).zip(gradient) {
        *out = scale * probability * (gradient - mean);
    }
}

struct ProbabilitySums {
    weights: Tensor,
}

impl ProbabilitySums {
    fn probabilities(logits: &[f32], experts: usize) -> Vec<f32> {
        let mut probabilities = logits.to_vec();
        vectorized(|| probabilities.chunks_exact_mut(experts).for_each(softmax));
        probabilities
    }
}

impl CustomOp1 for ProbabilitySums {
    fn name(&self) -> &'static str {
        "probability-sums"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, experts) = layout.shape().dims2()?;
        let probabilities = Self::probabilities(of_storage(storage, layout)?, experts);
        let sums = with_values(&self.weights, |weights| {
            let mut sums = vec![0.0; experts];
            for (row, &weight) in probabilities.chunks_exact(experts).zip(weights) {
                for (sum, &probability) in sums.iter_mut().zip(row) {
                    *sum += weight * probability;
                }
            }
            Ok(sums)
        })?;
        output(sums, experts)
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, experts) = logits.dims2()?;
        let probabilities = with_values(logits, |logits| Ok(Self::probabilities(logits, experts)))?;
        let values = with_values(gradient, |gradient| {
            with_values(&self.weights, |weights| {
                let mut values = vec![0.0; probabilities.len()];
                let rows = probabilities.chunks_exact(experts).zip(weights);
                for ((row, &weight), out) in rows.zip(values.chunks_exact_mut(experts)) {
                    softmax_gradient(row, gradient, weight, out);
                }
                Ok(values)
            })
        })?;
        tensor(values, logits.shape()).map(Some)
    }
}

struct GateHidden;

impl CustomOp2 for GateHidden {
    fn name(&self) -> &'static str {
        "gate-hidden"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        gates: &CpuStorage,
        gates_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, experts) = gates_layout.shape().dims2()?;
        let (_, width) = hidden_layout.shape().dims2()?;
        let units = width / experts;
        let hidden = of_storage(hidden, hidden_layout)?;
        let gates = of_storage(gates, gates_layout)?;
        let mut values = vec![0.0; hidden.len()];
        vectorized(|| {
            let parts = hidden.chunks_exact(units).zip(values.chunks_exact_mut(units));
            for ((hidden, out), &gate) in parts.zip(gates) {
                for (out, &hidden) in out.iter_mut().zip(hidden) {
                    *out = if hidden > 0.0 { hidden * gate } else { 0.0 };
                }
            }
        });
        output(values, hidden_layout.shape())
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        gates: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, experts) = gates.dims2()?;
        let (_, width) = hidden.dims2()?;
        let units = width / experts;
        let (of_hidden, of_gates) = with_values(hidden, |hidden| {
            with_values(gates, |gates| {
                with_values(gradient, |gradient| {
                    let mut of_hidden = vec![0.0; hidden.len()];
                    let mut of_gates = vec![0.0; gates.len()];
                    vectorized(|| {
                        let inputs = hidden.chunks_exact(units).zip(gradient.chunks_exact(units)).zip(gates);
                        let outputs = of_hidden.chunks_exact_mut(units).zip(of_gates.iter_mut());
                        for (((hidden, gradient), &gate), (of_hidden, of_gate)) in inputs.zip(outputs) {
                            let positive = |index: usize| if hidden[index] > 0.0 { gradient[index] } else { 0.0 };
                            *of_gate = sum(units, |index| positive(index) * hidden[index]);
                            for (index, out) in of_hidden.iter_mut().enumerate() {
                                *out = positive(index) * gate;
                            }
                        }
                    });
                    Ok((of_hidden, of_gates))
                })
            })
        })?;
        Ok((Some(tensor(of_hidden, hidden.shape())?), Some(tensor(of_gates, gates.shape())?)))
    }
}
