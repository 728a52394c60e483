//! The table of `descry bench encoder`.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_bench::{EncoderReport, Failure, ItemKind, LoadMeasurement, LoadShape, ModelSummary, RunReport};
use descry_terminal::{say, say_lines};

const HEADER: [&str; 13] = [
    "load",
    "sent",
    "items/s",
    "answered",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "max ms",
    "batch",
    "queue ms",
    "prepare ms",
    "run ms",
    "cores",
];

/// Prints what was measured, then what failed.
pub(super) fn print(report: &EncoderReport) {
    say!("{}", model_line(&report.model));
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    for run in &report.runs {
        let cores = run.process.map_or_else(|| "unknown".to_owned(), |process| format!("{:.2}", process.cpu_cores));
        let beside = if run.bulk_images.is_some() { " beside bulk" } else { "" };
        let sent = format!("{}{beside}", items_name(run.measured.kind));
        table.add_row(row(load_name(run.load), sent, &run.measured, cores));
        if let Some(bulk) = &run.bulk_images {
            table.add_row(row(String::new(), "bulk images".to_owned(), bulk, String::new()));
        }
    }
    for position in 2..HEADER.len() {
        if let Some(column) = table.column_mut(position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say_lines!("{table}");
    if let Some(process) = report.runs.iter().rev().find_map(|run| run.process) {
        let whose = if process.includes_load_generator { "service and load generator" } else { "service" };
        let peak_mib = process.peak_resident_bytes as f64 / f64::from(1 << 20);
        say!("{whose}: at most {peak_mib:.0} MiB resident");
    }
    report.runs.iter().for_each(print_failures);
    if report.interrupted {
        say!("interrupted: the last run is shorter than asked for");
    }
}

fn model_line(model: &ModelSummary) -> String {
    let fingerprint: String = model.fingerprint.chars().take(12).collect();
    let mut line = format!("{} model {fingerprint}, {} on {}", model.family, model.precision, model.execution_provider);
    if !model.device_precision.is_empty() {
        line += &format!(", computed in {}", model.device_precision);
    }
    if !model.requested_device.is_empty() {
        line += &format!(", asked for {}", model.requested_device);
    }
    if !model.fallback_reason.is_empty() {
        line += &format!(" ({})", model.fallback_reason);
    }
    line
}

fn row(load: String, sent: String, measured: &LoadMeasurement, cores: String) -> Vec<String> {
    let unknown = || "unknown".to_owned();
    let latency = measured.latency.map_or_else(
        || [unknown(), unknown(), unknown(), unknown()],
        |latency| [latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms].map(|value| format!("{value:.1}")),
    );
    let timings = measured.timings.as_ref().map_or_else(
        || [unknown(), unknown(), unknown(), unknown()],
        |timings| {
            [timings.mean_batch_size, timings.mean_queue_ms, timings.mean_prepare_ms, timings.mean_run_ms]
                .map(|value| format!("{value:.1}"))
        },
    );
    let first = [load, sent, format!("{:.1}", measured.items_per_s), measured.requests_ok.to_string()];
    first.into_iter().chain(latency).chain(timings).chain([cores]).collect()
}

fn load_name(load: LoadShape) -> String {
    match load {
        LoadShape::Closed { callers: 1 } => "1 caller".to_owned(),
        LoadShape::Closed { callers } => format!("{callers} callers"),
        LoadShape::Open { requests_per_s } => format!("{requests_per_s} requests/s"),
    }
}

fn items_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Text => "texts",
        ItemKind::Image => "images",
    }
}

fn print_failures(run: &RunReport) {
    for measured in [Some(&run.measured), run.bulk_images.as_ref()].into_iter().flatten() {
        let whose = format!("{}, {}", load_name(run.load), items_name(measured.kind));
        for (code, Failure { count, first_message }) in &measured.requests_failed {
            say!("{whose}: {count} requests failed with {code}: {first_message}");
        }
        for (code, Failure { count, first_message }) in &measured.items_failed {
            say!("{whose}: {count} items failed with {code}: {first_message}");
        }
        if measured.requests_shed > 0 {
            let shed = measured.requests_shed;
            say!("{whose}: {shed} arrivals shed, more than --max-unanswered requests were waiting");
        }
    }
}
