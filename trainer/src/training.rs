//! The loop: epochs of steps, with everything that is written, measured and told around them.

mod pace;
mod preparation;

use crate::data::{BatchLoader, LoaderPlan, epoch_batches};
use crate::evaluation::evaluate;
use crate::optimizer::{Adam, gradient_norm};
use crate::report::{
    EpochReport, EvaluationReport, Position, StepReport, TrainRequest, TrainSummary, TrainingObserver,
};
use crate::run::{MetricsRecord, Progress, RunFolder, TrainingState, WeightsFile};
use crate::schedule::learning_rate;
use crate::step::{StepInput, StepResult, StepSettings, compute};
use crate::{Recipe, TrainError, assembly};
use pace::Pace;
use preparation::{Prepared, prepare};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Starts a run.
///
/// `is_cancelled` is asked between steps; the run then saves everything that [`resume`] needs and ends.
///
/// # Errors
/// [`TrainError`], which says what to do.
pub fn train(
    request: &TrainRequest,
    observer: &mut dyn TrainingObserver,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<TrainSummary, TrainError> {
    let folder = preparation::start(request)?;
    match prepare(&folder, None) {
        Ok(prepared) => run(folder, prepared, None, observer, is_cancelled),
        Err(error) => {
            folder.abandon();
            Err(error)
        }
    }
}

/// Goes on with a run where it was saved last, bit for bit as if it had not been interrupted.
///
/// # Errors
/// [`TrainError`], which says what to do.
pub fn resume(
    run_folder: &Path,
    observer: &mut dyn TrainingObserver,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<TrainSummary, TrainError> {
    let (folder, state) = RunFolder::open(run_folder)?;
    let prepared = prepare(&folder, state.as_ref())?;
    run(folder, prepared, state, observer, is_cancelled)
}

fn run(
    folder: RunFolder,
    prepared: Prepared,
    state: Option<TrainingState>,
    observer: &mut dyn TrainingObserver,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<TrainSummary, TrainError> {
    let recipe = folder.description().recipe.clone();
    let mut adam = Adam::new(recipe.optimizer.clone());
    let mut progress = Progress::default();
    let is_resumed = state.is_some();
    if let Some(state) = state {
        adam.restore(state.progress.steps_total, &state.tensors);
        progress = state.progress;
    }
    let pace = Pace::start(&recipe, &prepared, progress.epoch, progress.step);
    let mut training = Training { folder, recipe, prepared, adam, progress, pace, last: None, observer };
    training.announce(is_resumed)?;
    training.all_epochs(is_cancelled)
}

/// Beyond it Adam's squares of gradients would be infinite in float32.
const LARGEST: f64 = 1e18;

/// A run under way.
struct Training<'a> {
    folder: RunFolder,
    recipe: Recipe,
    prepared: Prepared,
    adam: Adam,
    progress: Progress,
    pace: Pace,
    last: Option<EvaluationReport>,
    observer: &'a mut dyn TrainingObserver,
}

impl Training<'_> {
    fn announce(&mut self, is_resumed: bool) -> Result<(), TrainError> {
        let resumed_at = is_resumed.then(|| Position { epoch: self.progress.epoch + 1, step: self.progress.step });
        let report = self.prepared.start_report(&self.recipe, resumed_at);
        self.folder.append_metrics(&MetricsRecord::from(&report))?;
        self.observer.started(&report);
        Ok(())
    }

    fn all_epochs(mut self, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<TrainSummary, TrainError> {
        self.evaluate_when_due()?;
        while self.progress.epoch < self.recipe.epochs {
            if self.epoch(is_cancelled)? {
                self.write_weights(WeightsFile::Last)?;
                self.save()?;
                self.folder.draw_curves()?;
                return Ok(self.summary(true));
            }
        }
        Ok(self.summary(false))
    }

    /// One epoch, or what is left of it; whether the run was cancelled.
    fn epoch(&mut self, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<bool, TrainError> {
        let recipe = &self.recipe;
        let epoch = self.progress.epoch;
        let pairs = &self.prepared.pairs;
        let batches = epoch_batches(pairs, recipe.sampler, recipe.batch_size, recipe.seed, epoch);
        let steps = batches.len();
        let plan = LoaderPlan {
            input: recipe.input.clone(),
            augmentation: recipe.augmentation.clone(),
            loading: recipe.loading.clone(),
            batches,
            first_step: self.progress.step,
            seed: recipe.seed,
            epoch,
        };
        let mut loader = BatchLoader::start(Arc::clone(pairs), Arc::clone(&self.prepared.cache), plan)?;
        let started = Instant::now();
        let mut seen = 0;
        while let Some(batch) = loader.next_batch() {
            let batch = batch?;
            if is_cancelled() {
                return Ok(true);
            }
            let input = StepInput {
                pixels: batch.pixels.view(),
                token_ids: batch.token_ids.view(),
                identities: &batch.identities,
            };
            let report = self.step(input, batch.step, steps)?;
            self.progress.loss_sum += report.loss;
            self.progress.losses += 1;
            seen += batch.identities.len();
            self.folder.append_metrics(&MetricsRecord::from(&report))?;
            self.observer.step(&report);
            self.progress.step = batch.step + 1;
            if (batch.step + 1).is_multiple_of(self.recipe.checkpoint.every_steps) {
                self.save()?;
            }
        }
        drop(loader);
        self.end_epoch(seen, started.elapsed().as_secs_f64())?;
        Ok(false)
    }

    /// Everything between two epochs. Weights and state are saved before the evaluation, which takes long and can fail.
    fn end_epoch(&mut self, pairs: usize, seconds: f64) -> Result<(), TrainError> {
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            epochs: self.recipe.epochs,
            mean_loss: self.progress.loss_sum / self.progress.losses.max(1) as f64,
            seconds,
            pairs_per_second: pairs as f64 / seconds.max(1e-9),
            unreadable_images: self.prepared.cache.unreadable_count(),
        };
        self.folder.append_metrics(&MetricsRecord::from(&report))?;
        self.observer.epoch_ended(&report);
        let done = report.epoch;
        self.progress.epoch = done;
        self.progress.step = 0;
        (self.progress.loss_sum, self.progress.losses) = (0.0, 0);
        self.progress.evaluation_due =
            done.is_multiple_of(self.recipe.evaluation.every_epochs) || done == self.recipe.epochs;
        self.write_weights(WeightsFile::Last)?;
        self.save()?;
        self.evaluate_when_due()?;
        self.folder.draw_curves()
    }

    /// One step: gradients, checks, new weights.
    fn step(&mut self, input: StepInput<'_>, step: usize, steps: usize) -> Result<StepReport, TrainError> {
        let recipe = &self.recipe;
        let epoch = self.progress.epoch;
        let settings = StepSettings {
            matching: recipe.loss.matching,
            temperature: recipe.loss.temperature,
            balancing_weight: recipe.loss.balancing_weight,
            threads: recipe.device.threads,
            micro_batch_size: recipe.micro_batch_size,
        };
        let pairs = input.identities.len();
        let result = compute(&self.prepared.model, input, settings)
            .map_err(|error| told_as_memory(error, recipe.micro_batch_size.unwrap_or(pairs).min(pairs)))?;
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

    fn evaluate_when_due(&mut self) -> Result<(), TrainError> {
        if !self.progress.evaluation_due {
            return Ok(());
        }
        let (settings, epoch) = (&self.recipe.evaluation, self.progress.epoch);
        let started = Instant::now();
        let threads = self.recipe.device.threads;
        // What fits into memory for training fits for measuring.
        let batch_size = settings.batch_size.min(self.recipe.micro_batch_size.unwrap_or(self.recipe.batch_size));
        let metrics = evaluate(&self.prepared.model, &self.prepared.evaluation, batch_size, threads)
            .map_err(|error| told_as_memory(error, batch_size))?;
        let best = self.progress.best.as_ref().map(EvaluationReport::from);
        let is_best = best.is_none_or(|best| metrics.rank1 > best.metrics.rank1);
        let report = EvaluationReport {
            epoch,
            split: settings.split.clone(),
            metrics,
            is_best,
            seconds: started.elapsed().as_secs_f64(),
        };
        if is_best {
            self.write_weights(WeightsFile::Best)?;
            self.progress.best = Some((&report).into());
        }
        self.folder.append_metrics(&MetricsRecord::from(&report))?;
        self.observer.evaluated(&report);
        self.last = Some(report);
        self.progress.evaluation_due = false;
        self.save()
    }

    fn write_weights(&self, file: WeightsFile) -> Result<(), TrainError> {
        let values = self.prepared.model.parameters().values()?;
        let named = assembly::published_names(self.recipe.method, values);
        self.folder.write_weights(file, &named, self.recipe.checkpoint.half_weights)
    }

    /// Saves everything that a continuation needs.
    fn save(&mut self) -> Result<(), TrainError> {
        self.progress.unreadable_images = self.prepared.cache.unreadable_count();
        self.progress.elapsed_seconds += self.pace.lap_seconds();
        let mut tensors = self.adam.state();
        let values = self.prepared.model.parameters().trained_values()?;
        tensors.extend(values.into_iter().map(|(name, values)| (format!("{}{name}", preparation::TRAINED), values)));
        self.folder.save_state(&TrainingState { progress: self.progress.clone(), tensors })
    }

    fn summary(self, was_cancelled: bool) -> TrainSummary {
        let best = self.progress.best.as_ref().map(EvaluationReport::from);
        let file = if best.is_some() { WeightsFile::Best } else { WeightsFile::Last };
        TrainSummary {
            best,
            last: self.last,
            run: self.folder.path().to_owned(),
            weights: self.folder.weights_path(file),
            position: Position { epoch: (self.progress.epoch + 1).min(self.recipe.epochs), step: self.progress.step },
            was_cancelled,
        }
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

/// A device that has no room says so in its own words only.
fn told_as_memory(error: TrainError, pairs: usize) -> TrainError {
    let message = error.to_string();
    if message.to_lowercase().replace('_', " ").contains("out of memory") {
        return TrainError::OutOfMemory { pairs, suggestion: (pairs / 2).max(1), message };
    }
    error
}
