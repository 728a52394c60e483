//! An export with everything that belongs to it: ranges of activations, and the check of the bundle.

use crate::activation_ranges::{CalibrationSet, observe_ranges};
use crate::{model, progress};
use anyhow::Context as _;
use descry_export::{Export, ExportRequest, ExportStep, StagedBundle};
use descry_model::Manifest;
use std::path::PathBuf;

/// Exports, verifies and publishes a bundle.
pub(crate) async fn export_verified(request: ExportRequest, calibrate: Option<PathBuf>) -> anyhow::Result<Manifest> {
    Ok(export_staged(request, calibrate).await?.publish()?)
}

/// Exports and verifies a bundle that disappears again unless it is published.
pub(crate) async fn export_staged(request: ExportRequest, calibrate: Option<PathBuf>) -> anyhow::Result<StagedBundle> {
    let spinner = progress::spinner("");
    let display = spinner.clone();
    let staged = tokio::task::spawn_blocking(move || -> anyhow::Result<StagedBundle> {
        let show = |step| display.set_message(describe(step));
        let export = Export::read(&request, show)?;
        let (ranges, golden_inputs) = match &calibrate {
            Some(folder) => {
                let (ranges, golden_inputs) = observe_ranges(&export, &CalibrationSet::find(folder)?, &display)?;
                (Some(ranges), golden_inputs)
            }
            None => (None, None),
        };
        Ok(export.with_golden_inputs(golden_inputs).write(ranges.as_ref(), show)?)
    })
    .await
    .context("exporting")??;
    spinner.set_message("verifying: the towers must repeat the unmerged weights' outputs");
    let staged = model::verify(staged).await.context("the bundle was not written: it failed its verification")?;
    spinner.finish_and_clear();
    Ok(staged)
}

fn describe(step: ExportStep) -> &'static str {
    match step {
        ExportStep::Read => "reading the checkpoint",
        ExportStep::Merge => "merging",
        ExportStep::Goldens => "evaluating the unmerged weights",
        ExportStep::Write => "writing the bundle",
    }
}
