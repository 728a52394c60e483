//! What is held in a hand.

use super::Figure;
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Point, place, point};
use crate::light::Finish;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::pose::{ArmTask, side_index};
use crate::shapes;
use std::f32::consts::PI;

/// How high above the ground an open umbrella's middle is over the hand, in metres.
const SHAFT: f32 = 0.72;

/// Hangs from the hand.
pub(super) fn bag(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let hand = figure.skeleton.arms[side_index(belonging.side)].hand;
    let shade = belonging.tint.shade;
    let is_shopping = belonging.kind == BelongingKind::ShoppingBag;
    let (gap, height, width, length) = if is_shopping { (0.10, 0.30, 0.055, 0.125) } else { (0.11, 0.19, 0.06, 0.15) };
    let top = hand - place(0.0, gap, 0.0);
    let rings = vec![
        ring(top, width * 0.8, length * if is_shopping { 1.0 } else { 0.78 }),
        ring(top - place(0.0, height * 0.5, 0.0), width, length),
        ring(top - place(0.0, height, 0.0), width * 0.95, length * 0.98),
    ];
    let sack = Tube::new(&figure.view, rings);
    let grip = figure.view.point(hand);
    let line = figure.light.frontal(shade.detail());
    for side in [-0.6, 0.6] {
        let low = sack.edge(0.02, side);
        let bend = grip.towards(low, 0.35) + point((low.x - grip.x) * 0.4, 0.0);
        canvas.stroke(shapes::curve(&[grip, bend, low]), 0.011, line, 1.0);
    }
    let finish = if is_shopping { Finish::Matt } else { Finish::Glossy };
    sack.fill(canvas, &figure.light, shade, finish);
    canvas.stroke(sack.outline(), 0.007, rgb(0.0, 0.0, 0.0), 0.4);
    if is_shopping {
        let facing = sack.facing(0.5);
        let print = sack.patch([0.3, 0.65], [facing - 0.6, facing + 0.6]);
        canvas.fill(print, Ink::Flat(figure.light.frontal(shade.mix(rgb(0.95, 0.95, 0.95), 0.6)), 0.8));
    } else {
        canvas.stroke(shapes::curve(&sack.across(0.35)), 0.008, line, 0.8);
    }
}

pub(super) fn drink(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let hand = figure.skeleton.arms[side_index(belonging.side)].hand;
    let shade = belonging.tint.shade;
    let base = hand + place(0.0, -0.03, 0.035);
    if belonging.kind == BelongingKind::Cup {
        let rings = vec![ring(base + place(0.0, 0.12, 0.0), 0.042, 0.042), ring(base, 0.032, 0.032)];
        let cup = Tube::new(&figure.view, rings);
        cup.fill(canvas, &figure.light, shade, Finish::Satin);
        canvas.stroke(shapes::curve(&cup.across(0.03)), 0.016, figure.light.frontal(rgb(0.3, 0.2, 0.15)), 1.0);
    } else {
        let rings = vec![
            ring(base + place(0.0, 0.20, 0.0), 0.014, 0.014),
            ring(base + place(0.0, 0.14, 0.0), 0.034, 0.034),
            ring(base - place(0.0, 0.03, 0.0), 0.035, 0.035),
        ];
        let bottle = Tube::new(&figure.view, rings);
        bottle.fill(canvas, &figure.light, shade, Finish::Glossy);
        canvas.fill(bottle.band(0.0, 0.12), Ink::Flat(rgb(0.9, 0.9, 0.9), 0.9));
    }
}

/// The phone in a hand that is raised.
pub(super) fn phone(figure: &Figure<'_>, canvas: &mut Canvas, index: usize) {
    let arm = figure.skeleton.arms[index];
    let is_call = figure.pose.tasks[index] == ArmTask::Call;
    let up = if is_call { place(0.0, 0.055, 0.02) } else { place(0.0, 0.06, -0.01) };
    let center = arm.hand + (arm.hand - arm.wrist) * 0.4;
    let (top, bottom) = (figure.view.point(center + up), figure.view.point(center - up * 0.6));
    let half = (0.012 + 0.022 * figure.view.frontness().abs()) * if is_call { 0.6 } else { 1.0 };
    let corners =
        [top + point(half, 0.0), bottom + point(half, 0.0), bottom - point(half, 0.0), top - point(half, 0.0)];
    canvas.fill(shapes::polygon(&corners), Ink::Flat(rgb(0.07, 0.07, 0.08), 1.0));
    // Only from behind the person is the screen seen.
    if !is_call && figure.view.frontness() < -0.1 {
        let inner = corners.map(|corner| center_of(&corners).towards(corner, 0.75));
        canvas.fill(shapes::polygon(&inner), Ink::Flat(rgb(0.7, 0.82, 0.95), 1.0));
    }
}

