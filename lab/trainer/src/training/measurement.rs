//! How good the model is between two epochs.

use super::Training;
use crate::evaluation::evaluate;
use crate::report::EvaluationReport;
use crate::run::{HistoryRecord, WeightsFile};
use crate::{TrainError, memory};
use std::time::Instant;

impl Training<'_> {
    /// Measures the model where that is still to be done; whether the run was cancelled meanwhile. The continuation
    /// then measures it, all over again.
    pub(super) fn evaluate_when_due(&mut self) -> Result<bool, TrainError> {
        if !self.progress.evaluation_due {
            return Ok(false);
        }
        let (settings, epoch) = (&self.recipe.evaluation, self.progress.epoch);
        let started = Instant::now();
        let threads = self.recipe.device.threads;
        // What fits into memory for training fits for measuring.
        let batch_size = settings.batch_size.min(self.recipe.micro_batch_size.unwrap_or(self.recipe.batch_size));
        let (model, inputs) = (&self.prepared.model, &self.prepared.evaluation);
        let metrics = evaluate(model, inputs, batch_size, threads, self.is_cancelled)
            .map_err(|error| memory::shortage(error, batch_size))?;
        let Some(metrics) = metrics else { return Ok(true) };
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
        self.folder.append_history(&HistoryRecord::from(&report))?;
        self.observer.evaluated(&report);
        self.last = Some(report);
        self.progress.evaluation_due = false;
        self.save()?;
        Ok(false)
    }
}
