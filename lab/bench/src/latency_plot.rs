//! Latency over throughput, drawn as SVG.

use crate::encoder_report::{ItemKind, RunReport};
use crate::{BenchError, LatencySummary, LoadShape};
use plotters::coord::Shift;
use plotters::coord::combinators::BindKeyPoints as _;
use plotters::prelude::*;
use std::ops::Range;

const SIZE_PX: (u32, u32) = (860, 560);
/// Title and names of the lines, which cover no point up there.
const HEAD_PX: i32 = 64;
const MARGIN_PX: i32 = 16;
const AXIS_PX: i32 = 64;
/// A letter's width, on average, of a font that nobody knows before the picture is shown.
const LETTER_PX: i32 = 8;
/// Between a point and the name of its load, and between such names.
const LABEL_PX: i32 = 16;
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
    /// The load of each point; of one line only, because a run's points stand above each other.
    loads: Vec<String>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

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

/// Draws p50, p95 and p99 over throughput, one point a run with the load that made it, runs beside bulk images as lines of
/// their own. The latency's axis is logarithmic. Returns the text of an SVG file.
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
    let title = title(runs);
    draw(&mut text, &title, &lines, axes).map_err(|error| BenchError::Report { reason: error.to_string() })?;
    Ok(text)
}

fn lines(runs: &[RunReport]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (beside_bulk, palette) in [false, true].into_iter().zip(PALETTE) {
        for (quantile, colour) in Quantile::ALL.into_iter().zip(palette) {
            let chosen = runs.iter().filter(|run| run.bulk_images.is_some() == beside_bulk);
            let mut points: Vec<(f64, f64, String)> = chosen
                .filter_map(|run| {
                    let latency = quantile.of(&run.measured.latency?);
                    Some((run.measured.items_per_s, latency, load(run.load)))
                })
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let loads = points.iter().map(|(.., load)| load.clone()).filter(|_| matches!(quantile, Quantile::P50));
            let loads: Vec<String> = loads.collect();
            let points: Vec<(f64, f64)> =
                points.into_iter().map(|(throughput, latency, _)| (throughput, latency)).collect();
            if !points.is_empty() {
                let label = if beside_bulk {
                    format!("{} beside bulk images", quantile.name())
                } else {
                    quantile.name().to_owned()
                };
                lines.push(Line { label, colour, points, loads });
            }
        }
    }
    lines
}

/// What was measured.
fn title(runs: &[RunReport]) -> String {
    let has = |kind: ItemKind| runs.iter().any(|run| run.measured.kind == kind);
    let items = match (has(ItemKind::Text), has(ItemKind::Image)) {
        (true, false) => ", texts",
        (false, true) => ", images",
        _ => "",
    };
    format!("Encoder: latency over throughput{items}")
}

fn load(load: LoadShape) -> String {
    match load {
        LoadShape::Closed { callers: 1 } => "1 caller".to_owned(),
        LoadShape::Closed { callers } => format!("{callers} callers"),
        LoadShape::Open { requests_per_s } => format!("{requests_per_s:.0}/s"),
    }
}