fn center_of(points: &[Point; 4]) -> Point {
    points[0].towards(points[2], 0.5)
}

/// Middle of an open umbrella's rim.
pub(crate) fn canopy_place(figure: &Figure<'_>, belonging: &Belonging) -> crate::geometry::Place {
    let hand = figure.skeleton.arms[side_index(belonging.side)].hand;
    let head = figure.skeleton.crown();
    let above = (hand.y + SHAFT).max(head.y + 0.06);
    place(hand.x * 0.6, above, hand.z * 0.7)
}

/// An open umbrella's shaft, which the body may hide; drawn with the hand.
pub(super) fn shaft(figure: &Figure<'_>, canvas: &mut Canvas, index: usize) {
    let umbrella = figure.carried.iter().find(|item| item.kind == BelongingKind::Umbrella);
    let Some(umbrella) = umbrella.filter(|item| side_index(item.side) == index) else { return };
    let hand = figure.skeleton.arms[index].hand;
    let ends = [hand - place(0.0, 0.05, 0.0), canopy_place(figure, umbrella) + place(0.0, 0.1, 0.0)];
    canvas.stroke(shapes::curve(&ends.map(|end| figure.view.point(end))), 0.014, rgb(0.25, 0.25, 0.26), 1.0);
}

pub(super) fn umbrella(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let rim = canopy_place(figure, belonging);
    let shade = belonging.tint.shade;
    let radius = 0.44;
    let top = figure.view.point(rim + place(0.0, 0.23, 0.0));
    let around: Vec<Point> = (0..16)
        .map(|step| {
            let angle = step as f32 / 8.0 * PI;
            // Between two ribs the cloth is pulled inwards.
            let reach = radius * if step % 2 == 0 { 1.0 } else { 0.93 };
            figure.view.point(rim + place(angle.sin() * reach, 0.0, angle.cos() * reach))
        })
        .collect();
    let left = around.iter().map(|edge| edge.x).fold(f32::INFINITY, f32::min);
    let right = around.iter().map(|edge| edge.x).fold(f32::NEG_INFINITY, f32::max);
    let height = around.iter().map(|edge| edge.y).sum::<f32>() / 16.0;
    // Its inner side, then the outer one as a dome.
    canvas.fill(shapes::blob(&around), Ink::Flat(figure.light.frontal(shade.lit(0.55)), 1.0));
    let middle = f32::midpoint(left, right);
    let half = (right - left) / 2.0;
    let rise = height - top.y;
    let mut dome: Vec<Point> = (0..=12)
        .map(|step| {
            let angle = PI - step as f32 / 12.0 * PI;
            point(middle + angle.cos() * half, height - angle.sin() * rise)
        })
        .collect();
    let front: Vec<Point> = (0..=8)
        .map(|step| {
            let share = 1.0 - step as f32 / 8.0;
            let x = left + (right - left) * share;
            let scallop = if step % 2 == 1 { 0.02 } else { 0.0 };
            let near = around.iter().map(|edge| edge.y).fold(f32::NEG_INFINITY, f32::max) - height;
            point(x, height - scallop + near * (1.0 - (share * 2.0 - 1.0).powi(2)) * 0.9)
        })
        .collect();
    dome.extend(&front);
    let colors = figure.light.across(shade, Finish::Satin);
    let ink = Ink::Along { from: point(left, 0.0), to: point(right, 0.0), colors: &colors, opacity: 1.0 };
    canvas.fill(shapes::polygon(&dome), ink);
    for end in front.iter().step_by(2) {
        let bend = end.towards(top, 0.5) + point((end.x - middle) * 0.16, -rise * 0.12);
        figure.crease(canvas, &[*end, bend, top], 0.007, 0.3);
    }
}
