//! `descry encoders`

use crate::output::{say, say_lines};
use crate::server::Server;
use descry_proto::search::v1::{Encoder, EncoderStanding};
use descry_terminal::table::{Column, Table};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show the encoders that a search service knows: which model each runs, and whether work goes to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry encoders
  descry encoders --server http://search:50052 --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let encoders = arguments.server.connect().await?.encoders().await?;
    if arguments.json {
        say!("{}", encoders.iter().map(encoder_json).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    say_lines!("{}", table(&encoders));
    for encoder in encoders.iter().filter(|encoder| !encoder.reason.is_empty()) {
        let place = if encoder.address.is_empty() { &encoder.url } else { &encoder.address };
        say!("{place}: {}", encoder.reason);
    }
    Ok(ExitCode::SUCCESS)
}

/// A line an encoder.
fn table(encoders: &[Encoder]) -> Table {
    let mut table = Table::new([
        Column::new("address").at_least(12),
        Column::new("found at").at_least(12),
        Column::new("standing"),
        Column::new("model").at_least(8),
        Column::new("in flight").right(),
        Column::new("text ms").right(),
        Column::new("image ms").right(),
        Column::new("answered").right(),
        Column::new("failed").right(),
    ]);
    for encoder in encoders {
        let is_new_galleries = if encoder.is_first_model { " (new galleries)" } else { "" };
        table.add([
            encoder.address.clone(),
            encoder.url.clone(),
            standing_text(encoder.standing()).to_owned(),
            format!("{}{is_new_galleries}", encoder.fingerprint.chars().take(12).collect::<String>()),
            encoder.in_flight.to_string(),
            latency_ms(encoder.text_latency).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}")),
            latency_ms(encoder.image_latency).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}")),
            encoder.answered_calls.to_string(),
            encoder.failed_calls.to_string(),
        ]);
    }
    table
}

fn standing_text(standing: EncoderStanding) -> &'static str {
    match standing {
        EncoderStanding::Serving => "serving",
        EncoderStanding::Full => "full",
        EncoderStanding::Suspected => "suspected",
        EncoderStanding::LeftOut => "left out",
        EncoderStanding::Unknown | EncoderStanding::Unspecified => "unknown",
    }
}

fn latency_ms(latency: Option<prost_types::Duration>) -> Option<f64> {
    latency.map(|latency| latency.seconds as f64 * 1e3 + f64::from(latency.nanos) / 1e6)
}

fn encoder_json(encoder: &Encoder) -> Value {
    json!({
        "url": encoder.url,
        "address": encoder.address,
        "standing": standing_text(encoder.standing()),
        "reason": encoder.reason,
        "fingerprint": encoder.fingerprint,
        "embedding_dimension": encoder.embedding_dimension,
        "is_first_model": encoder.is_first_model,
        "in_flight": encoder.in_flight,
        "text_latency_ms": latency_ms(encoder.text_latency),
        "image_latency_ms": latency_ms(encoder.image_latency),
        "answered_calls": encoder.answered_calls,
        "failed_calls": encoder.failed_calls,
    })
}
