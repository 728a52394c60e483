//! `descry token`

mod create;
mod list;

use crate::output::say;
use clap::Subcommand;
use descry_trust::TokenFile;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Make, list and revoke the tokens with which callers prove who they are.
///
/// A service that is told of the file (`access.tokens_file` of its settings, `descry serve --tokens FILE`) takes these tokens
/// and nothing else, and follows changes of the file within seconds. docs/ACCESS.md has the scopes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry token create front-desk --scope search:lobby --expires 90d > front-desk.token
  descry token create camera-7 --scope 'index:site-*' --max-images-per-day 50000 > camera-7.token
  descry token list
  descry token revoke front-desk")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Arguments),
    List(list::Arguments),
    Revoke(RevokeArguments),
}

/// Where the tokens are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Kept {
    /// The file that the service reads: hashes of tokens, with what each allows. It is made where it is missing.
    #[arg(long, default_value = "tokens.json", value_name = "FILE")]
    file: PathBuf,
}

/// Revoke a token: from now on it is worth nothing, and streams that it began end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry token revoke front-desk
  descry token revoke 4f0c9a1b22de --file /etc/descry/tokens.json")]
struct RevokeArguments {
    /// The token's id, or a name, of which all tokens are revoked.
    #[arg(value_name = "ID|NAME")]
    token: String,
    #[command(flatten)]
    kept: Kept,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Create(arguments) => create::run(arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Revoke(arguments) => revoke(&arguments),
    }
}

fn revoke(arguments: &RevokeArguments) -> anyhow::Result<ExitCode> {
    let RevokeArguments { token, kept } = arguments;
    let count = TokenFile::change(&kept.file, |file| file.revoke(token, now_ms()))?;
    match count {
        0 => say!("{token} was revoked before"),
        1 => say!("revoked {token}"),
        count => say!("revoked the {count} tokens of {token}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
