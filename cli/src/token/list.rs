//! `descry token list`

use super::{Kept, now_ms};
use crate::output::{say, say_lines};
use crate::time::{column_time, column_title};
use descry_client::timestamp;
use descry_terminal::table::{Column, Table};
use descry_trust::{TokenFile, TokenRecord};
use serde_json::{Value, json};
use std::process::ExitCode;

/// List the tokens: whose they are, what they allow, and until when.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry token list
  descry token list --file /etc/descry/tokens.json --json")]
pub(super) struct Arguments {
    #[command(flatten)]
    kept: Kept,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (file, now_ms) = (TokenFile::read(&arguments.kept.file)?, now_ms());
    if arguments.json {
        say!("{}", file.tokens().iter().map(|token| token_json(token, now_ms)).collect::<Value>());
    } else if file.tokens().is_empty() {
        say!("no tokens; `descry token create` makes one");
    } else {
        say_lines!("{}", table(file.tokens(), now_ms));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a token is worth.
fn state(token: &TokenRecord, now_ms: i64) -> &'static str {
    match token {
        TokenRecord { revoked_at_ms: Some(_), .. } => "revoked",
        TokenRecord { expires_at_ms: Some(at_ms), .. } if *at_ms <= now_ms => "expired",
        _ => "valid",
    }
}

fn scopes(token: &TokenRecord) -> Vec<String> {
    token.scopes.iter().map(ToString::to_string).collect()
}

fn table(tokens: &[TokenRecord], now_ms: i64) -> Table {
    let mut table = Table::new([
        Column::new("id").at_least(12),
        Column::new("name").at_least(8),
        Column::new("state"),
        Column::new(column_title("made")),
        Column::new(column_title("expires")),
        Column::new("scopes").at_least(16),
    ]);
    for token in tokens {
        table.add([
            token.id.clone(),
            token.name.clone(),
            state(token, now_ms).to_owned(),
            column_time(Some(timestamp(token.created_at_ms))),
            column_time(token.expires_at_ms.map(timestamp)),
            scopes(token).join(" "),
        ]);
    }
    table
}

fn token_json(token: &TokenRecord, now_ms: i64) -> Value {
    let time = |at_ms: Option<i64>| at_ms.map(|at_ms| timestamp(at_ms).to_string());
    json!({
        "id": token.id,
        "name": token.name,
        "state": state(token, now_ms),
        "scopes": scopes(token),
        "created_at": time(Some(token.created_at_ms)),
        "expires_at": time(token.expires_at_ms),
        "revoked_at": time(token.revoked_at_ms),
        "max_requests_per_minute": token.max_requests_per_minute,
        "max_images_per_day": token.max_images_per_day,
    })
}
