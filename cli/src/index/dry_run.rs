//! `descry index --dry-run`: what would be sent.

use crate::job_display::print_failures;
use crate::output::say;
use crate::progress;
use anyhow::Context as _;
use descry_client::{ClientError, Survey};
use indicatif::HumanBytes;
use serde_json::json;
use std::process::ExitCode;

/// Looks through the inputs, and tells what is there.
pub(super) async fn run(
    look: impl FnOnce() -> Result<Survey, ClientError> + Send + 'static,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let spinner = progress::spinner("reading the inputs");
    let survey = tokio::task::spawn_blocking(look).await;
    spinner.finish_and_clear();
    let survey = survey.context("reading the inputs")??;
    if is_json {
        print_json(&survey);
    } else {
        print_sentences(&survey);
    }
    Ok(if survey.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(survey: &Survey) {
    let report = json!({
        "dry_run": true,
        "images": survey.images,
        "bytes": survey.bytes,
        "failures": survey.problems,
        "failed": survey.first_problems,
        "metadata_without_image": survey.unused_metadata,
    });
    say!("{report}");
}

fn print_sentences(survey: &Survey) {
    let Survey { images, bytes, problems, first_problems, unused_metadata, first_unused_metadata } = survey;
    say!("{images} images with {} would be sent, {problems} have problems", HumanBytes(*bytes));
    print_failures(first_problems, *problems);
    if let Some(first) = first_unused_metadata {
        say!("{unused_metadata} metadata records belong to no image; the first names {first:?}");
    }
}
