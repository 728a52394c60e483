//! Round hollow things with an upright axis: torsos, skirts, hair, bags.

use crate::canvas::{Canvas, Ink};
use crate::color::Rgb;
use crate::frame::Viewpoint;
use crate::geometry::{Place, Point, place};
use crate::light::{Finish, Light};
use crate::shapes;
use std::f32::consts::FRAC_PI_2;
use tiny_skia::Path;

/// A level ellipse around a place of the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring {
    pub(crate) center: Place,
    pub(crate) half_width: f32,
    pub(crate) half_depth: f32,
}

pub(crate) fn ring(center: Place, half_width: f32, half_depth: f32) -> Ring {
    Ring { center, half_width, half_depth }
}

/// Rings from top to bottom, and the smooth surface through them.
///
/// Places on it are told by a level, 0 at the top to 1 at the bottom, and an angle: 0 at the body's front, positive to its
/// left.
pub(crate) struct Tube<'a> {
    rings: Vec<Ring>,
    view: &'a Viewpoint,
}

impl<'a> Tube<'a> {
    /// At least one ring.
    pub(crate) fn new(view: &'a Viewpoint, rings: Vec<Ring>) -> Self {
        Self { rings, view }
    }

    fn ring_at(&self, level: f32) -> Ring {
        let position = level.clamp(0.0, 1.0) * (self.rings.len().saturating_sub(1)) as f32;
        let index = position as usize;
        let share = position - index as f32;
        let at = |index: usize| {
            self.rings.get(index).or(self.rings.last()).copied().unwrap_or(ring(Place::default(), 0.0, 0.0))
        };
        let (from, to) = (at(index), at(index + 1));
        let mix = |from: f32, to: f32| from + (to - from) * share;
        ring(
            from.center.towards(to.center, share),
            mix(from.half_width, to.half_width),
            mix(from.half_depth, to.half_depth),
        )
    }

    pub(crate) fn at(&self, level: f32, angle: f32) -> Point {
        let ring = self.ring_at(level);
        let (sine, cosine) = angle.sin_cos();
        self.view.point(ring.center + place(sine * ring.half_width, 0.0, cosine * ring.half_depth))
    }

    /// The angle that faces the camera.
    pub(crate) fn facing(&self, level: f32) -> f32 {
        let ring = self.ring_at(level);
        self.view.facing_angle(ring.half_width, ring.half_depth)
    }

    /// How directly a place faces the camera: 1 fully, below 0 not at all.
    pub(crate) fn visibility(&self, level: f32, angle: f32) -> f32 {
        (angle - self.facing(level)).cos()
    }

    /// The edge on the left (-1) or right (1) of the picture.
    pub(crate) fn edge(&self, level: f32, side: f32) -> Point {
        self.at(level, self.facing(level) + side * FRAC_PI_2)
    }

    fn sides(&self, levels: [f32; 2], steps: usize) -> [Vec<Point>; 2] {
        [-1.0, 1.0].map(|side| {
            let level = |step: usize| levels[0] + (levels[1] - levels[0]) * step as f32 / steps as f32;
            (0..=steps).map(|step| self.edge(level(step), side)).collect()
        })
    }

    /// The line across the visible side at a level, from left to right.
    pub(crate) fn across(&self, level: f32) -> Vec<Point> {
        let facing = self.facing(level);
        (-4..=4).map(|step| self.at(level, facing + step as f32 / 4.0 * FRAC_PI_2)).collect()
    }

    /// What is seen between two levels.
    pub(crate) fn band(&self, top: f32, bottom: f32) -> Option<Path> {
        let [left, right] = self.sides([top, bottom], 8);
        let mut points = left;
        points.extend(self.across(bottom));
        points.extend(right.into_iter().rev());
        points.extend(self.across(top).into_iter().rev());
        shapes::polygon(&points)
    }

