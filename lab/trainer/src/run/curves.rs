//! `curves.svg`: loss, retrieval quality and learning rate over the epochs.

use super::history::HistoryRecord;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ops::Range;

const SIZE_PX: (u32, u32) = (920, 1040);
/// Where the second and the third chart begin.
const SECOND_PX: i32 = 420;
const THIRD_PX: i32 = 350;
/// Whatever font the viewer has.
const FONT: &str = "sans-serif";
const FONT_PX: i32 = 15;
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(255, 127, 14);
const GRAY: RGBColor = RGBColor(90, 90, 90);
/// Above each chart, for the names of its lines.
const HEAD_PX: i32 = 28;
/// Beside each chart, for the numbers and the name of its axis.
const AXIS_PX: i32 = 74;
/// A letter's width, on average, of a font that nobody knows before the picture is shown.
const LETTER_PX: i32 = 7;
/// Points of a line; the points of a long run are drawn as means of neighbours.
const MAX_POINTS: usize = 1_200;
/// Share of the points that smoothing looks back on.
const SMOOTHED_SHARE: f64 = 0.03;

type Point = (f64, f64);
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What is drawn, all over epochs.
#[derive(Debug, Default, PartialEq)]
struct Curves {
    loss: Vec<Point>,
    rank_1: Vec<Point>,
    mean_average_precision: Vec<Point>,
    learning_rate: Vec<Point>,
}

/// A line of a chart.
struct Line<'a> {
    label: &'static str,
    style: ShapeStyle,
    points: &'a [Point],
    has_markers: bool,
}

/// The text of an SVG file; `None` where there is nothing to draw yet.
pub(super) fn draw(title: &str, records: &[HistoryRecord]) -> Result<Option<String>, String> {
    let curves = Curves::of(records);
    if curves.loss.is_empty() && curves.rank_1.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    draw_all(&mut text, title, &curves).map_err(|error| error.to_string())?;
    Ok(Some(text))
}

impl Curves {
    fn of(records: &[HistoryRecord]) -> Self {
        let mut curves = Self::default();
        for record in records {
            match record {
                HistoryRecord::Step(step) => {
                    let share = step.step as f64 / step.steps_in_epoch.max(1) as f64;
                    let epochs = step.epoch.saturating_sub(1) as f64 + share;
                    curves.loss.push((epochs, step.loss));
                    curves.learning_rate.push((epochs, step.learning_rate));
                }
                HistoryRecord::Evaluation(evaluation) => {
                    let epochs = evaluation.epoch as f64;
                    curves.rank_1.push((epochs, evaluation.rank_1));
                    curves.mean_average_precision.push((epochs, evaluation.mean_average_precision));
                }
                HistoryRecord::Start(_) | HistoryRecord::Epoch(_) => {}
            }
        }
        Self { loss: thinned(&curves.loss), learning_rate: thinned(&curves.learning_rate), ..curves }
    }

    fn epochs(&self) -> Range<f64> {
        let points = self.loss.iter().chain(&self.rank_1);
        0.0..points.map(|&(epochs, _)| epochs).fold(0.0, f64::max).max(1e-3) * 1.02
    }
}

/// At most [`MAX_POINTS`], each the mean of as many neighbours.
fn thinned(points: &[Point]) -> Vec<Point> {
    let neighbours = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |values: &[Point]| {
        let count = values.len() as f64;
        let sum = values.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(neighbours).map(mean).collect()
}

/// A moving mean that weighs the past exponentially less, corrected for the short past of the first points.
fn smoothed(points: &[Point]) -> Vec<Point> {
    let keep = 1.0 - 1.0 / (points.len() as f64 * SMOOTHED_SHARE).max(1.0);
    let (mut mean, mut weight) = (0.0, 0.0);
    let step = |&(epochs, value): &Point| {
        mean = keep * mean + (1.0 - keep) * value;
        weight = keep * weight + (1.0 - keep);
        (epochs, mean / weight)
    };
    points.iter().map(step).collect()
}

/// From the lowest to the highest value with some room, never empty.
fn values<'a>(points: impl Iterator<Item = &'a Point>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &(_, value) in points {
        low = low.min(value);
        high = high.max(value);
    }
    let room = if low > high {
        return 0.0..1.0;
    } else if low < high {
        (high - low) * 0.06
    } else if high == 0.0 {
        1.0
    } else {
        high.abs() * 0.06
    };
    low - room..high + room
}

fn draw_all(text: &mut String, title: &str, curves: &Curves) -> Outcome {
    let area = SVGBackend::with_string(text, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, (FONT, 20))?;
    let (first, rest) = area.split_vertically(SECOND_PX);
    let (second, third) = rest.split_vertically(THIRD_PX);
    let epochs = curves.epochs();

    let smooth = smoothed(&curves.loss);
    let lines = [
        Line {
            label: "loss of each step",
            style: BLUE.mix(0.28).stroke_width(1),
            points: &curves.loss,
            has_markers: false,
        },
        Line { label: "smoothed", style: BLUE.stroke_width(2), points: &smooth, has_markers: curves.loss.len() == 1 },
    ];
    draw_chart(&first, "loss", &epochs, values(curves.loss.iter()), &lines)?;

    let qualities = values(curves.rank_1.iter().chain(&curves.mean_average_precision));
    let qualities = qualities.start.max(0.0)..qualities.end;
    let style = |colour: RGBColor| colour.stroke_width(2);
    let lines = [
        Line { label: "Rank-1", style: style(BLUE), points: &curves.rank_1, has_markers: true },
        Line { label: "mAP", style: style(ORANGE), points: &curves.mean_average_precision, has_markers: true },
    ];
    draw_chart(&second, "text to image, percent", &epochs, qualities, &lines)?;

    let rates = 0.0..values(curves.learning_rate.iter()).end;
    let lines =
        [Line { label: "learning rate", style: style(GRAY), points: &curves.learning_rate, has_markers: false }];
    draw_chart(&third, "learning rate", &epochs, rates, &lines)?;
    area.present()?;
    Ok(())
}

/// The names of a chart's lines, beside each other above it: within it they would cover points, the newest ones above all.
fn draw_names(head: &Area<'_>, lines: &[Line<'_>]) -> Outcome {
    let mut left = AXIS_PX + 12;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        head.draw(&Rectangle::new([(left, 17), (left + 14, 21)], line.style.filled()))?;
        head.draw(&Text::new(line.label, (left + 20, 12), (FONT, FONT_PX)))?;
        left += 20 + (line.label.len() as i32 + 3) * LETTER_PX;
    }
    Ok(())
}

fn draw_chart(area: &Area<'_>, what: &str, epochs: &Range<f64>, values: Range<f64>, lines: &[Line<'_>]) -> Outcome {
    // Learning rates are too small for as many digits as suffice for everything else.
    let is_small = values.end < 0.01;
    let label = move |value: &f64| if is_small { format!("{value:.1e}") } else { rounded(*value).to_string() };
    let (head, plot) = area.split_vertically(HEAD_PX);
    draw_names(&head, lines)?;
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .margin_top(4)
        .x_label_area_size(40)
        .y_label_area_size(AXIS_PX)
        .build_cartesian_2d(epochs.clone(), values)?;
    chart
        .configure_mesh()
        .x_desc("epochs")
        .y_desc(what)
        .y_labels(6)
        .y_label_formatter(&label)
        .label_style((FONT, FONT_PX))
        .axis_desc_style((FONT, FONT_PX))
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let style = line.style;
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        if line.has_markers {
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, style.filled())))?;
        }
    }
    Ok(())
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
