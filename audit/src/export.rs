//! Records for people and for other programs.

use crate::AuditError;
use crate::line::Stored;
use crate::privacy::Opener;
use crate::reading::{RecordFilter, records};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, as in the log, with the name of the instance.
    Jsonl,
    /// A table; lists are JSON in a cell.
    Csv,
}

const COLUMNS: [&str; 29] = [
    "instance",
    "sequence",
    "kind",
    "begin",
    "end",
    "principal",
    "address",
    "rpc",
    "purpose",
    "case_number",
    "authorization",
    "verifier",
    "gallery",
    "generation",
    "fingerprint",
    "filter",
    "query",
    "watch",
    "accepted",
    "rejected",
    "image_ids",
    "returned",
    "calibrated_at",
    "counts",
    "status",
    "note",
    "name_key",
    "cut",
    "hash",
];

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Records that matched.
    pub records: u64,
    /// Records of which that cannot be told, as their names are hashed with a key that was not given.
    pub closed: u64,
}

#[derive(Serialize)]
struct OfInstance<'a> {
    instance: &'a str,
    #[serde(flatten)]
    stored: Stored,
}

/// Writes the matching records of some instances. Sealed words are written open where `opener` has their key. Returns how many
/// records there were.
///
/// # Errors
/// [`AuditError::File`] where a log cannot be read, [`AuditError::Output`] where `out` cannot be written.
pub fn write_records(
    instances: &[impl AsRef<Path>],
    filter: &RecordFilter,
    format: Format,
    opener: Option<&Opener>,
    out: &mut dyn Write,
) -> Result<Written, AuditError> {
    let (mut count, mut closed) = (0, 0);
    let mut each = |write: &mut dyn FnMut(&str, Stored) -> Result<(), AuditError>| {
        instances.iter().try_for_each(|instance| {
            let name = instance.as_ref().file_name().unwrap_or_default().to_string_lossy().into_owned();
            closed += records(instance.as_ref(), filter, |mut stored| {
                count += 1;
                if let Some(opener) = opener {
                    opener.open_words(&mut stored.record);
                }
                write(&name, stored)
            })?;
            Ok::<(), AuditError>(())
        })
    };
    match format {
        Format::Jsonl => {
            each(&mut |instance, stored| {
                let line = serde_json::to_string(&OfInstance { instance, stored }).map_err(Arc::new)?;
                writeln!(out, "{line}").map_err(output)
            })?;
            out.flush().map_err(output)?;
        }
        Format::Csv => {
            let mut table = csv::Writer::from_writer(out);
            table.write_record(COLUMNS).map_err(|error| output(error.into()))?;
            each(&mut |instance, stored| {
                table.write_record(cells(instance, &stored)?).map_err(|error| output(error.into()))
            })?;
            table.flush().map_err(output)?;
        }
    }
    Ok(Written { records: count, closed })
}

fn output(error: io::Error) -> AuditError {
    AuditError::Output(Arc::new(error))
}

fn cells(instance: &str, stored: &Stored) -> Result<Vec<String>, AuditError> {
    let Stored { sequence, record, hash, .. } = stored;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = vec![
        instance.to_owned(),
        sequence.to_string(),
        json_cell(&record.kind, false)?.trim_matches('"').to_owned(),
        time(record.begin_ms),
        time(record.end_ms),
        text(&record.principal),
        text(&record.address),
        text(&record.rpc),
        text(&record.purpose),
        text(&record.case_number),
        text(&record.authorization),
        text(&record.verifier),
        text(&record.gallery),
        record.generation.map(|generation| generation.to_string()).unwrap_or_default(),
        text(&record.fingerprint),
        json_cell(&record.filter, record.filter.is_none())?,
        json_cell(&record.query, record.query.is_empty())?,
        text(&record.watch),
        json_cell(&record.accepted, record.accepted.is_empty())?,
        json_cell(&record.rejected, record.rejected.is_empty())?,
        json_cell(&record.image_ids, record.image_ids.is_empty())?,
        json_cell(&record.returned, record.returned.is_empty())?,
        record.calibrated_at_ms.map(time).unwrap_or_default(),
        json_cell(&record.counts, record.counts.is_empty())?,
        text(&record.status),
        text(&record.note),
        text(&record.name_key),
        record.cut.join(" "),
        hash.clone(),
    ];
    Ok(cells.into_iter().map(harmless).collect())
}

fn json_cell(value: &impl Serialize, is_empty: bool) -> Result<String, AuditError> {
    if is_empty {
        return Ok(String::new());
    }
    Ok(serde_json::to_string(value).map_err(Arc::new)?)
}

/// A time as text, UTC.
fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

/// What callers say of themselves must not be a formula in whoever's table it is opened.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Record};

    #[test]
    fn a_table_has_a_cell_for_each_column_and_no_formula() {
        let record =
            Record { purpose: Some("=cmd()".to_owned()), gallery: Some("a,b".to_owned()), ..Record::new(Kind::Begun) };
        let stored = Stored { sequence: 3, previous: String::new(), record, hash: "h".to_owned() };
        let cells = cells("one", &stored).unwrap();
        assert_eq!(cells.len(), COLUMNS.len());
        assert_eq!((cells[2].as_str(), cells[8].as_str(), cells[12].as_str()), ("begun", "'=cmd()", "a,b"));
        assert_eq!(time(1_796_000_000_123), "2026-11-30T00:53:20.123Z");
    }
}
