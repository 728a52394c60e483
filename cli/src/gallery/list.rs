//! `descry gallery list`

use super::description::{gallery_json, index_state, retention_text, short};
use crate::output::say;
use crate::server::Server;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_proto::search::v1::Gallery;
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
        print_table(&galleries);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(galleries: &[Gallery]) {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["gallery", "images", "model", "generation", "search", "memory", "kept", "calibrated"]);
    for gallery in galleries {
        table.add_row([
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
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say!("{table}");
}
