//! `descry hold list`

use super::conditions::conditions;
use crate::output::{say, say_lines};
use crate::server::Target;
use crate::time::{column_time, column_title};
use descry_proto::search::v1::Hold;
use descry_terminal::table::{Column, Table};
use serde_json::{Value, json};
use std::process::ExitCode;

/// List the holds of a gallery, with what each of them keeps and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry hold list --gallery lobby
  descry hold list --gallery lobby --json")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { target, json: is_json } = arguments;
    let connection = target.connect().await?;
    let holds = match connection.holds(&target.gallery).await {
        Ok(holds) => holds,
        Err(error) => return Err(target.explained(&connection, error).await),
    };
    if is_json {
        say!("{}", holds.iter().map(hold_json).collect::<Value>());
    } else if holds.is_empty() {
        say!("gallery {} has no holds; `descry hold place` makes one", target.gallery);
    } else {
        say_lines!("{}", table(&holds));
    }
    Ok(ExitCode::SUCCESS)
}

/// A line a hold.
fn table(holds: &[Hold]) -> Table {
    let mut table = Table::new([
        Column::new("hold"),
        Column::new("images").right(),
        Column::new("keeps").at_least(12),
        Column::new("reason").at_least(12),
        Column::new(column_title("placed")),
    ]);
    for hold in holds {
        table.add([
            hold.name.clone(),
            hold.images.to_string(),
            conditions(hold.filter.as_ref()),
            hold.reason.clone(),
            column_time(hold.placed_at),
        ]);
    }
    table
}

fn hold_json(hold: &Hold) -> Value {
    json!({
        "gallery": hold.gallery,
        "name": hold.name,
        "images": hold.images,
        "keeps": conditions(hold.filter.as_ref()),
        "is_of_all": hold.filter.is_none(),
        "reason": hold.reason,
        "placed_at": hold.placed_at.map(|time| time.to_string()),
    })
}