    pub(crate) fn outline(&self) -> Option<Path> {
        let steps = (self.rings.len().saturating_sub(1) * 2).max(2);
        let [mut left, right] = self.sides([0.0, 1.0], steps);
        // The lower edge bulges towards the camera; its ends are the sides' ends.
        let hem = self.across(1.0);
        left.extend(hem.iter().take(hem.len() - 1).skip(1));
        shapes::between(&left, &right)
    }

    /// A part of the surface between angles, as far as it faces the camera.
    pub(crate) fn patch(&self, levels: [f32; 2], angles: [f32; 2]) -> Option<Path> {
        const STEPS: usize = 6;
        let clipped = |level: f32, angle: f32| {
            let facing = self.facing(level);
            let turn = wrapped(angle - facing);
            (turn, facing)
        };
        let middle = f32::midpoint(levels[0], levels[1]);
        let width = angles[1] - angles[0];
        let (turn, facing) = clipped(middle, f32::midpoint(angles[0], angles[1]));
        let low = (turn - width / 2.0).clamp(-FRAC_PI_2, FRAC_PI_2);
        let high = (turn + width / 2.0).clamp(-FRAC_PI_2, FRAC_PI_2);
        if high - low < 0.02 {
            return None;
        }
        let along = |from: f32, to: f32, step: usize| from + (to - from) * step as f32 / STEPS as f32;
        let mut points = Vec::with_capacity(4 * STEPS);
        points.extend((0..=STEPS).map(|step| self.at(levels[0], facing + along(low, high, step))));
        points.extend((0..=STEPS).map(|step| self.at(along(levels[0], levels[1], step), facing + high)));
        points.extend((0..=STEPS).map(|step| self.at(levels[1], facing + along(high, low, step))));
        points.extend((0..=STEPS).map(|step| self.at(along(levels[1], levels[0], step), facing + low)));
        shapes::polygon(&points)
    }

    /// A line on the surface, as far as it faces the camera.
    pub(crate) fn line(&self, points: &[(f32, f32)]) -> Option<Path> {
        let seen: Vec<Point> = points
            .iter()
            .filter(|(level, angle)| self.visibility(*level, *angle) > 0.02)
            .map(|(level, angle)| self.at(*level, *angle))
            .collect();
        if seen.len() < 2 { None } else { shapes::curve(&seen) }
    }

    /// An area on the surface between straight lines; `None` unless all of it faces the camera.
    pub(crate) fn area(&self, points: &[(f32, f32)]) -> Option<Path> {
        let is_seen = points.iter().all(|(level, angle)| self.visibility(*level, *angle) > 0.0);
        let corners: Vec<Point> = points.iter().map(|(level, angle)| self.at(*level, *angle)).collect();
        if is_seen { shapes::polygon(&corners) } else { None }
    }

    /// Fills the whole of it, shaded as a round thing.
    pub(crate) fn fill(&self, canvas: &mut Canvas, light: &Light, color: Rgb, finish: Finish) {
        self.fill_path(canvas, light, self.outline(), (color, finish));
    }

    /// Fills a part of it with the shading that the whole has.
    pub(crate) fn fill_path(&self, canvas: &mut Canvas, light: &Light, path: Option<Path>, cloth: (Rgb, Finish)) {
        let colors = light.across(cloth.0, cloth.1);
        let [left, right] = self.sides([0.0, 1.0], 4);
        let low = left.iter().map(|edge| edge.x).fold(f32::INFINITY, f32::min);
        let high = right.iter().map(|edge| edge.x).fold(f32::NEG_INFINITY, f32::max);
        let [from, to] = [low, high].map(|x| crate::geometry::point(x, 0.0));
        canvas.fill(path, Ink::Along { from, to, colors: &colors, opacity: 1.0 });
    }
}

/// The same angle between -pi and pi.
fn wrapped(angle: f32) -> f32 {
    use std::f32::consts::{PI, TAU};
    (angle + PI).rem_euclid(TAU) - PI
}
