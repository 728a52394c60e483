//! `descry audit export`

use super::record_filter::RecordArguments;
use crate::output::note;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_audit::{Format, instances, write_records};
use descry_terminal::new_file;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write, stdout};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write records for other programs: JSON, an object a line, or a table.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry audit export /var/log/descry --from 2026-05-01 --before 2026-06-01 > may.jsonl
  descry audit export /var/log/descry --case 2026-117 --format csv --out case.csv")]
pub(super) struct Arguments {
    #[command(flatten)]
    records: RecordArguments,
    /// How they are written.
    #[arg(long, value_enum, default_value_t = OutputFormat::Jsonl)]
    format: OutputFormat,
    /// A new file, which its owner alone can read [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    Jsonl,
    Csv,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (filter, opener) = (arguments.records.filter()?, arguments.records.opener()?);
    let format = match arguments.format {
        OutputFormat::Jsonl => Format::Jsonl,
        OutputFormat::Csv => Format::Csv,
    };
    let mut out: Box<dyn Write> = match &arguments.out {
        None => Box::new(BufWriter::new(stdout().lock())),
        Some(path) => {
            new_file::check_folder(path)?;
            let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
            Box::new(BufWriter::new(file.with_context(|| path.display().to_string())?))
        }
    };
    let instances = instances(&arguments.records.folder)?;
    let written = write_records(&instances, &filter, format, opener.as_ref(), &mut out)?;
    note!("{} records", written.records);
    arguments.records.note_closed(written.closed);
    Ok(ExitCode::SUCCESS)
}
