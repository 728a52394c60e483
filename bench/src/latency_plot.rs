//! Latency over throughput, drawn as SVG.

use crate::encoder_report::RunReport;
use crate::{BenchError, LatencySummary};
use plotters::prelude::*;

const SIZE_PX: (u32, u32) = (860, 520);
const PALETTE: [[RGBColor; 3]; 2] = [
    [RGBColor(31, 119, 180), RGBColor(255, 127, 14), RGBColor(214, 39, 40)],
    [RGBColor(23, 190, 207), RGBColor(188, 189, 34), RGBColor(148, 103, 189)],
];

/// One line of the plot.
struct Line {
    label: String,
    colour: RGBColor,
    /// Items a second and milliseconds.
    points: Vec<(f64, f64)>,
}

/// Draws p50, p95 and p99 over throughput, one point a run, runs beside bulk images as lines of their own. The latency's
/// axis is logarithmic. Returns the text of an SVG file.
///
/// # Errors
/// [`BenchError::Report`], also when no run has a latency to draw.
pub fn latency_plot(runs: &[RunReport]) -> Result<String, BenchError> {
    let lines = lines(runs);
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    if points().next().is_none() {
        return Err(BenchError::Report { reason: "no request succeeded, so there is no latency to plot".to_owned() });
    }
    let mut text = String::new();
    let highest = points().map(|(throughput, _)| throughput).fold(0.0, f64::max).max(1e-3);
    let slowest = points().map(|(_, latency)| latency).fold(0.0, f64::max);
    let fastest = points().map(|(_, latency)| latency).fold(f64::INFINITY, f64::min);
    let axes = (0.0..highest * 1.08, fastest * 0.8..slowest * 1.25);
    draw(&mut text, &lines, axes).map_err(|error| BenchError::Report { reason: error.to_string() })?;
    Ok(text)
}

fn lines(runs: &[RunReport]) -> Vec<Line> {
    let quantiles: [(&str, fn(&LatencySummary) -> f64); 3] =
        [("p50", |latency| latency.p50_ms), ("p95", |latency| latency.p95_ms), ("p99", |latency| latency.p99_ms)];
    let mut lines = Vec::new();
    for (beside_bulk, palette) in [false, true].into_iter().zip(PALETTE) {
        for ((name, quantile), colour) in quantiles.into_iter().zip(palette) {
            let chosen = runs.iter().filter(|run| run.bulk_images.is_some() == beside_bulk);
            let mut points: Vec<(f64, f64)> = chosen
                .filter_map(|run| run.measured.latency.map(|latency| (run.measured.items_per_s, quantile(&latency))))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            if !points.is_empty() {
                let label = if beside_bulk { format!("{name} beside bulk images") } else { name.to_owned() };
                lines.push(Line { label, colour, points });
            }
        }
    }
    lines
}

type Axes = (std::ops::Range<f64>, std::ops::Range<f64>);

fn draw(text: &mut String, lines: &[Line], axes: Axes) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(axes.0, axes.1.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("throughput, items per second")
        .y_desc("latency, milliseconds")
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for line in lines {
        let colour = line.colour;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
            .label(line.label.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 3), (x + 14, y + 3)], colour.filled()));
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.85)).draw()?;
    area.present()?;
    Ok(())
}
