//! Latency over throughput, drawn as SVG.

use crate::encoder_report::RunReport;
use crate::{BenchError, LatencySummary};
use plotters::prelude::*;

const SIZE_PX: (u32, u32) = (860, 520);
/// Whatever font the viewer has.
const FONT: &str = "sans-serif";
const FONT_PX: i32 = 16;
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

#[derive(Debug, Clone, Copy)]
enum Quantile {
    P50,
    P95,
    P99,
}

impl Quantile {
    const ALL: [Self; 3] = [Self::P50, Self::P95, Self::P99];

    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    fn of(self, latency: &LatencySummary) -> f64 {
        match self {
            Self::P50 => latency.p50_ms,
            Self::P95 => latency.p95_ms,
            Self::P99 => latency.p99_ms,
        }
    }
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
    let mut lines = Vec::new();
    for (beside_bulk, palette) in [false, true].into_iter().zip(PALETTE) {
        for (quantile, colour) in Quantile::ALL.into_iter().zip(palette) {
            let chosen = runs.iter().filter(|run| run.bulk_images.is_some() == beside_bulk);
            let mut points: Vec<(f64, f64)> = chosen
                .filter_map(|run| run.measured.latency.map(|latency| (run.measured.items_per_s, quantile.of(&latency))))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            if !points.is_empty() {
                let label = if beside_bulk {
                    format!("{} beside bulk images", quantile.name())
                } else {
                    quantile.name().to_owned()
                };
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
        .label_style((FONT, FONT_PX))
        .axis_desc_style((FONT, FONT_PX))
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
    chart
        .configure_series_labels()
        .label_font((FONT, FONT_PX))
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.mix(0.85))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadShape;
    use crate::encoder_report::{ItemKind, LoadMeasurement};
    use roxmltree::Document;
    use std::collections::BTreeMap;

    fn measurement(items_per_s: f64, latency_ms: Option<f64>) -> LoadMeasurement {
        let latency = latency_ms.map(|p50_ms| LatencySummary {
            count: 100,
            mean_ms: p50_ms,
            p50_ms,
            p95_ms: 2.0 * p50_ms,
            p99_ms: 3.0 * p50_ms,
            max_ms: 9.0 * p50_ms,
        });
        LoadMeasurement {
            kind: ItemKind::Text,
            elapsed_s: 1.0,
            items_per_s,
            requests_ok: 100,
            requests_failed: BTreeMap::new(),
            requests_shed: 0,
            items_ok: 100,
            items_failed: BTreeMap::new(),
            latency,
            timings: None,
        }
    }

    fn run(items_per_s: f64, latency_ms: Option<f64>, beside_bulk: bool) -> RunReport {
        RunReport {
            load: LoadShape::Closed { callers: 1 },
            measured: measurement(items_per_s, latency_ms),
            bulk_images: beside_bulk.then(|| measurement(5.0, Some(900.0))),
            process: None,
        }
    }

    /// Checks the lines' names and the number of points of all lines together.
    fn check(runs: &[RunReport], labels: &[&str], points: usize) {
        let text = latency_plot(runs).unwrap();
        let svg = Document::parse(&text).unwrap();
        let texts: Vec<&str> = svg
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .filter_map(|node| node.text())
            .map(str::trim)
            .filter(|text| text.starts_with('p'))
            .collect();
        assert_eq!(texts, labels);
        assert_eq!(svg.descendants().filter(|node| node.has_tag_name("circle")).count(), points);
    }

    #[test]
    fn every_quantile_is_a_line_over_all_runs() {
        let runs = [run(10.0, Some(8.0), false), run(60.0, Some(30.0), false), run(70.0, Some(400.0), false)];
        check(&runs, &["p50", "p95", "p99"], 9);
        check(&runs[..1], &["p50", "p95", "p99"], 3);
    }

    #[test]
    fn runs_beside_bulk_images_are_lines_of_their_own() {
        let runs = [run(10.0, Some(8.0), false), run(9.0, Some(50.0), true)];
        let beside = ["p50 beside bulk images", "p95 beside bulk images", "p99 beside bulk images"];
        check(&runs, &[&["p50", "p95", "p99"][..], &beside[..]].concat(), 6);
    }

    #[test]
    fn runs_without_answers_are_no_points() {
        check(&[run(10.0, Some(8.0), false), run(0.0, None, false)], &["p50", "p95", "p99"], 3);
        assert!(latency_plot(&[run(0.0, None, false)]).unwrap_err().to_string().contains("no request succeeded"));
    }
}
