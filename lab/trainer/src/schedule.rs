//! Learning rate over the epochs.

use crate::{OptimizerSettings, ScheduleSettings};
use std::f64::consts::PI;

/// The rate after `progress_epochs` epochs, of tensors whose factor is 1: IRRA's `LRSchedulerWithWarmup` in its mode
/// `cosine`, which both methods' published code uses.
///
/// `progress_epochs` is the current epoch's number from 0, where the rate changes with every epoch, and also counts the
/// steps of that epoch as fractions of it, where it changes with every step. The final rate is not approached where the
/// warm-up is as long as the run.
pub(crate) fn learning_rate(
    optimizer: &OptimizerSettings,
    schedule: &ScheduleSettings,
    epochs: usize,
    progress_epochs: f64,
) -> f64 {
    let full = optimizer.learning_rate;
    let warmup = schedule.warmup_epochs;
    if progress_epochs < warmup {
        let share = progress_epochs / warmup;
        return full * (schedule.warmup_factor * (1.0 - share) + share);
    }
    let falling_epochs = epochs as f64 - warmup;
    let share = if falling_epochs > 0.0 { ((progress_epochs - warmup) / falling_epochs).min(1.0) } else { 0.0 };
    schedule.final_learning_rate + (full - schedule.final_learning_rate) * 0.5 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, Recipe};
    use descry_evaluation::DatasetLayout;

    #[track_caller]
    fn check(warmup_epochs: f64, final_learning_rate: f64, epochs: usize, expected: &[(f64, f64)]) {
        let recipe = Recipe::published(Method::UpPerson, DatasetLayout::CuhkPedes);
        let schedule = ScheduleSettings { warmup_epochs, final_learning_rate, ..recipe.schedule };
        for &(progress, rate) in expected {
            let found = learning_rate(&recipe.optimizer, &schedule, epochs, progress);
            assert!((found - rate).abs() < 1e-12, "after {progress} epochs: {found}, expected {rate}");
        }
    }

    #[test]
    fn the_published_schedule() {
        // 1e-3 · (0.1 + 0.9 · e / 5), then 1e-3 · (1 + cos(π · (e - 5) / 55)) / 2.
        let half = (1.0 + (PI / 11.0).cos()) / 2.0;
        check(
            5.0,
            0.0,
            60,
            &[(0.0, 1e-4), (1.0, 2.8e-4), (4.0, 8.2e-4), (5.0, 1e-3), (10.0, half * 1e-3), (32.5, 5e-4), (60.0, 0.0)],
        );
    }

    #[test]
    fn fractions_of_an_epoch_count() {
        check(0.5, 0.0, 1, &[(0.0, 1e-4), (0.25, 5.5e-4), (0.5, 1e-3), (0.75, 5e-4), (1.0, 0.0)]);
    }

    #[test]
    fn it_ends_at_the_final_rate() {
        check(0.0, 2e-4, 4, &[(0.0, 1e-3), (2.0, 6e-4), (4.0, 2e-4), (5.0, 2e-4)]);
    }

    #[test]
    fn a_run_may_be_all_warm_up() {
        check(5.0, 0.0, 2, &[(0.0, 1e-4), (1.0, 2.8e-4)]);
        check(2.0, 0.0, 2, &[(2.0, 1e-3)]);
    }
}
