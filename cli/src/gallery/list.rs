//! `descry gallery list`

use super::description::{gallery_json, index_state, retention_text, short};
use crate::output::{say, say_lines};
use crate::server::Server;
use descry_proto::search::v1::Gallery;
use descry_terminal::table::{Column, Table};
use indicatif::HumanBytes;
use serde_json::Value;
use std::process::ExitCode;

/// List the galleries.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery list
  descry gallery list --server http://other:50051 --json")]
pub(super) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let galleries = arguments.server.connect().await?.galleries().await?;
    if arguments.json {
        say!("{}", galleries.iter().map(gallery_json).collect::<Value>());
    } else if galleries.is_empty() {
        say!("no galleries; `descry index` or `descry gallery create` makes one");
    } else {
        say_lines!("{}", table(&galleries));
    }
    Ok(ExitCode::SUCCESS)
}

/// A line a gallery.
fn table(galleries: &[Gallery]) -> Table {
    let mut table = Table::new([
        Column::new("gallery").at_least(12),
        Column::new("images").right(),
        Column::new("model").at_least(8),
        Column::new("generation").right(),
        Column::new("search"),
        Column::new("memory").right(),
        Column::new("kept").at_least(8),
        Column::new("calibrated"),
    ]);
    for gallery in galleries {
        table.add([
            gallery.name.clone(),
            gallery.images.to_string(),
            short(&gallery.fingerprint),
            gallery.generation.to_string(),
            index_state(gallery).to_owned(),
            HumanBytes(gallery.bytes).to_string(),
            retention_text(gallery),
            if gallery.calibrated { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}
