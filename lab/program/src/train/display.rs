//! A run's progress: a bar for each epoch on a terminal, lines that stay on standard output.

use descry_terminal::say;
use descry_trainer::{EpochReport, EvaluationReport, StartReport, StepReport, TrainingObserver};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::time::Duration;

/// Shows what a run tells.
#[derive(Debug, Default)]
pub(super) struct Display {
    /// The current epoch's.
    bar: Option<ProgressBar>,
}

impl Display {
    /// Takes the bar away, whatever it shows.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl TrainingObserver for Display {
    fn started(&mut self, report: &StartReport) {
        say!(
            "{}: {} of {} parameters are trained ({:.2} %)",
            report.method,
            report.trained_parameters,
            report.total_parameters,
            report.trained_share() * 100.0
        );
        say!("{} pairs, {} images, {} people", report.pairs, report.images, report.identities);
        let StartReport { epochs, steps_per_epoch, device, threads, .. } = report;
        say!("{epochs} epochs of {steps_per_epoch} steps on {device}, {threads} threads");
        match report.resumed_at {
            Some(_) if report.is_trained => say!("all {epochs} epochs are trained already"),
            Some(position) => say!("going on in epoch {} after {} steps", position.epoch, position.step),
            None => {}
        }
    }

    fn step(&mut self, report: &StepReport) {
        let bar = self.bar.get_or_insert_with(|| epoch_bar(report));
        bar.set_position(report.step as u64);
        let left = human(report.seconds_left);
        bar.set_message(format!("loss {:.4}, {:.1} pairs/s, {left} left", report.loss, report.pairs_per_second));
    }

    fn epoch_ended(&mut self, report: &EpochReport) {
        self.clear();
        let EpochReport { epoch, epochs, mean_loss, seconds, pairs_per_second, unreadable_images } = report;
        let unreadable = match unreadable_images {
            0 => String::new(),
            count => format!(", {count} images cannot be read"),
        };
        let time = human(*seconds);
        say!("epoch {epoch}/{epochs}  loss {mean_loss:.4}  {pairs_per_second:.1} pairs/s  {time}{unreadable}");
    }

    fn evaluated(&mut self, report: &EvaluationReport) {
        let best = if report.is_best { "  (best so far)" } else { "" };
        say!("  {}  {}{best}", report.split, qualities(report));
    }
}

/// The retrieval numbers in one line.
pub(super) fn qualities(report: &EvaluationReport) -> String {
    let metrics = &report.metrics;
    format!(
        "Rank-1 {:.2}  Rank-5 {:.2}  Rank-10 {:.2}  mAP {:.2}  mINP {:.2}",
        metrics.rank1, metrics.rank5, metrics.rank10, metrics.map, metrics.minp
    )
}

fn epoch_bar(report: &StepReport) -> ProgressBar {
    let bar = ProgressBar::new(report.steps_in_epoch as u64);
    let template = "{prefix} [{bar:24}] {pos}/{len} {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(format!("epoch {}/{}", report.epoch, report.epochs));
    bar
}

fn human(seconds: f64) -> String {
    // A speed of zero gives an endless time, which is no duration.
    let duration = Duration::try_from_secs_f64(seconds.min(1e9)).unwrap_or_default();
    format!("{:#}", HumanDuration(duration))
}
