//! `descry audit verify`

use crate::output::say;
use descry_audit::{Anchor, Break, Verification, instances, verify};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// See whether a log is what was written: no byte changed, no line missing, none added, none in another place.
///
/// The last line's number and hash are printed. Whoever keeps them elsewhere can tell later whether all of the log was written
/// anew; `audit.anchor_file` and `audit.anchor_command` do that by themselves. Ends with 1 where something is wrong, and names
/// file and line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry audit verify /var/log/descry
  descry audit verify /var/log/descry --anchors /mnt/elsewhere/anchors.jsonl")]
pub(super) struct Arguments {
    /// Folder of the log, or that of one instance below it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// File that `audit.anchor_file` names: what was written before must have the hashes that were kept.
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Print one JSON object an instance.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let anchors = arguments.anchors.as_deref().map(Anchor::read).transpose()?.unwrap_or_default();
    let mut is_whole = true;
    for instance in instances(&arguments.folder)? {
        let found = verify(&instance, &anchors)?;
        is_whole &= found.breaks.is_empty();
        if arguments.json {
            say!("{}", found_json(&found));
        } else {
            print(&found);
        }
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(found: &Verification) {
    let Verification { instance, files, records, first, head, mended, interrupted, torn_bytes, anchors, .. } = found;
    for Break { file, line, kind, detail } in &found.breaks {
        say!("{}, line {line}: {kind}: {detail}", file.display());
    }
    if found.further_breaks > 0 {
        say!("and {} further places", found.further_breaks);
    }
    let verdict = if found.breaks.is_empty() { "whole" } else { "NOT what was written" };
    say!(
        "{instance}: {verdict}; {records} records from number {first} on in {files} files; last {} {}",
        head.sequence,
        head.hash
    );
    let notes = [
        (*anchors, "anchored hashes fit"),
        (*mended, "torn ends of killed processes, mended; what is torn was never answered"),
        (*interrupted, "times in which nothing could be written, and nothing was answered"),
        (*torn_bytes, "bytes at the end are torn; the next start of the service mends that"),
    ];
    for (count, note) in notes.into_iter().filter(|(count, _)| *count > 0) {
        say!("  {count} {note}");
    }
}

fn found_json(found: &Verification) -> serde_json::Value {
    let breaks = found.breaks.iter().map(|Break { file, line, kind, detail }| {
        json!({ "file": file, "line": line, "kind": kind.to_string(), "detail": detail })
    });
    json!({
        "instance": found.instance,
        "whole": found.breaks.is_empty(),
        "files": found.files,
        "records": found.records,
        "first": found.first,
        "head": { "sequence": found.head.sequence, "hash": found.head.hash },
        "mended": found.mended,
        "interrupted": found.interrupted,
        "torn_bytes": found.torn_bytes,
        "anchors": found.anchors,
        "breaks": breaks.collect::<Vec<_>>(),
        "further_breaks": found.further_breaks,
    })
}
