//! `descry gallery calibrate`

use super::description::short;
use crate::captions::{Caption, read_captions};
use crate::output::say;
use crate::progress;
use crate::server::Server;
use descry_proto::search::v1::{CalibrateRequest, calibrate_request};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Learn what scores of a gallery mean, so that hits come with probabilities.
///
/// Captions describe people who are not in the gallery, or with a person_id people who are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery calibrate lobby --captions strangers.txt
  descry gallery calibrate lobby --captions captions.jsonl --json

A line of captions.jsonl: \"a man in a red hoodie\", or {\"text\": \"a man in a red hoodie\", \"person_id\": \"17\"}")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Captions: .txt with one a line, or .jsonl with strings or objects of text and person_id.
    #[arg(long, value_name = "FILE")]
    captions: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let captions = read_captions(&arguments.captions)?;
    anyhow::ensure!(!captions.is_empty(), "{} has no captions", arguments.captions.display());
    let captions =
        captions.into_iter().map(|Caption { text, person_id }| calibrate_request::Caption { text, person_id });
    let request = CalibrateRequest { gallery: arguments.name.clone(), captions: captions.collect() };
    let connection = arguments.server.connect().await?;
    let spinner = progress::spinner("calibrating");
    let calibrated = connection.calibrate(request).await;
    spinner.finish_and_clear();
    let calibration = calibrated?;
    let (background, labelled) = (calibration.background_captions, calibration.labelled_captions);
    if arguments.json {
        let report = json!({
            "gallery": arguments.name,
            "fingerprint": calibration.fingerprint,
            "background_captions": background,
            "labelled_captions": labelled,
            "calibrated_at": calibration.calibrated_at.map(|time| time.to_string()),
        });
        say!("{report}");
    } else {
        let model = short(&calibration.fingerprint);
        say!(
            "gallery {} is calibrated for model {model}, with {background} captions of strangers and {labelled} of people \
             who are in it",
            arguments.name
        );
    }
    Ok(ExitCode::SUCCESS)
}
