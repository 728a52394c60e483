//! The published code's losses, gradients and steps, from `tests/golden/training` (`tests/golden/provenance.toml`).

use crate::model::{Model, ModelSettings};
use crate::operation::Arithmetic;
use crate::optimizer::Adam;
use crate::parameters::Parameters;
use crate::recipe::{MatchingLoss, OptimizerSettings};
use crate::step::{StepInput, StepResult, StepSettings, compute};
use crate::tower::TextBalance;
use candle_core::{DType, Device};
use descry_model::method::MODEL_PREFIX;
use ndarray::{Array1, Array2, Array4, ArrayD};
use ndarray_npy::NpzReader;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");

/// Inputs and expected outputs of one method.
struct Golden {
    pixels: Array4<f32>,
    token_ids: Array2<i64>,
    identities: Array1<i64>,
    losses: Vec<f64>,
    arrays: BTreeMap<String, ArrayD<f32>>,
}

fn golden(method: &str) -> Golden {
    let path = Path::new(GOLDEN).join("training").join(format!("{method}.npz"));
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    let names = archive.names().unwrap();
    let mut arrays = BTreeMap::new();
    for name in names.iter().filter(|name| name.contains('/')) {
        let values: ArrayD<f32> = archive.by_name(name).unwrap();
        arrays.insert(name.trim_end_matches(".npy").replace(MODEL_PREFIX, ""), values);
    }
    let losses: Array1<f64> = archive.by_name("loss").unwrap();
    Golden {
        pixels: archive.by_name("pixels").unwrap(),
        token_ids: archive.by_name("token_ids").unwrap(),
        identities: archive.by_name("person_ids").unwrap(),
        losses: losses.to_vec(),
        arrays,
    }
}

fn model(method: &str, golden: &Golden, arithmetic: Arithmetic) -> Model {
    let path = Path::new(GOLDEN).join("fixtures").join(method).join("best.pth");
    let checkpoint = descry_export::Checkpoint::open(&path).unwrap();
    let mut parameters = Parameters::new(Device::Cpu);
    for (name, values) in &checkpoint.tensors {
        if golden.arrays.contains_key(&format!("grad/{name}")) {
            parameters.add_trained(name.clone(), values).unwrap();
        } else {
            parameters.add_frozen(name.clone(), values).unwrap();
        }
    }
    let balance = if method == "dm-adapter" { TextBalance::Context } else { TextBalance::None };
    Model::new(parameters, ModelSettings { arithmetic, stride_px: 16, top_k: 2, balance }).unwrap()
}

fn step(model: &Model, golden: &Golden, threads: usize, micro_batch_size: Option<usize>) -> StepResult {
    let input = StepInput {
        pixels: golden.pixels.view(),
        token_ids: golden.token_ids.view(),
        identities: golden.identities.as_slice().unwrap(),
    };
    let settings = StepSettings {
        matching: MatchingLoss::Sdm,
        temperature: 0.02,
        balancing_weight: 0.5,
        threads,
        micro_batch_size,
    };
    compute(model, input, settings).unwrap()
}

fn distance(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    found.iter().zip(expected).map(|(&one, &other)| f64::from(one - other).powi(2)).sum::<f64>().sqrt()
}

