//! The loop: epochs of steps, with everything that is written, measured and told around them.

mod contrasts;
mod measurement;
mod pace;
mod preparation;
#[cfg(test)]
mod tests;
mod update;

use crate::data::{BatchLoader, LoaderPlan, epoch_batches};
use crate::optimizer::Adam;
use crate::report::{EpochReport, EvaluationReport, Position, TrainRequest, TrainSummary, TrainingObserver};
use crate::run::{HistoryRecord, Progress, RunDescription, RunFolder, TrainingState, WeightsFile};
use crate::step::StepInput;
use crate::{Recipe, TrainError, assembly};
use pace::Pace;
use preparation::{Prepared, prepare};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Starts a run.
///
/// `is_cancelled` is asked between steps and between the batches of an evaluation; the run then saves everything that
/// [`resume`] needs and ends.
///
/// # Errors
/// [`TrainError`], which says what to do.
pub fn train(
    request: &TrainRequest,
    observer: &mut dyn TrainingObserver,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<TrainSummary, TrainError> {
    let mut folder = preparation::start(request)?;
    let prepared = prepare(&mut folder, None);
    let checked = prepared.and_then(|prepared| {
        contrasts::check_pairs(&prepared.pairs, &folder.description().recipe)?;
        Ok(prepared)
    });
    match checked {
        Ok(prepared) => run(folder, prepared, None, observer, is_cancelled),
        Err(error) => {
            folder.abandon();
            Err(error)
        }
    }
}

/// Goes on with a run where it was saved last, bit for bit as if it had not been interrupted.
///
/// `settings` are names and values as [`Recipe::layered`] takes them. Only those are accepted that change nothing of
/// what is computed, such as `loading.threads`; the run keeps them.
///
/// # Errors
/// [`TrainError`], which says what to do.
pub fn resume(
    run_folder: &Path,
    settings: &[(String, String)],
    observer: &mut dyn TrainingObserver,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<TrainSummary, TrainError> {
    let (mut folder, state) = RunFolder::open(run_folder)?;
    if !settings.is_empty() {
        let recipe = folder.description().recipe.continued(settings)?;
        let description = RunDescription { recipe, ..folder.description().clone() };
        folder.describe(description);
    }
    let prepared = prepare(&mut folder, state.as_ref())?;
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
        adam.restore(state.progress.steps_total, &state.tensors, prepared.model.parameters())
            .map_err(|reason| folder.damaged_state(&reason))?;
        progress = state.progress;
    }
    // Nothing refuses the run any more.
    folder.begin(&prepared.shape)?;
    let pace = Pace::start(&recipe, &prepared, progress.epoch, progress.step);
    let mut training = Training { folder, recipe, prepared, adam, progress, pace, last: None, observer, is_cancelled };
    training.announce(is_resumed)?;
    training.all_epochs()
}

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
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Training<'_> {
    fn announce(&mut self, is_resumed: bool) -> Result<(), TrainError> {
        let resumed_at = is_resumed.then(|| self.position());
        let report = self.prepared.start_report(&self.recipe, resumed_at, self.is_trained());
        self.folder.append_history(&HistoryRecord::from(&report))?;
        self.observer.started(&report);
        Ok(())
    }

    fn all_epochs(mut self) -> Result<TrainSummary, TrainError> {
        let mut was_cancelled = self.evaluate_when_due()?;
        while !was_cancelled && !self.is_trained() {
            was_cancelled = self.epoch()?;
        }
        if was_cancelled {
            self.write_weights(WeightsFile::Last)?;
            self.save()?;
        }
        self.folder.draw_curves()?;
        Ok(self.summary(was_cancelled))
    }

    /// One epoch, or what is left of it; whether the run was cancelled.
    fn epoch(&mut self) -> Result<bool, TrainError> {
        let recipe = &self.recipe;
        let epoch = self.progress.epoch;
        let batches = self.batches(epoch);
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
        let (pairs, cache) = (Arc::clone(&self.prepared.pairs), Arc::clone(&self.prepared.cache));
        let mut loader = BatchLoader::start(pairs, cache, plan)?;
        let started = Instant::now();
        let mut seen = 0;
        while let Some(batch) = loader.next_batch() {
            let batch = batch?;
            if (self.is_cancelled)() {
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
            self.folder.append_history(&HistoryRecord::from(&report))?;
            self.observer.step(&report);
            self.progress.step = batch.step + 1;
            if (batch.step + 1).is_multiple_of(self.recipe.checkpoint.every_steps) {
                self.save()?;
            }
        }
        drop(loader);
        self.end_epoch(seen, started.elapsed().as_secs_f64())
    }

    /// Pairs of every step of an epoch, which counts from 0.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let recipe = &self.recipe;
        epoch_batches(&self.prepared.pairs, recipe.sampler, recipe.batch_size, recipe.seed, epoch)
    }

    /// Everything between two epochs; whether the run was cancelled. Weights and state are saved before the evaluation,
    /// which takes long and can fail.
    fn end_epoch(&mut self, pairs: usize, seconds: f64) -> Result<bool, TrainError> {
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            epochs: self.recipe.epochs,
            mean_loss: self.progress.loss_sum / self.progress.losses.max(1) as f64,
            seconds,
            pairs_per_second: pairs as f64 / seconds.max(1e-9),
            unreadable_images: self.prepared.cache.unreadable_count(),
        };
        self.folder.append_history(&HistoryRecord::from(&report))?;
        self.observer.epoch_ended(&report);
        let done = report.epoch;
        self.progress.epoch = done;
        self.progress.step = 0;
        (self.progress.loss_sum, self.progress.losses) = (0.0, 0);
        self.progress.evaluation_due =
            done.is_multiple_of(self.recipe.evaluation.every_epochs) || done == self.recipe.epochs;
        self.write_weights(WeightsFile::Last)?;
        self.save()?;
        let was_cancelled = self.evaluate_when_due()?;
        self.folder.draw_curves()?;
        Ok(was_cancelled)
    }

    fn write_weights(&self, file: WeightsFile) -> Result<(), TrainError> {
        let values = self.prepared.model.parameters().values()?;
        let named = assembly::published_names(self.recipe.method, values);
        self.folder.write_weights(file, &named, self.recipe.checkpoint.half_weights)
    }

    /// Saves everything that a continuation needs.
    fn save(&mut self) -> Result<(), TrainError> {
        self.progress.unreadable_images = self.prepared.cache.unreadable();
        self.progress.elapsed_seconds += self.pace.lap_seconds();
        let mut tensors = self.adam.state();
        let values = self.prepared.model.parameters().trained_values()?;
        tensors.extend(values.into_iter().map(|(name, values)| (format!("{}{name}", preparation::TRAINED), values)));
        self.folder.save_state(&TrainingState { progress: self.progress.clone(), tensors })
    }

    /// Whether all steps of all epochs are done.
    fn is_trained(&self) -> bool {
        self.progress.epoch >= self.recipe.epochs
    }

    /// Where the run stands: before a step, or behind all of an epoch that is still to be measured or was the last one.
    fn position(&self) -> Position {
        let Progress { epoch, step, evaluation_due, .. } = self.progress;
        if evaluation_due || self.is_trained() {
            return Position { epoch, step: self.batches(epoch.saturating_sub(1)).len() };
        }
        Position { epoch: epoch + 1, step }
    }

    fn summary(self, was_cancelled: bool) -> TrainSummary {
        let position = self.position();
        // A kill within an evaluation may have left newer weights in the file than those that these numbers are of.
        let best = self.progress.best.as_ref().filter(|_| !self.progress.evaluation_due).map(EvaluationReport::from);
        let file = if best.is_some() { WeightsFile::Best } else { WeightsFile::Last };
        TrainSummary {
            best,
            last: self.last,
            run: self.folder.path().to_owned(),
            weights: self.folder.weights_path(file),
            position,
            was_cancelled,
        }
    }
}
