//! How long a training step takes, on random images and captions: without a data set, reading or evaluation.

mod benchmark;
mod sizes;
#[cfg(test)]
mod tests;

pub use benchmark::{MeasuredModel, StepBenchmark, StepTimes};

use crate::assembly::{Assembled, assemble};
use crate::memory;
use crate::optimizer::Adam;
use crate::step::{StepInput, StepSettings, compute};
use crate::{Recipe, TrainError};
use descry_export::{Checkpoint, RunSettings, random_tensors};
use descry_model::method::clip::TOKEN_EMBEDDING;
use ndarray::{Array2, Array4, ArrayD};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use std::collections::BTreeMap;
use std::time::Instant;

const MAX_STEPS: usize = 100_000;

/// Measures training steps: similarity distribution matching and Adam on what the method trains, as in a run.
///
/// `is_cancelled` is asked between steps; what was measured until then is returned.
///
/// # Errors
/// [`TrainError`], which says what to do.
pub fn measure_steps(
    benchmark: &StepBenchmark,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<StepTimes, TrainError> {
    let (method, tensors, settings) = match &benchmark.model {
        MeasuredModel::Checkpoint { path, config } => {
            let checkpoint = match config {
                Some(config) => Checkpoint::open_with_settings(path, config)?,
                None => Checkpoint::open(path)?,
            };
            (checkpoint.method()?, checkpoint.tensors, checkpoint.settings)
        }
        MeasuredModel::Random { preset, method } => {
            (*method, random_tensors(*preset, *method, benchmark.seed)?, RunSettings::default())
        }
    };
    let recipe = sizes::recipe(benchmark, method, &tensors, &settings);
    measure(benchmark, &recipe, tensors, &settings, is_cancelled)
}

fn measure(
    benchmark: &StepBenchmark,
    recipe: &Recipe,
    tensors: BTreeMap<String, ArrayD<f32>>,
    settings: &RunSettings,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<StepTimes, TrainError> {
    recipe.validate()?;
    if !(1..=MAX_STEPS).contains(&benchmark.steps) {
        let reason = format!("is {}, expected 1 to {MAX_STEPS}", benchmark.steps);
        return Err(TrainError::Setting { name: "steps".to_owned(), reason });
    }
    // The tokenizer's size is for towers that start from nothing only.
    let Assembled { model, shape, .. } = assemble(recipe, Some(tensors), settings, 0)?;
    memory::check(recipe, &shape)?;
    let batch = RandomBatch::new(recipe, shape.vocabulary_size, benchmark.seed)?;
    let input =
        StepInput { pixels: batch.pixels.view(), token_ids: batch.token_ids.view(), identities: &batch.identities };
    let step_settings = StepSettings::from(recipe);
    let mut adam = Adam::new(recipe.optimizer.clone());
    let mut step_ms = Vec::new();
    let mut last_loss = None;
    for step in 0..=benchmark.steps {
        if is_cancelled() {
            break;
        }
        let started = Instant::now();
        let result = compute(&model, input, step_settings)?;
        adam.step(model.parameters(), &result.gradients, recipe.optimizer.learning_rate, 1.0)?;
        // A GPU is behind with what it was told; the processor has nothing left to do.
        model.parameters().device().synchronize()?;
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        last_loss = Some(result.loss);
        // The first step makes room for all that the others use again.
        if step > 0 {
            step_ms.push(milliseconds);
        }
    }
    let (trained_parameters, total_parameters) = model.parameters().counts();
    let peak_resident_bytes = memory::bytes_in("/proc/self/status", "VmHWM:");
    Ok(StepTimes { step_ms, trained_parameters, total_parameters, last_loss, peak_resident_bytes })
}

/// Images of noise and captions of any tokens: how long a step takes does not depend on what is in them.
struct RandomBatch {
    pixels: Array4<f32>,
    token_ids: Array2<i64>,
    identities: Vec<i64>,
}

impl RandomBatch {
    /// Captions end with the highest id, the end mark, in the last place: none of them is shorter than another.
    fn new(recipe: &Recipe, vocabulary_size: usize, seed: u64) -> Result<Self, TrainError> {
        let size = i64::try_from(vocabulary_size).unwrap_or(i64::MAX);
        // All ids but that of the padding and the three marks.
        let words = u64::try_from(size - 4).unwrap_or_default();
        if words == 0 {
            let reason = format!("it has {vocabulary_size} rows, which are too few for words and marks");
            return Err(TrainError::Tensor { key: TOKEN_EMBEDDING.to_owned(), reason });
        }
        let (pairs, tokens) = (recipe.batch_size, recipe.input.context_length);
        let shape = (pairs, 3, recipe.input.height_px, recipe.input.width_px);
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let pixels: Array4<f32> = Array4::from_shape_simple_fn(shape, || StandardNormal.sample(&mut generator));
        let token_ids = Array2::from_shape_fn((pairs, tokens), |(_, place)| {
            if place + 1 == tokens { size - 1 } else { 1 + (generator.next_u64() % words) as i64 }
        });
        Ok(Self { pixels, token_ids, identities: (0..pairs).map(|pair| (pair / 2) as i64).collect() })
    }
}