fn norm(values: &ArrayD<f32>) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn gradient(result: &StepResult, name: &str) -> ArrayD<f32> {
    let tensor = &result.gradients[name];
    ArrayD::from_shape_vec(tensor.dims(), tensor.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

/// Compares loss and gradients of the first step with the published code's.
///
/// `resolution`: error of a gradient, as a share of all gradients' norm, below which float32 cannot tell. The random
/// UP-Person checkpoint has scores of 1e4 before the softmax and hidden units within rounding of ReLU's edge, so its
/// smallest gradients (1e-8 of the whole) are noise: PyTorch's float64 leaves the published run by up to 4 % there, its
/// float32 on another machine by up to 18 %. In the trained models and in DM-Adapter there is no such tensor.
fn check_first_step(method: &str, arithmetic: Arithmetic, threads: usize, micro_batch_size: Option<usize>) {
    let resolution = if method == "up-person" { 2e-7 } else { 0.0 };
    let golden = golden(method);
    let model = model(method, &golden, arithmetic);
    let result = step(&model, &golden, threads, micro_batch_size);
    assert!((result.loss / golden.losses[0] - 1.0).abs() < 1e-5, "{} {}", result.loss, golden.losses[0]);
    let expected = || golden.arrays.iter().filter_map(|(key, values)| Some((key.strip_prefix("grad/")?, values)));
    let whole = expected().map(|(_, values)| norm(values).powi(2)).sum::<f64>().sqrt();
    let mut compared = 0;
    for (name, expected) in expected() {
        let error = distance(&gradient(&result, name), expected);
        let allowed = (1e-3 * norm(expected)).max(resolution * whole);
        assert!(error <= allowed, "{method} {arithmetic:?} {name}: {error} of {}", norm(expected));
        compared += 1;
    }
    assert_eq!(compared, model.parameters().trained().len());
}

#[test]
fn first_loss_and_gradients_of_both_methods() {
    for method in ["dm-adapter", "up-person"] {
        check_first_step(method, Arithmetic::Fused, 1, None);
        check_first_step(method, Arithmetic::Composed { products: DType::F32 }, 1, None);
    }
}

#[test]
fn parts_on_threads_and_micro_batches_are_the_whole_batch() {
    for method in ["dm-adapter", "up-person"] {
        check_first_step(method, Arithmetic::Fused, 3, None);
        check_first_step(method, Arithmetic::Fused, 2, Some(4));
    }
}

/// A published run to repeat.
struct Run {
    method: &'static str,
    learning_rate: f64,
    bias_factor: f64,
    /// Losses that are compared, and by how much they may differ.
    losses: (usize, f64),
    /// Steps after which the parameters are compared, and by how much of the update they may differ.
    parameters: [(usize, f64); 2],
}

fn check_steps(run: Run) {
    let golden = golden(run.method);
    let model = model(run.method, &golden, Arithmetic::Fused);
    let before = model.parameters().trained_values().unwrap();
    let mut adam = Adam::new(OptimizerSettings {
        learning_rate: run.learning_rate,
        bias_learning_rate_factor: run.bias_factor,
        weight_decay: 4e-5,
        weight_decay_bias: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-3,
        gradient_clip_norm: None,
    });
    for (index, expected) in golden.losses.iter().take(run.losses.0).enumerate() {
        let result = step(&model, &golden, 2, None);
        let difference = (result.loss / expected - 1.0).abs();
        assert!(difference <= run.losses.1, "{} loss {index}: {} {expected}", run.method, result.loss);
        adam.step(model.parameters(), &result.gradients, run.learning_rate, 1.0).unwrap();
        let Some((steps, allowed)) = run.parameters.into_iter().find(|&(steps, _)| steps == index + 1) else {
            continue;
        };
        let (mut error, mut update) = (0.0, 0.0);
        for (name, values) in &model.parameters().trained_values().unwrap() {
            let expected = &golden.arrays[&format!("step{steps}/{name}")];
            error += distance(values, expected).powi(2);
            update += distance(expected, &before[name]).powi(2);
        }
        let share = (error / update).sqrt();
        assert!(share <= allowed, "{} after {steps} steps: {share} of the update", run.method);
    }
}

#[test]
fn twenty_one_steps_of_dm_adapter() {
    check_steps(Run {
        method: "dm-adapter",
        learning_rate: 3e-4,
        bias_factor: 2.0,
        losses: (21, 1e-4),
        parameters: [(1, 1e-3), (5, 1e-3)],
    });
}

/// Beyond five steps this checkpoint (see [`check_first_step`]) is chaotic: PyTorch's float32 and float64 leave the
/// published parameters by 2 % of the update after five steps and its losses by 8 % and 7 % at the ninth.
/// `docs/TRAINING.md` lists the numbers.
#[test]
fn first_steps_of_up_person() {
    check_steps(Run {
        method: "up-person",
        learning_rate: 1e-3,
        bias_factor: 1.0,
        losses: (5, 1e-3),
        parameters: [(1, 1e-2), (5, 0.1)],
    });
}
