//! `descry index --dry-run`: what would be sent.

use crate::job_display::{inputs_json, print_failures, print_inputs};
use crate::output::say;
use crate::progress;
use anyhow::Context as _;
use descry_client::{ClientError, Survey};
use indicatif::HumanBytes;
use serde_json::{Value, json};
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
    Ok(if survey.problems == 0 && survey.images > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(survey: &Survey) {
    let mut report = inputs_json(&survey.inputs);
    let fields = [
        ("dry_run", json!(true)),
        ("images", json!(survey.images)),
        ("bytes", json!(survey.bytes)),
        ("failures", json!(survey.problems)),
        ("failed", json!(survey.first_problems)),
    ];
    report.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    say!("{}", Value::Object(report));
}

fn print_sentences(survey: &Survey) {
    let Survey { images, bytes, problems, first_problems, inputs } = survey;
    say!("{images} images with {} would be sent, {problems} have problems", HumanBytes(*bytes));
    print_failures(first_problems, *problems);
    print_inputs(inputs);
    if *images == 0 {
        say!("nothing would be sent: no image can be read");
    }
}
