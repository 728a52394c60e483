//! `descry audit search`

use super::record_filter::RecordArguments;
use crate::output::say_lines;
use crate::time::{column_time, column_title};
use descry_audit::{Asked, Opener, Record, Stored, instances, records};
use descry_client::timestamp;
use descry_terminal::table::{Column, Table};
use std::process::ExitCode;

/// Records that are shown; a table of more is for `descry audit export`.
const SHOWN: usize = 1_000;

/// Letters of a query that are shown.
const SHOWN_LETTERS: usize = 60;

/// Find records: what somebody did, who saw an image, what a gallery was used for.
///
/// Shows the newest records that match in a table; `descry audit export` has all of what they say.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry audit search /var/log/descry --principal anna --from 2026-05-01
  descry audit search /var/log/descry --image door/17.jpg
  descry audit search /var/log/descry --person 4711 --name-key name.key
  descry audit search /var/log/descry --purpose theft --key audit.key")]
pub(super) struct Arguments {
    #[command(flatten)]
    records: RecordArguments,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (filter, opener) = (arguments.records.filter()?, arguments.records.opener()?);
    let (mut found, mut passed_over, mut closed) = (std::collections::VecDeque::new(), 0_u64, 0);
    for instance in instances(&arguments.records.folder)? {
        closed += records(&instance, &filter, |stored| {
            found.push_back(row(&stored, opener.as_ref()));
            if found.len() > SHOWN {
                found.pop_front();
                passed_over += 1;
            }
            Ok(())
        })?;
    }
    let mut table = Table::new([
        Column::new(column_title("time")),
        Column::new("what"),
        Column::new("who").at_least(6),
        Column::new("gallery").at_least(6),
        Column::new("purpose").at_least(8),
        Column::new("status"),
        Column::new("told").right(),
        Column::new("asked").at_least(12),
    ]);
    found.into_iter().for_each(|row| table.add(row));
    say_lines!("{table}");
    if passed_over > 0 {
        say_lines!("{passed_over} earlier records are not shown; `descry audit export` has all of them");
    }
    arguments.records.note_closed(closed);
    Ok(ExitCode::SUCCESS)
}

fn row(stored: &Stored, opener: Option<&Opener>) -> [String; 8] {
    let Record { end_ms, principal, address, gallery, purpose, status, returned, .. } = &stored.record;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let method = stored.record.rpc.as_deref().and_then(|rpc| rpc.rsplit('/').next()).map(str::to_owned);
    let kind = format!("{:?}", stored.record.kind).to_lowercase();
    [
        column_time(Some(timestamp(*end_ms))),
        match method {
            Some(method) if kind == "request" => method,
            Some(method) => format!("{method} ({kind})"),
            None => kind,
        },
        principal.clone().or_else(|| address.clone()).unwrap_or_default(),
        text(gallery),
        text(purpose),
        text(status),
        returned.len().to_string(),
        asked(&stored.record, opener),
    ]
}

/// What was looked for, as far as it can be read.
fn asked(record: &Record, opener: Option<&Opener>) -> String {
    let part = |asked: &Asked| match asked {
        Asked::Text(text) => text.clone(),
        Asked::SealedText(sealed) => {
            opener.and_then(|opener| opener.open(sealed).ok()).unwrap_or_else(|| "(sealed)".to_owned())
        }
        Asked::HashedText(_) => "(hashed)".to_owned(),
        Asked::ImageSha256(_) => "(an image)".to_owned(),
        Asked::ImageId(image_id) => image_id.clone(),
        Asked::EmbeddingSha256(_) => "(an embedding)".to_owned(),
    };
    let parts: Vec<String> = record.query.iter().map(|asked| part(&asked.asked)).collect();
    parts.join(" + ").chars().take(SHOWN_LETTERS).collect()
}
