//! `descry token create`

use super::{Kept, now_ms};
use crate::output::say;
use crate::time::{parse_span_ms, time_text};
use anyhow::Context as _;
use descry_client::timestamp;
use descry_terminal::shell;
use descry_trust::{Limits, NewToken, Scope, TokenFile};
use std::process::ExitCode;

/// Make a token, and print it once: nobody can show it again, for only a hash of it is kept.
///
/// Several tokens may be of one name, as while one replaces another.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Scopes:
  search:GALLERY   find people, list images, watch
  index:GALLERY    add images, and change what is known of them
  manage:GALLERY   make and delete galleries, generations and images, retention, legal holds, calibration
  encode           the encoder service
  admin            the service as a whole: its encoders
  audit            the audit log
None includes another, and a `*` in GALLERY stands for any letters.

Examples:
  descry token create front-desk --scope search:lobby --expires 90d > front-desk.token
  descry token create importer --scope 'index:*' --scope 'manage:*' --file /etc/descry/tokens.json")]
pub(super) struct Arguments {
    /// Whose token it is: what logs and limits call them.
    #[arg(value_name = "NAME")]
    name: String,
    /// What it allows; may be given several times.
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// From when on it is worth nothing, such as 90d, 12h or forever.
    #[arg(long, default_value = "forever", value_name = "SPAN", value_parser = parse_span_ms)]
    expires: u64,
    /// Requests a minute; 0 for no limit [default: the service's setting].
    #[arg(long, value_name = "N")]
    max_requests_per_minute: Option<u32>,
    /// Images a day that are brought to be indexed or encoded; 0 for no limit [default: the service's setting].
    #[arg(long, value_name = "N")]
    max_images_per_day: Option<u32>,
    #[command(flatten)]
    kept: Kept,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, scope: scopes, expires, max_requests_per_minute, max_images_per_day, kept } = arguments;
    let now_ms = now_ms();
    let expires_at_ms = match expires {
        0 => None,
        span_ms => {
            let at_ms = i64::try_from(span_ms).ok().and_then(|span_ms| now_ms.checked_add(span_ms));
            Some(at_ms.context("--expires is too far away")?)
        }
    };
    let limits = Limits { max_requests_per_minute, max_images_per_day };
    let new = NewToken { name, scopes, expires_at_ms, limits };
    let token = TokenFile::change(&kept.file, |file| file.add(new, now_ms))?;
    say!("{}", token.reveal());
    let until = expires_at_ms.map(|at_ms| format!(", until {}", time_text(Some(timestamp(at_ms))))).unwrap_or_default();
    // Standard output holds the token and nothing else.
    tracing::warn!(
        "token {} is in {}{until}; it is not shown again. Send it with --token-file FILE or DESCRY_TOKEN; it holds where a \
         service reads that file: descry serve --tokens {}",
        token.id(),
        kept.file.display(),
        shell::word(&kept.file)
    );
    Ok(ExitCode::SUCCESS)
}
