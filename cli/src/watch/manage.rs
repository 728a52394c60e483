//! `descry watch list` and `descry watch delete`

use super::description::{parts_json, words};
use crate::output::{say, say_lines};
use crate::server::Target;
use crate::time::{column_time, column_title};
use descry_proto::search::v1::{ListWatchesResponse, Watch};
use descry_terminal::table::{Column, Table};
use serde_json::{Value, json};
use std::process::ExitCode;

/// List the watches of a gallery.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry watch list --gallery lobby
  descry watch list --gallery lobby --json")]
pub(super) struct ListArguments {
    #[command(flatten)]
    target: Target,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let ListArguments { target, json: is_json } = arguments;
    let connection = target.connect().await?;
    let ListWatchesResponse { watches, unreadable, .. } = match connection.watches(&target.gallery).await {
        Ok(reply) => reply,
        Err(error) => return Err(target.explained(&connection, error).await),
    };
    if !unreadable.is_empty() {
        let names = unreadable.join(", ");
        tracing::warn!(names, "the service cannot read these watches, so they match nothing; create them again");
    }
    if is_json {
        say!("{}", watches.iter().map(watch_json).collect::<Value>());
    } else if watches.is_empty() {
        say!("gallery {} has no watches; `descry watch create` makes one", target.gallery);
    } else {
        say_lines!("{}", table(&watches));
    }
    Ok(ExitCode::SUCCESS)
}

/// A line a watch.
fn table(watches: &[Watch]) -> Table {
    let mut table = Table::new([
        Column::new("watch"),
        Column::new("least score").right(),
        Column::new("description").at_least(16),
        Column::new("conditions"),
        Column::new("model").at_least(4),
        Column::new(column_title("created")),
    ]);
    for watch in watches {
        table.add([
            watch.name.clone(),
            format!("{:.4}", watch.min_score),
            words(watch),
            if watch.filter.is_some() { "yes" } else { "none" }.to_owned(),
            watch.fingerprint.chars().take(12).collect(),
            column_time(watch.created_at),
        ]);
    }
    table
}

fn watch_json(watch: &Watch) -> Value {
    json!({
        "gallery": watch.gallery,
        "name": watch.name,
        "min_score": watch.min_score,
        "parts": parts_json(watch),
        "has_conditions": watch.filter.is_some(),
        "fingerprint": watch.fingerprint,
        "created_at": watch.created_at.map(|time| time.to_string()),
    })
}

/// Delete a watch.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry watch delete red-hoodie --gallery lobby")]
pub(super) struct DeleteArguments {
    /// The watch.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn delete(arguments: DeleteArguments) -> anyhow::Result<ExitCode> {
    let DeleteArguments { name, target } = arguments;
    target.connect().await?.delete_watch(&target.gallery, &name).await?;
    say!("deleted watch {name} of gallery {}", target.gallery);
    Ok(ExitCode::SUCCESS)
}
