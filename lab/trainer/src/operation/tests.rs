//! Fused operations against candle's own operators, forwards and backwards.

use super::*;
use candle_core::{Device, Result, Tensor, Var};

const COMPOSED: Arithmetic = Arithmetic::Composed { products: DType::F32 };

/// Values between -1 and 1 that look random and are the same every time.
fn values(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|index| ((index * 7919 + seed * 104_729) as f32 * 0.618).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn variable(shape: &[usize], seed: usize) -> Var {
    Var::from_tensor(&values(shape, seed)).unwrap()
}

/// Runs `operation` both ways on the same variables and compares results and gradients.
fn check(variables: &[&Var], operation: impl Fn(Arithmetic) -> Result<Tensor>) {
    let run = |arithmetic| {
        let result = operation(arithmetic).unwrap();
        let weights = values(result.dims(), 99);
        let gradients = result.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradients: Vec<Tensor> =
            variables.iter().map(|variable| gradients.get(variable.as_tensor()).unwrap().clone()).collect();
        (result, gradients)
    };
    let (fused, fused_gradients) = run(Arithmetic::Fused);
    let (composed, composed_gradients) = run(COMPOSED);
    close(&fused, &composed, "result");
    for (index, (fused, composed)) in fused_gradients.iter().zip(&composed_gradients).enumerate() {
        close(fused, composed, &format!("gradient {index}"));
    }
}

fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (flat(found), flat(expected));
    let norm: f32 = expected.iter().map(|value| value * value).sum::<f32>().sqrt();
    let error: f32 = found.iter().zip(&expected).map(|(one, other)| (one - other).powi(2)).sum::<f32>().sqrt();
    assert!(norm > 0.0 && error <= 1e-5 * norm, "{what}: error {error} of norm {norm}");
}

#[test]
fn activations() {
    let x = variable(&[7, 33], 1);
    check(&[&x], |arithmetic| quick_gelu(arithmetic, x.as_tensor()));
    check(&[&x], |arithmetic| relu(arithmetic, x.as_tensor()));
}

#[test]
fn linear_with_frozen_and_trained_weights() {
    let x = variable(&[5, 12], 1);
    let (weight, bias) = (variable(&[9, 12], 2), variable(&[9], 3));
    let (frozen_weight, frozen_bias) = (values(&[9, 12], 2), values(&[9], 3));
    check(&[&x], |arithmetic| linear(arithmetic, x.as_tensor(), &frozen_weight, Some(&frozen_bias)));
    check(&[&x], |arithmetic| linear(arithmetic, x.as_tensor(), &frozen_weight, None));
    check(&[&x, &weight, &bias], |arithmetic| {
        linear(arithmetic, x.as_tensor(), weight.as_tensor(), Some(bias.as_tensor()))
    });
    check(&[&x, &weight], |arithmetic| linear(arithmetic, x.as_tensor(), weight.as_tensor(), None));
    let constant = values(&[5, 12], 4);
    check(&[&weight, &bias], |arithmetic| linear(arithmetic, &constant, weight.as_tensor(), Some(bias.as_tensor())));
}

#[test]
fn frozen_weights_get_no_gradient() {
    let x = variable(&[5, 12], 1);
    let weight = values(&[9, 12], 2);
    let result = linear(Arithmetic::Fused, x.as_tensor(), &weight, None).unwrap();
    let gradients = result.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&weight).is_none());
}

#[test]
fn layer_norms_with_frozen_and_trained_weights() {
    let x = variable(&[6, 40], 1);
    let (weight, bias) = (variable(&[40], 2), variable(&[40], 3));
    check(&[&x, &weight, &bias], |arithmetic| {
        layer_norm(arithmetic, x.as_tensor(), weight.as_tensor(), bias.as_tensor())
    });
    let (weight, bias) = (values(&[40], 2), values(&[40], 3));
    check(&[&x], |arithmetic| layer_norm(arithmetic, x.as_tensor(), &weight, &bias));
}

#[test]
fn attention_over_all_tokens_causal_and_of_single_queries() {
    let (pairs, tokens, width) = (3, 21, 128);
    let queries = variable(&[pairs * tokens, width], 1);
    let keys_values = variable(&[pairs * tokens, 2 * width], 2);
    let prefix = variable(&[5, 2 * width], 3);
    for shape in [AttentionShape::all(pairs, tokens), AttentionShape::causal(pairs, tokens)] {
        check(&[&queries, &keys_values], |arithmetic| {
            attention(arithmetic, queries.as_tensor(), keys_values.as_tensor(), None, shape.clone())
        });
        check(&[&queries, &keys_values, &prefix], |arithmetic| {
            attention(arithmetic, queries.as_tensor(), keys_values.as_tensor(), Some(prefix.as_tensor()), shape.clone())
        });
    }
    let single = variable(&[pairs, width], 4);
    let shape = AttentionShape::one_each(tokens, vec![4, 21, 1]);
    check(&[&single, &keys_values, &prefix], |arithmetic| {
        attention(arithmetic, single.as_tensor(), keys_values.as_tensor(), Some(prefix.as_tensor()), shape.clone())
    });
}

#[test]
fn routing_gates_and_load() {
    let logits = variable(&[50, 6], 1);
    for top_k in [1, 2, 6] {
        let check_gates = |arithmetic| route(arithmetic, logits.as_tensor(), top_k);
        if top_k == 1 {
            // A single gate is 1 whatever its logit: no gradient to compare.
            close(&check_gates(Arithmetic::Fused).unwrap(), &check_gates(COMPOSED).unwrap(), "gates");
        } else {
            check(&[&logits], check_gates);
        }
    }
    let weights: Vec<f32> = (0..50).map(|row| if row % 3 == 0 { 0.0 } else { 1.0 }).collect();
    let weights = Tensor::from_vec(weights, 50, &Device::Cpu).unwrap();
    check(&[&logits], |arithmetic| probability_sums(arithmetic, logits.as_tensor(), &weights));
    let (hidden, gates) = (variable(&[50, 24], 2), variable(&[50, 6], 3));
    check(&[&hidden, &gates], |arithmetic| gate_hidden(arithmetic, hidden.as_tensor(), gates.as_tensor()));
}
