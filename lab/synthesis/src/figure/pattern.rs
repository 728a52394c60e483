//! Stripes, checks, dots and prints.

use super::Figure;
use super::torso::CHEST;
use super::tube::Tube;
use crate::canvas::{Canvas, Ink};
use crate::color::Rgb;
use crate::geometry::{Place, Point};
use crate::light::Finish;
use crate::person::garment::Pattern;
use crate::shapes;
use std::f32::consts::PI;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    let upper = &figure.person.upper;
    let accent = upper.accent.shade;
    let cloth = (accent, Finish::Matt);
    let is_long = upper.kind.cut().hem < 0.42;
    match upper.pattern {
        Pattern::Plain | Pattern::BlockedSleeves => {}
        Pattern::HorizontalStripes => {
            for number in 0..if is_long { 9 } else { 7 } {
                let top = 0.24 + number as f32 * 0.1;
                let path = torso.band(top, (top + 0.045).min(0.99));
                torso.fill_path(canvas, &figure.light, path, cloth);
            }
        }
        Pattern::VerticalStripes => uprights(figure, canvas, torso, (0.19, 0.010, 0.85)),
        Pattern::Checks => {
            uprights(figure, canvas, torso, (0.34, 0.022, 0.5));
            let color = figure.light.frontal(accent);
            for number in 0..if is_long { 10 } else { 8 } {
                let level = 0.22 + number as f32 * if is_long { 0.08 } else { 0.1 };
                canvas.stroke(shapes::curve(&torso.across(level)), 0.022, color, 0.5);
            }
        }
        Pattern::Dots => dots(figure, canvas, torso),
        Pattern::Print => print(figure, canvas, torso),
        Pattern::ChestBand => {
            let path = torso.band(0.43, 0.57);
            torso.fill_path(canvas, &figure.light, path, cloth);
        }
    }
}

/// Lines from the shoulders to the hem: their distance in radians, width in metres, opacity.
fn uprights(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, (distance, width, opacity): (f32, f32, f32)) {
    let color = figure.light.frontal(figure.person.upper.accent.shade);
    let mut angle = -PI;
    while angle < PI {
        let line: Vec<(f32, f32)> = (0..=8).map(|step| (0.2 + step as f32 * 0.0985, angle)).collect();
        canvas.stroke(torso.line(&line), width, color, opacity);
        angle += distance;
    }
}

fn dots(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    let color = figure.light.frontal(figure.person.upper.accent.shade);
    for row in 0..9 {
        let level = 0.25 + row as f32 * 0.085;
        for column in 0..18 {
            let angle = -PI + (column as f32 + (row % 2) as f32 * 0.5) * (PI / 9.0);
            let visibility = torso.visibility(level, angle);
            if visibility > 0.1 {
                let dot = shapes::ellipse(torso.at(level, angle), [0.015 * visibility, 0.015], 0.0);
                canvas.fill(dot, Ink::Flat(color, 0.95));
            }
        }
    }
}

/// A picture or letters on the chest; which, depends on the person only.
fn print(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    if torso.visibility(CHEST, 0.0) < 0.2 {
        return;
    }
    let color = figure.light.frontal(figure.person.upper.accent.shade);
    let kind = (figure.person.physique.height * 1000.0) as usize % 4;
    let ink = Ink::Flat(color, 0.92);
    match kind {
        0 => canvas.fill(torso.patch([0.44, 0.60], [-0.42, 0.42]), ink),
        1 => {
            for (row, width) in [(0.44, 0.5), (0.495, 0.4), (0.55, 0.45)] {
                canvas.fill(torso.patch([row, row + 0.032], [-width, width]), ink);
            }
        }
        2 => {
            let radius = 0.062 * torso.visibility(CHEST, 0.0);
            canvas.fill(shapes::ellipse(torso.at(0.51, 0.0), [radius, 0.062], 0.0), ink);
            let inner = figure.light.frontal(figure.person.upper.tint.shade);
            canvas.fill(shapes::ellipse(torso.at(0.51, 0.0), [radius * 0.5, 0.031], 0.0), Ink::Flat(inner, 0.9));
        }
        _ => canvas.fill(torso.area(&[(0.43, 0.0), (0.60, 0.5), (0.60, -0.5)]), ink),
    }
}

/// Stripes around a sleeve. `ends` with their radii in metres.
pub(super) fn around_limb(figure: &Figure<'_>, canvas: &mut Canvas, ends: [(Place, f32); 2], count: usize) {
    let upper = &figure.person.upper;
    let (width, opacity) = match upper.pattern {
        Pattern::HorizontalStripes => (0.024, 1.0),
        Pattern::Checks => (0.02, 0.5),
        Pattern::Plain
        | Pattern::VerticalStripes
        | Pattern::Dots
        | Pattern::Print
        | Pattern::BlockedSleeves
        | Pattern::ChestBand => return,
    };
    bands(figure, canvas, ends, count, (upper.accent.shade, width, opacity));
}

/// Lines across a limb: colour, width in metres, opacity.
pub(super) fn bands(
    figure: &Figure<'_>,
    canvas: &mut Canvas,
    ends: [(Place, f32); 2],
    count: usize,
    (color, width, opacity): (Rgb, f32, f32),
) {
    let [(from, from_radius), (to, to_radius)] = ends;
    let (start, end) = (figure.view.point(from), figure.view.point(to));
    let across = (end - start).direction().normal();
    let color = figure.light.frontal(color);
    for number in 0..count {
        let share = (number as f32 + 0.6) / count as f32;
        let radius = (from_radius + (to_radius - from_radius) * share) - width * 0.5;
        let middle = start.towards(end, share);
        let line: [Point; 2] = [middle - across * radius, middle + across * radius];
        canvas.stroke(shapes::curve(&line), width, color, opacity);
    }
}