/// Round values on a logarithmic axis: 1, 2 and 5 of each power of ten, fewer where there are many powers, more where the
/// whole axis is within one.
fn ticks(values: &Range<f64>) -> Vec<f64> {
    let first = values.start.log10().floor() as i32;
    let last = values.end.log10().ceil() as i32;
    let powers = last - first;
    let with = |steps: &[f64]| -> Vec<f64> {
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| values.contains(tick)).collect()
    };
    let coarse = if powers > 5 { with(&[1.0]) } else { with(&[1.0, 2.0, 5.0]) };
    if coarse.len() >= 3 {
        return coarse;
    }
    let fine = with(&[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    if !fine.is_empty() {
        return fine;
    }
    // Between two of these: even steps of a round width.
    let width = values.end - values.start;
    let power = 10_f64.powi((width / 3.0).log10().floor() as i32);
    let step = [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| width / step < 6.0).unwrap_or(width);
    let from = (values.start / step).ceil() as i64;
    (from..from + 6).map(|count| count as f64 * step).filter(|tick| values.contains(tick)).collect()
}

/// As many digits as there are: ticks are round.
fn tick_label(value: &f64) -> String {
    let digits = (2 - value.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

type Axes = (Range<f64>, Range<f64>);

fn draw(text: &mut String, title: &str, lines: &[Line], axes: Axes) -> Outcome {
    let area = SVGBackend::with_string(text, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, plot) = area.split_vertically(HEAD_PX);
    draw_head(&head, title, lines)?;
    let ticks = ticks(&axes.1);
    let tick_count = ticks.len();
    let mut chart = ChartBuilder::on(&plot)
        .margin(MARGIN_PX)
        .margin_top(6)
        .x_label_area_size(44)
        .y_label_area_size(AXIS_PX)
        .build_cartesian_2d(axes.0, axes.1.log_scale().with_key_points(ticks))?;
    chart
        .configure_mesh()
        .x_desc("throughput, items per second")
        .y_desc("latency, milliseconds")
        .y_labels(tick_count)
        .y_label_formatter(&tick_label)
        .label_style((FONT, FONT_PX))
        .axis_desc_style((FONT, FONT_PX))
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    // Where names of loads stand already, in pixels.
    let mut taken: Vec<(i32, i32, i32)> = Vec::new();
    for line in lines {
        let colour = line.colour;
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
        for (&point, load) in line.points.iter().zip(&line.loads) {
            let (x, y) = chart.backend_coord(&point);
            let width = load.chars().count() as i32 * LETTER_PX;
            let right = SIZE_PX.0 as i32 - MARGIN_PX;
            let left = (x - width / 2).min(right - width).max(MARGIN_PX + AXIS_PX);
            let mut top = y + LABEL_PX / 2;
            while taken
                .iter()
                .any(|&(other, end, at)| left < end && other < left + width && (top - at).abs() < LABEL_PX)
            {
                top += LABEL_PX;
            }
            taken.push((left, left + width, top));
            // The area's own pixels begin below the head.
            let at = (left, top - HEAD_PX);
            plot.draw(&Text::new(load.clone(), at, (FONT, FONT_PX - 3).into_font().color(&colour)))?;
        }
    }
    area.present()?;
    Ok(())
}

/// The title, and the names of the lines beside each other below it.
fn draw_head(head: &Area<'_>, title: &str, lines: &[Line]) -> Outcome {
    head.draw(&Text::new(title.to_owned(), (MARGIN_PX, 14), (FONT, FONT_PX + 4)))?;
    let mut left = MARGIN_PX + AXIS_PX;
    for line in lines {
        head.draw(&Rectangle::new([(left, 49), (left + 14, 55)], line.colour.filled()))?;
        head.draw(&Text::new(line.label.clone(), (left + 20, 45), (FONT, FONT_PX - 2)))?;
        left += 20 + (line.label.chars().count() as i32 + 2) * LETTER_PX * 7 / 8;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder_report::LoadMeasurement;
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
            .collect();
        let quantiles: Vec<&str> = texts.iter().copied().filter(|text| text.starts_with('p')).collect();
        assert_eq!(quantiles, labels);
        assert!(texts.contains(&"Encoder: latency over throughput, texts"), "{texts:?}");
        let answered = runs.iter().filter(|run| run.measured.latency.is_some()).count();
        assert_eq!(texts.iter().filter(|text| **text == "1 caller").count(), answered, "{texts:?}");
        assert_eq!(svg.descendants().filter(|node| node.has_tag_name("circle")).count(), points);
    }

    #[test]
    fn every_quantile_is_a_line_over_all_runs() {
        let runs = [run(10.0, Some(8.0), false), run(60.0, Some(30.0), false), run(70.0, Some(400.0), false)];
        check(&runs, &["p50", "p95", "p99"], 9);
        check(&runs[..1], &["p50", "p95", "p99"], 3);
    }

    #[test]
    fn ticks_are_round_and_neither_crowd_nor_lack() {
        assert_eq!(ticks(&(3.0..40.0)), [5.0, 10.0, 20.0]);
        for (range, least, most) in [(0.4..1_500.0, 8, 15), (6.1..9.7, 3, 6), (1e-3..1e6, 8, 11), (10.2..13.8, 1, 4)] {
            let found = ticks(&range).len();
            assert!((least..=most).contains(&found), "{range:?}: {:?}", ticks(&range));
        }
        let labels: Vec<String> = [0.5, 1.0, 2.5, 20.0, 1500.0].iter().map(tick_label).collect();
        assert_eq!(labels, ["0.5", "1", "2.5", "20", "1500"]);
    }

    /// The heights of the numbers beside the latency's axis.
    #[test]
    fn no_two_ticks_overlap_and_those_below_ten_milliseconds_are_there() {
        let runs = [run(10.0, Some(2.1), false), run(60.0, Some(30.0), false), run(70.0, Some(400.0), false)];
        let text = latency_plot(&runs).unwrap();
        let svg = Document::parse(&text).unwrap();
        let number = |node: &roxmltree::Node<'_, '_>| node.text().and_then(|text| text.trim().parse::<f64>().ok());
        let is_left =
            |node: &roxmltree::Node<'_, '_>| node.attribute("x").is_some_and(|x| x.parse::<i32>().unwrap() < 90);
        let texts = svg.descendants().filter(|node| node.has_tag_name("text"));
        let mut ticks: Vec<(i32, f64)> = texts
            .filter(is_left)
            .filter_map(|node| Some((node.attribute("y")?.parse().ok()?, number(&node)?)))
            .filter(|(height, _)| *height < SIZE_PX.1 as i32 - 60)
            .collect();
        ticks.sort_by_key(|(height, _)| *height);
        assert!(ticks.iter().any(|(_, value)| *value < 10.0), "{ticks:?}");
        assert!(ticks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= FONT_PX), "{ticks:?}");
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
