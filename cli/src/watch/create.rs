//! `descry watch create`

use crate::filter::FilterArguments;
use crate::output::say;
use crate::server::Target;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{CreateWatchRequest, QueryPart};
use std::process::ExitCode;

/// Register a description against which newly indexed images are matched.
///
/// Which score is similar enough depends on the model: `descry search` with the same description shows what hits score.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry watch create red-hoodie \"a man in a red hoodie\" --gallery lobby --min-score 0.35
  descry watch create purple-coat \"a woman in a purple coat\" --gallery lobby --min-score 0.4 --camera c2")]
pub(super) struct Arguments {
    /// Name of the watch: small letters, digits, '-' and '_'.
    #[arg(value_name = "NAME")]
    name: String,
    /// The description.
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// No match below this cosine similarity.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: f32,
    #[command(flatten)]
    filter: FilterArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, text, target, min_score, filter } = arguments;
    // Unquoted words are one description, as people type it.
    let parts = vec![QueryPart { what: Some(What::Text(text.join(" "))), weight: None }];
    let request =
        CreateWatchRequest { gallery: target.gallery.clone(), name, parts, min_score, filter: filter.filter()? };
    let connection = target.connect().await?;
    let watch = match connection.create_watch(request).await {
        Ok(watch) => watch,
        Err(error) => return Err(target.explained(&connection, error).await),
    };
    say!(
        "watch {} of gallery {}; `descry watch follow --gallery {}` shows its matches",
        watch.name,
        watch.gallery,
        watch.gallery
    );
    Ok(ExitCode::SUCCESS)
}
