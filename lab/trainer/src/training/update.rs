//! One step of a run: gradients, checks, new weights.

use super::Training;
use crate::memory;
use crate::optimizer::gradient_norm;
use crate::report::StepReport;
use crate::run::WeightsFile;
use crate::schedule::learning_rate;
use crate::step::{StepInput, StepResult, StepSettings, compute};
use crate::{Recipe, TrainError};
use std::collections::BTreeMap;

/// Beyond it Adam's squares of gradients would be infinite in float32.
const LARGEST: f64 = 1e18;

impl Training<'_> {
    /// Moves the weights by a batch. `step` counts from 0 within the current epoch, which has `steps`.
    pub(super) fn step(&mut self, input: StepInput<'_>, step: usize, steps: usize) -> Result<StepReport, TrainError> {
        let recipe = &self.recipe;
        let epoch = self.progress.epoch;
        let settings = StepSettings::from(recipe);
        let pairs = input.identities.len();
        let result = compute(&self.prepared.model, input, settings)
            .map_err(|error| memory::shortage(error, recipe.micro_batch_size.unwrap_or(pairs).min(pairs)))?;
        let norm = gradient_norm(&result.gradients)?;
        for (what, value) in [("the loss", result.loss), ("the gradient", norm)] {
            if !value.is_finite() || value > LARGEST {
                // The weights have not moved yet, so they are worth keeping.
                self.write_weights(WeightsFile::Last)?;
                self.folder.draw_curves()?;
                return Err(TrainError::NotFinite { what, epoch: epoch + 1, step: step + 1 });
            }
        }
        let within = if recipe.schedule.every_step { step as f64 / steps as f64 } else { 0.0 };
        let rate = learning_rate(&recipe.optimizer, &recipe.schedule, recipe.epochs, epoch as f64 + within);
        let clip = recipe.optimizer.gradient_clip_norm.map_or(1.0, |longest| (longest / norm).min(1.0));
        self.adam.step(self.prepared.model.parameters(), &result.gradients, rate, clip as f32)?;
        self.progress.steps_total = self.adam.steps();
        let (pairs_per_second, seconds_left) = self.pace.step(pairs);
        Ok(StepReport {
            epoch: epoch + 1,
            epochs: recipe.epochs,
            step: step + 1,
            steps_in_epoch: steps,
            loss: result.loss,
            parts: parts(&result, recipe),
            learning_rate: rate,
            gradient_norm: norm,
            pairs_per_second,
            seconds_left,
        })
    }
}

/// The loss' parts, where it has more than one.
fn parts(result: &StepResult, recipe: &Recipe) -> BTreeMap<String, f64> {
    let mut parts = BTreeMap::from([(recipe.loss.matching.name().to_owned(), result.matching)]);
    if result.balancing > 0.0 {
        parts.insert("balancing".to_owned(), result.balancing);
    }
    parts
}
