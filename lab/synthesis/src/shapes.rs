//! Outlines on the image plane. Every one of them is `None` when it has no extent.

use crate::geometry::{Point, point};
use tiny_skia::{Path, PathBuilder};

/// Length of a quarter circle's control arm, for a radius of 1.
const ARM: f32 = 0.552_28;

/// Straight lines around an area.
pub(crate) fn polygon(points: &[Point]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    builder.move_to(first.x, first.y);
    for next in rest {
        builder.line_to(next.x, next.y);
    }
    builder.close();
    builder.finish()
}

/// A smooth line through points.
pub(crate) fn curve(points: &[Point]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let first = points.first()?;
    builder.move_to(first.x, first.y);
    run_through(&mut builder, points);
    builder.finish()
}

/// An area whose two sides are smooth lines, joined by straight ones: `left` from top to bottom, `right` likewise.
pub(crate) fn between(left: &[Point], right: &[Point]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let first = left.first()?;
    builder.move_to(first.x, first.y);
    run_through(&mut builder, left);
    let back: Vec<Point> = right.iter().rev().copied().collect();
    let corner = back.first()?;
    builder.line_to(corner.x, corner.y);
    run_through(&mut builder, &back);
    builder.close();
    builder.finish()
}

/// A smooth closed line through points.
pub(crate) fn blob(points: &[Point]) -> Option<Path> {
    let count = points.len();
    if count < 3 {
        return None;
    }
    let at = |index: usize| points[index % count];
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].x, points[0].y);
    for index in 0..count {
        let (before, from, to, after) = (at(index + count - 1), at(index), at(index + 1), at(index + 2));
        cubic(&mut builder, [before, from, to, after]);
    }
    builder.close();
    builder.finish()
}

/// An ellipse whose first radius points at an angle, in radians.
pub(crate) fn ellipse(center: Point, radii: [f32; 2], angle: f32) -> Option<Path> {
    let along = point(angle.cos(), angle.sin()) * radii[0];
    let across = point(-angle.sin(), angle.cos()) * radii[1];
    let mut builder = PathBuilder::new();
    let start = center + along;
    builder.move_to(start.x, start.y);
    let mut axes = (along, across);
    for _ in 0..4 {
        let (from, to) = axes;
        quarter(&mut builder, center, from, to);
        axes = (to, from * -1.0);
    }
    builder.close();
    builder.finish()
}

/// A limb: two circles and what is between their tangents.
pub(crate) fn capsule(from: Point, from_radius: f32, to: Point, to_radius: f32) -> Option<Path> {
    let along = (to - from).direction();
    let across = along.normal();
    let mut builder = PathBuilder::new();
    let start = from + across * from_radius;
    builder.move_to(start.x, start.y);
    let corner = to + across * to_radius;
    builder.line_to(corner.x, corner.y);
    quarter(&mut builder, to, across * to_radius, along * to_radius);
    quarter(&mut builder, to, along * to_radius, across * -to_radius);
    let back = from - across * from_radius;
    builder.line_to(back.x, back.y);
    quarter(&mut builder, from, across * -from_radius, along * -from_radius);
    quarter(&mut builder, from, along * -from_radius, across * from_radius);
    builder.close();
    builder.finish()
}

fn quarter(builder: &mut PathBuilder, center: Point, from: Point, to: Point) {
    let first = center + from + to * ARM;
    let second = center + to + from * ARM;
    let end = center + to;
    builder.cubic_to(first.x, first.y, second.x, second.y, end.x, end.y);
}

/// Continues from the first point, where the pen already is.
fn run_through(builder: &mut PathBuilder, points: &[Point]) {
    for index in 1..points.len() {
        let before = points[index.saturating_sub(2)];
        let after = points[(index + 1).min(points.len() - 1)];
        cubic(builder, [before, points[index - 1], points[index], after]);
    }
}

/// A Catmull-Rom segment between the middle two points.
fn cubic(builder: &mut PathBuilder, [before, from, to, after]: [Point; 4]) {
    let first = from + (to - before) * (1.0 / 6.0);
    let second = to - (after - from) * (1.0 / 6.0);
    builder.cubic_to(first.x, first.y, second.x, second.y, to.x, to.y);
}
