//! What a measurement shows while it runs, and leaves.

use crate::bench::json_output::JsonArguments;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_gallery_bench::ReportRow;
use descry_terminal::{say, say_lines};
use indicatif::ProgressBar;
use serde::Serialize;
use std::process::ExitCode;

const HEADER: [&str; 4] = ["what", "found", "unit", "target"];

/// Shows how much of a stage is done.
pub(super) fn show_progress(bar: &ProgressBar, stage: &str, done: u64, total: u64) {
    if bar.message() != stage {
        bar.set_message(stage.to_owned());
        bar.reset_eta();
    }
    bar.set_length(total);
    bar.set_position(done);
}

/// Prints the table, or writes the report as JSON.
pub(super) fn publish(
    json: &JsonArguments,
    report: &impl Serialize,
    rows: &[ReportRow],
    interrupted: bool,
) -> anyhow::Result<ExitCode> {
    if !json.is_standard_output() {
        print_table(rows);
        if interrupted {
            say!("interrupted: not all was measured");
        }
    }
    json.write(report)?;
    Ok(ExitCode::SUCCESS)
}

fn print_table(rows: &[ReportRow]) {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    for ReportRow { what, value, unit, target } in rows {
        let target = target.map(|target| target.to_string()).unwrap_or_default();
        table.add_row([what.clone(), number(*value), (*unit).to_owned(), target]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say_lines!("{table}");
}

/// Three or four digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        1_000.0.. => 0,
        100.0.. => 1,
        1.0.. => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_count() {
        let found = [12_345.6, 123.45, 1.239, 0.9995, -0.05].map(number);
        assert_eq!(found, ["12346", "123.5", "1.24", "0.9995", "-0.0500"]);
    }
}
